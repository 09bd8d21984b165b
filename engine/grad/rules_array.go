package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

func transposeRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	perm := n.Ints("perm")
	var attrs []model.Attr
	if perm != nil {
		inverse := make([]int64, len(perm))
		for i, p := range perm {
			if p < 0 || int(p) >= len(perm) {
				return nil, fmt.Errorf("perm %v is no permutation", perm)
			}
			inverse[p] = int64(i)
		}
		attrs = append(attrs, model.IntsAttr("perm", inverse...))
	}
	return b.node("Transpose", "", dy[:1], 1, attrs...), nil
}

// reshapeRule is that of every operator that only changes the shape.
func reshapeRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.own("ReshapeLike", []string{dy[0], n.Inputs[0]})}, nil
}

func expandRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.sumTo(dy[0], n.Inputs[0])}, nil
}

func concatRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	in := append([]string{dy[0]}, n.Inputs...)
	return b.node("ConcatGrad", Domain, in, len(n.Inputs), model.IntAttr("axis", n.Int("axis", 1))), nil
}

// sliceRule scatters dy into zeros. Before opset 10 the bounds are attributes.
func sliceRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	in := []string{dy[0], n.Inputs[0], n.In(1), n.In(2), n.In(3), n.In(4)}
	var attrs []model.Attr
	for _, name := range []string{"starts", "ends", "axes"} {
		if v := n.Ints(name); v != nil {
			attrs = append(attrs, model.IntsAttr(name, v...))
		}
	}
	return []string{b.own("SliceGrad", in, attrs...)}, nil
}

// splitRule joins the derivatives of the parts, zeros for those that the loss does not depend on.
func splitRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	parts := make([]string, len(dy))
	for i, d := range dy {
		if n.Outputs[i] == "" {
			return nil, fmt.Errorf("output %d has no name: %w", i, model.ErrUnsupported)
		}
		if parts[i] = d; d == "" {
			parts[i] = b.own("ZerosLike", []string{n.Outputs[i]})
		}
	}
	return b.node("Concat", "", parts, 1, model.IntAttr("axis", n.Int("axis", 0))), nil
}

func gatherRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	a := model.IntAttr("axis", n.Int("axis", 0))
	return []string{b.own("GatherGrad", []string{dy[0], n.Inputs[0], n.Inputs[1]}, a)}, nil
}

// reduceRule spreads dy over the elements that were reduced; axes come as an attribute or, later, as an input.
func reduceRule(kind string) rule {
	return func(b *builder, n *model.Node, dy []string) ([]string, error) {
		in := []string{dy[0], n.Inputs[0], n.Outputs[0], n.In(1)}
		attrs := []model.Attr{model.StringAttr("kind", kind), model.IntAttr("noop", n.Int("noop_with_empty_axes", 0))}
		if axes := n.Ints("axes"); axes != nil {
			attrs = append(attrs, model.IntsAttr("axes", axes...))
		}
		return []string{b.own("ReduceGrad", in, attrs...)}, nil
	}
}

// softmaxRule returns the rule of Softmax and LogSoftmax; before opset 13 they work on all axes from axis on.
func softmaxRule(op string) rule {
	return func(b *builder, n *model.Node, dy []string) ([]string, error) {
		axis, flatten := n.Int("axis", -1), int64(0)
		if b.opset() < 13 {
			axis, flatten = n.Int("axis", 1), 1
		}
		return []string{b.own(op, []string{dy[0], n.Outputs[0]}, model.IntAttr("axis", axis), model.IntAttr("flatten", flatten))}, nil
	}
}

func layerNormRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	for _, d := range dy[1:] {
		if d != "" {
			return nil, fmt.Errorf("the loss depends on its mean or deviation: %w", model.ErrUnsupported)
		}
	}
	return b.node("LayerNormGrad", Domain, []string{dy[0], n.Inputs[0], n.Inputs[1]}, 3,
		model.IntAttr("axis", n.Int("axis", -1)), model.FloatAttr("epsilon", n.Float("epsilon", 1e-5))), nil
}

func matMulRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return b.eachWanted(n, func(i int) string {
		return b.own("MatMulGrad", []string{dy[0], n.Inputs[0], n.Inputs[1]}, model.IntAttr("input", int64(i)))
	}), nil
}

// gemmRule: Y = alpha A'B' + beta C, where ' is the transposition that transA and transB ask for. dA' = alpha dY B'^T,
// dB' = alpha A'^T dY, dC = beta dY.
func gemmRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	alpha, beta := n.Float("alpha", 1), n.Float("beta", 1)
	ta, tb := n.Int("transA", 0), n.Int("transB", 0)
	gemm := func(x, y string, tx, ty int64) string {
		return b.node("Gemm", "", []string{x, y}, 1, model.FloatAttr("alpha", alpha), model.IntAttr("transA", tx),
			model.IntAttr("transB", ty))[0]
	}
	x, w, d := n.Inputs[0], n.Inputs[1], dy[0]
	return b.eachWanted(n, func(i int) string {
		switch {
		case i == 0 && ta == 0:
			return gemm(d, w, 0, 1-tb)
		case i == 0:
			return gemm(w, d, tb, 1)
		case i == 1 && tb == 0:
			return gemm(x, d, 1-ta, 0)
		case i == 1:
			return gemm(d, x, 1, ta)
		}
		if beta != 1 {
			d = b.onnx("Mul", d, b.scalar(beta))
		}
		return b.sumTo(d, n.Inputs[2])
	}), nil
}

// recurrentRule checks what LSTM and GRU have in common and turns n into its twin of Domain.
func recurrentRule(b *builder, n *model.Node, extras int) error {
	switch {
	case n.Attr("clip") != nil && n.Float("clip", 0) != 0:
		return fmt.Errorf("clip: %w", model.ErrUnsupported)
	case n.Int("layout", 0) != 0:
		return fmt.Errorf("layout 1: %w", model.ErrUnsupported)
	case n.Int("input_forget", 0) != 0:
		return fmt.Errorf("input_forget: %w", model.ErrUnsupported)
	case n.In(7) != "":
		return fmt.Errorf("peepholes: %w", model.ErrUnsupported)
	}
	want := []string{"Sigmoid", "Tanh", "Tanh"}
	if n.Op == "GRU" {
		want = want[:2]
	}
	if a := n.Attr("activations"); a != nil {
		for i, s := range a.Strings {
			if string(s) != want[i%len(want)] {
				return fmt.Errorf("activation %q: %w", s, model.ErrUnsupported)
			}
		}
	}
	n.Domain = Domain
	outs := make([]string, 3+extras)
	copy(outs, n.Outputs)
	if outs[0] == "" {
		outs[0] = b.fresh(n.Name + "/Y") // the backward pass reads every hidden state
	}
	for i := range extras {
		outs[3+i] = b.fresh(n.Name + "/saved")
	}
	n.Outputs = outs
	return nil
}

// lstmRule reads the saved gates and cells of the forward pass.
func lstmRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return recurrentGrad(b, n, dy, 2, "LSTMGrad", 7)
}

func gruRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return recurrentGrad(b, n, dy, 2, "GRUGrad", 6)
}

// recurrentGrad adds the backward node: inputs X, W, R, B, lens, h0, c0 | Y, saved... | dY, dY_h, dY_c; one output per forward input.
func recurrentGrad(b *builder, n *model.Node, dy []string, extras int, op string, ins int) ([]string, error) {
	if err := recurrentRule(b, n, extras); err != nil {
		return nil, err
	}
	in := make([]string, 7, 14)
	for i := range ins {
		in[i] = n.In(i)
	}
	in = append(in, n.Outputs[0])
	in = append(in, n.Outputs[3:]...)
	for i := range 3 {
		d := ""
		if i < len(dy) {
			d = dy[i]
		}
		in = append(in, d)
	}
	node := &model.Node{Op: op, Domain: Domain, Inputs: in}
	node.Attrs = append(node.Attrs, n.Attrs...)
	node.Name = b.fresh("grad/" + n.Op)
	out := make([]string, ins)
	for i := range ins {
		if b.wants(n, i) {
			out[i] = b.fresh(fmt.Sprintf("%s:%d", node.Name, i))
		}
	}
	node.Outputs = append([]string(nil), out...)
	b.nodes = append(b.nodes, node)
	return out, nil
}
