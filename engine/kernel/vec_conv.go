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
	if stride == 2 && len(dst) > 0 {
		n := min(len(dst), len(src)/2) &^ 7
		if n == 0 || !stride2Vec(&dst[0], &src[0], n) {
			n = 0
		}
		dst, src = dst[n:], src[2*n:]
		for i := range dst {
			dst[i] = src[2*i]
		}
		return
	}
	for i, k := 0, 0; i < len(dst); i, k = i+1, k+stride {
		dst[i] = src[k]
	}
}

// Col2Im adds the columns [c*KH*KW, OH*OW] back to dst [c,H,W], in increasing (kh,kw): the gradient of Im2Col.
func Col2Im(dst, cols []float32, c int, g *Window) {
	v := g.Flat()
	Col2ImVolume(dst, cols, c, &v)
}

// Col2ImVolume is Col2Im of a volume: columns [c*KD*KH*KW, OD*OH*OW], dst [c,D,H,W], in increasing (kd,kh,kw).
func Col2ImVolume(dst, cols []float32, c int, v *Volume) {
	if !v.Valid() || c < 0 {
		panic(badConv)
	}
	plane, slice := v.H*v.W, v.OH*v.OW
	out, taps := v.OD*slice, v.KD*v.KH*v.KW
	if len(dst) < c*v.D*plane || len(cols) < c*taps*out {
		panic(badShapeLen)
	}
	for ch := range c {
		for t := range taps {
			kd, kh, kw := t/(v.KH*v.KW), t/v.KW%v.KH, t%v.KW
			for od := range v.OD {
				z := od*v.SD + kd*v.DD - v.Front
				if z < 0 || z >= v.D {
					continue
				}
				v.addPlane(dst[(ch*v.D+z)*plane:][:plane], cols[(ch*taps+t)*out+od*slice:][:slice], kh*v.DH-v.Top, kw*v.DW-v.Left)
			}
		}
	}
}

// addPlane adds x [OH,OW] to the pixels (oh*SH+offH, ow*SW+offW) of d [H,W].
func (g *Window) addPlane(d, x []float32, offH, offW int) {
	lo, hi := span(g.W, g.OW, g.SW, offW)
	for oh := range g.OH {
		ih := oh*g.SH + offH
		if ih < 0 || ih >= g.H || lo == hi {
			continue
		}
		row, s := d[ih*g.W:(ih+1)*g.W], x[oh*g.OW:(oh+1)*g.OW]
		if g.SW == 1 {
			t := row[lo+offW : hi+offW]
			Add(t, t, s[lo:hi])
			continue
		}
		for o := lo; o < hi; o++ {
			row[o*g.SW+offW] += s[o]
		}
	}
}

// splitPlane holds one padded input plane with the columns of each row sorted by their number modulo the stride, so
// that what one kernel element reads for a whole output row is one run.
type splitPlane struct {
	g    *Window
	rows int // padded rows that kernels touch
	runs int // columns of each remainder
	x    []float32
}

func newSplitPlane(g *Window) *splitPlane {
	cols := (g.OW-1)*g.SW + (g.KW-1)*g.DW + 1
	s := &splitPlane{g: g, rows: (g.OH-1)*g.SH + (g.KH-1)*g.DH + 1, runs: (cols + g.SW - 1) / g.SW}
	s.x = make([]float32, s.rows*s.runs*g.SW)
	return s
}

// run returns row h of the padded plane from column c on, every SW-th element.
func (s *splitPlane) run(h, c int) []float32 {
	return s.x[(h*s.g.SW+c%s.g.SW)*s.runs+c/s.g.SW:]
}

// fill writes plane x [H,W], surrounded by pad.
func (s *splitPlane) fill(x []float32, pad float32) {
	g := s.g
	for h := range s.rows {
		ih := h - g.Top
		for c := range g.SW {
			d := s.x[(h*g.SW+c)*s.runs:][:s.runs]
			lo, hi := span(g.W, s.runs, g.SW, c-g.Left)
			if ih < 0 || ih >= g.H {
				lo, hi = 0, 0
			}
			for i := range lo {
				d[i] = pad
			}
			if lo < hi {
				stridedRow(d[lo:hi], x[ih*g.W+lo*g.SW+c-g.Left:], g.SW)
			}
			for i := hi; i < len(d); i++ {
				d[i] = pad
			}
		}
	}
}
