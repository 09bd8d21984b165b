package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// operator handles the nodes of the QOperator form that have constant scales and zero points.
func (p *qdq) operator(n *model.Node) bool {
	micro := n.Domain == "com.microsoft"
	if n.Domain != "" && n.Domain != "ai.onnx" && !micro || n.Int("channels_last", 0) != 0 {
		return false
	}
	switch n.Op {
	case "QLinearConv":
		return !micro && p.qlinearConv(n)
	case "QLinearMatMul":
		return !micro && p.qlinearMatMul(n)
	}
	if !micro {
		return false
	}
	switch n.Op {
	case "QGemm":
		return p.qgemm(n)
	case "QLinearAdd", "QLinearMul":
		a, ok := p.value(n.In(0), n.In(1), n.In(2), false)
		b, ok2 := p.value(n.In(3), n.In(4), n.In(5), false)
		out, ok3 := p.value(n.Out(0), n.In(6), n.In(7), true)
		return ok && ok2 && ok3 && pairFits(n.Op, a, b, out, pairFinite) && p.pair(n.Op, n, a, b, out, 0, 255)
	case "QLinearConcat":
		out, ok := p.value(n.Out(0), n.In(0), n.In(1), true)
		var vs []qvalue
		for i := 2; i+2 < len(n.Inputs)+1; i += 3 {
			v, ok2 := p.value(n.In(i), n.In(i+1), n.In(i+2), false)
			ok = ok && ok2
			vs = append(vs, v)
		}
		return ok && p.join(n, vs, out, int(n.Int("axis", 0)))
	case "QLinearGlobalAveragePool", "QLinearAveragePool":
		x, ok := p.value(n.In(0), n.In(1), n.In(2), false)
		out, ok2 := p.value(n.Out(0), n.In(3), n.In(4), true)
		return ok && ok2 && p.pooling(n.Op[len("QLinear"):], n, n, x, out, 0, 255)
	case "QLinearSigmoid", "QLinearLeakyRelu":
		return p.qlinearUnary(n)
	}
	return false
}

// qlinearConv is QLinearConv with constant weights.
func (p *qdq) qlinearConv(n *model.Node) bool {
	x, ok := p.value(n.In(0), n.In(1), n.In(2), false)
	out, ok2 := p.value(n.Out(0), n.In(6), n.In(7), true)
	if !ok || !ok2 || p.e.constant(x.name) != nil {
		return false
	}
	w, ws, err := p.intWeights(p.e.constant(n.In(3)), n.In(4), n.In(5), 0)
	if err != nil || !convFits(n, w.Tensor) {
		return false
	}
	b, err := p.intBias(n.In(8), w.Shape()[0])
	return err == nil && p.product(n, n, x, w, ws, b, out, 0, 255)
}

// intBias reads a constant bias of 32 bits.
func (p *qdq) intBias(name string, n int) ([]int32, error) {
	if name == "" {
		return nil, nil
	}
	t := p.e.constant(name)
	if t == nil || t.DType() != model.Int32 || t.Len() != n {
		return nil, fmt.Errorf("the bias is no constant of 32 bits")
	}
	return model.Data[int32](t)
}

// qlinearMatMul is QLinearMatMul with a constant matrix on the right.
func (p *qdq) qlinearMatMul(n *model.Node) bool {
	x, ok := p.value(n.In(0), n.In(1), n.In(2), false)
	out, ok2 := p.value(n.Out(0), n.In(6), n.In(7), true)
	if !ok || !ok2 || p.e.constant(x.name) != nil {
		return false
	}
	w, ws, err := p.intWeights(p.e.constant(n.In(3)), n.In(4), n.In(5), 1)
	if err != nil || w.Rank() != 2 {
		return false
	}
	if w.Tensor, err = transposedBytes(w.Tensor); err != nil {
		return false
	}
	return p.product(n, n, x, w, ws, nil, out, 0, 255)
}

// qgemm is QGemm: A, aScale, aZero, B, bScale, bZero, C, yScale, yZero; without yScale the result is float.
func (p *qdq) qgemm(n *model.Node) bool {
	x, ok := p.value(n.In(0), n.In(1), n.In(2), false)
	out, ok2 := p.value(n.Out(0), n.In(7), n.In(8), true)
	alpha := n.Float("alpha", 1)
	if !ok || !ok2 || p.e.constant(x.name) != nil || n.Int("transA", 0) != 0 || !(alpha > 0) || math.IsInf(float64(alpha), 0) {
		return false
	}
	ax := 1
	if n.Int("transB", 0) != 0 {
		ax = 0
	}
	w, ws, err := p.intWeights(p.e.constant(n.In(3)), n.In(4), n.In(5), ax)
	if err != nil || w.Rank() != 2 {
		return false
	}
	if ax == 1 {
		if w.Tensor, err = transposedBytes(w.Tensor); err != nil {
			return false
		}
	}
	b, err := p.intBias(n.In(6), w.Shape()[0])
	if err != nil {
		return false
	}
	x.scale *= alpha
	return p.product(n, n, x, w, ws, b, out, 0, 255)
}

// qlinearUnary is a function of one value as a table.
func (p *qdq) qlinearUnary(n *model.Node) bool {
	x, ok := p.value(n.In(0), n.In(1), n.In(2), false)
	out, ok2 := p.value(n.Out(0), n.In(3), n.In(4), true)
	if !ok || !ok2 || p.e.constant(x.name) != nil {
		return false
	}
	t := qlinearTable(n, x, out)
	names, rank := p.forms(x)
	return p.emit(p.tableNode(names[0], t), n, out, rank)
}

// floatProduct turns a MatMul or Gemm of quantized inputs whose result is not quantized into QuantMatMul.
func (p *qdq) floatProduct(n *model.Node) bool {
	gemm := n.Is("Gemm")
	if !gemm && !n.Is("MatMul") || !p.quantized(n) {
		return false
	}
	x, ok := p.dequantized(n.In(0))
	if !ok || p.e.from(n.In(1), "DequantizeLinear") == nil || p.e.constant(x.name) != nil {
		return false
	}
	if gemm && (n.Float("alpha", 1) != 1 || n.Int("transA", 0) != 0 || n.In(2) != "" && n.Float("beta", 1) != 1) {
		return p.stay(n, "alpha, beta or transA is set")
	}
	transposed := gemm && n.Int("transB", 0) != 0
	w, ws, err := p.matrix(n.In(1), transposed, false)
	if err != nil {
		if !gemm && p.e.constant(n.In(1)) == nil {
			return false
		}
		return p.stay(n, err.Error())
	}
	if _, ok := products(x.scale, ws); !ok {
		return p.stay(n, scalesLeave)
	}
	f := &model.Node{Name: n.Name, Op: "QuantMatMul", Domain: fusedDomain, Outputs: n.Outputs, Inputs: []string{p.plain(x), "",
		p.e.addConstant(model.FromSlice([]int{1}, []float32{x.scale})), p.e.addConstant(model.FromSlice([]int{len(ws)}, ws)),
		p.e.addConstant(model.FromSlice([]int{1}, []uint8{x.zero})), ""}}
	if n.In(2) != "" {
		b := p.floatBias(n.In(2), w.Shape()[1])
		if b == nil {
			return p.stay(n, "its C is no constant row")
		}
		f.Inputs = append(f.Inputs, p.e.addConstant(b))
	}
	f.Inputs[1] = p.e.addConstant(w.Tensor)
	if w.zero != nil {
		f.Inputs[5] = p.e.addConstant(model.FromSlice([]int{len(w.zero)}, w.zero))
	}
	p.e.replace(f, n)
	return true
}

// floatBias returns a constant row of n floats, also behind DequantizeLinear; nil if it is none.
func (p *qdq) floatBias(name string, n int) *model.Tensor {
	t := p.e.constant(name)
	if d := p.e.from(name, "DequantizeLinear"); d != nil {
		t = p.evaluate(d)
	}
	if t == nil || t.DType() != model.Float32 || t.Len() != n {
		return nil
	}
	t, err := t.Reshape([]int{n})
	if err != nil {
		return nil
	}
	return t
}

// foldWeights computes a DequantizeLinear of a constant that integer operators have no use for. Those of 4 and 8 bits before products
// and gathers stay: other passes keep such weights in their bytes. Readers that an integer operator has taken the place of do not count.
func (p *qdq) foldWeights(n *model.Node, live map[*model.Node]bool) {
	if p.e.gone[n] || !n.Is("DequantizeLinear") || p.e.pinned[n.Out(0)] {
		return
	}
	t := p.e.constant(n.In(0))
	users := slices.DeleteFunc(slices.Clone(p.e.users[n.Out(0)]), func(u *model.Node) bool { return !live[u] })
	if t == nil || t.Len() > maxFoldBytes/4 || len(users) == 0 {
		return
	}
	switch t.DType() {
	case model.Int16, model.Uint16, model.Float8E4M3FN, model.Float8E5M2, model.Float8E4M3FNUZ, model.Float8E5M2FNUZ, model.Int32: // nothing multiplies these
	case model.Int8, model.Uint8, model.Int4, model.Uint4:
		for _, u := range users {
			if u.Is("MatMul") || u.Is("Gemm") || u.Is("Gather") {
				return
			}
		}
	default:
		return
	}
	if f := p.evaluate(n); f != nil {
		for _, u := range users {
			p.stored[u] = true
		}
		p.e.remove(n)
		p.e.g.SetInitializer(n.Out(0), f)
	}
}
