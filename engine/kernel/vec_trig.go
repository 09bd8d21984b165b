package kernel

import (
	"math"
	"math/bits"
)

// The functions of this file work in float64, with every product rounded on its own (no compiler may fuse it), so
// that they too have the same bits everywhere.

// Sin sets dst[i] = sin src[i]; at most 1 ULP for every finite argument. An infinity gives NaN.
func Sin(dst, src []float32) {
	len2(dst, src)
	apply(dst, src, func(x float32) float32 { return sinQuadrant(x, 0) })
}

// Cos sets dst[i] = cos src[i]; at most 1 ULP for every finite argument. An infinity gives NaN.
func Cos(dst, src []float32) {
	len2(dst, src)
	apply(dst, src, func(x float32) float32 { return sinQuadrant(x, 1) })
}

// sinQuadrant returns sin(x + add*pi/2).
func sinQuadrant(x float32, add uint64) float32 {
	if x-x != 0 {
		return float32(math.NaN())
	}
	q, r := reducePi2(math.Abs(float64(x)))
	neg := x < 0 && add == 0
	q += add
	var s float64
	if q&1 == 0 {
		if r == 0 && add == 0 && q&3 == 0 {
			return x // keeps -0
		}
		s = sinPoly(r)
	} else {
		s = cosPoly(r)
	}
	if (q&2 != 0) != neg {
		s = -s
	}
	return float32(s)
}

// twoOverPi holds the first 256 bits of 2/pi after the binary point.
var twoOverPi = [4]uint64{0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561}

// reducePi2 writes a finite x >= 0 (a float32 value) as q pi/2 + r, |r| <= pi/4, q modulo 4, by multiplying the
// 24-bit significand with the bits of 2/pi that matter (Payne and Hanek, 1983).
func reducePi2(x float64) (q uint64, r float64) {
	if x < 0.7853981633974483 {
		return 0, x
	}
	fr, e := math.Frexp(x) // x = m 2^(e-24)
	m, sh := uint64(fr*(1<<24)), e-24
	// the product m * 2/pi * 2^sh is wanted modulo 4: drop the bits of 2/pi worth 4 or more after scaling
	var hi, lo uint64 // 128 bits of 2/pi starting at bit position start
	start := max(sh-2, 0)
	w, o := start/64, uint(start%64)
	hi, lo = twoOverPi[w]<<o, twoOverPi[w+1]<<o
	if o > 0 {
		hi |= twoOverPi[w+1] >> (64 - o)
		lo |= twoOverPi[w+2] >> (64 - o)
	}
	h1, l1 := bits.Mul64(m, hi)
	h2, _ := bits.Mul64(m, lo)
	l1, c := bits.Add64(l1, h2, 0)
	h1 += c
	// m*2/pi*2^start = h1.l1; scale by 2^(sh-start) so that two integer bits stand on top of 64 fraction bits
	k := sh - start // <= 2, negative for small x
	var t uint64    // fraction
	if k >= 0 {
		q, t = h1<<uint(k)|l1>>(64-uint(k)), l1<<uint(k)
		if k == 0 {
			q = h1
		}
	} else {
		q, t = h1>>uint(-k), h1<<(64-uint(-k))|l1>>uint(-k)
	}
	f := float64(t) / (1 << 64)
	if t>>63 == 1 {
		q++
		f = -float64(-t) / (1 << 64)
	}
	return q & 3, float64(f * (math.Pi / 2))
}

// sinPoly and cosPoly are Taylor polynomials; for |r| <= pi/4 the truncation is below 1e-13 of the result.
func sinPoly(r float64) float64 {
	z := float64(r * r)
	return float64(r * horner(z, 1, -1.0/6, 1.0/120, -1.0/5040, 1.0/362880, -1.0/39916800, 1.0/6227020800))
}

func cosPoly(r float64) float64 {
	z := float64(r * r)
	return horner(z, 1, -0.5, 1.0/24, -1.0/720, 1.0/40320, -1.0/3628800, 1.0/479001600, -1.0/87178291200)
}

func horner(z float64, c ...float64) float64 {
	p := c[len(c)-1]
	for i := len(c) - 2; i >= 0; i-- {
		p = float64(p*z) + c[i]
	}
	return p
}

// Pow sets dst[i] = src[i]^y with the special cases of IEEE 754 pow. The exponents 2, 3, 0.5 and -1 use x*x,
// x*x*x, sqrt and 1/x; others go through float64 and are within 1 ULP.
func Pow(dst, src []float32, y float32) {
	len2(dst, src)
	switch y {
	case 2:
		Mul(dst, src, src)
	case 3:
		apply(dst, src, func(x float32) float32 { return float32(x*x) * x })
	case 0.5:
		apply(dst, src, func(x float32) float32 {
			if math.IsInf(float64(x), -1) {
				return float32(math.Inf(1))
			}
			return sqrtf(x + 0)
		})
	case -1:
		Reciprocal(dst, src)
	default:
		apply(dst, src, func(x float32) float32 { return powf(x, y) })
	}
}

// PowV sets dst[i] = a[i]^b[i], within 1 ULP, with the special cases of IEEE 754 pow.
func PowV(dst, a, b []float32) {
	len3(dst, a, b)
	for i, x := range a {
		dst[i] = powf(x, b[i])
	}
}

func powf(x, y float32) float32 {
	a, ax, ay := float64(x), math.Abs(float64(x)), math.Abs(float64(y))
	switch {
	case y == 0 || x == 1:
		return 1
	case x != x || y != y:
		return float32(math.NaN())
	case math.IsInf(ay, 1):
		if ax == 1 {
			return 1
		}
		if (ax < 1) == (y > 0) {
			return 0
		}
		return float32(math.Inf(1))
	}
	integral := math.Floor(float64(y)) == float64(y)
	odd := integral && ay < 1<<24 && int64(ay)&1 == 1
	var r float64
	switch {
	case ax == 0 || math.IsInf(ax, 1):
		if (ax == 0) == (y < 0) {
			r = math.Inf(1)
		}
	case a < 0 && !integral:
		return float32(math.NaN())
	default:
		r = exp2f64(float64(float64(y) * log2f64(ax)))
	}
	if odd && math.Signbit(a) {
		r = -r
	}
	return float32(r)
}

// log2f64 returns log2 x for a normal float64 x > 0 with an error near 2e-16 of the larger of 1 and the result, by
// log((1+s)/(1-s)) = 2 (s + s^3/3 + ...), |s| < 0.1716.
func log2f64(x float64) float64 {
	f, e := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f, e = f*2, e-1
	}
	s := (f - 1) / (f + 1)
	z := float64(s * s)
	p := horner(z, 1, 1.0/3, 1.0/5, 1.0/7, 1.0/9, 1.0/11, 1.0/13, 1.0/15, 1.0/17, 1.0/19, 1.0/21)
	return float64(e) + float64(float64(2*math.Log2E*s)*p)
}

// exp2f64 returns 2^x, flushed to 0 or Inf outside of the float32 range.
func exp2f64(x float64) float64 {
	if x > 200 {
		return math.Inf(1)
	}
	if x < -200 {
		return 0
	}
	k := math.RoundToEven(x)
	r := float64((x - k) * math.Ln2)
	p := horner(r, 1, 1, 1.0/2, 1.0/6, 1.0/24, 1.0/120, 1.0/720, 1.0/5040, 1.0/40320, 1.0/362880, 1.0/3628800, 1.0/39916800)
	return math.Ldexp(p, int(k))
}
