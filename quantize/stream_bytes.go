package quantize

import (
	"errors"
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// half stores weights in half precision, as HalfWeights does.
func (st *streamed) half(dtype model.DType) ([]model.Note, error) {
	return halfWith(st.graph, dtype, func(w *model.Weight) (*model.Tensor, string, error) {
		if why := st.left[w.Name]; why != "" {
			return nil, why, nil
		}
		if why := halfWhy(w); why != "" {
			return nil, why, nil
		}
		t, err := deferred(dtype, w.Tensor.Shape())
		if err != nil {
			return nil, "", err
		}
		src, name := w.Tensor, w.Name
		convert := kernel.F32ToF16
		if dtype == model.BFloat16 {
			convert = kernel.F32ToBF16
		}
		j := &job{weight: name, bytes: int64(src.ByteSize()), tensors: []*model.Tensor{t}}
		g := st.flat(j, src, 0, src.Len(), 1, 1, func(rows, cols int) int { return rows * cols * 6 })
		j.run = func(put putter) error {
			made := make([]uint16, g.high)
			return g.each(func(p tile) error {
				if i := beyond(p.x, dtype); i >= 0 {
					return &misfit{name, fmt.Sprintf("element %d is %g, beyond the range of %s", p.first+i, p.x[i], shortName(dtype))}
				}
				h := made[:len(p.x)]
				convert(h, p.x)
				raw, err := model.FromSlice([]int{len(h)}, h).Bytes()
				if err != nil {
					return err
				}
				return put(t, raw, int64(p.first)*2)
			})
		}
		st.jobs = append(st.jobs, j)
		return t, "", nil
	})
}

// dynamic is the packer of dynamic int8 quantization.
func (st *streamed) dynamic(p *dynamicPlan, w *dynamicWeight) error {
	if why := st.left[w.Name]; why != "" {
		w.why = why
		return nil
	}
	shape := w.Tensor.Shape()
	for _, u := range w.Uses {
		f := formOf(u)
		if w.form(f) != nil {
			continue
		}
		pk := p.newPacked(f)
		j := &job{weight: w.Name, bytes: int64(w.Tensor.ByteSize())}
		var err error
		switch f {
		case table:
			err = st.table(w.Tensor, pk, j)
		case gates:
			err = st.gates(w.Tensor, pk, j)
		case restored:
			err = st.restored(w.Tensor, pk, j)
		default:
			err = st.product(w.Tensor, pk, j, shape[0], shape[1])
		}
		if err != nil {
			return err
		}
		w.forms = append(w.forms, pk)
		st.jobs = append(st.jobs, j)
	}
	return nil
}

// defer3 makes the tensors of pk deferred ones.
func (p *packed) defer3(j *job, codes model.DType, q, each []int) (err error) {
	if p.q, err = deferred(codes, q); err != nil {
		return err
	}
	if p.scale, err = deferred(model.Float32, each); err != nil {
		return err
	}
	if p.zero, err = deferred(codes, each); err != nil {
		return err
	}
	j.tensors = []*model.Tensor{p.q, p.scale, p.zero}
	return nil
}

// putParams writes scales and zero points from the one numbered at on.
func (p *packed) putParams(put putter, params []Params, at int) error {
	s, z := make([]float32, len(params)), make([]byte, len(params))
	for i, v := range params {
		s[i], z[i] = v.Scale, byte(v.ZeroPoint)
	}
	if err := put(p.scale, littleEndian(s), int64(at)*4); err != nil {
		return err
	}
	return put(p.zero, z, int64(at))
}

// rowsCost is the cost of rows with parameters each: codes, a line of them apart, and of every row its extremes and its
// parameters, once more as they are written.
func rowsCost(rows, cols int) int { return rows*(5*cols+25) + cols }

// table defers what packed.table makes.
func (st *streamed) table(t *model.Tensor, p *packed, j *job) error {
	shape := t.Shape()
	rows, cols := shape[0], t.Len()/max(shape[0], 1)
	each := []int{}
	if p.perChannel {
		each = make([]int, len(shape))
		for i := range each {
			each[i] = 1
		}
		each[0] = rows
	}
	if err := p.defer3(j, model.Uint8, shape, each); err != nil {
		return err
	}
	g := st.whole(j, t, 0, rows, cols, 1, rowsCost)
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			return p.byRows(put, g, codesOf(model.Uint8, false), 0, func(tl tile, params []Params) error {
				q := make([]uint8, len(tl.x))
				for i := range tl.rows {
					Quantize(q[i*cols:(i+1)*cols], tl.x[i*cols:(i+1)*cols], params[i%len(params)], Uint8Range)
				}
				return put(p.q, q, int64(tl.first)*int64(cols))
			})
		})
	}
	return nil
}

// fitOf makes a value that is not finite a reason to leave the weight.
func fitOf(j *job, run func() error) error {
	if err := run(); !errors.Is(err, errNotFinite) {
		return err
	}
	return &misfit{j.weight, errNotFinite.Error()}
}

// byRows calls write with the tiles of a matrix and the parameters of their rows, or those of all of it, and writes the
// parameters, the first as number at.
func (p *packed) byRows(put putter, g grid, c codes, at int, write func(tile, []Params) error) error {
	var all []Params
	if !p.perChannel {
		var err error
		if all, err = g.params(c); err != nil {
			return err
		}
		if err := p.putParams(put, all, at); err != nil {
			return err
		}
	}
	return g.each(func(tl tile) error {
		if p.perChannel {
			e, err := tl.matrix().rowExtents()
			if err != nil {
				return err
			}
			params, err := c.params(e)
			if err != nil {
				return err
			}
			if err := p.putParams(put, params, at+tl.first); err != nil {
				return err
			}
			return write(tl, params)
		}
		return write(tl, all)
	})
}

// params reads a matrix for the parameters of all of it.
func (g grid) params(c codes) ([]Params, error) {
	e := newExtents(1)
	err := g.each(func(tl tile) error {
		part, err := tl.matrix().rowExtents()
		if part = part.all(); err == nil {
			e.lo[0], e.hi[0] = min(e.lo[0], part.lo[0]), max(e.hi[0], part.hi[0])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.params(e)
}

// product defers what packed.matrix makes of [rows, cols].
func (st *streamed) product(t *model.Tensor, p *packed, j *job, rows, cols int) error {
	q, n := []int{rows, cols}, cols
	if p.form == transposed {
		q, n = []int{cols, rows}, rows
	}
	each := []int{}
	if p.perChannel {
		each = []int{n}
	}
	if err := p.defer3(j, p.codes.dtype, q, each); err != nil {
		return err
	}
	if p.form == transposed {
		g := st.whole(j, t, 0, rows, cols, 1, rowsCost)
		j.run = func(put putter) error {
			return fitOf(j, func() error { return p.byRows(put, g, p.codes, 0, p.transposed(put, g)) })
		}
		return nil
	}
	// codes; of every column its extremes, its parameters, once more as they are written and once as they are used; extremes of rows
	g := st.strips(j, t, rows, cols, 1, func(rows, cols int) int { return cols*(5*rows+41) + 8*rows })
	j.run = func(put putter) error { return fitOf(j, func() error { return p.byColumns(put, g) }) }
	return nil
}

// transposed returns a function that quantizes rows and writes them as columns of their matrix.
func (p *packed) transposed(put putter, g grid) func(tile, []Params) error {
	line := make([]byte, g.cols)
	return func(tl tile, params []Params) error {
		q, n := make([]byte, len(tl.x)), tl.rows
		for i := range n {
			p.codes.put(line, tl.x[i*tl.cols:(i+1)*tl.cols], params[i%len(params)])
			for k, v := range line {
				q[k*n+i] = v
			}
		}
		for k := range tl.cols {
			if err := put(p.q, q[k*n:(k+1)*n], int64(g.base)+int64(k)*int64(g.rows)+int64(tl.first)); err != nil {
				return err
			}
		}
		return nil
	}
}

// byColumns quantizes a matrix with parameters for each of its columns, or for all of it, and writes both.
func (p *packed) byColumns(put putter, g grid) error {
	var params []Params
	var err error
	if !p.perChannel {
		if params, err = g.params(p.codes); err != nil {
			return err
		}
		if err := p.putParams(put, params, 0); err != nil {
			return err
		}
	}
	made := make([]byte, g.high*g.wide)
	for col := 0; col < g.cols; col += g.wide {
		wide := min(g.wide, g.cols-col)
		if p.perChannel {
			e := newExtents(wide)
			err := g.strip(col, func(tl tile) error {
				if !tl.matrix().widen(e, 0, tl.rows) {
					return errNotFinite
				}
				return nil
			})
			if err != nil {
				return err
			}
			if params, err = p.codes.params(e); err != nil {
				return err
			}
			if err := p.putParams(put, params, col); err != nil {
				return err
			}
		}
		s := p.codes.spread(params, wide)
		if err := g.strip(col, func(tl tile) error { return p.putColumns(put, g, tl, s, made) }); err != nil {
			return err
		}
	}
	return nil
}

// putColumns quantizes a tile and writes its codes, which made has room for.
func (p *packed) putColumns(put putter, g grid, tl tile, s columnCodes, made []byte) error {
	q := made[:len(tl.x)]
	for i := range tl.rows {
		p.codes.putRow(q[i*tl.cols:(i+1)*tl.cols], tl.x[i*tl.cols:(i+1)*tl.cols], s)
	}
	if tl.cols == g.cols {
		return put(p.q, q, int64(tl.first)*int64(g.cols))
	}
	for i := range tl.rows {
		if err := put(p.q, q[i*tl.cols:(i+1)*tl.cols], int64(tl.first+i)*int64(g.cols)+int64(tl.col)); err != nil {
			return err
		}
	}
	return nil
}

// gates defers what packed.gates makes: every direction is a matrix with the parameters of its own.
func (st *streamed) gates(t *model.Tensor, p *packed, j *job) error {
	s := t.Shape()
	each, step := []int{s[0]}, 1
	if p.perChannel {
		each, step = []int{s[0], s[1]}, s[1]
	}
	if err := p.defer3(j, p.codes.dtype, []int{s[0], s[2], s[1]}, each); err != nil {
		return err
	}
	var directions []grid
	for d := range s[0] {
		directions = append(directions, st.whole(j, t, d*s[1]*s[2], s[1], s[2], 1, rowsCost))
	}
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			for d, g := range directions {
				if err := p.byRows(put, g, p.codes, d*step, p.transposed(put, g)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return nil
}

// restored defers what packed.restored makes: the directions share the parameters of each of their rows.
func (st *streamed) restored(t *model.Tensor, p *packed, j *job) error {
	s := t.Shape()
	each := []int{}
	if p.perChannel {
		each = []int{s[1]}
	}
	if err := p.defer3(j, p.codes.dtype, s, each); err != nil {
		return err
	}
	c := p.codes
	c.r, _ = rangeOf(c.dtype) // DequantizeLinear gives floats, which no product saturates
	var directions []grid
	for d := range s[0] {
		directions = append(directions, st.whole(j, t, d*s[1]*s[2], s[1], s[2], 1, rowsCost))
	}
	j.memory, j.heap = j.memory+25*int64(s[1]), j.heap+25*int64(s[1]) // extremes and parameters of all rows
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			e := newExtents(s[1])
			for _, g := range directions {
				err := g.each(func(tl tile) error {
					part, err := tl.matrix().rowExtents()
					for i := range part.lo {
						at := tl.first + i
						e.lo[at], e.hi[at] = min(e.lo[at], part.lo[i]), max(e.hi[at], part.hi[i])
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			if !p.perChannel {
				e = e.all()
			}
			params, err := c.params(e)
			if err != nil {
				return err
			}
			for _, g := range directions {
				err := g.each(func(tl tile) error {
					q := make([]byte, len(tl.x))
					for i := range tl.rows {
						c.put(q[i*tl.cols:(i+1)*tl.cols], tl.x[i*tl.cols:(i+1)*tl.cols], params[(tl.first+i)%len(params)])
					}
					return put(p.q, q, int64(g.base)+int64(tl.first)*int64(tl.cols))
				})
				if err != nil {
					return err
				}
			}
			return p.putParams(put, params, 0)
		})
	}
	return nil
}
