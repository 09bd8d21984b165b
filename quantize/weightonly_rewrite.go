package quantize

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// rewrite puts the plan into the graph.
func (p *weightOnlyPlan) rewrite(g *model.Graph) {
	dead := map[*model.Graph]map[string]bool{}
	made := map[*model.Graph][]*model.Node{}
	for _, w := range p.weights {
		if w.why != "" {
			continue
		}
		for _, s := range w.forms {
			p.initializers(w, s)
		}
		if p.Format == QDQ && w.form(table) == nil && len(w.forms) == 1 {
			p.dequantize(w, made)
			continue
		}
		if dead[w.Graph] == nil {
			dead[w.Graph] = map[string]bool{}
		}
		dead[w.Graph][w.Value] = true
	}
	if p.graph(g) {
		g.SetOpset(microsoft, max(1, g.Opset(microsoft)))
	}
	for h, nodes := range made {
		h.Nodes = append(nodes, h.Nodes...)
	}
	dropWeights(g, dead)
	modernize(g)
}

// initializers adds the tensors of s to the graph that held the float weight.
func (p *weightOnlyPlan) initializers(w *weightPlan, s *stored) {
	base := w.Value
	switch {
	case len(w.forms) == 1:
	case s.form == transposed:
		base += "_transposed"
	case s.form == table:
		base += "_table"
	}
	for i, suffix := range []string{"_quantized", "_scale", "_zero_point", "_inverse"} {
		if i < len(s.tensors()) && s.tensors()[i] != nil {
			if i == 3 && p.inverses[s.inverse] != "" {
				s.names[i] = p.inverses[s.inverse]
				continue
			}
			s.names[i] = p.names.name(base + suffix)
			w.Graph.SetInitializer(s.names[i], s.tensors()[i])
			if i == 3 {
				p.inverses[s.inverse] = s.names[i]
			}
		}
	}
}

// dequantizer returns the node that makes the float weight out of s.
func (p *weightOnlyPlan) dequantizer(s *stored, name, out string) *model.Node {
	axis := int64(0)
	if s.form != columns {
		axis = 1
	}
	n := &model.Node{Name: p.names.name(name), Op: "DequantizeLinear", Inputs: []string{s.names[0], s.names[1]}, Outputs: []string{out},
		Attrs: []model.Attr{model.IntAttr("axis", axis), model.IntAttr("block_size", int64(min(s.group, s.k)))}}
	if s.names[2] != "" {
		n.Inputs = append(n.Inputs, s.names[2])
	}
	return n
}

// dequantize lets the value of a weight of one form be made by DequantizeLinear: its readers stay as they are.
func (p *weightOnlyPlan) dequantize(w *weightPlan, made map[*model.Graph][]*model.Node) {
	s := w.forms[0]
	n := p.dequantizer(s, w.Value+"_DequantizeLinear", w.Value)
	h := w.Graph
	if w.Node != nil {
		h.Nodes = slices.Clone(h.Nodes)
		h.Nodes[slices.Index(h.Nodes, w.Node)] = n
	} else {
		h.RemoveInitializer(w.Value)
		h.Inputs = slices.DeleteFunc(h.Inputs, func(v *model.Value) bool { return v.Name == w.Value })
		made[h] = append(made[h], n)
	}
	if s.inverse == nil {
		return
	}
	for _, u := range w.Uses { // the readers multiply scaled activations
		at := slices.Index(u.Graph.Nodes, u.Node)
		scaled := p.names.name(u.Node.Inputs[0] + "_scaled")
		mul := &model.Node{Name: p.names.name(w.Value + "_scale_input"), Op: "Mul", Inputs: []string{u.Node.Inputs[0], s.names[3]}, Outputs: []string{scaled}}
		u.Node.Inputs = slices.Clone(u.Node.Inputs)
		u.Node.Inputs[0] = scaled
		u.Graph.Nodes = slices.Insert(slices.Clone(u.Graph.Nodes), at, mul)
	}
}

// graph rewrites the nodes of g and of its bodies in their order; it reports whether a node of com.microsoft was
// made.
func (p *weightOnlyPlan) graph(g *model.Graph) (contrib bool) {
	b := &nodeBuilder{names: p.names, nodes: make([]*model.Node, 0, len(g.Nodes))}
	scaled := map[[2]string]string{}
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			contrib = p.graph(sub) || contrib
		}
		if b.label = n.Name; b.label == "" {
			b.label = n.Out(0)
		}
		s := p.reads(n)
		switch {
		case s == nil:
			b.nodes = append(b.nodes, n)
		case s.rows8 != nil:
			s.rows8.names = [3]string{s.names[0], s.names[1], s.names[2]}
			b.gather(n, s.rows8)
		case p.Format == QDQ:
			b.float(n, p.dequantizer(s, b.label+"_DequantizeLinear", p.names.name(s.names[0]+"_float")))
		case n.Op == "Gather":
			contrib = true
			b.gatherBlocks(n, s)
		default:
			contrib = true
			a := n.Inputs[0]
			if s.inverse != nil {
				key := [2]string{a, s.names[3]}
				if scaled[key] == "" {
					scaled[key] = b.add("Mul", "_scale_input", []string{a, s.names[3]}, nil, p.names.name(a+"_scaled"))
				}
				a = scaled[key]
			}
			b.productBlocks(n, a, s)
		}
	}
	g.Nodes = b.nodes
	return contrib
}

// reads returns the form in which n reads a quantized weight, or nil where it reads none or the value stays.
func (p *weightOnlyPlan) reads(n *model.Node) *stored {
	at := 1
	switch {
	case n.Is("Gather"):
		at = 0
	case !n.Is("MatMul") && !n.Is("Gemm"):
		return nil
	}
	w := p.at[input{n, at}]
	if w == nil || w.why != "" || p.Format == QDQ && w.form(table) == nil && len(w.forms) == 1 {
		return nil
	}
	return w.form(formOf(model.Use{Node: n, Input: at}))
}

// float lets n read a weight made by dq.
func (b *nodeBuilder) float(n, dq *model.Node) {
	b.nodes = append(b.nodes, dq, n)
	n.Inputs = slices.Clone(n.Inputs)
	n.Inputs[1] = dq.Outputs[0]
}

// productBlocks replaces MatMul or Gemm by MatMulNBits and the addition of the bias.
func (b *nodeBuilder) productBlocks(n *model.Node, a string, s *stored) {
	out := n.Outputs[0]
	bias := n.Op == "Gemm" && n.In(2) != ""
	product := out
	if bias {
		product = b.names.name(out + "_product")
	}
	inputs := []string{a, s.names[0], s.names[1]}
	if s.names[2] != "" {
		inputs = append(inputs, s.names[2])
	}
	b.add("MatMulNBits", "_nbits", inputs, []model.Attr{model.IntAttr("K", int64(s.k)), model.IntAttr("N", int64(s.n)),
		model.IntAttr("bits", int64(s.bits)), model.IntAttr("block_size", int64(s.group))}, product)
	b.nodes[len(b.nodes)-1].Domain = microsoft
	if bias {
		b.add("Add", "_bias_add", []string{product, n.Inputs[2]}, nil, out)
	}
}

// gatherBlocks replaces Gather by GatherBlockQuantized.
func (b *nodeBuilder) gatherBlocks(n *model.Node, s *stored) {
	inputs := []string{s.names[0], n.Inputs[1], s.names[1]}
	if s.names[2] != "" {
		inputs = append(inputs, s.names[2])
	}
	b.add("GatherBlockQuantized", "_nbits", inputs, []model.Attr{model.IntAttr("bits", int64(s.bits)), model.IntAttr("block_size", int64(s.group)),
		model.IntAttr("gather_axis", 0), model.IntAttr("quantize_axis", 1)}, n.Outputs[0])
	b.nodes[len(b.nodes)-1].Domain = microsoft
}

// flip transposes the tensors of a form, from the order of MatMul to that of Gemm with transB.
func (s *stored) flip() error {
	for _, t := range []**model.Tensor{&s.q, &s.scale, &s.zero} {
		if *t == nil {
			continue
		}
		var err error
		if *t, err = transpose(*t); err != nil {
			return err
		}
	}
	return nil
}

// transpose returns the transpose of a matrix of 4-bit, 8-bit or float32 elements.
func transpose(t *model.Tensor) (*model.Tensor, error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	r, c := t.Shape()[0], t.Shape()[1]
	width := t.DType().Bits() / 8
	if width == 0 {
		codes, out := make([]uint8, r*c), make([]uint8, r*c)
		unpackU4(codes, raw)
		for i := range r {
			for j := range c {
				out[j*r+i] = codes[i*c+j]
			}
		}
		packed := make([]byte, len(raw))
		pack4(packed, out)
		return model.NewTensor(t.DType(), []int{c, r}, packed)
	}
	out := make([]byte, len(raw))
	for i := range r {
		for j := range c {
			copy(out[(j*r+i)*width:][:width], raw[(i*c+j)*width:])
		}
	}
	return model.NewTensor(t.DType(), []int{c, r}, out)
}
