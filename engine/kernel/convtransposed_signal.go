package kernel

import "unsafe"

// TransposedSignal is a strided transposed convolution of signals, images of one row, as one product. Output stride*p + r - Left is the dot product of
// the last KW/stride elements of all channels up to p with the weights of remainder r, so that row p of the product lies in the transposed signal
// as it is, overlapping its neighbours, and the results of one row, the remainders of a channel side by side, are stride outputs
// that follow each other. The weights are packed for that.
type TransposedSignal struct {
	Cin, Cout, Groups, KW, SW int
	cg, og, taps              int
	w                         []*PackedF32 // by group: [taps*cg, og*SW], taps in reverse order
}

// NewTransposedSignal takes weights [Cin, Cout/Groups, 1, KW], and of the geometry kernel, strides and dilations. It returns nil for others than strided
// kernels of a multiple of the stride, and where the convolutions of TransposedConv are better: for two elements with a stride of two, which are one
// product there too, and interleaved by vectors, and where the product would be too narrow for vectors.
func NewTransposedSignal(w []float32, cin, cout, groups int, g *Window) *TransposedSignal {
	if groups < 1 || cin < 1 || cout < 1 || cin%groups != 0 || cout%groups != 0 || !g.Valid() {
		panic(badConv)
	}
	t := &TransposedSignal{Cin: cin, Cout: cout, Groups: groups, KW: g.KW, SW: g.SW, cg: cin / groups, og: cout / groups, taps: g.KW / g.SW}
	if len(w) != cin*t.og*g.KH*g.KW {
		panic(badShapeLen)
	}
	if g.KH > 1 || g.SH > 1 || g.SW < 2 || g.SW > maxRemainders || g.KW%g.SW != 0 || g.DW > 1 || g.SW == 2 && g.KW == 2 ||
		t.og*t.SW < 16 || t.cg*t.taps < 16 {
		return nil
	}
	k, n := t.taps*t.cg, t.og*t.SW
	b := make([]float32, k*n)
	for gr := range groups {
		clear(b)
		for i := range t.cg {
			for o := range t.og {
				for e, v := range w[((gr*t.cg+i)*t.og+o)*g.KW:][:g.KW] {
					b[((t.taps-1-e/g.SW)*t.cg+i)*n+o*g.SW+e%g.SW] = v
				}
			}
		}
		t.w = append(t.w, PackF32(k, n, b, n, false))
	}
	return t
}

// Bytes returns the size of the weights.
func (t *TransposedSignal) Bytes() (n int64) {
	for _, w := range t.w {
		n += w.Bytes()
	}
	return n
}

// span returns the first row of the product that has outputs, and the number of rows.
func (t *TransposedSignal) span(g *Window) (first, rows int) {
	first = g.Left / t.SW
	return first, (g.W-1+g.Left)/t.SW - first + 1
}

// Scratch returns the number of elements of the transposed signal of one group, with its padding, or math.MaxInt.
func (t *TransposedSignal) Scratch(g *Window) int {
	if g.W == 0 {
		return 0
	}
	_, rows := t.span(g)
	return satMul(rows+t.taps-1, t.cg)
}

// signalRows bounds the rows of a task, whose part of the signal then stays in the L2 cache.
const signalRows = 192

// Run writes the whole of y [n, Cout, W] from x [n, Cin, OW], g being the geometry of the convolution that this one is the gradient of; bias is nil
// or [Cout].
func (t *TransposedSignal) Run(p *Pool, n int, g *Window, x, bias, y []float32) {
	if !g.Valid() || g.KH != 1 || g.H != 1 || g.OH != 1 || g.Top != 0 || g.KW != t.KW || g.SW != t.SW ||
		len(x) < n*t.Cin*g.OW || len(y) < n*t.Cout*g.W || bias != nil && len(bias) < t.Cout {
		panic(badConv)
	}
	if g.W == 0 {
		return
	}
	first, rows := t.span(g)
	j := signalJob{t: t, g: g, first: first, rows: rows, isa: Active()}
	if 2*rows*t.taps*t.cg*t.og*t.SW < forkFlops {
		if 2*n*t.Groups*rows*t.taps*t.cg*t.og*t.SW < forkFlops {
			p = nil
		}
		p.Run(n*t.Groups, func(i int) { j.group(nil, i, x, bias, y) })
		return
	}
	for i := range n * t.Groups {
		j.group(p, i, x, bias, y)
	}
}

// signalJob is one call of Run.
type signalJob struct {
	t           *TransposedSignal
	g           *Window
	first, rows int
	isa         ISA
}

// group computes group i of all images.
func (j *signalJob) group(p *Pool, i int, x, bias, y []float32) {
	t, g := j.t, j.g
	s := getScratchF32(j.t.Scratch(g))
	defer scratchPoolF32.Put(s)
	// Row r of the scratch memory is element first-taps+1+r of the signal.
	at := j.first - t.taps + 1
	lo, hi := max(0, -at), min(j.rows+t.taps-1, g.OW-at)
	lo = min(lo, len(s.f)/t.cg)
	hi = max(lo, hi)
	clear(s.f[:lo*t.cg])
	clear(s.f[hi*t.cg:])
	if lo < hi {
		transposeF32(p, s.f[lo*t.cg:], t.cg, x[i*t.cg*g.OW+at+lo:], g.OW, t.cg, hi-lo)
	}
	var ep Epilogue
	if bias != nil {
		b := getScratchF32(t.og * t.SW)
		defer scratchPoolF32.Put(b)
		for o, v := range bias[i%t.Groups*t.og:][:t.og] {
			for r := range t.SW {
				b.f[o*t.SW+r] = v
			}
		}
		ep.Bias = b.f
	}
	w, y := t.w[i%t.Groups], y[i*t.og*g.W:][:t.og*g.W]
	blocks, width := ceilDiv(j.rows, signalRows), 1
	if j.rows <= 3 { // there are kernels of so few rows that take four panels
		width = 4
	}
	per, np := ceilDiv(j.rows, blocks), panels(w.N)
	parts := ceilDiv(np, width)
	p.Run(blocks*parts, func(task int) {
		r0, at := task/parts*per, task%parts*width
		j.tile(s.f[r0*t.cg:], w, ep, r0, min(per, j.rows-r0), at, min(np, at+width), y)
	})
}

// tile computes rows r0.. of panels j0..j1, m of them, and writes them where they belong.
func (j *signalJob) tile(a []float32, w *PackedF32, ep Epilogue, r0, m, j0, j1 int, y []float32) {
	t := j.t
	c0, ld := j0*PanelWidth, (j1-j0)*PanelWidth
	c1 := min(w.N, c0+ld)
	if ep.Bias != nil {
		ep.Bias = ep.Bias[c0:c1]
	}
	s := getScratchF32(m * ld)
	g := newGemmJob(m, c1-c0, w.K, a, t.cg, s.f, ld, &ep)
	g.isa, g.ps, g.cut = j.isa, w.K*PanelWidth, gemmCut{k: kBlock, group: 1}
	g.blocks(w.data[j0*g.ps:], 0, m, 0, j1-j0)
	g.release()
	for o := c0 / t.SW; o*t.SW < c1; o++ {
		lo, hi := max(c0, o*t.SW), min(c1, (o+1)*t.SW)
		j.spread(y[o*j.g.W:][:j.g.W], s.f[lo-c0:], ld, m, t.SW*(j.first+r0)+lo-o*t.SW-j.g.Left, hi-lo)
	}
	scratchPoolF32.Put(s)
}

// spread writes m pieces of n elements, ld apart in src, to row at, at+SW, ..., leaving out what is outside of it.
func (j *signalJob) spread(row, src []float32, ld, m, at, n int) {
	step := j.t.SW
	if at < 0 { // the first piece
		if at+n > 0 {
			copy(row, src[-at:n])
		}
		if m--; m == 0 {
			return
		}
		at, src = at+step, src[ld:]
	}
	whole := 0
	if at+n <= len(row) {
		whole = min(m, (len(row)-n-at)/step+1)
	}
	if whole > 0 {
		for off := 0; off < n; {
			off += pieces(row[at+off:], step, src[off:], ld, whole, n-off)
		}
	}
	if e := at + whole*step; whole < m && e < len(row) {
		copy(row[e:], src[whole*ld:][:n])
	}
}

// pieces copies the first elements of m > 0 pieces of n, ld apart in src and step apart in dst, and returns how many of each.
func pieces(dst []float32, step int, src []float32, ld, m, n int) int {
	switch {
	case n >= 8:
		n = 8
	case n >= 4:
		n = 4
	}
	_, _ = dst[(m-1)*step+n-1], src[(m-1)*ld+n-1]
	d, s := unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0])
	switch {
	case n == 8:
		for i := range m {
			x, y := (*[2][4]float32)(unsafe.Add(d, 4*step*i)), (*[2][4]float32)(unsafe.Add(s, 4*ld*i))
			x[0] = y[0] // two moves; of the whole it would be a call
			x[1] = y[1]
		}
		return 8
	case n == 4:
		for i := range m {
			*(*[4]float32)(unsafe.Add(d, 4*step*i)) = *(*[4]float32)(unsafe.Add(s, 4*ld*i))
		}
		return 4
	case n >= 2:
		for i := range m {
			*(*[2]float32)(unsafe.Add(d, 4*step*i)) = *(*[2]float32)(unsafe.Add(s, 4*ld*i))
		}
		return 2
	}
	for i := range m {
		dst[i*step] = src[i*ld]
	}
	return 1
}
