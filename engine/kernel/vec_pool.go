package kernel

import "math"

// PoolLen returns the number of elements of the padded plane that MaxPool and AveragePool take, or math.MaxInt where an int does not hold it. The
// windows of strided or dilated outputs span that plane, so that it may be far larger than input and output.
func PoolLen(g *Window) int {
	if g.OH*g.OW == 0 {
		return 0
	}
	h, w := spanLen(g.OH, g.SH, g.KH, g.DH), spanLen(g.OW, g.SW, g.KW, g.DW)
	if w > math.MaxInt-g.SW {
		return math.MaxInt
	}
	return satMul(h, ceilDiv(w, g.SW)*g.SW)
}

// MaxPool sets dst [c,OH,OW] to the largest element under the window in src [c,H,W]; padding counts as -Inf, and NaN
// wins. It takes PoolLen elements of memory, which the caller bounds.
func MaxPool(dst, src []float32, c int, g *Window) {
	poolPlanes(dst, src, c, g, float32(math.Inf(-1)), Max, maxNaN)
}

// AveragePool sets dst [c,OH,OW] to the mean under the window in src [c,H,W], added in increasing (kh,kw). The divisor
// is the number of elements inside the input, or, with includePad, inside the input and its stated padding (ONNX
// count_include_pad). A window with no element gives 0. It takes memory as MaxPool does, and OH*OW elements.
func AveragePool(dst, src []float32, c int, g *Window, includePad bool) {
	poolPlanes(dst, src, c, g, 0, Add, addf)
	count := make([]float32, g.OH*g.OW)
	for oh := range g.OH {
		for ow := range g.OW {
			n := 0
			for kh := range g.KH {
				ih := oh*g.SH + kh*g.DH - g.Top
				for kw := range g.KW {
					iw := ow*g.SW + kw*g.DW - g.Left
					switch {
					case ih >= 0 && ih < g.H && iw >= 0 && iw < g.W:
						n++
					case includePad && ih < g.H+g.Bottom && iw < g.W+g.End:
						n++
					}
				}
			}
			count[oh*g.OW+ow] = float32(max(n, 1))
		}
	}
	for ch := range c {
		d := dst[ch*len(count) : (ch+1)*len(count)]
		Div(d, d, count)
	}
}

// poolPlanes folds every window in increasing (kh,kw), padding being pad: with rows on whole output rows, or with one,
// which must be the same function, where these are short.
func poolPlanes(dst, src []float32, c int, g *Window, pad float32, rows func(dst, a, b []float32), one func(a, b float32) float32) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out := g.H*g.W, g.OH*g.OW
	if len(src) < c*plane || len(dst) < c*out {
		panic(badShapeLen)
	}
	if out == 0 {
		return
	}
	s := newSplitPlane(g)
	for ch := range c {
		s.fill(src[ch*plane:(ch+1)*plane], pad)
		for oh := range g.OH {
			d := dst[ch*out+oh*g.OW:][:g.OW]
			copy(d, s.run(oh*g.SH, 0))
			for k := 1; k < g.KH*g.KW; k++ {
				x := s.run(oh*g.SH+k/g.KW*g.DH, k%g.KW*g.DW)[:g.OW]
				if g.OW >= 8 {
					rows(d, d, x)
					continue
				}
				for i, v := range x {
					d[i] = one(d[i], v)
				}
			}
		}
	}
}
