package quantize

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// rewrite puts the plan into the graph.
func (p *dynamicPlan) rewrite(g *model.Graph) {
	dead := map[*model.Graph]map[string]bool{}
	for _, w := range p.weights {
		if w.why != "" {
			continue
		}
		for _, f := range w.forms {
			f.names = p.initializers(w.Weight, f)
		}
		if dead[w.Graph] == nil {
			dead[w.Graph] = map[string]bool{}
		}
		dead[w.Graph][w.Value] = true
	}
	if p.graph(g) {
		g.SetOpset(microsoft, max(1, g.Opset(microsoft)))
	}
	dropWeights(g, dead)
	modernize(g)
}

const microsoft = "com.microsoft"

// initializers adds the tensors of f to the graph that held the float weight.
func (p *dynamicPlan) initializers(w *model.Weight, f *packed) [3]string {
	base := w.Value
	if f.form == transposed {
		base += "_transposed"
	}
	names := [3]string{p.names.name(base + "_quantized"), p.names.name(base + "_scale"), p.names.name(base + "_zero_point")}
	for i, t := range []*model.Tensor{f.q, f.scale, f.zero} {
		w.Graph.SetInitializer(names[i], t)
	}
	return names
}

// graph rewrites the nodes of g and of its bodies in their order; it reports whether a node of
// com.microsoft was made.
func (p *dynamicPlan) graph(g *model.Graph) (contrib bool) {
	b := &nodeBuilder{names: p.names, quantized: map[string][3]string{}, restored: map[*packed]string{}, nodes: make([]*model.Node, 0, len(g.Nodes))}
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			contrib = p.graph(sub) || contrib
		}
		b.label = n.Name
		if b.label == "" {
			b.label = n.Out(0)
		}
		switch w := p.reads(n); {
		case w == nil:
			b.nodes = append(b.nodes, n)
		case n.Op == "LSTM":
			contrib = true
			p.lstm(n)
			b.nodes = append(b.nodes, n)
		case n.Op == "Gather":
			b.gather(n, w.form(table))
		case n.Op == "GRU" || n.Op == "RNN":
			b.restore(n, p)
		default:
			b.product(n, w.form(formOf(model.Use{Node: n, Input: 1})))
		}
	}
	g.Nodes = b.nodes
	return contrib
}

// reads returns the quantized weight that n multiplies by or looks up, or nil.
func (p *dynamicPlan) reads(n *model.Node) *dynamicWeight {
	var at []int
	switch {
	case n.Is("Gather"):
		at = []int{0}
	case n.Is("MatMul") || n.Is("Gemm") || n.Is("LSTM"):
		at = []int{1}
	case n.Is("GRU") || n.Is("RNN"):
		at = []int{1, 2}
	}
	for _, i := range at {
		if w := p.at[input{n, i}]; w != nil && w.why == "" {
			return w
		}
	}
	return nil
}

// lstm turns n into com.microsoft.DynamicQuantizeLSTM: the inputs of LSTM with the matrices quantized, then
// scale and zero point of W and of R.
func (p *dynamicPlan) lstm(n *model.Node) {
	for len(n.Inputs) < 12 {
		n.Inputs = append(n.Inputs, "")
	}
	for i := range 2 {
		names := p.at[input{n, 1 + i}].form(gates).names
		n.Inputs[1+i], n.Inputs[8+2*i], n.Inputs[9+2*i] = names[0], names[1], names[2]
	}
	var attrs []model.Attr
	for _, a := range n.Attrs {
		if a.Name != "layout" {
			attrs = append(attrs, a)
		}
	}
	n.Op, n.Domain, n.Attrs = "DynamicQuantizeLSTM", microsoft, attrs
}

// restore lets a GRU or RNN read its matrices from DequantizeLinear, one in a graph for all readers.
func (b *nodeBuilder) restore(n *model.Node, p *dynamicPlan) {
	for i := 1; i <= 2; i++ {
		w := p.at[input{n, i}]
		if w == nil || w.why != "" {
			continue
		}
		f := w.form(restored)
		out := b.restored[f]
		if out == "" {
			out = b.names.name(w.Value + "_dequantized")
			dq := &model.Node{Name: b.names.name(w.Value + "_DequantizeLinear"), Op: "DequantizeLinear", Inputs: slices.Clone(f.names[:]), Outputs: []string{out}}
			if f.perChannel {
				dq.Attrs = []model.Attr{model.IntAttr("axis", 1)}
			}
			b.nodes = append(b.nodes, dq)
			b.restored[f] = out
		}
		n.Inputs[i] = out
	}
	b.nodes = append(b.nodes, n)
}

// nodeBuilder makes the node list of one graph.
type nodeBuilder struct {
	names *namer
	nodes []*model.Node
	label string // of the node being replaced
	// quantized holds by activation the names that DynamicQuantizeLinear made of it: products share one.
	quantized map[string][3]string
	restored  map[*packed]string // what DequantizeLinear made of a weight
}

func (b *nodeBuilder) add(op, suffix string, inputs []string, attrs []model.Attr, outputs ...string) string {
	b.nodes = append(b.nodes, &model.Node{Name: b.names.name(b.label + suffix), Op: op, Inputs: inputs, Outputs: outputs, Attrs: attrs})
	return outputs[0]
}

func toFloat32() []model.Attr {
	return []model.Attr{model.IntAttr("to", int64(model.Float32))}
}

// product replaces MatMul or Gemm by the nodes that onnxruntime.quantization writes for a dynamically quantized
// product, which ONNX Runtime fuses into DynamicQuantizeMatMul or MatMulIntegerToFloat.
func (b *nodeBuilder) product(n *model.Node, w *packed) {
	a := n.Inputs[0]
	q, ok := b.quantized[a]
	if !ok {
		q = [3]string{b.names.name(a + "_quantized"), b.names.name(a + "_scale"), b.names.name(a + "_zero_point")}
		b.nodes = append(b.nodes, &model.Node{Name: b.names.name(a + "_QuantizeLinear"), Op: "DynamicQuantizeLinear",
			Inputs: []string{a}, Outputs: q[:]})
		b.quantized[a] = q
	}
	out := n.Outputs[0]
	bias := n.Op == "Gemm" && n.In(2) != ""
	product := out
	if bias {
		product = b.names.name(out + "_product")
	}
	sums := b.add("MatMulInteger", "_quant", []string{q[0], w.names[0], q[2], w.names[2]}, nil, b.names.name(out+"_int32"))
	sums = b.add("Cast", "_cast", []string{sums}, toFloat32(), b.names.name(out+"_float"))
	scale := b.add("Mul", "_scales_mul", []string{q[1], w.names[1]}, nil, b.names.name(out+"_scales"))
	b.add("Mul", "_output_scale_mul", []string{sums, scale}, nil, product)
	if bias {
		b.add("Add", "_bias_add", []string{product, n.Inputs[2]}, nil, out)
	}
}

// gather replaces Gather: the rows of the integer table are gathered and dequantized, by DequantizeLinear with one
// scale for the table, else with the scales and zero points gathered by the same indices.
func (b *nodeBuilder) gather(n *model.Node, w *packed) {
	out, idx := n.Outputs[0], n.Inputs[1]
	rows := b.add("Gather", "_quant", []string{w.names[0], idx}, n.Attrs, b.names.name(out+"_quantized"))
	if !w.perChannel {
		b.add("DequantizeLinear", "_DequantizeLinear", []string{rows, w.names[1], w.names[2]}, nil, out)
		return
	}
	scale := b.add("Gather", "_scale", []string{w.names[1], idx}, n.Attrs, b.names.name(out+"_row_scale"))
	zero := b.add("Gather", "_zero_point", []string{w.names[2], idx}, n.Attrs, b.names.name(out+"_row_zero_point"))
	rows = b.add("Cast", "_cast", []string{rows}, toFloat32(), b.names.name(out+"_rows_float"))
	zero = b.add("Cast", "_zero_point_cast", []string{zero}, toFloat32(), b.names.name(out+"_zero_point_float"))
	centred := b.add("Sub", "_centre", []string{rows, zero}, nil, b.names.name(out+"_centred"))
	b.add("Mul", "_rescale", []string{centred, scale}, nil, out)
}
