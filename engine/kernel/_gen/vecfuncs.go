package main

import "fmt"

// The coefficients are those of vec_math.go, where they are explained.
const (
	log2e  = 1.44269504088896341
	ln2Hi  = 0.693359375
	ln2Lo  = -2.12194440e-4
	sqrt12 = 0.70710678118654752440
)

var (
	expC  = []float64{0.00138145988, 0.00836871658, 0.041668389, 0.166665211, 0.49999994}
	logC  = []float64{0.0674664006, -0.116756521, 0.11888162, -0.124055892, 0.142195523, -0.166679963, 0.200021192, -0.250000089, 0.333333135}
	tanhC = []float64{-0.00570498686, 0.0206390861, -0.0537397154, 0.133314416, -0.333332807}
	geluC = []float64{-3.76994393e-07, 9.0003241e-06, -9.0418187e-05, 0.000483728072, -0.0013023538, -0.000314531033, 0.0194917265, -0.10290423, -0.636597753, -1.12838037}
	erfSC = []float64{-0.000599085062, 0.00499317935, -0.026766615, 0.112818159, -0.376124948, 0.128379151}
	erfLC = []float64{-1.53573528e-05, 0.000361084123, -0.00378673896, 0.024045065, -0.106541857, -0.634979904, -0.128687784}
)

// horner evaluates the polynomial with the highest coefficient first.
func (b *vb) horner(x v, c []float64) v {
	p := b.Fma(b.c(c[0]), x, b.c(c[1]))
	for _, k := range c[2:] {
		p = b.Fma(p, x, b.c(k))
	}
	return p
}

func (b *vb) one() v { return b.c(1) }

func (b *vb) clamp(x v, lo, hi float64) v { return b.Min(b.c(hi), b.Max(b.c(lo), x)) }

func (b *vb) expReduce(x v) (k, r, p v) {
	k = b.Round(b.Mul(x, b.c(log2e)), 8)
	r = b.Fnma(k, b.c(ln2Hi), x)
	r = b.Fnma(k, b.c(ln2Lo), r)
	return k, r, b.horner(r, expC)
}

func (b *vb) exp(x v) v { return b.expIn(b.clamp(x, -104, 89)) }

// expNeg and expPos are exp where x <= 0 and where x >= 0, with the one bound that can bind; expIn is exp for
// |x| <= 170. The Go twin has both bounds; where one cannot bind, or both results are 0, the bits are the same.
func (b *vb) expNeg(x v) v { return b.expIn(b.Max(b.c(-104), x)) }

func (b *vb) expPos(x v) v { return b.expIn(b.Min(b.c(89), x)) }

func (b *vb) expIn(x v) v {
	k, r, p := b.expReduce(x)
	return b.Scalef(b.Fma(b.Fma(p, r, b.one()), r, b.one()), k)
}

func (b *vb) expm1Neg(x v) v {
	k, r, p := b.expReduce(b.Max(b.c(-40), x)) // x > 0 is not used
	s := b.Scalef(b.one(), k)
	return b.Fma(s, b.Fma(b.Mul(p, r), r, r), b.Sub(s, b.one()))
}

// logSplit writes the bits of a normal x > 0 as exponent and 1+f.
func (b *vb) logSplit(x v) (f, e v) {
	s := b.c(sqrt12)
	d := b.SubI(x, s)
	e = b.CvtI2F(b.Sra(d, 23))
	return b.Sub(b.AddI(b.And(d, b.ci(0x7fffff)), s), b.one()), e
}

func (b *vb) logCore(f, e v) v {
	p := b.horner(f, logC)
	z := b.Mul(f, f)
	t := b.Fma(b.Mul(p, f), z, b.Mul(e, b.c(ln2Lo)))
	t = b.Fnma(b.c(0.5), z, t)
	return b.Fma(e, b.c(ln2Hi), b.Add(f, t))
}

func (b *vb) log(x v) v {
	small := b.Cmp(cmpLT, x, b.c(1.17549435e-38))
	y := b.Sel(small, b.Mul(x, b.c(1<<25)), x)
	e0 := b.Sel(small, b.c(-25), b.c(0))
	f, e := b.logSplit(y)
	r := b.logCore(f, b.Add(e0, e))
	r = b.Sel(b.Cmp(cmpGT, x, b.ci(0x7f7fffff)), x, r)
	r = b.Sel(b.Cmp(cmpEQ, x, b.c(0)), b.ci(0xff800000), r)
	return b.Sel(b.Cmp(cmpNotGE, x, b.c(0)), b.ci(0x7fc00000), r)
}

func (b *vb) sign(x, s v) v { return b.Or(x, b.And(s, b.ci(1<<31))) } // x >= 0

func (b *vb) tanh(x v) v {
	t := b.Abs(x)
	z := b.Mul(x, x)
	small := b.Fma(b.Mul(b.horner(z, tanhC), z), x, x)
	m := b.Cmp(cmpLT, t, b.c(0.625))
	e := b.expPos(b.Add(t, t))
	r := b.Sub(b.one(), b.Div(b.c(2), b.Add(e, b.one())))
	return b.Sel(m, small, b.sign(r, x))
}

func (b *vb) sigmoid(x v) v {
	z := b.expNeg(b.Or(x, b.ci(1<<31)))
	num := b.Sel(b.Cmp(cmpLT, x, b.c(0)), z, b.one())
	return b.Div(num, b.Add(z, b.one()))
}

// sigmoidParts and tanhParts are numerator and denominator: products of several need one division.
func (b *vb) sigmoidParts(x v) (num, den v) {
	z := b.expNeg(b.Or(x, b.ci(1<<31)))
	return b.Sel(b.Cmp(cmpLT, x, b.c(0)), z, b.one()), b.Add(z, b.one())
}

func (b *vb) tanhParts(x v) (num, den v) {
	t := b.Or(x, b.ci(1<<31))
	e := b.expm1Neg(b.Add(t, t))
	return b.sign(b.Abs(e), x), b.Add(e, b.c(2))
}

// lstmCell is lstmCellGo: the new cell and state.
func (b *vb) lstmCell(zi, zo, zf, zg, cPrev func() v) (c, h v) {
	in, id := b.sigmoidParts(zi())
	gn, gd := b.tanhParts(zg())
	ig := b.Div(b.Mul(in, gn), b.Mul(id, gd))
	fn, fd := b.sigmoidParts(zf())
	c = b.Fma(b.Div(fn, fd), cPrev(), ig)
	on, od := b.sigmoidParts(zo())
	tn, td := b.tanhParts(c)
	return c, b.Div(b.Mul(on, tn), b.Mul(od, td))
}

func (b *vb) erfSmall(x v) v { return b.Fma(b.horner(b.Mul(x, x), erfSC), x, x) }

func (b *vb) erfcLarge(t v) v {
	t = b.Min(b.c(10), t)
	p := b.horner(t, erfLC)
	return b.expIn(b.Fma(p, t, b.Neg(t)))
}

func (b *vb) erf(x v) v {
	t := b.Abs(x)
	s := b.erfSmall(x)
	m := b.Cmp(cmpLT, t, b.c(0.921875))
	return b.Sel(m, s, b.sign(b.Sub(b.one(), b.erfcLarge(t)), x))
}

func (b *vb) geluErf(x v) v {
	t := b.Min(b.c(9), b.Abs(b.Mul(x, b.c(sqrt12))))
	c := b.expIn(b.Mul(b.horner(t, geluC), t))
	c = b.Sel(b.Cmp(cmpLT, x, b.c(0)), c, b.Sub(b.c(2), c))
	return b.Mul(b.Mul(x, b.c(0.5)), c)
}

func (b *vb) geluTanh(x v) v {
	const k = 0.7978845608028654 * 2
	u := b.Mul(x, b.Fma(b.Mul(x, x), b.c(k*0.044715), b.c(k)))
	return b.Mul(x, b.sigmoid(u))
}

func (b *vb) hardSigmoid(x, alpha, beta v) v {
	return b.Max(b.c(0), b.Min(b.one(), b.Fma(alpha, x, beta)))
}

func (b *vb) softplus(x v) v {
	z := b.expNeg(b.Or(x, b.ci(1<<31)))
	u := b.Add(z, b.one())
	c := b.Div(b.Sub(z, b.Sub(u, b.one())), u)
	f, e := b.logSplit(u)
	return b.Add(b.Max(b.c(0), x), b.Add(b.logCore(f, e), c))
}

// nanMax and nanMin: a where a is NaN.
func (b *vb) nanMax(x, y v) v { return b.Sel(b.Cmp(cmpUnord, x, x), x, b.Max(x, y)) }
func (b *vb) nanMin(x, y v) v { return b.Sel(b.Cmp(cmpUnord, x, x), x, b.Min(x, y)) }

// oneMinusSq is 1-x^2, fused.
func (b *vb) oneMinusSq(x v) v { return b.Fnma(x, x, b.one()) }

func sprintExpr(format, x, y string) string { return fmt.Sprintf(format, x, y) }

func sprintDoc(format, x, y string) string {
	return "for i := range n { dst[i] = " + fmt.Sprintf(format, x, y) + " }"
}
