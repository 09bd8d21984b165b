package kernel

// Window is the geometry of a 2-D convolution or pooling over one image [C,H,W]. A 1-D one has H = KH = SH = DH = 1.
type Window struct {
	H, W                   int // input
	KH, KW                 int // kernel
	SH, SW                 int // strides
	DH, DW                 int // dilations
	Top, Left, Bottom, End int // pads
	OH, OW                 int // output; see Valid and OutputSize
}

// OutputSize returns floor((in + before + after - (dilation*(kernel-1)+1)) / stride) + 1, at least 0.
func OutputSize(in, kernel, stride, dilation, before, after int) int {
	span := in + before + after - (dilation*(kernel-1) + 1)
	if span < 0 {
		return 0
	}
	return span/stride + 1
}

// Valid reports whether all extents are positive (H, W, OH and OW may be 0) and no pad is negative. OH and OW may be
// anything (auto_pad and ceil_mode differ from OutputSize); outside of the input counts as padding.
func (g *Window) Valid() bool {
	return g.H >= 0 && g.W >= 0 && g.OH >= 0 && g.OW >= 0 && g.KH > 0 && g.KW > 0 && g.SH > 0 && g.SW > 0 &&
		g.DH > 0 && g.DW > 0 && g.Top >= 0 && g.Left >= 0 && g.Bottom >= 0 && g.End >= 0
}

// span returns the outputs lo <= o < hi whose input coordinate o*stride + off lies in [0, in).
func span(in, out, stride, off int) (lo, hi int) {
	if off < 0 {
		lo = (-off + stride - 1) / stride
	}
	if in > off {
		hi = (in-off-1)/stride + 1
	}
	hi = min(hi, out)
	return min(lo, hi), hi
}

// Im2Col writes the columns of src [c,H,W] to dst [c*KH*KW, OH*OW]: dst[(ch,kh,kw),(oh,ow)] is the input pixel that
// kernel element (kh,kw) meets at output (oh,ow), or 0 in the padding. For a group of channels pass its part of src.
func Im2Col(dst, src []float32, c int, g *Window) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out := g.H*g.W, g.OH*g.OW
	if len(src) < c*plane || len(dst) < c*g.KH*g.KW*out {
		panic(badShapeLen)
	}
	for ch := range c {
		for kh := range g.KH {
			for kw := range g.KW {
				d := dst[((ch*g.KH+kh)*g.KW+kw)*out:][:out]
				im2colPlane(d, src[ch*plane:(ch+1)*plane], g, kh*g.DH-g.Top, kw*g.DW-g.Left)
			}
		}
	}
}

// im2colPlane writes one row of the column matrix: pixel (oh*SH+offH, ow*SW+offW).
func im2colPlane(dst, src []float32, g *Window, offH, offW int) {
	lo, hi := span(g.W, g.OW, g.SW, offW)
	for oh := range g.OH {
		d := dst[oh*g.OW : (oh+1)*g.OW]
		ih := oh*g.SH + offH
		if ih < 0 || ih >= g.H || lo == hi {
			clear(d)
			continue
		}
		clear(d[:lo])
		clear(d[hi:])
		stridedRow(d[lo:hi], src[ih*g.W+lo*g.SW+offW:], g.SW)
	}
}

// stridedRow sets dst[i] = src[i*stride].
func stridedRow(dst, src []float32, stride int) {
	if stride == 1 {
		copy(dst, src)
		return
	}
	for i, k := 0, 0; i < len(dst); i, k = i+1, k+stride {
		dst[i] = src[k]
	}
}

// Col2Im adds the columns [c*KH*KW, OH*OW] back to dst [c,H,W], in increasing (kh,kw): the gradient of Im2Col.
func Col2Im(dst, cols []float32, c int, g *Window) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out := g.H*g.W, g.OH*g.OW
	if len(dst) < c*plane || len(cols) < c*g.KH*g.KW*out {
		panic(badShapeLen)
	}
	for ch := range c {
		d := dst[ch*plane : (ch+1)*plane]
		for kh := range g.KH {
			for kw := range g.KW {
				s := cols[((ch*g.KH+kh)*g.KW+kw)*out:][:out]
				offW := kw*g.DW - g.Left
				lo, hi := span(g.W, g.OW, g.SW, offW)
				for oh := range g.OH {
					ih := oh*g.SH + kh*g.DH - g.Top
					if ih < 0 || ih >= g.H || lo == hi {
						continue
					}
					row, x := d[ih*g.W:(ih+1)*g.W], s[oh*g.OW:(oh+1)*g.OW]
					if g.SW == 1 {
						t := row[lo+offW : hi+offW]
						Add(t, t, x[lo:hi])
						continue
					}
					for o := lo; o < hi; o++ {
						row[o*g.SW+offW] += x[o]
					}
				}
			}
		}
	}
}

// DepthwiseConv convolves every channel of src [c,H,W] with its own kernel w [c,KH,KW] into dst [c,OH,OW]; bias is
// nil or [c]. An output is the chain of fused multiply-adds over (kh,kw) in increasing order, padding left out,
// that starts at the bias (or 0). dst must not overlap src.
func DepthwiseConv(dst, src, w, bias []float32, c int, g *Window) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out, kk := g.H*g.W, g.OH*g.OW, g.KH*g.KW
	if len(src) < c*plane || len(dst) < c*out || len(w) < c*kk || (bias != nil && len(bias) < c) {
		panic(badShapeLen)
	}
	var split []float32 // input row sorted by column modulo stride, so that every kernel column reads a run
	runs := 0
	if g.SW > 1 {
		runs = (g.W + g.SW - 1) / g.SW
		split = make([]float32, g.H*g.SW*runs)
	}
	for ch := range c {
		x := src[ch*plane : (ch+1)*plane]
		if split != nil {
			splitColumns(split, x, g, runs)
		}
		var b float32
		if bias != nil {
			b = bias[ch]
		}
		depthwisePlane(dst[ch*out:(ch+1)*out], x, split, w[ch*kk:(ch+1)*kk], b, g, runs)
	}
}

// splitColumns sets split[h, r, i] = x[h, i*SW+r].
func splitColumns(split, x []float32, g *Window, runs int) {
	for h := range g.H {
		row := x[h*g.W : (h+1)*g.W]
		for r := range min(g.SW, g.W) {
			d := split[(h*g.SW+r)*runs:][:(g.W-r+g.SW-1)/g.SW]
			stridedRow(d, row[r:], g.SW)
		}
	}
}

func depthwisePlane(dst, x, split, w []float32, bias float32, g *Window, runs int) {
	for oh := range g.OH {
		d := dst[oh*g.OW : (oh+1)*g.OW]
		for i := range d {
			d[i] = bias
		}
		for kh := range g.KH {
			ih := oh*g.SH + kh*g.DH - g.Top
			if ih < 0 || ih >= g.H {
				continue
			}
			for kw := range g.KW {
				off := kw*g.DW - g.Left
				lo, hi := span(g.W, g.OW, g.SW, off)
				if lo == hi {
					continue
				}
				var s []float32
				if split == nil {
					s = x[ih*g.W+lo+off:][:hi-lo]
				} else {
					col := lo*g.SW + off
					s = split[(ih*g.SW+col%g.SW)*runs+col/g.SW:][:hi-lo]
				}
				Axpy(w[kh*g.KW+kw], s, d[lo:hi])
			}
		}
	}
}
