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
	cast := e.user(n.Out(0))
	if cast == nil || !cast.Is("Cast") || model.DType(cast.Int("to", 0)) != model.Float32 {
		return
	}
	mul := e.user(cast.Out(0))
	if mul == nil || !mul.Is("Mul") {
		return
	}
	scales := e.from(other(mul, cast.Out(0)), "Mul")
	if scales == nil || len(scales.Inputs) != 2 {
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
		if u := e.users[scales.Out(0)]; len(u) == 0 && !e.pinned[scales.Out(0)] {
			e.remove(scales)
		}
		return
	}
}
