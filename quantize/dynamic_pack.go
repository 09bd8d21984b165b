package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// formOf returns the form in which u reads a weight that whyNot had nothing against.
func formOf(u model.Use) form {
	switch {
	case u.Node.Op == "Gather":
		return table
	case u.Node.Op == "LSTM":
		return gates
	case u.Node.Op == "GRU" || u.Node.Op == "RNN":
		return restored
	case u.Node.Op == "Gemm" && u.Node.Int("transB", 0) != 0:
		return transposed
	}
	return columns
}

// pack quantizes w in every form that its readers need. It fails with errNotFinite on a value that is not finite.
func (p *dynamicPlan) pack(w *dynamicWeight) error {
	x, err := w.Tensor.Float32()
	if err != nil {
		return err
	}
	for _, u := range w.Uses {
		f := formOf(u)
		if w.form(f) != nil {
			continue
		}
		pk := p.newPacked(f)
		switch s := w.Tensor.Shape(); f {
		case restored:
			err = pk.restored(x, s)
		case table:
			err = pk.table(x, s)
		case gates:
			err = pk.gates(x, s)
		default:
			err = pk.matrix(x, s)
		}
		if err != nil {
			return err
		}
		w.forms = append(w.forms, pk)
	}
	return nil
}

// newPacked returns an empty form.
func (p *dynamicPlan) newPacked(f form) *packed {
	c := codesOf(p.DType, p.reduce)
	c.symmetric = c.symmetric || f == gates // DynamicQuantizeLSTM takes one zero point for all
	return &packed{form: f, perChannel: p.Granularity == PerChannel, codes: c}
}

// restored makes the weight in its own shape for DequantizeLinear, with scale and zero point by gate row: all directions share
// them, since DequantizeLinear takes one axis.
func (p *packed) restored(x []float32, shape []int) error {
	s := Scheme{DType: p.codes.dtype, Symmetric: p.codes.symmetric, Granularity: PerTensor, Axis: 1}
	if p.perChannel {
		s.Granularity = PerChannel
	}
	g, err := s.ChooseParams(x, shape)
	if err != nil {
		return err
	}
	if p.q, err = g.Quantize(x); err != nil {
		return err
	}
	p.scale, p.zero, err = g.Tensors()
	return err
}

// table makes uint8 [rows,...] with scale and zero point [rows,1,...], or scalars.
func (p *packed) table(x []float32, shape []int) error {
	q, params, err := matrix{x, shape[0], len(x) / shape[0]}.quantizeRows(p.perChannel)
	if err != nil {
		return err
	}
	each := []int{}
	if p.perChannel {
		each = make([]int, len(shape))
		for i := range each {
			each[i] = 1
		}
		each[0] = shape[0]
	}
	scale, zero := make([]float32, len(params)), make([]uint8, len(params))
	for i, v := range params {
		scale[i], zero[i] = v.Scale, uint8(v.ZeroPoint)
	}
	p.q, p.scale, p.zero = model.FromSlice(shape, q), model.FromSlice(each, scale), model.FromSlice(each, zero)
	return nil
}

// matrix makes bytes [K,N] with scale and zero point [N], or scalars.
func (p *packed) matrix(x []float32, shape []int) error {
	m := matrix{x, shape[0], shape[1]}
	quantize := m.quantizeCols
	if p.form == transposed {
		shape = []int{shape[1], shape[0]}
		quantize = m.quantizeTransposed
	}
	q, params, err := quantize(p.perChannel, p.codes)
	if err != nil {
		return err
	}
	each := []int{}
	if p.perChannel {
		each = []int{shape[1]}
	}
	return p.set(shape, each, q, params)
}

// set makes the tensors of codes of the given shape with one scale and zero point for each of each.
func (p *packed) set(shape, each []int, q []byte, params []Params) (err error) {
	p.scale = scalesOf(each, params)
	if p.q, err = p.codes.tensor(shape, q); err != nil {
		return err
	}
	p.zero, err = p.codes.zeros(each, params)
	return err
}

// gates makes bytes [directions,K,N] of [directions,N,K] with scale and zero point [directions,N] or
// [directions], as com.microsoft.DynamicQuantizeLSTM takes them.
func (p *packed) gates(x []float32, shape []int) error {
	dirs, n, k := shape[0], shape[1], shape[2]
	q := make([]byte, 0, len(x))
	var params []Params
	for d := range dirs {
		qd, pd, err := matrix{x[d*n*k : (d+1)*n*k], n, k}.quantizeTransposed(p.perChannel, p.codes)
		if err != nil {
			return err
		}
		q, params = append(q, qd...), append(params, pd...)
	}
	each := []int{dirs}
	if p.perChannel {
		each = []int{dirs, n}
	}
	return p.set([]int{dirs, k, n}, each, q, params)
}

func scalesOf(shape []int, params []Params) *model.Tensor {
	s := make([]float32, len(params))
	for i, v := range params {
		s[i] = v.Scale
	}
	return model.FromSlice(shape, s)
}
