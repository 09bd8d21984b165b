package engine

import (
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// actAttr holds the kernel.Activation that a fused node applies last.
const actAttr = "wattshed.act"

// epiloguePass gives matrix products their bias, residual and activation, and convolutions their activation.
func epiloguePass(c *compiler, g *model.Graph) error {
	for _, f := range []func(e *editor, n *model.Node){startMatMul, addBias, addResidual, scaleAsConv, scaleConv, addConvBias, addConvResidual, addActivation} {
		if err := rewrite(f)(c, g); err != nil {
			return err
		}
	}
	return nil
}

// startMatMul turns MatMul with a constant float32 matrix into the fused operator: A, B, bias, residual.
func startMatMul(e *editor, n *model.Node) {
	if !n.Is("MatMul") {
		return
	}
	b := e.constant(n.In(1))
	if b == nil || b.Rank() != 2 || b.DType() != model.Float32 || b.Len() == 0 {
		return
	}
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") && activationOf(e, add) == kernel.ActNone {
		return
	}
	e.replace(&model.Node{Name: n.Name, Op: "MatMul", Domain: fusedDomain, Inputs: []string{n.In(0), n.In(1), "", ""}, Outputs: n.Outputs}, n)
}

// fusedInputs returns the positions of bias and residual in a fused product; ok is false for other nodes.
func fusedInputs(n *model.Node) (bias, residual int, ok bool) {
	if n.Domain == "com.microsoft" && n.Op == "MatMulNBits" {
		return 5, 6, true // the bias is the operator's own, the residual ours
	}
	if n.Domain != fusedDomain {
		return 0, 0, false
	}
	switch n.Op {
	case "MatMul":
		return 2, 3, true
	case "QuantMatMul":
		return 6, 7, true
	}
	return 0, 0, false
}

// withInput returns a copy of n with input i set and the outputs of last.
func withInput(n *model.Node, i int, name string, last *model.Node) *model.Node {
	c := *n
	c.Inputs = append([]string(nil), n.Inputs...)
	for len(c.Inputs) <= i {
		c.Inputs = append(c.Inputs, "")
	}
	c.Inputs[i] = name
	c.Outputs = append([]string(nil), last.Outputs...)
	c.Attrs = append([]model.Attr(nil), n.Attrs...)
	return &c
}

func addBias(e *editor, n *model.Node) {
	at, _, ok := fusedInputs(n)
	if !ok || n.In(at) != "" || n.Domain != fusedDomain {
		return
	}
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") {
		return
	}
	name := other(add, n.Out(0))
	b, w := e.constant(name), e.constant(n.In(1))
	if b == nil || w == nil || b.Rank() != 1 || b.Len() != w.Shape()[1] || b.DType() != model.Float32 {
		return
	}
	e.replace(withInput(n, at, name, add), n, add)
}

// addResidual takes an addition of another value of the same shape, proven by symbolic shapes.
func addResidual(e *editor, n *model.Node) {
	_, at, ok := fusedInputs(n)
	if !ok || n.In(at) != "" {
		return
	}
	add := e.user(n.Out(0))
	if add == nil || !add.Is("Add") || len(add.Inputs) != 2 || add.In(0) == add.In(1) {
		return
	}
	name := other(add, n.Out(0))
	a, b := e.c.shapes[n.Out(0)], e.c.shapes[name]
	if e.constant(name) != nil || a == nil || b == nil || len(a) != len(b) {
		return
	}
	for i := range a {
		if a[i] != b[i] {
			return
		}
	}
	e.replace(withInput(n, at, name, add), n, add)
}

// activationOf returns the activation that a node of one input is, or ActNone.
func activationOf(e *editor, n *model.Node) kernel.Activation {
	if n.Domain == fusedDomain && n.Op == "SiLU" {
		return kernel.ActSiLU
	}
	switch {
	case n.Is("Relu"):
		return kernel.ActRelu
	case n.Is("Gelu"):
		if n.Str("approximate", "none") == "tanh" {
			return kernel.ActGeluTanh
		}
		return kernel.ActGeluErf
	case n.Is("Tanh"):
		return kernel.ActTanh
	case n.Is("Sigmoid"):
		return kernel.ActSigmoid
	case n.Is("HardSwish"):
		return kernel.ActHardSwish
	case n.Is("Clip") && e.clipIs(n, 0, 6):
		return kernel.ActClip6
	}
	return kernel.ActNone
}

func addActivation(e *editor, n *model.Node) {
	_, _, ok := fusedInputs(n)
	ok = ok || n.Domain == fusedDomain && (n.Op == "Conv" || n.Op == "QuantConvFloat")
	conv := n.Is("Conv") && (n.Domain == "" || n.Domain == "ai.onnx")
	gemm := n.Is("Gemm")
	if !ok && !conv && !gemm || n.Int(actAttr, 0) != 0 {
		return
	}
	if (conv || gemm) && !e.isFloat32(n.In(1)) {
		return
	}
	if gemm && n.In(2) != "" && !e.rowBias(n) {
		return
	}
	act := e.user(n.Out(0))
	if act == nil {
		return
	}
	k := activationOf(e, act)
	if k == kernel.ActNone {
		return
	}
	f := withInput(n, 0, n.In(0), act)
	f.SetAttr(model.IntAttr(actAttr, int64(k)))
	e.replace(f, n, act)
}

// rowBias reports whether the C of a Gemm is a constant row added as it is, which the kernel's epilogue does.
func (e *editor) rowBias(n *model.Node) bool {
	b, w := e.constant(n.In(2)), e.constant(n.In(1))
	if b == nil || w == nil || w.Rank() != 2 || n.Float("beta", 1) != 1 {
		return false
	}
	cols := w.Shape()[1]
	if n.Int("transB", 0) != 0 {
		cols = w.Shape()[0]
	}
	return b.Len() == cols && (b.Rank() == 1 || b.Rank() == 2 && b.Shape()[0] == 1)
}

// isFloat32 reports whether a name is a constant of type float32.
func (e *editor) isFloat32(name string) bool {
	t := e.constant(name)
	return t != nil && t.DType() == model.Float32
}

// fuseConvBN multiplies the scale of a batch normalisation into the weights of the convolution before it.
func fuseConvBN(e *editor, n *model.Node) {
	if !n.Is("BatchNormalization") || n.Int("training_mode", 0) != 0 {
		return
	}
	for _, o := range n.Outputs[1:] {
		if o != "" && (len(e.users[o]) > 0 || e.pinned[o]) {
			return
		}
	}
	conv := e.from(n.In(0), "Conv")
	if conv == nil || !e.inner(conv, n) || !e.isFloat32(conv.In(1)) || conv.In(2) != "" && !e.isFloat32(conv.In(2)) {
		return
	}
	w := e.constant(conv.In(1))
	if w.Rank() < 3 || w.Shape()[0] == 0 {
		return
	}
	ch := w.Shape()[0]
	var v [4][]float32
	for i := range v {
		t := e.constant(n.In(1 + i))
		if t == nil || t.DType() != model.Float32 || t.Len() != ch {
			return
		}
		x, err := t.Float32()
		if err != nil {
			return
		}
		v[i] = x
	}
	scale, bias := make([]float64, ch), make([]float32, ch)
	if conv.In(2) != "" {
		b, err := e.constant(conv.In(2)).Float32()
		if err != nil || len(b) != ch {
			return
		}
		copy(bias, b)
	}
	eps := float64(n.Float("epsilon", 1e-5))
	for k := range ch {
		s := float64(v[0][k]) / math.Sqrt(float64(v[3][k])+eps)
		scale[k] = s
		bias[k] = float32((float64(bias[k])-float64(v[2][k]))*s + float64(v[1][k]))
	}
	out, err := e.c.scaled(w, scale)
	if err != nil {
		return
	}
	c := *conv
	c.Inputs = []string{conv.In(0), e.addConstant(out), e.addConstant(model.FromSlice([]int{ch}, bias))}
	c.Outputs = n.Outputs[:1]
	e.replace(&c, conv, n)
}
