package kernel

import (
	"math"
	"sync"
)

// DepthwiseConv convolves every channel of src [c,H,W] with its own kernel w [c,KH,KW] into dst [c,OH,OW]; bias is
// nil or [c], act is applied last. An output is the chain of fused multiply-adds over (kh,kw) in increasing order, padding
// being 0, that starts at the bias (or 0). dst must not overlap src. It takes memory for one padded input plane,
// (OH-1)*SH+(KH-1)*DH+1 rows of (OW-1)*SW+(KW-1)*DW+1: the caller bounds its DepthwiseLen.
func DepthwiseConv(dst, src, w, bias []float32, c int, g *Window, act Activation) {
	if !g.Valid() || c < 0 {
		panic(badConv)
	}
	plane, out, kk := g.H*g.W, g.OH*g.OW, g.KH*g.KW
	if len(src) < c*plane || len(dst) < c*out || len(w) < c*kk || (bias != nil && len(bias) < c) {
		panic(badShapeLen)
	}
	if out == 0 || c == 0 {
		return
	}
	s := depthPlanes.Get().(*depthPlane)
	s.set(g)
	for ch := range c {
		s.fill(src[ch*plane : (ch+1)*plane])
		var b float32
		if bias != nil {
			b = bias[ch]
		}
		s.convolve(dst[ch*out:(ch+1)*out], w[ch*kk:(ch+1)*kk], b, act)
	}
	s.g = nil
	depthPlanes.Put(s)
}

// DepthwiseLen returns the number of elements of that padded plane, or math.MaxInt where an int does not hold it.
func DepthwiseLen(g *Window) int {
	if g.OH*g.OW == 0 {
		return 0
	}
	h, w := spanLen(g.OH, g.SH, g.KH, g.DH), spanLen(g.OW, g.SW, g.KW, g.DW)
	if h > math.MaxInt-g.SH || w > math.MaxInt-g.SW {
		return math.MaxInt
	}
	return satMul(ceilDiv(h, g.SH)*g.SH, ceilDiv(w, g.SW)*g.SW)
}

// depthPlane holds one padded input plane split by row and column modulo the strides, so that what one kernel element
// reads for several output rows is one run: output (oh, ow) is at oh*pitch + ow, for every element from a base of its own. The
// pitch - OW elements between the rows are computed too and dropped.
type depthPlane struct {
	g     *Window
	pitch int // elements between rows
	size  int // elements of one of the SH*SW parts
	x     []float32
	flat  []float32 // a block of output rows at that pitch
}

var depthPlanes = sync.Pool{New: func() any { return new(depthPlane) }}

// depthBlock is the number of outputs that are computed at a time: they stay in the L1 cache between kernel rows.
const depthBlock = 1024

func (s *depthPlane) set(g *Window) {
	s.g = g
	rows := ceilDiv((g.OH-1)*g.SH+(g.KH-1)*g.DH+1, g.SH)
	s.pitch = ceilDiv((g.OW-1)*g.SW+(g.KW-1)*g.DW+1, g.SW)
	s.size = rows * s.pitch
	n := s.size * g.SH * g.SW
	if cap(s.x) < n {
		s.x = make([]float32, n)
	} else {
		s.x = s.x[:n]
		clear(s.x) // the padding; fill writes the rest
	}
	if n := max(depthBlock, s.pitch); cap(s.flat) < n {
		s.flat = make([]float32, n)
	}
	s.flat = s.flat[:cap(s.flat)]
}

// fill writes plane x [H,W] inside the padding.
func (s *depthPlane) fill(x []float32) {
	g := s.g
	for c := range g.SW {
		lo, hi := span(g.W, s.pitch, g.SW, c-g.Left)
		if lo >= hi {
			continue
		}
		for r := range g.SH {
			d := s.x[(r*g.SW+c)*s.size:][:s.size]
			top, end := span(g.H, s.size/s.pitch, g.SH, r-g.Top)
			for h := top; h < end; h++ {
				stridedRow(d[h*s.pitch+lo:h*s.pitch+hi], x[(h*g.SH+r-g.Top)*g.W+lo*g.SW+c-g.Left:], g.SW)
			}
		}
	}
}

// at returns what kernel element (kh, kw) reads, from output row oh on.
func (s *depthPlane) at(oh, kh, kw int) *float32 {
	g := s.g
	h, w := kh*g.DH, kw*g.DW
	return &s.x[(h%g.SH*g.SW+w%g.SW)*s.size+(oh+h/g.SH)*s.pitch+w/g.SW]
}

// convolve computes one channel.
func (s *depthPlane) convolve(dst, w []float32, b float32, act Activation) {
	g := s.g
	block := min(g.OH, max(1, len(s.flat)/s.pitch))
	for oh := 0; oh < g.OH; oh += block {
		rows := min(block, g.OH-oh)
		out := dst[oh*g.OW : (oh+rows)*g.OW]
		d := out
		if s.pitch != g.OW {
			d = s.flat[:(rows-1)*s.pitch+g.OW]
		}
		if !(g.KH == 3 && g.KW == 3 && s.three(d, oh, w, b)) {
			for kh := range g.KH {
				s.taps(d, oh, kh, w[kh*g.KW:][:g.KW], b)
			}
		}
		if s.pitch != g.OW {
			for r := range rows {
				copy(out[r*g.OW:(r+1)*g.OW], d[r*s.pitch:])
			}
		}
		switch act {
		case ActRelu:
			Relu(out, out)
		case ActClip6:
			Clip(out, out, 0, 6)
		default:
			activate(act, out)
		}
	}
}

// three is a 3x3 kernel in assembly, where there is one for the stride.
func (s *depthPlane) three(d []float32, oh int, w []float32, b float32) bool {
	p, n := func(kh, kw int) *float32 { return s.at(oh, kh, kw) }, len(d)
	switch {
	case s.g.DW != 1:
		return false
	case s.g.SW == 1:
		return dw3Stride1Vec(&d[0], p(0, 0), p(1, 0), p(2, 0), n, w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], b)
	case s.g.SW == 2:
		return dw3Stride2Vec(&d[0], p(0, 0), p(0, 1), p(1, 0), p(1, 1), p(2, 0), p(2, 1), n,
			w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], b)
	}
	return false
}

// taps adds kernel row kh to the outputs d from row oh on: d[i] = Fma32(w[k], x[i], d[i]) for k in order; for the first
// row d starts at b.
func (s *depthPlane) taps(d []float32, oh, kh int, w []float32, b float32) {
	n := len(d)
	p := func(k int) *float32 { return s.at(oh, kh, k) }
	switch {
	case len(w) == 3 && kh == 0 && tapsBias3Vec(&d[0], p(0), p(1), p(2), n, w[0], w[1], w[2], b),
		len(w) == 3 && kh > 0 && taps3Vec(&d[0], p(0), p(1), p(2), n, w[0], w[1], w[2]),
		len(w) == 5 && kh == 0 && tapsBias5Vec(&d[0], p(0), p(1), p(2), p(3), p(4), n, w[0], w[1], w[2], w[3], w[4], b),
		len(w) == 5 && kh > 0 && taps5Vec(&d[0], p(0), p(1), p(2), p(3), p(4), n, w[0], w[1], w[2], w[3], w[4]):
		return
	}
	if kh == 0 {
		for i := range d {
			d[i] = b
		}
	}
	for k, wk := range w {
		h, c := kh*s.g.DH, k*s.g.DW
		Axpy(wk, s.x[(h%s.g.SH*s.g.SW+c%s.g.SW)*s.size+(oh+h/s.g.SH)*s.pitch+c/s.g.SW:][:n], d)
	}
}
