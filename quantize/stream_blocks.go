package quantize

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// stream plans the settings on the graph of st, with jobs in the place of the weights.
func (o WeightOnly) stream(st *streamed) ([]model.Note, error) {
	if err := o.validate(st.graph); err != nil {
		return nil, err
	}
	return withOpset(st.graph, o.opset(), o.scheme()+" weights", func(g *model.Graph) ([]model.Note, error) {
		p := o.plan(g)
		for _, w := range p.weights {
			if why := st.left[w.Name]; why != "" && w.why == "" {
				w.why = why
			}
			if w.why != "" {
				continue
			}
			for _, s := range w.forms {
				if err := st.blocks(w, s, o.Format); err != nil {
					return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
				}
			}
		}
		notes := p.weightNotes() // how far an algorithm got is not known before it works
		if err := check(o.scheme()+" weights", notes); err != nil {
			return notes, err
		}
		p.rewrite(g)
		return notes, nil
	})
}

// blocks puts deferred tensors in the place of the form of a weight, and the job that makes them.
func (st *streamed) blocks(w *weightPlan, s *stored, format Format) error {
	t, f := w.Tensor, s.nbits
	j := &job{weight: w.Name, bytes: int64(t.ByteSize())}
	st.jobs = append(st.jobs, j)
	if s.rows8 != nil {
		return st.table(t, s.rows8, j)
	}
	kb := f.blocks()
	q, scale, zero := []int{f.n, kb, f.blob()}, []int{f.n, kb}, []int{f.n, (kb*f.bits + 7) / 8}
	codes, zeros := model.Uint8, model.Uint8
	rows, cols, step := f.n, f.k, 1
	switch {
	case format == QDQ:
		codes, zeros = f.linearType(), f.linearType()
		if q, scale = []int{f.k, f.n}, []int{kb, f.n}; s.form != columns {
			q, scale, step = []int{f.n, f.k}, []int{f.n, kb}, 2 // whole bytes
		}
		zero = scale
	case s.form == table:
		q = []int{f.n, f.k * f.bits / 8}
	}
	if s.form == columns {
		rows, cols, step = f.k, f.n, 2*f.group
	}
	var err error
	if s.q, err = deferred(codes, q); err != nil {
		return err
	}
	if s.scale, err = deferred(model.Float32, scale); err != nil {
		return err
	}
	j.tensors = []*model.Tensor{s.q, s.scale}
	if !f.symmetric {
		if s.zero, err = deferred(zeros, zero); err != nil {
			return err
		}
		j.tensors = append(j.tensors, s.zero)
	}
	var g grid
	if s.form != columns {
		g = st.flat(j, t, 0, rows, cols, step, func(rows, cols int) int { return f.cost(cols, rows, format) })
	} else if c := func(rows, cols int) int { return f.cost(rows, cols, format) }; format == QDQ && f.bits == 4 && cols%2 != 0 {
		g = st.whole(j, t, 0, rows, cols, step, c) // strips would share bytes
	} else {
		g = st.strips(j, t, rows, cols, step, c)
	}
	high := g.high
	if s.form == columns && format != QDQ {
		g, high = st.gathered(j, t, g, f, step)
	}
	j.run = func(put putter) error {
		w := blockWriter{put: put, f: f, q: s.q, s: s.scale, z: s.zero, high: high, m: st.take()}
		defer func() { st.give(w.m) }()
		return g.each(func(tl tile) error {
			if ok, err := w.part(s.form, format, tl); err != nil || ok {
				return err
			}
			return &misfit{j.weight, errNotFinite.Error()}
		})
	}
	return nil
}

// cost returns the bytes of a tile of k inputs and n outputs with all that is made of it on the way to the file.
func (f nbits) cost(k, n int, format Format) int {
	groups := (k + f.group - 1) / f.group
	each := 4*k + groups*(f.blob()+10) + 16 // codes; scales and zero points, once more as they are written; extremes of columns
	if format == QDQ {
		each += 3*k + groups*5 // codes a byte each, both ways round, and packed
	} else {
		each += groups * f.blob() // once more, as scratch or for a table
	}
	return n * each
}

// gathered is g, or a grid of lower tiles of which several are quantized before they are written: the groups of an output are written
// apart from those of the next, and writing few at a time takes longer than quantizing them. It returns the rows that are written
// together too. What a tile needs with them stays within the budget.
func (st *streamed) gathered(j *job, t *model.Tensor, g grid, f nbits, step int) (grid, int) {
	if g.wide < g.cols || g.high >= g.rows {
		return g, g.high
	}
	group := g.cols * (f.blob() + 10) // of what is gathered, as in cost
	high := min(min(st.block, 4*g.rows*g.cols)/group*f.group/step*step, g.rows)
	if high <= g.high {
		return g, g.high
	}
	gathered := (high + f.group - 1) / f.group * group
	j.block, j.memory, j.heap = 0, 0, 0
	g = st.flat(j, t, 0, g.rows, g.cols, step, func(rows, cols int) int { return cols*(4*rows+f.blob()+16) + gathered })
	if high < g.rows {
		high = max(high/g.high, 1) * g.high
	}
	return g, high
}

// blockWriter writes the groups of consecutive rows of a weight.
type blockWriter struct {
	put     putter
	f       nbits
	q, s, z *model.Tensor

	high  int     // rows of columns that are written together
	m     *blocks // what they have become
	first int     // of these rows
}

// take returns blocks that a weight has no use for any more, or nil.
func (st *streamed) take() *blocks {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := len(st.spare)
	if n == 0 {
		return nil
	}
	m := st.spare[n-1]
	st.spare = st.spare[:n-1]
	return m
}

// give is for blocks that nobody uses any more.
func (st *streamed) give(m *blocks) {
	if m != nil {
		st.mu.Lock()
		st.spare = append(st.spare, m)
		st.mu.Unlock()
	}
}

// anew is newBlocks, with any contents, in the memory of m where it suffices.
func (m *blocks) anew(f nbits) *blocks {
	c := f.n * f.blocks()
	if m == nil || cap(m.q) < c*f.blob() || cap(m.s) < c || cap(m.z) < c {
		return f.newBlocks()
	}
	return &blocks{nbits: f, q: m.q[:c*f.blob()], s: m.s[:c], z: m.z[:c]}
}

// part quantizes a tile and writes what it becomes, of columns together with that of the tiles before it. It reports whether all values
// are finite.
func (w *blockWriter) part(form form, format Format, tl tile) (bool, error) {
	if form == columns && format != QDQ {
		return w.gather(tl)
	}
	own := w.f // the tile alone, as a matrix
	if own.k, own.n = tl.rows, tl.cols; form != columns {
		own.k, own.n = tl.cols, tl.rows
	}
	m := own.newBlocks()
	if form == columns && !own.columns(tl.x, m.all(0, 0)) || form != columns && !own.rows(tl.x, m.all(0, 0)) {
		return false, nil
	}
	if format == QDQ {
		return true, w.linear(form, tl, m)
	}
	q, scale, zero := m.product()
	if form == table {
		q, scale, zero = m.table()
	}
	for i, t := range []*model.Tensor{q, scale, zero} {
		if to := []*model.Tensor{w.q, w.s, w.z}[i]; to != nil {
			if err := w.rows(to, t, tl.first, w.f.n); err != nil {
				return true, err
			}
		}
	}
	return true, nil
}

// gather quantizes a tile of columns, and writes what has been gathered when that is all that is written together.
func (w *blockWriter) gather(tl tile) (bool, error) {
	f := w.f
	if tl.first == 0 || tl.first == w.first+w.high {
		own := f
		own.k, own.n = min(w.high, f.k-tl.first), tl.cols
		if w.first = tl.first; w.m == nil || w.m.nbits != own {
			w.m = w.m.anew(own)
		}
	}
	m := w.m
	if !m.columns(tl.x, m.all(0, (tl.first-w.first)/f.group)) {
		return false, nil
	}
	if tl.first+tl.rows < w.first+m.k {
		return true, nil
	}
	b0, nb, kb := w.first/f.group, m.blocks(), f.blocks()
	scales, err := model.FromSlice([]int{len(m.s)}, m.s).Bytes()
	if err != nil {
		return true, err
	}
	packed, width, full := m.packedZeros(m.z), (nb*f.bits+7)/8, (kb*f.bits+7)/8
	if nb == kb { // whole outputs lie side by side
		return true, w.outputs(tl.col, m.q, scales, packed)
	}
	for j := range m.n {
		to := tl.col + j
		if err := w.put(w.q, m.q[j*nb*f.blob():(j+1)*nb*f.blob()], int64((to*kb+b0)*f.blob())); err != nil {
			return true, err
		}
		if err := w.put(w.s, scales[j*nb*4:(j+1)*nb*4], int64((to*kb+b0)*4)); err != nil {
			return true, err
		}
		if w.z == nil {
			continue
		}
		if err := w.put(w.z, packed[j*width:(j+1)*width], int64(to*full+b0*f.bits/8)); err != nil {
			return true, err
		}
	}
	return true, nil
}

// outputs writes what consecutive outputs from the one numbered first on have become.
func (w *blockWriter) outputs(first int, q, scales, zeros []byte) error {
	for i, b := range [][]byte{q, scales, zeros} {
		if to := []*model.Tensor{w.q, w.s, w.z}[i]; to != nil {
			if err := w.put(to, b, int64(first)*int64(to.ByteSize()/w.f.n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows writes t, consecutive rows of the tensor to, of which there are n in all.
func (w *blockWriter) rows(to, t *model.Tensor, first, n int) error {
	raw, err := t.Bytes()
	if err != nil {
		return err
	}
	return w.put(to, raw, int64(first)*int64(to.ByteSize()/n))
}

// linear writes a tile in the form for DequantizeLinear.
func (w *blockWriter) linear(form form, tl tile, m *blocks) error {
	s := &stored{}
	var err error
	if s.q, s.scale, s.zero, err = m.linear(); err != nil {
		return err
	}
	at := tl.first * w.f.n // elements before the tile
	groups := tl.first / w.f.group * w.f.n
	lines := 1 // that are written one by one
	if form != columns {
		if err := s.flip(); err != nil {
			return err
		}
		at, groups = tl.first*w.f.k, tl.first*w.f.blocks()
	} else if tl.cols < w.f.n {
		lines = tl.rows
	}
	for i, t := range []*model.Tensor{s.q, s.scale, s.zero} {
		to := []*model.Tensor{w.q, w.s, w.z}[i]
		if to == nil {
			continue
		}
		raw, err := t.Bytes()
		if err != nil {
			return err
		}
		before, n := groups, m.blocks()
		if i == 0 {
			before, n = at, lines
		}
		if lines == 1 {
			n = 1
		}
		for l := range n {
			line := raw[l*len(raw)/n : (l+1)*len(raw)/n]
			if err := w.put(to, line, int64(before+l*w.f.n+tl.col)*int64(to.DType().Bits())/8); err != nil {
				return err
			}
		}
	}
	return nil
}

// littleEndian returns the bytes of x.
func littleEndian(x []float32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
