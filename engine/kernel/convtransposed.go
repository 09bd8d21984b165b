package kernel

import "math"

// TransposedConv is a transposed convolution, the gradient of a convolution with respect to its input, as ordinary ones: with strides, output
// (oh, ow) meets only kernel elements (kh, kw) of (oh+Top) mod SH and (ow+Left) mod SW, so that each of the SH*SW remainders
// is a convolution of the small image with a part of the kernel, its elements in reverse order. The weights are kept in that order.
type TransposedConv struct {
	Cin, Cout, Groups int // Cin channels of the small image, Cout of the large one
	KH, KW, SH, SW    int
	DH, DW            int
	cg, og            int
	w                 [][]float32 // by remainder: [Cout, Cin/Groups, taps of rows, taps of columns]; they follow each other in memory
}

// maxRemainders bounds the product of the strides.
const maxRemainders = 1024

// NewTransposedConv takes weights [Cin, Cout/Groups, KH, KW], and of the geometry kernel, strides and dilations. It returns nil where the elements of a
// kernel are both spread and strided over, a dilation and a stride above 1 in one direction, and for a product of strides above 1024.
func NewTransposedConv(w []float32, cin, cout, groups int, g *Window) *TransposedConv {
	t := &TransposedConv{Cin: cin, Cout: cout, Groups: groups, KH: g.KH, KW: g.KW, SH: g.SH, SW: g.SW, DH: g.DH, DW: g.DW}
	if groups < 1 || cin < 1 || cout < 1 || cin%groups != 0 || cout%groups != 0 || !g.Valid() {
		panic(badConv)
	}
	if g.SH > 1 && g.DH > 1 || g.SW > 1 && g.DW > 1 || g.SH > maxRemainders || g.SW > maxRemainders/g.SH {
		return nil
	}
	t.cg, t.og = cin/groups, cout/groups
	if len(w) != cin*t.og*g.KH*g.KW {
		panic(badShapeLen)
	}
	part := make([]float32, 0, len(w))
	for rh := range g.SH {
		for rw := range g.SW {
			th, tw := tapsOf(g.KH, g.SH, rh), tapsOf(g.KW, g.SW, rw)
			for o := range cout {
				for i := range t.cg {
					src := w[((o/t.og*t.cg+i)*t.og+o%t.og)*g.KH*g.KW:]
					for a := th - 1; a >= 0; a-- {
						for b := tw - 1; b >= 0; b-- {
							part = append(part, src[(rh+a*g.SH)*g.KW+rw+b*g.SW])
						}
					}
				}
			}
			t.w, part = append(t.w, part), part[len(part):]
		}
	}
	return t
}

// Bytes returns the size of the weights.
func (t *TransposedConv) Bytes() int64 { return 4 * int64(t.Cin*t.og*t.KH*t.KW) }

// tapsOf is the number of elements k of a kernel with k mod stride = r.
func tapsOf(kernel, stride, r int) int { return max(0, ceilDiv(kernel-r, stride)) }

// remainder is one direction of the convolution that makes every stride-th output, that of remainder r: outputs first, first+stride, ... count of
// them.
type remainder struct{ r, taps, first, count, before int }

// remaindersOf returns the parts of one direction that have outputs. before is the padding of a part, negative where it starts inside of the input.
func remaindersOf(kernel, stride, dilation, before, out int) (parts []remainder) {
	for r := range stride {
		p := remainder{r: r, taps: tapsOf(kernel, stride, r)}
		q := (before - r + stride - 1) / stride // output o meets element r+t*stride at (o+before-r)/stride - t
		p.first = q*stride + r - before
		if p.first >= out {
			continue
		}
		p.count = ceilDiv(out-p.first, stride)
		p.before = (p.taps-1)*dilation - q
		parts = append(parts, p)
	}
	return parts
}

// Scratch returns the number of elements of the padded image that Run takes scratch memory for in every thread, beside not more than
// twice the output of a group, or math.MaxInt; see PaddedLen.
func (t *TransposedConv) Scratch(g *Window) int {
	rows, cols := remaindersOf(t.KH, t.SH, t.DH, g.Top, g.H), remaindersOf(t.KW, t.SW, t.DW, g.Left, g.W)
	if m := t.place(g, rows, cols); m != nil {
		return min(satMul(t.cg, m.plane()), math.MaxInt-m.tail) + m.tail
	}
	most := 0
	for _, r := range rows {
		for _, c := range cols {
			if r.taps > 0 && c.taps > 0 {
				v := t.volume(g, r, c)
				most = max(most, PaddedLen(t.cg, &v))
			}
		}
	}
	return most
}

// volume is the geometry of the convolution of one remainder of rows and of columns.
func (t *TransposedConv) volume(g *Window, r, c remainder) Volume {
	return Window{H: g.OH, W: g.OW, KH: r.taps, KW: c.taps, SH: 1, SW: 1, DH: t.DH, DW: t.DW, Top: r.before, Left: c.before, OH: r.count, OW: c.count}.Flat()
}

// Run writes the whole of y [n, Cout, H, W] from x [n, Cin, OH, OW], g being the geometry of the convolution that this one is the
// gradient of; bias is nil or [Cout].
func (t *TransposedConv) Run(p *Pool, n int, g *Window, x, bias, y []float32) {
	rows, cols := remaindersOf(t.KH, t.SH, t.DH, g.Top, g.H), remaindersOf(t.KW, t.SW, t.DW, g.Left, g.W)
	in, out := g.OH*g.OW, g.H*g.W
	if !g.Valid() || g.KH != t.KH || g.KW != t.KW || len(x) < n*t.Cin*in || len(y) < n*t.Cout*out || bias != nil && len(bias) < t.Cout {
		panic(badConv)
	}
	if n*out == 0 {
		return
	}
	one := func(p *Pool, i int) {
		gr := i % t.Groups
		var b []float32
		if bias != nil {
			b = bias[gr*t.og : (gr+1)*t.og]
		}
		j := transposedJob{t: t, g: g, rows: rows, cols: cols, bias: b}
		j.image(p, gr, x[i*t.cg*in:][:t.cg*in], y[i*t.og*out:][:t.og*out])
	}
	if n*t.Groups >= 2*p.Threads() {
		if n*t.Cout*in*t.cg*t.KH*t.KW < forkFlops/2 {
			p = nil
		}
		p.Run(n*t.Groups, func(i int) { one(nil, i) })
		return
	}
	for i := range n * t.Groups {
		one(p, i)
	}
}

// transposedJob is one group of one image.
type transposedJob struct {
	t          *TransposedConv
	g          *Window
	rows, cols []remainder
	bias       []float32
	place      *transposedPlace // nil where every part pads its own image
	padded     *convImage
}

// strip is where the outputs of the remainder of columns lie that begin with first: rows of count from at on, pitch apart.
type strip struct{ first, count, pitch, at int }

// image computes y [og, H, W] from x [cg, OH, OW].
func (j *transposedJob) image(p *Pool, gr int, x, y []float32) {
	t, g := j.t, j.g
	if t.SH == 1 && t.SW == 1 {
		j.part(p, gr, j.rows[0], j.cols[0], x, y, j.cols[0].count)
		return
	}
	if m := t.place(g, j.rows, j.cols); m != nil {
		j.place, j.padded = m, convImages.Get().(*convImage)
		defer j.padded.release()
		m.fill(p, j.padded, x, t.cg, g)
	}
	strips := make([]strip, len(j.cols))
	for _, r := range j.rows {
		size := 0
		for i, c := range j.cols {
			strips[i] = strip{first: c.first, count: c.count, pitch: j.pitch(r, c), at: size}
			size += t.og * r.count * strips[i].pitch
		}
		s := getScratchF32(size)
		if !j.merged(p, r, x, s.f) {
			for i, c := range j.cols {
				j.part(p, gr, r, c, x, s.f[strips[i].at:][:t.og*r.count*strips[i].pitch], strips[i].pitch)
			}
		}
		q := p
		if t.og*r.count*g.W < 1<<15 {
			q = nil
		}
		q.Run(t.og, func(o int) {
			for i := range r.count {
				j.spread(y[(o*g.H+r.first+i*t.SH)*g.W:][:g.W], s.f, strips, o*r.count+i)
			}
		})
		scratchPoolF32.Put(s)
	}
}

// merges tells that all columns of a remainder of rows are one product, since each is a product with the image itself.
func (j *transposedJob) merges(r remainder) bool {
	t := j.t
	if t.Groups > 1 || len(j.cols) != t.SW || r.taps != 1 || r.before != 0 || r.count != j.g.OH {
		return false
	}
	for _, c := range j.cols {
		if c.taps != 1 || c.before != 0 || c.count != j.g.OW {
			return false
		}
	}
	return true
}

// merged computes all columns of a remainder of rows in one product, where it can.
func (j *transposedJob) merged(p *Pool, r remainder, x, dst []float32) bool {
	t := j.t
	if !j.merges(r) {
		return false
	}
	m, n := t.SW*t.og, j.g.OH*j.g.OW
	var ep Epilogue
	if j.bias != nil {
		b := getScratchF32(m)
		defer scratchPoolF32.Put(b)
		for i := range t.SW {
			copy(b.f[i*t.og:], j.bias)
		}
		ep.BiasM = b.f
	}
	w := t.w[r.r*t.SW]
	MatMulF32(p, m, n, t.cg, w[:m*t.cg:m*t.cg], t.cg, false, x, n, false, dst, n, ep)
	return true
}

// spread writes one row of the output from row i of its strips.
func (j *transposedJob) spread(row, parts []float32, strips []strip, i int) {
	if len(strips) == 2 && strips[0].first+strips[1].first == 1 {
		x, y := strips[0], strips[1]
		if x.first == 1 {
			x, y = y, x
		}
		interleave2(row, parts[x.at+i*x.pitch:][:x.count], parts[y.at+i*y.pitch:][:y.count])
		return
	}
	for _, c := range strips {
		src := parts[c.at+i*c.pitch:][:c.count]
		for k, at := 0, c.first; k < len(src); k, at = k+1, at+j.t.SW {
			row[at] = src[k]
		}
	}
}

// interleave2 sets dst = x[0], y[0], x[1], y[1], ...; x is as long as y or longer by one.
func interleave2(dst, x, y []float32) {
	n := len(y) &^ 7
	if n == 0 || !interleave2Vec(&dst[0], &x[0], &y[0], n) {
		n = 0
	}
	for i := n; i < len(y); i++ {
		dst[2*i], dst[2*i+1] = x[i], y[i]
	}
	if len(x) > len(y) {
		dst[2*len(y)] = x[len(y)]
	}
}

// part computes the outputs of one remainder of rows and of columns: dst [og, rows, pitch], of which the columns are written, and maybe what is
// between them.
func (j *transposedJob) part(p *Pool, gr int, r, c remainder, x, dst []float32, pitch int) {
	t := j.t
	k := t.cg * r.taps * c.taps
	if k == 0 {
		size := r.count * pitch
		for o := range t.og {
			d, b := dst[o*size:(o+1)*size], float32(0)
			if j.bias != nil {
				b = j.bias[o]
			}
			for i := range d {
				d[i] = b
			}
		}
		return
	}
	w, ep := t.w[r.r*t.SW+c.r][gr*t.og*k:][:t.og*k], Epilogue{BiasM: j.bias}
	if j.place != nil {
		j.place.product(p, j.padded, t, r, c, w, dst, pitch, ep)
		return
	}
	v := t.volume(j.g, r, c)
	convVolume(p, t.og, w, t.cg, x, &v, dst, ep)
}
