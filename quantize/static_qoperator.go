package quantize

import (
	"github.com/wattshed/wattshed/model"
)

// integral reports whether a node has an integer operator in the format QOperator.
func (p *staticPlan) integral(n *planned) bool {
	if n == nil || !n.on {
		return false
	}
	out := p.output(n)
	switch n.Op {
	case "Conv":
		return out != nil
	case "MatMul", "Gemm":
		return true
	case "Add", "Mul", "Concat", "Sigmoid", "LeakyRelu", "GlobalAveragePool", "AveragePool":
		if n.Op == "AveragePool" && n.Int("ceil_mode", 0) != 0 {
			return false
		}
		return true
	case "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split":
		return true
	}
	return false
}

// output returns the quantized output of a node, which may be that of the clamp behind it; nil for a float one.
func (p *staticPlan) output(n *planned) *activation {
	o := n.Out(0)
	if a := p.acts[o]; a != nil {
		return a
	}
	if r := p.readers[o]; len(r) == 1 && r[0].on && r[0].place == clamp && r[0].gone {
		return p.acts[r[0].Out(0)]
	}
	return nil
}

// dequantizeBorn makes the float form of a value whose 8-bit form an integer operator makes, where anything reads it.
func (w *staticWriter) dequantizeBorn(name string) {
	a := w.p.acts[name]
	if a == nil {
		return
	}
	read := w.p.pinned[name]
	for _, r := range w.p.readers[name] {
		read = read || !r.on || r.graph != w.g || !w.p.integral(r)
	}
	if read {
		scale, zero := w.params(a)
		w.add("DequantizeLinear", "", name+"_DequantizeLinear", []string{w.eightBit(name), scale, zero}, name)
	}
}

// operand returns values, scale and zero point of input i of an integer operator.
func (w *staticWriter) operand(n *planned, i int) ([3]string, bool) {
	in := n.In(i)
	if a := w.p.acts[in]; a != nil {
		q := w.quantized(in)
		scale, zero := w.params(a)
		return [3]string{q, scale, zero}, true
	}
	c, err := w.constant(in)
	return c, err == nil
}

// integer writes a node as an integer operator; false when it has none.
func (w *staticWriter) integer(n *planned) bool {
	if !w.p.integral(n) {
		return false
	}
	var operands [][3]string
	for i := range n.Inputs {
		if !n.quantizes(i) {
			break
		}
		o, ok := w.operand(n, i)
		if !ok {
			return false
		}
		operands = append(operands, o)
	}
	out := w.p.output(n)
	var scale, zero, name string
	if out != nil {
		scale, zero = w.params(out)
		name = w.eightBit(out.name)
	}
	label := n.Name
	if label == "" {
		label = n.Out(0)
	}
	label += "_quant"
	a := operands[0]
	switch n.Op {
	case "Conv":
		b := w.weight(n.weight)
		w.add("QLinearConv", "", label, []string{a[0], a[1], a[2], b[0], b[1], b[2], scale, zero, w.intBias(n)}, name, n.Attrs...)
	case "Gemm":
		b := w.weight(n.weight)
		if out == nil {
			name = n.Out(0)
		}
		var attrs []model.Attr
		for _, at := range n.Attrs {
			if at.Name != "beta" {
				attrs = append(attrs, at)
			}
		}
		w.add("QGemm", microsoft, label, []string{a[0], a[1], a[2], b[0], b[1], b[2], w.intBias(n), scale, zero}, name, attrs...)
	case "MatMul":
		b := w.weight(n.weight)
		if out == nil {
			w.add("MatMulIntegerToFloat", microsoft, label, []string{a[0], b[0], a[1], b[1], a[2], b[2]}, n.Out(0))
			return true
		}
		w.add("QLinearMatMul", "", label, []string{a[0], a[1], a[2], b[0], b[1], b[2], scale, zero}, name)
	case "Add", "Mul":
		b := operands[1]
		w.add("QLinear"+n.Op, microsoft, label, []string{a[0], a[1], a[2], b[0], b[1], b[2], scale, zero}, name)
	case "Concat":
		in := []string{scale, zero}
		for _, o := range operands {
			in = append(in, o[:]...)
		}
		w.add("QLinearConcat", microsoft, label, in, name, n.Attrs...)
	case "Sigmoid", "LeakyRelu", "GlobalAveragePool", "AveragePool":
		attrs := n.Attrs
		if n.Op == "LeakyRelu" || n.Op == "Sigmoid" {
			attrs = nil
			if at := n.Attr("alpha"); at != nil {
				attrs = []model.Attr{*at}
			}
		}
		w.add("QLinear"+n.Op, microsoft, label, []string{a[0], a[1], a[2], scale, zero}, name, attrs...)
	default:
		w.move(n, a[0])
		return true
	}
	if out != nil && out.name == n.Out(0) {
		w.dequantizeBorn(out.name)
	}
	return true
}

// move writes a node that moves values on their 8-bit form.
func (w *staticWriter) move(n *planned, q string) {
	outs := append([]string(nil), n.Outputs...)
	n.Inputs[0] = q
	for i, o := range outs {
		if o != "" {
			n.Outputs[i] = w.eightBit(o)
		}
	}
	w.nodes = append(w.nodes, n.Node)
	for _, o := range outs {
		if o != "" {
			w.dequantizeBorn(o)
		}
	}
}

// intBias returns the name of the int32 bias of n, "" when it has none.
func (w *staticWriter) intBias(n *planned) string {
	if n.bias == nil {
		return ""
	}
	return w.triple("bias of "+n.Out(0), w.biasBase(n), func() [3]*model.Tensor { return n.bias.tensors(n.weight) })[0]
}
