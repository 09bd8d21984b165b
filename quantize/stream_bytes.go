package quantize

import (
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
		block := int64(min(st.block, src.ByteSize()))
		st.jobs = append(st.jobs, &job{weight: name, bytes: int64(src.ByteSize()), memory: block + block/2, tensors: []*model.Tensor{t}, run: func(put putter) error {
			return st.parts(src, src.Len(), 1, 1, func(first int, x []float32) error {
				if i := beyond(x, dtype); i >= 0 {
					return &misfit{name, fmt.Sprintf("element %d is %g, beyond the range of %s", first+i, x[i], shortName(dtype))}
				}
				h := make([]uint16, len(x))
				convert(h, x)
				raw, err := model.FromSlice([]int{len(h)}, h).Bytes()
				if err != nil {
					return err
				}
				return put(t, raw, int64(first)*2)
			})
		}})
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
		case gates, restored:
			err = st.gates(w.Tensor, pk, j)
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

// putParams writes scales and zero points.
func (p *packed) putParams(put putter, params []Params) error {
	s, z := make([]float32, len(params)), make([]byte, len(params))
	for i, v := range params {
		s[i], z[i] = v.Scale, byte(v.ZeroPoint)
	}
	if err := put(p.scale, littleEndian(s), 0); err != nil {
		return err
	}
	return put(p.zero, z, 0)
}

// table defers what packed.table makes.
func (st *streamed) table(t *model.Tensor, p *packed, j *job) error {
	shape := t.Shape()
	rows, cols := shape[0], t.Len()/shape[0]
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
	j.memory = int64(st.rowsOf(rows, cols, 1))*int64(cols)*5 + int64(rows)*20
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			params, err := st.params(t, rows, cols, p.perChannel, Uint8Range, false)
			if err != nil {
				return err
			}
			err = st.parts(t, rows, cols, 1, func(first int, x []float32) error {
				q := make([]uint8, len(x))
				for i := range len(x) / max(cols, 1) {
					Quantize(q[i*cols:(i+1)*cols], x[i*cols:(i+1)*cols], params[(first+i)%len(params)], Uint8Range)
				}
				return put(p.q, q, int64(first)*int64(cols))
			})
			if err != nil {
				return err
			}
			return p.putParams(put, params)
		})
	}
	return nil
}

// fitOf makes a value that is not finite a reason to leave the weight.
func fitOf(j *job, run func() error) error {
	if err := run(); err != errNotFinite {
		return err
	}
	return &misfit{j.weight, errNotFinite.Error()}
}

// params reads a matrix for the parameters of its rows, or of all of it.
func (st *streamed) params(t *model.Tensor, rows, cols int, perRow bool, r Range, symmetric bool) ([]Params, error) {
	e := newExtents(rows)
	err := st.parts(t, rows, cols, 1, func(first int, x []float32) error {
		part, err := matrix{x, len(x) / max(cols, 1), cols}.rowExtents()
		copy(e.lo[first:], part.lo)
		copy(e.hi[first:], part.hi)
		return err
	})
	if err != nil {
		return nil, err
	}
	if !perRow {
		e = e.all()
	}
	return e.params(r, symmetric)
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
	j.memory = int64(st.rowsOf(rows, cols, 1))*int64(cols)*6 + int64(n)*20
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			var params []Params
			var err error
			if p.form == transposed {
				params, err = st.params(t, rows, cols, p.perChannel, p.codes.r, p.codes.symmetric)
			} else {
				params, err = st.colParams(t, rows, cols, p.perChannel, p.codes)
			}
			if err != nil {
				return err
			}
			if err := st.parts(t, rows, cols, 1, func(first int, x []float32) error { return p.putProduct(put, params, first, rows, cols, x) }); err != nil {
				return err
			}
			return p.putParams(put, params)
		})
	}
	return nil
}

// colParams reads a matrix for the parameters of its columns, or of all of it.
func (st *streamed) colParams(t *model.Tensor, rows, cols int, perCol bool, c codes) ([]Params, error) {
	e := newExtents(cols)
	err := st.parts(t, rows, cols, 1, func(_ int, x []float32) error {
		part, err := matrix{x, len(x) / max(cols, 1), cols}.colExtents()
		for i := range part.lo {
			e.lo[i], e.hi[i] = min(e.lo[i], part.lo[i]), max(e.hi[i], part.hi[i])
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !perCol {
		e = e.all()
	}
	return c.params(e)
}

// putProduct quantizes rows from first on and writes them, in columns where the form is transposed.
func (p *packed) putProduct(put putter, params []Params, first, rows, cols int, x []float32) error {
	q := make([]byte, len(x))
	n := len(x) / max(cols, 1)
	if p.form != transposed {
		s := p.codes.spread(params, cols)
		for i := range n {
			p.codes.putRow(q[i*cols:(i+1)*cols], x[i*cols:(i+1)*cols], s)
		}
		return put(p.q, q, int64(first)*int64(cols))
	}
	line := make([]byte, cols)
	for i := range n {
		p.codes.put(line, x[i*cols:(i+1)*cols], params[(first+i)%len(params)])
		for k, v := range line {
			q[k*n+i] = v
		}
	}
	for k := range cols {
		if err := put(p.q, q[k*n:(k+1)*n], int64(k)*int64(rows)+int64(first)); err != nil {
			return err
		}
	}
	return nil
}

// gates defers what packed.gates or packed.restored makes; recurrent matrices are small and pass through memory whole.
func (st *streamed) gates(t *model.Tensor, p *packed, j *job) error {
	s := t.Shape()
	shape, each := []int{s[0], s[2], s[1]}, []int{s[0]}
	if p.perChannel {
		each = []int{s[0], s[1]}
	}
	if p.form == restored {
		if shape, each = s, []int{}; p.perChannel {
			each = []int{s[1]}
		}
	}
	if err := p.defer3(j, p.codes.dtype, shape, each); err != nil {
		return err
	}
	j.memory = int64(t.ByteSize()) * 2
	j.run = func(put putter) error {
		return fitOf(j, func() error {
			return t.Part(0, t.ByteSize(), func(b []byte) error {
				whole, err := model.NewTensor(model.Float32, s, b)
				if err != nil {
					return err
				}
				x, err := whole.Float32()
				if err != nil {
					return err
				}
				made := &packed{form: p.form, perChannel: p.perChannel, codes: p.codes}
				make := made.gates
				if p.form == restored {
					make = made.restored
				}
				if err := make(x, s); err != nil {
					return err
				}
				for i, from := range []*model.Tensor{made.q, made.scale, made.zero} {
					raw, err := from.Bytes()
					if err != nil {
						return err
					}
					if err := put([]*model.Tensor{p.q, p.scale, p.zero}[i], raw, 0); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
	return nil
}
