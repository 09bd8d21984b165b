package engine

import (
	"strings"

	"github.com/wattshed/wattshed/model"
)

// lower replaces FusedConv and FusedGemm of com.microsoft, which are in files that ONNX Runtime's optimizer has written, by the operators that it
// made them of, in the graph and in its bodies: Y = activation(Conv(X, W, B) + Z), Y = activation(Gemm(A, B, C)).
func (c *compiler) lower(g *model.Graph) {
	var out []*model.Node
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			c.lower(sub)
		}
		if n.Domain == "com.microsoft" && (n.Op == "FusedConv" || n.Op == "FusedGemm") && !c.custom(n) {
			out = append(out, c.unfused(g, n)...)
			continue
		}
		out = append(out, n)
	}
	g.Nodes = out
}

// unfused returns the nodes that a fused one stands for, and puts the bounds of a Clip into g.
func (c *compiler) unfused(g *model.Graph, n *model.Node) []*model.Node {
	act := &model.Node{Name: n.Name, Op: n.Str("activation", ""), Outputs: n.Outputs}
	first := &model.Node{Name: n.Name, Op: strings.TrimPrefix(n.Op, "Fused"), Inputs: n.Inputs, Outputs: n.Outputs, Doc: n.Doc, Meta: n.Meta}
	var params []float32
	for _, a := range n.Attrs {
		switch own, ok := strings.CutPrefix(a.Name, "activation_"); {
		case a.Name == "activation", a.Name == opsetAttr: // the version of another domain
		case own == "params":
			params = a.Floats
		case ok: // of FusedGemm: activation_alpha is alpha of the activation
			a.Name = own
			act.SetAttr(a)
		default:
			first.SetAttr(a)
		}
	}
	nodes := []*model.Node{first}
	next := func(m *model.Node, suffix string, more ...string) {
		last := nodes[len(nodes)-1]
		between := n.Out(0) + suffix
		last.Outputs = []string{between}
		m.Inputs, m.Outputs = append([]string{between}, more...), n.Outputs
		nodes = append(nodes, m)
	}
	if n.Op == "FusedConv" && n.In(3) != "" {
		first.Inputs = n.Inputs[:3]
		next(&model.Node{Name: n.Name, Op: "Add"}, "/conv", n.In(3))
	}
	var bounds []string
	names := map[string][]string{"LeakyRelu": {"alpha"}, "HardSigmoid": {"alpha", "beta"}, "Clip": {"min", "max"}}[act.Op]
	for i, name := range names {
		switch {
		case i >= len(params):
		case act.Op == "Clip" && c.opsets[""] >= 11:
			bounds = append(bounds, n.Out(0)+"/"+name)
			g.SetInitializer(bounds[i], model.Scalar(params[i]))
		default:
			act.SetAttr(model.FloatAttr(name, params[i]))
		}
	}
	if act.Op != "" {
		next(act, "/sum", bounds...)
	}
	return nodes
}
