package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// A rule adds the nodes that turn the derivatives dy of a node's outputs ("" where the loss does not depend on one) into those of
// its inputs, and returns their names ("" where there is none).
type rule func(b *builder, n *model.Node, dy []string) ([]string, error)

// ruleOf returns the rule of n's operator, or nil.
func ruleOf(n *model.Node) rule {
	switch n.Domain {
	case "", "ai.onnx":
		return rules[n.Op]
	case Domain:
		return lossRules[n.Op]
	case "com.microsoft":
		if n.Op == "Gelu" {
			return geluRule
		}
	}
	return nil
}

// rules holds the derivative of every operator of the default domain that has one here. A line is all it takes to add one.
var rules = map[string]rule{
	"Identity": passRule, "Dropout": dropoutRule, "Cast": castRule,
	"Add": addRule, "Sum": sumRule, "Sub": subRule, "Mul": mulRule, "Div": divRule, "Neg": unary("Neg", ""),
	"Exp": expRule, "Log": logRule, "Sqrt": sqrtRule, "Pow": powRule, "Reciprocal": reciprocalRule, "Abs": absRule,
	"Tanh": fromOutput("TanhGrad"), "Sigmoid": fromOutput("SigmoidGrad"), "Relu": fromOutput("ReluGrad"),
	"Gelu": geluRule, "Erf": fromInput("ErfGrad"), "Clip": clipRule, "Where": whereRule,
	"MatMul": matMulRule, "Gemm": gemmRule, "Gather": gatherRule, "LSTM": lstmRule, "GRU": gruRule,
	"Softmax": softmaxRule("SoftmaxGrad"), "LogSoftmax": softmaxRule("LogSoftmaxGrad"), "LayerNormalization": layerNormRule,
	"ReduceMean": reduceRule("mean"), "ReduceSum": reduceRule("sum"), "ReduceMax": reduceRule("max"),
	"Transpose": transposeRule, "Reshape": reshapeRule, "Squeeze": reshapeRule, "Unsqueeze": reshapeRule, "Flatten": reshapeRule,
	"Concat": concatRule, "Slice": sliceRule, "Split": splitRule, "Expand": expandRule,
}

func passRule(_ *builder, _ *model.Node, dy []string) ([]string, error) { return dy[:1], nil }

// dropoutRule passes the derivative on: a model is trained here as it is evaluated, without dropping.
func dropoutRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	if name := n.In(2); name != "" {
		t := b.initializer(name)
		if t == nil {
			return nil, fmt.Errorf("training_mode %q is not a constant: %w", name, model.ErrUnsupported)
		}
		if raw, err := t.Bytes(); err != nil || len(raw) != 1 || raw[0] != 0 {
			return nil, fmt.Errorf("training_mode is set: %w", model.ErrUnsupported)
		}
	}
	return dy[:1], nil
}

func castRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.own("CastLike", []string{dy[0], n.Inputs[0]})}, nil
}

// sumTo adds the node that undoes broadcasting: d summed over what was repeated to make it from the shape of like.
func (b *builder) sumTo(d, like string) string { return b.own("SumTo", []string{d, like}) }

func addRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return b.eachWanted(n, func(i int) string { return b.sumTo(dy[0], n.Inputs[i]) }), nil
}

// sumRule is that of Sum, an Add of any number of inputs.
func sumRule(b *builder, n *model.Node, dy []string) ([]string, error) { return addRule(b, n, dy) }

// eachWanted calls f for every input whose derivative is asked for.
func (b *builder) eachWanted(n *model.Node, f func(i int) string) []string {
	out := make([]string, len(n.Inputs))
	for i := range n.Inputs {
		if b.wants(n, i) {
			out[i] = f(i)
		}
	}
	return out
}

func subRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return b.eachWanted(n, func(i int) string {
		d := dy[0]
		if i == 1 {
			d = b.onnx("Neg", d)
		}
		return b.sumTo(d, n.Inputs[i])
	}), nil
}

func mulRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return b.eachWanted(n, func(i int) string {
		return b.sumTo(b.onnx("Mul", dy[0], n.Inputs[1-i]), n.Inputs[i])
	}), nil
}

// divRule: y = a/c, da = dy/c, dc = -dy y/c.
func divRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return b.eachWanted(n, func(i int) string {
		d := b.onnx("Div", dy[0], n.Inputs[1])
		if i == 1 {
			d = b.onnx("Neg", b.onnx("Mul", d, n.Outputs[0]))
		}
		return b.sumTo(d, n.Inputs[i])
	}), nil
}

// unary returns the rule dx = op(dy) of a linear operator.
func unary(op, domain string) rule {
	return func(b *builder, _ *model.Node, dy []string) ([]string, error) {
		return b.node(op, domain, dy[:1], 1), nil
	}
}

// fromOutput returns the rule dx = op(dy, y).
func fromOutput(op string) rule {
	return func(b *builder, n *model.Node, dy []string) ([]string, error) {
		return []string{b.own(op, []string{dy[0], n.Outputs[0]})}, nil
	}
}

// fromInput returns the rule dx = op(dy, x).
func fromInput(op string) rule {
	return func(b *builder, n *model.Node, dy []string) ([]string, error) {
		return []string{b.own(op, []string{dy[0], n.Inputs[0]})}, nil
	}
}

func expRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.onnx("Mul", dy[0], n.Outputs[0])}, nil
}

func logRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.onnx("Div", dy[0], n.Inputs[0])}, nil
}

// sqrtRule: dx = dy / (2 y).
func sqrtRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.onnx("Div", b.onnx("Mul", dy[0], b.scalar(0.5)), n.Outputs[0])}, nil
}

// reciprocalRule: dx = -dy y^2.
func reciprocalRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	y := n.Outputs[0]
	return []string{b.onnx("Neg", b.onnx("Mul", dy[0], b.onnx("Mul", y, y)))}, nil
}

func absRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	return []string{b.onnx("Mul", dy[0], b.onnx("Sign", n.Inputs[0]))}, nil
}

// powRule: y = x^e, dx = dy e x^(e-1), de = dy y ln x.
func powRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	x, e := n.Inputs[0], n.Inputs[1]
	return b.eachWanted(n, func(i int) string {
		if i == 1 {
			return b.sumTo(b.onnx("Mul", b.onnx("Mul", dy[0], n.Outputs[0]), b.onnx("Log", x)), e)
		}
		p := b.onnx("Pow", x, b.onnx("Sub", e, b.scalar(1)))
		return b.sumTo(b.onnx("Mul", dy[0], b.onnx("Mul", e, p)), x)
	}), nil
}

func geluRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	a := model.StringAttr("approximate", n.Str("approximate", "none"))
	return []string{b.own("GeluGrad", []string{dy[0], n.Inputs[0]}, a)}, nil
}

func clipRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	lo, hi := n.In(1), n.In(2)
	if b.wants(n, 1) || b.wants(n, 2) {
		return nil, fmt.Errorf("the bounds are trained: %w", model.ErrUnsupported)
	}
	if a := n.Attr("min"); a != nil {
		lo = b.scalar(a.F)
	}
	if a := n.Attr("max"); a != nil {
		hi = b.scalar(a.F)
	}
	return []string{b.own("ClipGrad", []string{dy[0], n.Inputs[0], lo, hi})}, nil
}

func whereRule(b *builder, n *model.Node, dy []string) ([]string, error) {
	zero := b.scalar(0)
	return b.eachWanted(n, func(i int) string {
		in := []string{n.Inputs[0], dy[0], zero}
		if i == 2 {
			in[1], in[2] = zero, dy[0]
		}
		return b.sumTo(b.onnx("Where", in...), n.Inputs[i])
	}), nil
}
