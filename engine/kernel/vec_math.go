package kernel

import "math"

// The scalar functions below are the definitions: the assembly evaluates exactly these operations, in this
// order, with the same fused multiply-adds, so that every result has the same bits on every instruction set.
// A plain product that feeds a sum is written float32(a*b) so that no compiler may fuse it.
//
// The polynomial coefficients are minimax fits (Lawson iteration on Chebyshev nodes in extended precision,
// rounded to float32) of the quantity named beside them.

const (
	log2e  = 1.44269504088896341
	ln2Hi  = 0.693359375    // 10 significant bits: k*ln2Hi is exact
	ln2Lo  = -2.12194440e-4 // ln 2 - ln2Hi
	expLo  = -104           // exp(x) rounds to 0 below -103.98
	expHi  = 89             // exp(x) overflows above 88.73
	expC2  = 0.49999994     // (exp(r)-1-r)/r^2, |r| <= ln2/2, relative error 3.1e-9
	expC3  = 0.166665211
	expC4  = 0.041668389
	expC5  = 0.00836871658
	expC6  = 0.00138145988
	sqrt12 = 0.70710678118654752440

	logC0 = 0.333333135 // (log(1+f)-f+f^2/2)/f^3, sqrt(1/2)-1 <= f <= sqrt(2)-1, relative error 7.5e-10
	logC1 = -0.250000089
	logC2 = 0.200021192
	logC3 = -0.166679963
	logC4 = 0.142195523
	logC5 = -0.124055892
	logC6 = 0.11888162
	logC7 = -0.116756521
	logC8 = 0.0674664006

	tanhSplit = 0.625
	tanhC0    = -0.333332807 // (tanh(x)/x-1)/x^2 in x^2, |x| <= 0.625, relative error 4.4e-9
	tanhC1    = 0.133314416
	tanhC2    = -0.0537397154
	tanhC3    = 0.0206390861
	tanhC4    = -0.00570498686

	erfSplit = 0.921875
	erfS0    = 0.128379151 // erf(x)/x-1 in x^2, |x| <= 0.921875, relative error 1.6e-8
	erfS1    = -0.376124948
	erfS2    = 0.112818159
	erfS3    = -0.026766615
	erfS4    = 0.00499317935
	erfS5    = -0.000599085062
	erfL0    = -0.128687784 // log(erfc(t))/t+1 in t, 0.921875 <= t <= 4.2, error 1.3e-9 of erf
	erfL1    = -0.634979904
	erfL2    = -0.106541857
	erfL3    = 0.024045065
	erfL4    = -0.00378673896
	erfL5    = 0.000361084123
	erfL6    = -1.53573528e-05
	erfMax   = 10 // erfc is 0 in float32 well before

	geluC0  = -1.12838037 // log(erfc(t))/t in t, 0 <= t <= 5, error 2e-8 of max(erfc(t), 1e-3)
	geluC1  = -0.636597753
	geluC2  = -0.10290423
	geluC3  = 0.0194917265
	geluC4  = -0.000314531033
	geluC5  = -0.0013023538
	geluC6  = 0.000483728072
	geluC7  = -9.0418187e-05
	geluC8  = 9.0003241e-06
	geluC9  = -3.76994393e-07
	geluMax = 9 // where e^(t P(t)) is 0 in float32

	geluTanhA = 0.7978845608028654 * 2 * 0.044715 // 2 sqrt(2/pi) 0.044715
	geluTanhB = 0.7978845608028654 * 2
)

func minf(a, b float32) float32 { // MINPS: b when unordered or equal
	if a < b {
		return a
	}
	return b
}

func maxf(a, b float32) float32 { // MAXPS: b when unordered or equal
	if a > b {
		return a
	}
	return b
}

func maxNaN(a, b float32) float32 {
	if a != a {
		return a
	}
	return maxf(a, b)
}

func minNaN(a, b float32) float32 {
	if a != a {
		return a
	}
	return minf(a, b)
}

func absf(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func negf(x float32) float32 { return math.Float32frombits(math.Float32bits(x) ^ (1 << 31)) }

// signOf returns |x| with the sign of s.
func signOf(x, s float32) float32 {
	return math.Float32frombits(math.Float32bits(x)&^(1<<31) | math.Float32bits(s)&(1<<31))
}

func sqrtf(x float32) float32 { return float32(math.Sqrt(float64(x))) }

func roundf(x float32) float32 { return float32(math.RoundToEven(float64(x))) }

// scalef returns p * 2^k for an integral |k| <= 300, rounded once: the first product is exact.
func scalef(p, k float32) float32 {
	i := int32(k)
	h := i >> 1
	p *= math.Float32frombits(uint32(h+127) << 23)
	return p * math.Float32frombits(uint32(i-h+127)<<23)
}

// expReduce splits a finite x in [expLo, expHi] as k ln2 + r; exp(r) = 1 + r + p r^2.
func expReduce(x float32) (k, r, p float32) {
	k = roundf(x * log2e)
	r = Fma32(k, -ln2Hi, x)
	r = Fma32(k, -ln2Lo, r)
	p = Fma32(expC6, r, expC5)
	p = Fma32(p, r, expC4)
	p = Fma32(p, r, expC3)
	return k, r, Fma32(p, r, expC2)
}

func expf(x float32) float32 {
	if x != x {
		return x
	}
	x = minf(expHi, maxf(expLo, x))
	k, r, p := expReduce(x)
	return scalef(Fma32(Fma32(p, r, 1), r, 1), k)
}

// expm1Neg returns exp(x)-1 for x <= 0 (clamped to -40, where it is -1).
func expm1Neg(x float32) float32 {
	if x != x {
		return x
	}
	x = minf(0, maxf(-40, x))
	k, r, p := expReduce(x)
	s := scalef(1, k)
	return Fma32(s, Fma32(float32(p*r), r, r), s-1)
}

func logf(x float32) float32 {
	switch {
	case x != x || x < 0:
		return float32(math.NaN())
	case x == 0:
		return float32(math.Inf(-1))
	case x > math.MaxFloat32:
		return x
	}
	var e float32
	if x < 1.17549435e-38 {
		x *= 1 << 25
		e = -25
	}
	u := math.Float32bits(x)
	// subtracting the bits of sqrt(1/2) makes the exponent field count from the split
	d := u - math.Float32bits(sqrt12)
	e += float32(int32(d) >> 23)
	f := math.Float32frombits(d&0x7fffff+math.Float32bits(sqrt12)) - 1
	return logCore(f, e)
}

// logCore returns log(1+f) + e ln2 for sqrt(1/2)-1 <= f <= sqrt(2)-1.
func logCore(f, e float32) float32 {
	p := Fma32(logC8, f, logC7)
	p = Fma32(p, f, logC6)
	p = Fma32(p, f, logC5)
	p = Fma32(p, f, logC4)
	p = Fma32(p, f, logC3)
	p = Fma32(p, f, logC2)
	p = Fma32(p, f, logC1)
	p = Fma32(p, f, logC0)
	z := f * f
	t := Fma32(float32(p*f), z, float32(e*ln2Lo))
	t = Fma32(-0.5, z, t)
	return Fma32(e, ln2Hi, f+t)
}

func tanhf(x float32) float32 {
	t := absf(x)
	if t < tanhSplit {
		z := x * x
		p := Fma32(tanhC4, z, tanhC3)
		p = Fma32(p, z, tanhC2)
		p = Fma32(p, z, tanhC1)
		p = Fma32(p, z, tanhC0)
		return Fma32(float32(p*z), x, x)
	}
	e := expf(t + t)
	return signOf(1-2/(e+1), x)
}

func sigmoidf(x float32) float32 {
	z := expf(signOf(x, -1))
	if x < 0 {
		return z / (z + 1)
	}
	return 1 / (z + 1)
}

// erfSmall returns erf(x)-x-x*p... for |x| <= erfSplit, as the factor of the final multiply-add: erf(x) = x*p + x.
func erfSmall(x float32) float32 {
	z := x * x
	p := Fma32(erfS5, z, erfS4)
	p = Fma32(p, z, erfS3)
	p = Fma32(p, z, erfS2)
	p = Fma32(p, z, erfS1)
	return Fma32(p, z, erfS0)
}

// erfcLarge returns erfc(t) for t >= erfSplit.
func erfcLarge(t float32) float32 {
	p := Fma32(erfL6, t, erfL5)
	p = Fma32(p, t, erfL4)
	p = Fma32(p, t, erfL3)
	p = Fma32(p, t, erfL2)
	p = Fma32(p, t, erfL1)
	p = Fma32(p, t, erfL0)
	return expf(Fma32(p, t, negf(t)))
}

func erff(x float32) float32 {
	t := absf(x)
	if t != t {
		return x
	}
	if t < erfSplit {
		return Fma32(erfSmall(x), x, x)
	}
	return signOf(1-erfcLarge(minf(erfMax, t)), x)
}

// geluErff needs 1+erf(y) = erfc(-y) with a small error relative to 2 only, so that one polynomial does for all y:
// erfc(|y|) = exp(|y| P(|y|)).
func geluErff(x float32) float32 {
	t := absf(x * sqrt12)
	if t != t {
		return x
	}
	t = minf(geluMax, t)
	p := Fma32(geluC9, t, geluC8)
	p = Fma32(p, t, geluC7)
	p = Fma32(p, t, geluC6)
	p = Fma32(p, t, geluC5)
	p = Fma32(p, t, geluC4)
	p = Fma32(p, t, geluC3)
	p = Fma32(p, t, geluC2)
	p = Fma32(p, t, geluC1)
	p = Fma32(p, t, geluC0)
	c := expf(p * t)
	if !(x < 0) {
		c = 2 - c
	}
	return float32(x*0.5) * c
}

func geluTanhf(x float32) float32 {
	u := x * Fma32(float32(x*x), geluTanhA, geluTanhB)
	return x * sigmoidf(u)
}

func siluf(x float32) float32 { return x * sigmoidf(x) }

func hardSigmoidf(x, alpha, beta float32) float32 { return maxf(0, minf(1, Fma32(alpha, x, beta))) }

func softplusf(x float32) float32 {
	z := expf(signOf(x, -1))
	u := z + 1
	// log1p(z) = log(u) + (z-(u-1))/u, where the second term repairs the rounding of u
	c := (z - (u - 1)) / u
	d := math.Float32bits(u) - math.Float32bits(sqrt12)
	if u != u {
		return x
	}
	e := float32(int32(d) >> 23)
	f := math.Float32frombits(d&0x7fffff+math.Float32bits(sqrt12)) - 1
	return maxf(0, x) + (logCore(f, e) + c)
}
