package engine

import "github.com/wattshed/wattshed/model"

// fuseQuantMatMul joins MatMulInteger, Cast to float32 and the multiplication by the product of the scales, as dynamic
// quantization writes them, into one QuantMatMul: qa, W, a_scale, w_scale, a_zero, w_zero. The quantized input stays a node
// of its own, since several products share it.
func fuseQuantMatMul(e *editor, n *model.Node) {
	if !n.Is("MatMulInteger") {
		return
	}
	w := e.constant(n.In(1))
	if w == nil || w.Rank() != 2 || w.Len() == 0 || !isByte(w) {
		return
	}
	cast, mul, scales := e.scaledSums(n)
	if scales == nil {
		return
	}
	dq := e.from(n.In(0), "DynamicQuantizeLinear")
	if dq == nil || n.In(2) != dq.Out(2) {
		return
	}
	for i := range scales.Inputs {
		ws := e.constant(scales.In(1 - i))
		if scales.In(i) != dq.Out(1) || ws == nil || ws.DType() != model.Float32 || ws.Len() != 1 && ws.Len() != w.Shape()[1] || ws.Rank() > 1 {
			continue
		}
		wz := ""
		if n.In(3) != "" {
			z := e.constant(n.In(3))
			if z == nil || z.Len() != 1 && z.Len() != w.Shape()[1] || z.Rank() > 1 {
				return
			}
			wz = n.In(3)
		}
		if !e.inner(n, cast, mul) {
			return
		}
		fused := &model.Node{Name: n.Name, Op: "QuantMatMul", Domain: fusedDomain, Outputs: mul.Outputs,
			Inputs: []string{n.In(0), n.In(1), scales.In(i), scales.In(1 - i), n.In(2), wz}}
		e.replace(fused, n, cast, mul)
		e.removeUnused(scales)
		return
	}
}

// scaledSums returns what follows integer sums: their Cast to float32, the Mul by a product of two scales, and the Mul that makes that product; nil
// for what does not.
func (e *editor) scaledSums(n *model.Node) (cast, mul, scales *model.Node) {
	if cast = e.user(n.Out(0)); cast == nil || !cast.Is("Cast") || model.DType(cast.Int("to", 0)) != model.Float32 {
		return nil, nil, nil
	}
	if mul = e.user(cast.Out(0)); mul == nil || !mul.Is("Mul") {
		return nil, nil, nil
	}
	if scales = e.from(other(mul, cast.Out(0)), "Mul"); scales == nil || len(scales.Inputs) != 2 {
		return nil, nil, nil
	}
	return cast, mul, scales
}

// removeUnused removes a node of one output that nobody reads any more.
func (e *editor) removeUnused(n *model.Node) {
	if out := n.Out(0); len(e.users[out]) == 0 && !e.pinned[out] {
		e.remove(n)
	}
}

// fuseQuantConv joins ConvInteger of a dynamically quantized input, Cast to float32, the multiplication by the product of the scales and, where
// there is one, the addition of a bias per channel into one QuantConvFloat: qa, W, a_scale, w_scale, a_zero, w_zero, bias.
func fuseQuantConv(e *editor, n *model.Node) {
	if !n.Is("ConvInteger") {
		return
	}
	w, dq := e.constant(n.In(1)), e.from(n.In(0), "DynamicQuantizeLinear")
	if w == nil || !isByte(w) || w.Rank() < 3 || w.Rank() > 5 || w.Len() == 0 || dq == nil || n.In(2) != dq.Out(2) {
		return
	}
	if z := e.constant(n.In(3)); n.In(3) != "" && (z == nil || z.DType() != w.DType() || z.Len() != 1 && z.Len() != w.Shape()[0] || z.Rank() > 1) {
		return
	}
	cast, mul, scales := e.scaledSums(n)
	if scales == nil || !e.inner(n, cast, mul) {
		return
	}
	for i := range scales.Inputs {
		if scales.In(i) != dq.Out(1) {
			continue
		}
		ws := e.perChannel(scales.In(1-i), w.Rank(), w.Shape()[0])
		if ws == nil {
			continue
		}
		fused := &model.Node{Name: n.Name, Op: "QuantConvFloat", Domain: fusedDomain, Outputs: mul.Outputs, Attrs: n.Attrs,
			Inputs: []string{n.In(0), n.In(1), scales.In(i), e.addConstant(ws), n.In(2), n.In(3), ""}}
		last := []*model.Node{n, cast, mul}
		if add := e.user(mul.Out(0)); add != nil && add.Is("Add") {
			if b := e.perChannel(other(add, mul.Out(0)), w.Rank(), w.Shape()[0]); b != nil && b.Len() == w.Shape()[0] {
				fused.Inputs[6], fused.Outputs = e.addConstant(b), add.Outputs
				last = append(last, add)
			}
		}
		e.replace(fused, last...)
		e.removeUnused(scales)
		return
	}
}

// perChannel returns a float32 constant that broadcasts over the n channels of a tensor [N, C, spatial...] of a rank, as a list: one element or n; nil
// for others.
func (e *editor) perChannel(name string, rank, n int) *model.Tensor {
	t := e.constant(name)
	if t == nil || t.DType() != model.Float32 || t.Rank() > rank || t.Len() != 1 && t.Len() != n {
		return nil
	}
	for i, d := range t.Shape() {
		if d != 1 && t.Rank()-i != rank-1 {
			return nil
		}
	}
	v, err := t.Float32()
	if err != nil {
		return nil
	}
	return model.FromSlice([]int{len(v)}, v)
}
