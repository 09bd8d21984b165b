package kernel

// transposedPlace is where the channels of an image lie that all remainders of a strided transposed convolution share: its rows from top on, height
// of them, and of each the columns from left on, pitch of them, outside of the image 0. What the remainders ask for right of a row is left of
// the next one, as both are 0 there, so that the rows of a remainder follow each other: they are one row of outputs, with some between them that
// nobody reads. After the last channel there are tail zeros.
type transposedPlace struct {
	top, height, left, pitch, tail int
}

// place returns the place of the image, or nil where the parts of the convolution pad it on their own: without strides, as there is one part, and with
// dilations.
func (t *TransposedConv) place(g *Window, rows, cols []remainder) *transposedPlace {
	if t.SH == 1 && t.SW == 1 || t.DH > 1 || t.DW > 1 {
		return nil
	}
	j := transposedJob{t: t, g: g, cols: cols}
	var m transposedPlace
	bottom, right, any := 0, 0, false
	for _, r := range rows {
		for _, c := range cols {
			if r.taps == 0 || c.taps == 0 || j.merges(r) {
				continue
			}
			y, x := r.count+r.taps-r.before-1, c.count+c.taps-c.before-1
			if !any {
				m.top, bottom, m.left, right, any = -r.before, y, -c.before, x, true
			}
			m.top, bottom, m.left, right = min(m.top, -r.before), max(bottom, y), min(m.left, -c.before), max(right, x)
		}
	}
	if !any {
		return nil
	}
	m.height, m.pitch = bottom-m.top, right-m.left
	if m.left <= 0 {
		m.pitch = min(m.pitch, max(right, g.OW-m.left))
	}
	m.tail = right - m.left - m.pitch
	return &m
}

// plane is the number of elements of a channel.
func (m *transposedPlace) plane() int { return satMul(m.height, m.pitch) }

// fill copies x [c, OH, OW] to its place.
func (m *transposedPlace) fill(p *Pool, im *convImage, x []float32, c int, g *Window) {
	plane := m.plane()
	size := c*plane + m.tail
	if cap(im.padded) < size {
		im.padded = make([]float32, size)
	}
	data := im.padded[:size]
	clear(data[c*plane:])
	if size < 1<<16 {
		p = nil
	}
	lo := min(max(0, -m.left), m.pitch)
	hi := max(lo, min(m.pitch, g.OW-m.left))
	p.Run(c, func(ch int) {
		for i := range m.height {
			d, h := data[ch*plane+i*m.pitch:][:m.pitch], m.top+i
			if h < 0 || h >= g.OH || lo == hi {
				clear(d)
				continue
			}
			clear(d[:lo])
			copy(d[lo:hi], x[(ch*g.OH+h)*g.OW+m.left+lo:])
			clear(d[hi:])
		}
	})
}

// packedVectors is what packing a vector of columns costs in multiplications of a vector.
const packedVectors = 6

// pitch returns the distance of rows of outputs of a remainder: that of the rows of the image, which are then read in place, unless there is more
// to multiply in what is between them than is saved by not packing.
func (j *transposedJob) pitch(r, c remainder) int {
	if m := j.place; m != nil && m.pitch <= 2*c.count && r.taps > 0 && c.taps > 0 && !j.merges(r) {
		if n := (r.count-1)*m.pitch + c.count; 2*panels(n)*max(j.t.og, 4) <= ceilDiv(r.count*c.count, 16)*(j.t.og+packedVectors) {
			return m.pitch
		}
	}
	return c.count
}

// product computes the outputs of one remainder of rows and of columns from the image in its place, see transposedJob.part.
func (m *transposedPlace) product(p *Pool, im *convImage, t *TransposedConv, r, c remainder, w, dst []float32, pitch int, ep Epilogue) {
	n := (r.count-1)*pitch + c.count
	g := Window{OH: 1, OW: n}
	if pitch != m.pitch {
		g.OH, g.OW = r.count, c.count
	}
	im.g, im.rowStep = &g, m.pitch
	im.data = im.padded[(-r.before-m.top)*m.pitch-c.before-m.left:]
	im.offs = im.offs[:0]
	for ch := range t.cg {
		for y := range r.taps {
			for x := range c.taps {
				im.offs = append(im.offs, (ch*m.height+y)*m.pitch+x)
			}
		}
	}
	k := len(im.offs)
	j := newGemmJob(t.og, n, k, w, k, dst, r.count*pitch, &ep)
	im.columns(j)
	j.run(p)
	j.release()
}
