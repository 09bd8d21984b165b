package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// matmul quantizes the constant right-hand side of MatMul or Gemm nodes: int8, symmetric, one scale per
// column or one for all.
func (r *dynamicRewrite) matmul(w *model.Weight) (action, why string, bytes int64, err error) {
	shape := w.Tensor.Shape()
	if len(shape) != 2 {
		return "", "not a matrix", 0, nil
	}
	transB := false
	for i, u := range w.Uses {
		n := u.Node
		if u.Input != 1 {
			return "", "not the right-hand side", 0, nil
		}
		if n.Op == "Gemm" {
			if n.Int("transA", 0) != 0 || n.Float("alpha", 1) != 1 || n.Float("beta", 1) != 1 && n.In(2) != "" {
				return "", "Gemm with transA, alpha or beta", 0, nil
			}
			t := n.Int("transB", 0) != 0
			if i > 0 && t != transB {
				return "", "read along two different axes", 0, nil
			}
			transB = t
		}
	}
	q, scales, bad, err := quantizeColumns(w.Tensor, transB, r.Granularity == PerChannel)
	if err != nil || bad {
		return "", "holds a value that is not finite", 0, err
	}
	g := w.Graph
	qn, sn, zn := r.names.name(w.Value+"_quantized"), r.names.name(w.Value+"_scale"), r.names.name(w.Value+"_zero_point")
	var shapeS []int
	if len(scales) > 1 {
		shapeS = []int{len(scales)}
	}
	g.SetInitializer(qn, q)
	g.SetInitializer(sn, model.FromSlice(shapeS, scales))
	g.SetInitializer(zn, model.FromSlice(shapeS, make([]int8, len(scales))))
	for _, u := range w.Uses {
		r.matmulNode(g, u.Node, qn, sn, zn)
	}
	drop(w)
	return "int8 " + string(r.Granularity), "", int64(q.Len() + 5*len(scales)), nil
}

// matmulNode replaces n by the nodes onnxruntime.quantization writes for a dynamically quantized
// product, which ONNX Runtime fuses into DynamicQuantizeMatMul or MatMulIntegerToFloat.
func (r *dynamicRewrite) matmulNode(g *model.Graph, n *model.Node, qn, sn, zn string) {
	var nodes []*model.Node
	a, ok := r.quantized[g][n.Inputs[0]]
	if !ok {
		base := n.Inputs[0]
		a = [3]string{r.names.name(base + "_quantized"), r.names.name(base + "_scale"), r.names.name(base + "_zero_point")}
		nodes = append(nodes, &model.Node{Name: r.names.name(base + "_QuantizeLinear"), Op: "DynamicQuantizeLinear",
			Inputs: []string{base}, Outputs: a[:]})
		if r.quantized[g] == nil {
			r.quantized[g] = map[string][3]string{}
		}
		r.quantized[g][base] = a
	}
	out := n.Outputs[0]
	bias := n.Op == "Gemm" && n.In(2) != ""
	product := out
	if bias {
		product = r.names.name(out + "_product")
	}
	label := n.Name
	if label == "" {
		label = out
	}
	acc, accF, scale := r.names.name(out+"_int32"), r.names.name(out+"_float"), r.names.name(out+"_scales")
	nodes = append(nodes,
		&model.Node{Name: r.names.name(label + "_quant"), Op: "MatMulInteger", Inputs: []string{a[0], qn, a[2], zn}, Outputs: []string{acc}},
		&model.Node{Name: r.names.name(label + "_cast"), Op: "Cast", Inputs: []string{acc}, Outputs: []string{accF},
			Attrs: []model.Attr{model.IntAttr("to", int64(model.Float32))}},
		&model.Node{Name: r.names.name(label + "_scales_mul"), Op: "Mul", Inputs: []string{a[1], sn}, Outputs: []string{scale}},
		&model.Node{Name: r.names.name(label + "_output_scale_mul"), Op: "Mul", Inputs: []string{accF, scale}, Outputs: []string{product}})
	if bias {
		nodes = append(nodes, &model.Node{Name: r.names.name(label + "_bias_add"), Op: "Add", Inputs: []string{product, n.Inputs[2]}, Outputs: []string{out}})
	}
	replace(g, n, nodes...)
}

// quantizeColumns returns a [K,N] weight (or [N,K] with trans) as int8 [K,N] with one scale per column
// n, or one for all. bad is true when a value is not finite.
func quantizeColumns(t *model.Tensor, trans, perChannel bool) (q *model.Tensor, scales []float32, bad bool, err error) {
	x, err := t.Float32()
	if err != nil {
		return nil, nil, false, err
	}
	k, n := t.Shape()[0], t.Shape()[1]
	at := func(i, j int) int { return i*n + j }
	if trans {
		k, n = n, k
		at = func(i, j int) int { return j*k + i }
	}
	lo, hi := make([]float32, n), make([]float32, n)
	for i := range k {
		for j := range n {
			v := x[at(i, j)]
			if v-v != 0 {
				return nil, nil, true, nil
			}
			lo[j], hi[j] = min(lo[j], v), max(hi[j], v)
		}
	}
	if !perChannel {
		l, h, _ := extent(append(append([]float32{0}, lo...), hi...))
		p, err := ChooseParams(l, h, Int8Range, true)
		if err != nil {
			return nil, nil, false, err
		}
		scales = []float32{p.Scale}
	} else {
		scales = make([]float32, n)
		for j := range n {
			p, err := ChooseParams(lo[j], hi[j], Int8Range, true)
			if err != nil {
				return nil, nil, false, err
			}
			scales[j] = p.Scale
		}
	}
	out := make([]int8, k*n)
	for i := range k {
		for j := range n {
			s := scales[0]
			if perChannel {
				s = scales[j]
			}
			Quantize(out[i*n+j:i*n+j+1], x[at(i, j):at(i, j)+1], Params{Scale: s}, Int8Range)
		}
	}
	return model.FromSlice([]int{k, n}, out), scales, false, nil
}
