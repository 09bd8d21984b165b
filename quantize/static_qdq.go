package quantize

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// node writes a quantized node in the format of the plan.
func (w *staticWriter) node(n *planned) {
	if n.gone {
		w.bypass(n)
		return
	}
	if w.p.Format == QOperator && w.integer(n) {
		return
	}
	w.float(n)
}

// bypass leaves out a clamp: its producer makes the quantized output.
func (w *staticWriter) bypass(n *planned) {
	m := w.p.maker[n.In(0)]
	if w.p.Format == QOperator && w.p.integral(m) {
		w.dequantizeBorn(n.Out(0))
		return
	}
	for i, o := range m.Outputs {
		if o == n.In(0) {
			m.Outputs[i] = w.makes(n.Out(0))
		}
	}
}

// float writes a node between DequantizeLinear and QuantizeLinear.
func (w *staticWriter) float(n *planned) {
	for i, in := range n.Inputs {
		if in == "" || !n.quantizes(i) {
			continue
		}
		if w.p.acts[in] != nil {
			n.Inputs[i] = w.dequantized(in)
		} else if n.place == follow && w.p.consts[in] != nil {
			n.Inputs[i] = w.floatConstant(in)
		}
	}
	if n.weight != nil {
		n.Inputs[1] = w.floatWeight(n)
		if n.bias != nil && n.bias.q != nil {
			n.Inputs[2] = w.floatBias(n)
		} else if n.bias != nil {
			n.Inputs[2] = w.plainBias(n)
		}
	}
	w.nodes = append(w.nodes, n.Node)
	for i, o := range n.Outputs {
		if o != "" {
			n.Outputs[i] = w.makes(o)
		}
	}
}

// quantizes reports whether input i of a quantized node is an activation that is quantized.
func (n *planned) quantizes(i int) bool { return i == 0 || n.place == follow }

func (w *staticWriter) floatConstant(name string) string {
	return w.once("dq "+name, func() string {
		q, err := w.constant(name)
		if err != nil {
			return name // not finite: it stays as it is
		}
		out := w.p.names.name(name + "_dequantized")
		w.add("DequantizeLinear", "", name+"_DequantizeLinear", q[:], out)
		return out
	})
}

func (w *staticWriter) floatWeight(n *planned) string {
	sw := n.weight
	return w.once(fmt.Sprintf("dq %d %s", sw.axis, sw.name), func() string {
		names := w.weight(sw)
		var attrs []model.Attr
		if sw.axis >= 0 {
			attrs = append(attrs, model.IntAttr("axis", int64(sw.axis)))
		}
		out := w.p.names.name(sw.name + "_dequantized")
		w.add("DequantizeLinear", "", sw.name+"_DequantizeLinear", names[:], out, attrs...)
		return out
	})
}

// biasBase returns a name for the quantized bias of n: the scale depends on the input too.
func (w *staticWriter) biasBase(n *planned) string { return n.In(2) }

func (w *staticWriter) floatBias(n *planned) string {
	base := w.biasBase(n)
	names := w.triple("bias of "+n.Out(0), base, func() [3]*model.Tensor { return n.bias.tensors(n.weight) })
	var attrs []model.Attr
	if n.weight.axis >= 0 && !n.bias.own {
		attrs = append(attrs, model.IntAttr("axis", 0))
	}
	out := w.p.names.name(base + "_dequantized")
	w.add("DequantizeLinear", "", base+"_DequantizeLinear", names[:], out, attrs...)
	return out
}

// plainBias returns the name of a bias that stays float: its own unless a helper changed the values.
func (w *staticWriter) plainBias(n *planned) string {
	if !n.bias.changed {
		return n.In(2)
	}
	return w.initializer(n.In(2)+"_corrected", model.FromSlice([]int{len(n.bias.x)}, n.bias.x))
}
