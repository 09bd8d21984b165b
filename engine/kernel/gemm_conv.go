package kernel

import (
	"math"
	"sync"
)

// ConvF32 convolves one image, or one group of its channels: dst[m, OH*OW] = epilogue(w * columns(src)), with w [m, c*KH*KW],
// src [c,H,W] and the columns of Im2Col, of which only what a task needs at a time is ever in memory. The bits are those
// of Im2Col followed by MatMulF32: chains over (channel, kh, kw). BiasM of the epilogue is the usual bias. dst must
// not overlap src or w. It takes scratch memory for the padded image; the caller bounds its PaddedLen. It panics if the geometry
// is not valid or a slice is too short.
func ConvF32(p *Pool, m int, w []float32, c int, src []float32, g *Window, dst []float32, ep Epilogue) {
	v := g.Flat()
	ConvVolumeF32(p, m, w, c, src, &v, dst, ep)
}

// ConvVolumeF32 is ConvF32 of a volume: w [m, c*KD*KH*KW], src [c,D,H,W], dst [m, OD*OH*OW], chains over (channel, kd, kh, kw). Of the
// epilogue, Bias must be nil.
func ConvVolumeF32(p *Pool, m int, w []float32, c int, src []float32, v *Volume, dst []float32, ep Epilogue) {
	if !v.Valid() {
		panic(badConv)
	}
	convVolume(p, m, w, c, src, v, dst, ep)
}

// convVolume is ConvVolumeF32 without the check of the geometry: pads may be negative, which leaves out that many pixels at the start.
func convVolume(p *Pool, m int, w []float32, c int, src []float32, v *Volume, dst []float32, ep Epilogue) {
	if c < 0 || m < 0 || v.OD > 1 && ep.Bias != nil {
		panic(badConv)
	}
	slice := v.OH * v.OW
	k, n := c*v.KD*v.KH*v.KW, v.OD*slice
	if len(src) < c*v.D*v.H*v.W {
		panic(badShapeLen)
	}
	if v.pointwise() {
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
	im.set(p, c, src, v)
	one := func(p *Pool, od int) {
		part := im
		if v.OD > 1 {
			part = &convImage{g: im.g, data: im.data[od*im.sliceStep:], offs: im.offs, rowStep: im.rowStep}
		}
		e := ep
		if e.Residual != nil {
			e.Residual = e.Residual[od*slice:]
		}
		j := newGemmJob(m, slice, k, w, k, dst[od*slice:], n, &e)
		part.columns(j)
		j.run(p)
		j.release()
	}
	switch {
	case v.OD == 1:
		one(p, 0)
	case v.OD >= 2*p.Threads() && 2*m*n*k >= forkFlops:
		p.Run(v.OD, func(od int) { one(nil, od) })
	default:
		for od := range v.OD {
			one(p, od)
		}
	}
	im.release()
}

// pointwise tells that the columns are the image itself.
func (g *Window) pointwise() bool {
	return g.KH == 1 && g.KW == 1 && g.SH == 1 && g.SW == 1 && g.Top == 0 && g.Left == 0 && g.OH == g.H && g.OW == g.W
}

// PaddedLen returns the number of elements of scratch memory that ConvVolumeF32 takes for the padded image of c channels: 0 where it needs none, and
// math.MaxInt where an int does not hold it. The windows of strided or dilated outputs span that image, so that it may be far larger than
// all of input, weights and output.
func PaddedLen(c int, v *Volume) int {
	if v.pointwise() || v.OD*v.OH*v.OW == 0 {
		return 0
	}
	depth, height, width := spanLen(v.OD, v.SD, v.KD, v.DD), spanLen(v.OH, v.SH, v.KH, v.DH), spanLen(v.OW, v.SW, v.KW, v.DW)
	if v.unpadded(depth, height, width) {
		return 0
	}
	if width > math.MaxInt-v.SW {
		return math.MaxInt
	}
	return satMul(satMul(c, depth), satMul(height, ceilDiv(width, v.SW)*v.SW))
}

// spanLen is (out-1)*stride + (kernel-1)*dilation + 1, the length that all windows of one direction span, or math.MaxInt.
func spanLen(out, stride, kernel, dilation int) int {
	a, b := satMul(out-1, stride), satMul(kernel-1, dilation)
	if a > math.MaxInt-1-b {
		return math.MaxInt
	}
	return a + b + 1
}

// satMul is the product of two numbers that are not negative, or math.MaxInt.
func satMul(a, b int) int {
	if b != 0 && a > math.MaxInt/b {
		return math.MaxInt
	}
	return a * b
}

// unpadded tells that windows that span as much need neither padding nor the rows split.
func (v *Volume) unpadded(depth, height, width int) bool {
	return v.SW == 1 && v.Top == 0 && v.Left == 0 && v.Front == 0 && depth <= v.D && height <= v.H && width <= v.W
}

// convImage is an image laid out so that a row of columns is copied in a few contiguous pieces: padded, every row split
// into SW runs of the pixels x with the same x mod SW. Element (q, j) of the columns of a slice is data[offs[q] + pos(j)].
type convImage struct {
	g         *Window
	data      []float32
	padded    []float32 // memory for data
	offs      []int
	rowStep   int // elements between output rows
	sliceStep int // elements between the slices of outputs
}

var convImages = sync.Pool{New: func() any { return new(convImage) }}

func (im *convImage) release() {
	im.data, im.g = nil, nil
	convImages.Put(im)
}

func (im *convImage) set(p *Pool, c int, src []float32, v *Volume) {
	g := &v.Window
	im.g = g
	depth, height, width := spanLen(v.OD, v.SD, v.KD, v.DD), spanLen(g.OH, g.SH, g.KH, g.DH), spanLen(g.OW, g.SW, g.KW, g.DW)
	run := ceilDiv(width, g.SW)
	if v.unpadded(depth, height, width) {
		im.data, run, height, depth = src, g.W, g.H, v.D // nothing to pad or to split
	} else {
		plane := height * g.SW * run
		size := c * depth * plane
		if cap(im.padded) < size {
			im.padded = make([]float32, size)
		}
		im.data = im.padded[:size]
		if size < 1<<16 {
			p = nil
		}
		p.Run(c*depth, func(i int) {
			d, z := im.data[i*plane:(i+1)*plane], i%depth-v.Front
			if z < 0 || z >= v.D {
				clear(d)
				return
			}
			g.splitRows(d, src[(i/depth*v.D+z)*g.H*g.W:][:g.H*g.W], height, run)
		})
	}
	im.rowStep = g.SH * g.SW * run
	im.sliceStep = v.SD * height * g.SW * run
	im.offs = im.offs[:0]
	for ch := range c {
		for kd := range v.KD {
			for kh := range g.KH {
				for kw := range g.KW {
					x := kw * g.DW
					im.offs = append(im.offs, (((ch*depth+kd*v.DD)*height+kh*g.DH)*g.SW+x%g.SW)*run+x/g.SW)
				}
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

// columns makes those of im the right side of a product: read where they lie where those of a row of them follow each other and there is a kernel for
// that, and else packed.
func (im *convImage) columns(j *gemmJob) {
	if j.isa.hasAVX512() && (im.g.OH == 1 || im.rowStep == im.g.OW) {
		j.b, j.ps, j.offs = im.data, PanelWidth, im.offs
		return
	}
	j.pack, j.image = true, im
}

// pos is the place of output j relative to that of output 0.
func (im *convImage) pos(j int) int { return j/im.g.OW*im.rowStep + j%im.g.OW }

// packPanelGo writes the columns of panel j to dst, one row of panelStride(columns) elements for every one of the offsets.
func (im *convImage) packPanelGo(dst []float32, j int, offs []int) {
	n := min(PanelWidth, im.g.OH*im.g.OW-j*PanelWidth)
	stride := panelStride(n)
	var pos [PanelWidth]int
	for e := range n {
		pos[e] = im.pos(j*PanelWidth + e)
	}
	for q, off := range offs {
		d := dst[q*stride:][:n]
		for e := range d {
			d[e] = im.data[off+pos[e]]
		}
	}
}
