package quantize

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

const dynamicLSTMDomain = "com.microsoft"

// collectLSTM finds for every LSTM node its constant input and recurrence weights.
func (r *dynamicRewrite) collectLSTM(weights []*model.Weight) {
	for _, w := range weights {
		if len(w.Uses) != 1 || w.Uses[0].Graph != w.Graph {
			continue
		}
		if u := w.Uses[0]; u.Node.Is("LSTM") && (u.Input == 1 || u.Input == 2) {
			pair := r.weights[u.Node]
			pair[u.Input-1] = w
			r.weights[u.Node] = pair
		}
	}
}

// lstmWeight quantizes W and R of an LSTM together at the first of them and reports both.
// com.microsoft.DynamicQuantizeLSTM takes them transposed ([directions, input, 4*hidden]) as int8 with
// a scale per direction, or per direction and column; zero points are 0.
func (r *dynamicRewrite) lstmWeight(w *model.Weight) (action, why string, bytes int64, err error) {
	n := w.Uses[0].Node
	if in := w.Uses[0].Input; in != 1 && in != 2 {
		return "", "no factor of a product of the LSTM", 0, nil
	}
	why, seen := r.lstm[n]
	if !seen {
		why, err = r.lstmNode(n)
		if err != nil {
			return "", "", 0, err
		}
		r.lstm[n] = why
	}
	if why != "" {
		return "", why, 0, nil
	}
	scales := w.Tensor.Shape()[0]
	if r.Granularity == PerChannel {
		scales *= w.Tensor.Shape()[1]
	}
	return "int8 " + string(r.Granularity), "", int64(w.Tensor.Len() + 5*scales), nil
}

// lstmNode rewrites n, or says why it is left as it is.
func (r *dynamicRewrite) lstmNode(n *model.Node) (why string, err error) {
	pair := r.weights[n]
	switch {
	case pair[0] == nil || pair[1] == nil:
		return "W or R of the LSTM is computed or shared", nil
	case n.Int("layout", 0) != 0:
		return "LSTM with layout 1", nil
	}
	var q, scales [2]*model.Tensor
	for i, w := range pair {
		var bad bool
		if q[i], scales[i], bad, err = quantizeLSTM(w.Tensor, r.Granularity == PerChannel); err != nil {
			return "", err
		}
		if bad {
			return fmt.Sprintf("weight %q of the LSTM holds a value that is not finite", w.Name), nil
		}
	}
	n.Inputs = append(n.Inputs, make([]string, 12-len(n.Inputs))...)
	for i, w := range pair {
		zero, err := model.NewTensor(model.Int8, scales[i].Shape(), make([]byte, scales[i].Len()))
		if err != nil {
			return "", err
		}
		qn, sn, zn := r.names.name(w.Value+"_quantized"), r.names.name(w.Value+"_scale"), r.names.name(w.Value+"_zero_point")
		w.Graph.SetInitializer(qn, q[i])
		w.Graph.SetInitializer(sn, scales[i])
		w.Graph.SetInitializer(zn, zero)
		n.Inputs[1+i], n.Inputs[8+2*i], n.Inputs[9+2*i] = qn, sn, zn
		drop(w)
	}
	n.Op, n.Domain = "DynamicQuantizeLSTM", dynamicLSTMDomain
	r.microsoft = true
	return "", nil
}

// quantizeLSTM turns [directions, 4*hidden, input] float32 into int8 [directions, input, 4*hidden] with
// scales [directions, 4*hidden] or [directions].
func quantizeLSTM(t *model.Tensor, perChannel bool) (q, scales *model.Tensor, bad bool, err error) {
	s := t.Shape()
	if len(s) != 3 {
		return nil, nil, false, fmt.Errorf("shape %v is not that of an LSTM weight", s)
	}
	x, err := t.Float32()
	if err != nil {
		return nil, nil, false, err
	}
	dirs, n, k := s[0], s[1], s[2]
	out := make([]int8, 0, len(x))
	var sc []float32
	for d := range dirs {
		part, err := model.NewTensor(model.Float32, []int{n, k}, bytesOf(x[d*n*k:(d+1)*n*k]))
		if err != nil {
			return nil, nil, false, err
		}
		qd, sd, bad, err := quantizeColumns(part, true, perChannel)
		if bad || err != nil {
			return nil, nil, bad, err
		}
		v, err := model.Data[int8](qd)
		if err != nil {
			return nil, nil, false, err
		}
		out = append(out, v...)
		sc = append(sc, sd...)
	}
	shape := []int{dirs}
	if perChannel {
		shape = []int{dirs, n}
	}
	return model.FromSlice([]int{dirs, k, n}, out), model.FromSlice(shape, sc), false, nil
}

func bytesOf(x []float32) []byte {
	b, _ := model.FromSlice([]int{len(x)}, x).Bytes()
	return b
}
