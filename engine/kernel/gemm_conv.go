package kernel

import "sync"

// ConvF32 convolves one image, or one group of its channels: dst[m, OH*OW] = epilogue(w * columns(src)), with w [m, c*KH*KW],
// src [c,H,W] and the columns of Im2Col, of which only what a task needs at a time is ever in memory. The bits are those
// of Im2Col followed by MatMulF32: a chain over (channel, kh, kw). BiasM of the epilogue is the usual bias. dst must
// not overlap src or w. It takes scratch memory for the padded image; the caller bounds the geometry. It panics if the geometry
// is not valid or a slice is too short.
func ConvF32(p *Pool, m int, w []float32, c int, src []float32, g *Window, dst []float32, ep Epilogue) {
	if !g.Valid() || c < 0 || m < 0 {
		panic(badConv)
	}
	k, n := c*g.KH*g.KW, g.OH*g.OW
	if len(src) < c*g.H*g.W {
		panic(badShapeLen)
	}
	if g.pointwise() {
		MatMulF32(p, m, n, k, w, k, false, src, n, false, dst, n, ep)
		return
	}
	checkA(len(w), m, k, k)
	checkC(len(dst), m, n, n)
	ep.check(m, n)
	if m == 0 || n == 0 {
		return
	}
	im := convImages.Get().(*convImage)
	im.set(p, c, src, g)
	j := newGemmJob(m, n, k, w, k, dst, n, &ep)
	j.ps, j.pack, j.image = k*PanelWidth, true, im
	j.run(p)
	j.release()
	im.data, im.g = nil, nil
	convImages.Put(im)
}

// pointwise tells that the columns are the image itself.
func (g *Window) pointwise() bool {
	return g.KH == 1 && g.KW == 1 && g.SH == 1 && g.SW == 1 && g.Top == 0 && g.Left == 0 && g.OH == g.H && g.OW == g.W
}

// convImage is an image laid out so that a row of columns is copied in a few contiguous pieces: padded, every row split
// into SW runs of the pixels x with the same x mod SW. Element (q, j) of the columns is data[offs[q] + pos(j)].
type convImage struct {
	g       *Window
	data    []float32
	padded  []float32 // memory for data
	offs    []int
	rowStep int // elements between output rows
}

var convImages = sync.Pool{New: func() any { return new(convImage) }}

func (im *convImage) set(p *Pool, c int, src []float32, g *Window) {
	im.g = g
	height, width := (g.OH-1)*g.SH+(g.KH-1)*g.DH+1, (g.OW-1)*g.SW+(g.KW-1)*g.DW+1
	run := ceilDiv(width, g.SW)
	if g.SW == 1 && g.Top == 0 && g.Left == 0 && height <= g.H && width <= g.W {
		im.data, run, height = src, g.W, g.H // nothing to pad or to split
	} else {
		size := c * height * g.SW * run
		if cap(im.padded) < size {
			im.padded = make([]float32, size)
		}
		im.data = im.padded[:size]
		plane := height * g.SW * run
		if size < 1<<16 {
			p = nil
		}
		p.Run(c, func(ch int) {
			g.splitRows(im.data[ch*plane:(ch+1)*plane], src[ch*g.H*g.W:(ch+1)*g.H*g.W], height, run)
		})
	}
	im.rowStep = g.SH * g.SW * run
	im.offs = im.offs[:0]
	for ch := range c {
		for kh := range g.KH {
			for kw := range g.KW {
				x := kw * g.DW
				im.offs = append(im.offs, ((ch*height+kh*g.DH)*g.SW+x%g.SW)*run+x/g.SW)
			}
		}
	}
}

// splitRows pads one plane and splits its rows.
func (g *Window) splitRows(dst, src []float32, height, run int) {
	for h := range height {
		ih := h - g.Top
		for r := range g.SW {
			d := dst[(h*g.SW+r)*run:][:run]
			lo, hi := span(g.W, run, g.SW, r-g.Left)
			if ih < 0 || ih >= g.H || lo >= hi {
				clear(d)
				continue
			}
			clear(d[:lo])
			clear(d[hi:])
			stridedRow(d[lo:hi], src[ih*g.W+lo*g.SW+r-g.Left:], g.SW)
		}
	}
}

// pos is the place of output j relative to that of output 0.
func (im *convImage) pos(j int) int { return j/im.g.OW*im.rowStep + j%im.g.OW }

// packPanelGo writes the columns of panel j to dst, one row of panelStride(columns) elements for every offset.
func (im *convImage) packPanelGo(dst []float32, j int) {
	n := min(PanelWidth, im.g.OH*im.g.OW-j*PanelWidth)
	stride := panelStride(n)
	var pos [PanelWidth]int
	for e := range n {
		pos[e] = im.pos(j*PanelWidth + e)
	}
	for q, off := range im.offs {
		d := dst[q*stride:][:n]
		for e := range d {
			d[e] = im.data[off+pos[e]]
		}
	}
}
