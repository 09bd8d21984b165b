package main

import "fmt"

const ds = "dst *float32"

// vecPrograms lists every routine.
func vecPrograms() []*program {
	var out []*program
	unary := func(name, doc string, f func(b *vb, x v) v, params ...string) {
		out = append(out, &program{name: name, doc: "for i := range n { dst[i] = " + doc + " }",
			ptrs: []string{ds, "src *float32"}, params: params,
			body: func(b *vb) { b.store(0, f(b, b.load(1))) }})
	}
	unary("exp", "expf(src[i])", (*vb).exp)
	unary("log", "logf(src[i])", (*vb).log)
	unary("tanh", "tanhf(src[i])", (*vb).tanh)
	unary("sigmoid", "sigmoidf(src[i])", (*vb).sigmoid)
	unary("erf", "erff(src[i])", (*vb).erf)
	unary("geluErf", "geluErff(src[i])", (*vb).geluErf)
	unary("geluTanh", "geluTanhf(src[i])", (*vb).geluTanh)
	unary("silu", "siluf(src[i])", func(b *vb, x v) v { return b.Mul(x, b.sigmoid(x)) })
	unary("hardSigmoid", "hardSigmoidf(src[i], alpha, beta)",
		func(b *vb, x v) v { return b.hardSigmoid(x, b.param(0), b.param(1)) }, "alpha", "beta")
	unary("hardSwish", "src[i] * hardSigmoidf(src[i], 1.0/6, 0.5)",
		func(b *vb, x v) v { return b.Mul(x, b.hardSigmoid(x, b.c(1.0/6), b.c(0.5))) })
	unary("relu", "maxf(0, src[i])", func(b *vb, x v) v { return b.Max(b.c(0), x) })
	unary("leakyRelu", "src[i] < 0 ? alpha*src[i] : src[i]",
		func(b *vb, x v) v { return b.Sel(b.Cmp(cmpLT, x, b.c(0)), b.Mul(b.param(0), x), x) }, "alpha")
	unary("elu", "src[i] < 0 ? alpha*expm1Neg(src[i]) : src[i]",
		func(b *vb, x v) v { return b.Sel(b.Cmp(cmpLT, x, b.c(0)), b.Mul(b.param(0), b.expm1Neg(x)), x) }, "alpha")
	unary("softplus", "softplusf(src[i])", (*vb).softplus)
	unary("sqrt", "sqrtf(src[i])", (*vb).Sqrt)
	unary("recip", "1 / src[i]", func(b *vb, x v) v { return b.Div(b.one(), x) })
	unary("neg", "negf(src[i])", (*vb).Neg)
	unary("abs", "absf(src[i])", (*vb).Abs)
	unary("floor", "floor(src[i])", func(b *vb, x v) v { return b.Round(x, 9) })
	unary("ceil", "ceil(src[i])", func(b *vb, x v) v { return b.Round(x, 10) })
	unary("round", "roundf(src[i])", func(b *vb, x v) v { return b.Round(x, 8) })
	unary("clip", "minf(hi, maxf(lo, src[i]))",
		func(b *vb, x v) v { return b.Min(b.param(1), b.Max(b.param(0), x)) }, "lo", "hi")

	for _, o := range []struct {
		name, doc string
		reversed  bool // has a form with the scalar on the left
		f         func(b *vb, x, y v) v
	}{
		{"add", "%s + %s", false, (*vb).Add}, {"sub", "%s - %s", true, (*vb).Sub},
		{"mul", "%s * %s", false, (*vb).Mul}, {"div", "%s / %s", true, (*vb).Div},
		{"max", "maxNaN(%s, %s)", true, (*vb).nanMax}, {"min", "minNaN(%s, %s)", true, (*vb).nanMin},
	} {
		doc := func(a, b string) string { return sprintDoc(o.doc, a, b) }
		out = append(out, &program{name: o.name, doc: doc("a[i]", "b[i]"), ptrs: []string{ds, "a *float32", "b *float32"},
			body: func(b *vb) { b.store(0, o.f(b, b.load(1), b.load(2))) }})
		unary(o.name+"S", sprintExpr(o.doc, "src[i]", "s"), func(b *vb, x v) v { return o.f(b, x, b.param(0)) }, "s")
		if o.reversed {
			unary(o.name+"R", sprintExpr(o.doc, "s", "src[i]"), func(b *vb, x v) v { return o.f(b, b.param(0), x) }, "s")
		}
	}
	out = append(out, reductionPrograms()...)
	out = append(out, rowPrograms()...)
	out = append(out, trainPrograms()...)
	out = append(out, convPrograms()...)
	return append(out, convertPrograms()...)
}

func reductionPrograms() []*program {
	x := []string{"x *float32"}
	return []*program{
		{name: "axpy", doc: "for i := range n { y[i] = Fma32(a, x[i], y[i]) }", ptrs: []string{"y *float32", "x *float32"}, params: []string{"a"},
			body: func(b *vb) { b.store(0, b.Fma(b.param(0), b.load(1), b.load(0))) }},
		{name: "mulAdd", doc: "for i := range n { dst[i] = Fma32(a[i], b[i], c[i]) }", ptrs: []string{ds, "a *float32", "b *float32", "c *float32"},
			body: func(b *vb) { b.store(0, b.Fma(b.load(1), b.load(2), b.load(3))) }},
		{name: "sum", doc: "for i := range n { p[i%64] += x[i] }; return fold(p, add)", ptrs: x, accs: []string{"add"}, lanes: 64,
			body: func(b *vb) { b.accAdd(0, b.load(0)) }},
		{name: "dot", doc: "for i := range n { p[i%64] = Fma32(x[i], y[i], p[i%64]) }; return fold(p, add)",
			ptrs: []string{"x *float32", "y *float32"}, accs: []string{"add"}, lanes: 64,
			body: func(b *vb) { b.accFma(0, b.load(0), b.load(1)) }},
		{name: "sumSqDiff", doc: "for i := range n { d := x[i]-mean; p[i%64] = Fma32(d, d, p[i%64]) }; return fold(p, add)",
			ptrs: x, params: []string{"mean"}, accs: []string{"add"}, lanes: 64,
			body: func(b *vb) { d := b.Sub(b.load(0), b.param(0)); b.accFma(0, d, d) }},
		{name: "reduceMax", doc: "for i := range n { p[i%64] = maxNaN(p[i%64], x[i]) }; return fold(p, maxNaN)", ptrs: x, accs: []string{"max"}, lanes: 64,
			body: func(b *vb) { b.accMM(0, b.load(0)) }},
		{name: "reduceMin", doc: "for i := range n { p[i%64] = minNaN(p[i%64], x[i]) }; return fold(p, minNaN)", ptrs: x, accs: []string{"min"}, lanes: 64,
			body: func(b *vb) { b.accMM(0, b.load(0)) }},
		{name: "addSum", doc: "for i := range n { dst[i] = a[i]+b[i]; p[i%64] += dst[i] }; return fold(p, add)",
			ptrs: []string{ds, "a *float32", "b *float32"}, accs: []string{"add"}, lanes: 64,
			body: func(b *vb) { s := b.Add(b.load(1), b.load(2)); b.store(0, s); b.accAdd(0, s) }},
	}
}

func rowPrograms() []*program {
	norm := func(b *vb, x v) v { return b.Mul(b.Sub(x, b.param(0)), b.param(1)) }
	return []*program{
		{name: "scaleMax", doc: "for i := range n { dst[i] = src[i]*scale }; return ReduceMax(dst)", ptrs: []string{ds, "src *float32"},
			params: []string{"scale"}, accs: []string{"max"}, lanes: 64,
			body: func(b *vb) { t := b.Mul(b.load(1), b.param(0)); b.store(0, t); b.accMM(0, t) }},
		{name: "scaleMaskMax", doc: "for i := range n { dst[i] = Fma32(src[i], scale, mask[i]) }; return ReduceMax(dst)",
			ptrs: []string{ds, "src *float32", "mask *float32"}, params: []string{"scale"}, accs: []string{"max"}, lanes: 64,
			body: func(b *vb) {
				t := b.Fma(b.load(1), b.param(0), b.load(2))
				b.store(0, t)
				b.accMM(0, t)
			}},
		{name: "expStoreSum", doc: "for i := range n { dst[i] = expf(src[i]-m); p[i%16] += dst[i] }; return fold(p, add)",
			ptrs: []string{ds, "src *float32"}, params: []string{"m"}, accs: []string{"add"}, lanes: 16,
			body: func(b *vb) { e := b.expNeg(b.Sub(b.load(1), b.param(0))); b.store(0, e); b.accAdd(0, e) }},
		{name: "expSum", doc: "for i := range n { p[i%16] += expf(src[i]-m) }; return fold(p, add)",
			ptrs: []string{"src *float32"}, params: []string{"m"}, accs: []string{"add"}, lanes: 16,
			body: func(b *vb) { b.accAdd(0, b.expNeg(b.Sub(b.load(0), b.param(0)))) }},
		{name: "normAffine", doc: "for i := range n { dst[i] = Fma32((x[i]-mean)*inv, gamma[i], beta[i]) }",
			ptrs: []string{ds, "x *float32", "gamma *float32", "beta *float32"}, params: []string{"mean", "inv"},
			body: func(b *vb) { b.store(0, b.Fma(norm(b, b.load(1)), b.load(2), b.load(3))) }},
		{name: "normAffine0", doc: "for i := range n { dst[i] = (x[i]-mean)*inv*gamma[i] }",
			ptrs: []string{ds, "x *float32", "gamma *float32"}, params: []string{"mean", "inv"},
			body: func(b *vb) { b.store(0, b.Mul(norm(b, b.load(1)), b.load(2))) }},
		{name: "normScale", doc: "for i := range n { dst[i] = x[i]*inv*gamma[i] }",
			ptrs: []string{ds, "x *float32", "gamma *float32"}, params: []string{"inv"},
			body: func(b *vb) { b.store(0, b.Mul(b.Mul(b.load(1), b.param(0)), b.load(2))) }},
		{name: "lstm", doc: "LSTMGates on one row",
			ptrs: []string{"zi *float32", "zo *float32", "zf *float32", "zg *float32", "cPrev *float32", "c *float32", "h *float32"},
			body: func(b *vb) {
				i, g := b.sigmoid(b.load(0)), b.tanh(b.load(3))
				b.store(0, i)
				b.store(3, g)
				ig := b.Mul(i, g)
				f := b.sigmoid(b.load(2))
				b.store(2, f)
				c := b.Fma(f, b.load(4), ig)
				b.store(5, c)
				t := b.tanh(c)
				o := b.sigmoid(b.load(1))
				b.store(1, o)
				b.store(6, b.Mul(o, t))
			}},
		{name: "lstmCell", doc: "LSTMCell on one row",
			ptrs: []string{"zi *float32", "zo *float32", "zf *float32", "zg *float32", "cPrev *float32", "c *float32", "h *float32"},
			body: func(b *vb) {
				from := func(i int) func() v { return func() v { return b.load(i) } }
				c, h := b.lstmCell(from(0), from(1), from(2), from(3), from(4))
				b.store(5, c)
				b.store(6, h)
			}},
	}
}

func trainPrograms() []*program {
	norm := func(b *vb, x v) v { return b.Mul(b.Sub(x, b.param(0)), b.param(1)) }
	return []*program{
		{name: "softmaxGrad", doc: "for i := range n { dx[i] = (dy[i]-s)*y[i]*scale }",
			ptrs: []string{"dx *float32", "dy *float32", "y *float32"}, params: []string{"s", "scale"},
			body: func(b *vb) {
				b.store(0, b.Mul(b.Mul(b.Sub(b.load(1), b.param(0)), b.load(2)), b.param(1)))
			}},
		{name: "layerNormGradSums", doc: "layerNormGradSums",
			ptrs:   []string{"dgamma *float32", "dy *float32", "x *float32", "gamma *float32"},
			params: []string{"mean", "inv"}, accs: []string{"add", "add"}, lanes: 16,
			body: func(b *vb) {
				h, dy := norm(b, b.load(2)), b.load(1)
				b.store(0, b.Fma(dy, h, b.load(0)))
				g := b.Mul(dy, b.load(3))
				b.accAdd(0, g)
				b.accFma(1, g, h)
			}},
		{name: "layerNormGradApply", doc: "for i := range n { dx[i] = inv * Fma32(-h, m2, dy[i]*gamma[i]-m1) }, h = (x[i]-mean)*inv",
			ptrs:   []string{"dx *float32", "dy *float32", "x *float32", "gamma *float32"},
			params: []string{"mean", "inv", "m1", "m2"},
			body: func(b *vb) {
				h := norm(b, b.load(2))
				g := b.Sub(b.Mul(b.load(1), b.load(3)), b.param(2))
				b.store(0, b.Mul(b.param(1), b.Fnma(h, b.param(3), g)))
			}},
		{name: "lstmGrad", doc: "LSTMGatesGrad on one row",
			ptrs: []string{"zi *float32", "zo *float32", "zf *float32", "zg *float32", "cPrev *float32", "c *float32", "dh *float32", "dc *float32"},
			body: func(b *vb) {
				t := b.tanh(b.load(5))
				o, dh := b.load(1), b.load(6)
				d := b.Fma(b.Mul(dh, o), b.oneMinusSq(t), b.load(7))
				b.store(1, b.Mul(b.Mul(dh, t), b.Mul(o, b.Sub(b.one(), o))))
				i, g := b.load(0), b.load(3)
				b.store(0, b.Mul(b.Mul(d, g), b.Mul(i, b.Sub(b.one(), i))))
				b.store(3, b.Mul(b.Mul(d, i), b.oneMinusSq(g)))
				f := b.load(2)
				b.store(2, b.Mul(b.Mul(d, b.load(4)), b.Mul(f, b.Sub(b.one(), f))))
				b.store(7, b.Mul(d, f))
			}},
		{name: "adamW", doc: "AdamW",
			ptrs:   []string{"w *float32", "grad *float32", "m *float32", "v *float32"},
			params: []string{"b1", "a1", "b2", "a2", "vs", "eps", "decay", "step"},
			body: func(b *vb) {
				g := b.load(1)
				m := b.Fma(b.param(1), g, b.Mul(b.param(0), b.load(2)))
				b.store(2, m)
				vv := b.Fma(b.Mul(b.param(3), g), g, b.Mul(b.param(2), b.load(3)))
				b.store(3, vv)
				q := b.Div(m, b.Add(b.Sqrt(b.Mul(vv, b.param(4))), b.param(5)))
				b.store(0, b.Fma(b.param(7), q, b.Mul(b.load(0), b.param(6))))
			}},
	}
}

func convertPrograms() []*program {
	affine := func(kind string) func(b *vb) {
		return func(b *vb) { b.store(0, b.Mul(b.Sub(b.loadAs(kind, 1), b.param(1)), b.param(0))) }
	}
	const block = " (n a multiple of 16)"
	return []*program{
		{name: "f32ToF16", doc: "F32ToF16" + block, ptrs: []string{"dst *uint16", "src *float32"}, noTail: true,
			body: func(b *vb) { b.storeAs("F16", 0, b.load(1)) }},
		{name: "f16ToF32", doc: "F16ToF32" + block, ptrs: []string{ds, "src *uint16"}, noTail: true,
			body: func(b *vb) { b.store(0, b.loadAs("F16", 1)) }},
		{name: "f32ToBF16", doc: "F32ToBF16" + block, ptrs: []string{"dst *uint16", "src *float32"}, noTail: true,
			body: func(b *vb) {
				x := b.load(1)
				hi := b.Srl(x, 16)
				r := b.Srl(b.AddI(b.AddI(x, b.ci(0x7fff)), b.And(hi, b.ci(1))), 16)
				b.storeAs("U16", 0, b.Sel(b.Cmp(cmpUnord, x, x), b.Or(hi, b.ci(0x40)), r))
			}},
		{name: "bf16ToF32", doc: "BF16ToF32" + block, ptrs: []string{ds, "src *uint16"}, noTail: true,
			body: func(b *vb) { b.store(0, b.loadAs("BF16", 1)) }},
		{name: "dequantU8", doc: "DequantizeU8" + block, ptrs: []string{ds, "src *uint8"}, params: []string{"scale", "zero"}, noTail: true, body: affine("U8")},
		{name: "dequantS8", doc: "DequantizeS8" + block, ptrs: []string{ds, "src *int8"}, params: []string{"scale", "zero"}, noTail: true, body: affine("S8")},
	}
}

// convPrograms are rows of depthwise convolutions: chains of fused multiply-adds over the taps in order.
func convPrograms() []*program {
	var out []*program
	weights := func(n int) []string {
		var w []string
		for i := range n {
			w = append(w, fmt.Sprintf("w%d", i))
		}
		return w
	}
	for _, n := range []int{3, 5} {
		ptrs := []string{ds}
		for k := range n {
			ptrs = append(ptrs, fmt.Sprintf("s%d *float32", k))
		}
		chain := func(b *vb, acc v) {
			for k := range n {
				acc = b.Fma(b.param(k), b.load(1+k), acc)
			}
			b.store(0, acc)
		}
		out = append(out,
			&program{name: fmt.Sprintf("taps%d", n), doc: "tapRow with dst[i] as start", ptrs: ptrs, params: weights(n),
				body: func(b *vb) { chain(b, b.load(0)) }},
			&program{name: fmt.Sprintf("tapsBias%d", n), doc: "tapRow with bias as start", ptrs: ptrs, params: append(weights(n), "bias"),
				body: func(b *vb) { chain(b, b.param(n)) }})
	}
	return append(out,
		&program{name: "dw3Stride1", doc: "depthwise 3x3: r0, r1, r2 are the rows under the kernel",
			ptrs: []string{ds, "r0 *float32", "r1 *float32", "r2 *float32"}, params: append(weights(9), "bias"),
			body: func(b *vb) {
				acc := b.param(9)
				for k := range 9 {
					acc = b.Fma(b.param(k), b.loadAt(1+k/3, k%3), acc)
				}
				b.store(0, acc)
			}},
		&program{name: "dw3Stride2", doc: "depthwise 3x3, stride 2: e and o hold the even and odd columns of the rows",
			ptrs:   []string{ds, "e0 *float32", "o0 *float32", "e1 *float32", "o1 *float32", "e2 *float32", "o2 *float32"},
			params: append(weights(9), "bias"),
			body: func(b *vb) {
				acc := b.param(9)
				for k := range 9 {
					acc = b.Fma(b.param(k), b.loadAt(1+k/3*2+k%3%2, k%3/2), acc)
				}
				b.store(0, acc)
			}})
}

// bandPrograms are routines over bands, for amd64 alone.
func bandPrograms() []*program {
	return []*program{{name: "lstmQuant", doc: "LSTMQuant.Step on one row: gates, sums, colSum and scale have n elements of each gate; az holds the bits of an int32",
		ptrs:   []string{"gates *float32", "sums *int32", "colSum *int32", "scale *float32", "cPrev *float32", "c *float32", "h *float32"},
		params: []string{"az", "as"}, bands: 4,
		body: func(b *vb) {
			sum := func(gate int) func() v {
				return func() v {
					s := b.CvtI2F(b.SubI(b.loadBand(1, gate), b.MulI(b.loadBand(2, gate), b.param(0))))
					return b.Add(b.Mul(s, b.Mul(b.param(1), b.loadBand(3, gate))), b.loadBand(0, gate))
				}
			}
			c, h := b.lstmCell(sum(0), sum(1), sum(2), sum(3), func() v { return b.load(4) })
			b.store(5, c)
			b.store(6, h)
		}}}
}
