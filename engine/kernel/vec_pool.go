package kernel

import "math"

// MaxPool sets dst [c,OH,OW] to the largest element under the window in src [c,H,W]; padding is left out, NaN wins, and
// a window of padding alone gives -Inf.
func MaxPool(dst, src []float32, c int, g *Window) {
	poolPlanes(dst, src, c, g, float32(math.Inf(-1)), func(d, s []float32) { Max(d, d, s) },
		func(d, v float32) float32 { return maxNaN(d, v) })
}

// AveragePool sets dst [c,OH,OW] to the mean under the window in src [c,H,W], added in increasing (kh,kw). The divisor
// is the number of elements inside the input, or, with includePad, inside the input and its stated padding (ONNX
// count_include_pad). A window with no element gives 0.
func AveragePool(dst, src []float32, c int, g *Window, includePad bool) {
	poolPlanes(dst, src, c, g, 0, func(d, s []float32) { Add(d, d, s) }, addf)
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

// poolPlanes folds every window with row (whole runs, stride 1) or one (single elements).
func poolPlanes(dst, src []float32, c int, g *Window, start float32, row func(d, s []float32), one func(d, v float32) float32) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out := g.H*g.W, g.OH*g.OW
	if len(src) < c*plane || len(dst) < c*out {
		panic(badShapeLen)
	}
	for i := range dst[:c*out] {
		dst[i] = start
	}
	for co := range c * g.OH {
		ch, oh := co/g.OH, co%g.OH
		d := dst[co*g.OW : (co+1)*g.OW]
		for kh := range g.KH {
			ih := oh*g.SH + kh*g.DH - g.Top
			if ih < 0 || ih >= g.H {
				continue
			}
			x := src[ch*plane+ih*g.W:][:g.W]
			for kw := range g.KW {
				off := kw*g.DW - g.Left
				lo, hi := span(g.W, g.OW, g.SW, off)
				if g.SW == 1 {
					if lo < hi {
						row(d[lo:hi], x[lo+off:hi+off])
					}
					continue
				}
				for o := lo; o < hi; o++ {
					d[o] = one(d[o], x[o*g.SW+off])
				}
			}
		}
	}
}
