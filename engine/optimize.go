package engine

import (
	"errors"
	"fmt"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// openGraph maps an ONNX file.
func openGraph(path string) (*model.Graph, func() error, error) {
	f, err := onnx.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return f.Graph(), f.Close, nil
}

// prepare rewrites the clone g in place: functions are inlined, fused operators of files taken apart (the passes inline and lower, without which
// there would be nodes that nothing runs), nodes sorted, and the other passes run, of which NoFusion leaves folding alone.
func (c *compiler) prepare(g *model.Graph) error {
	if err := c.opts.checkSkips(); err != nil {
		return err
	}
	for _, name := range g.Initializers() {
		c.weights += int64(g.Initializer(name).ByteSize())
	}
	c.opsets = map[string]int64{}
	if g.Model != nil {
		for _, o := range g.Model.Opsets {
			d := o.Domain
			if d == "ai.onnx" {
				d = ""
			}
			c.opsets[d] = o.Version
		}
		for _, p := range required {
			before := countNodes(g)
			if err := p.apply(c, g); err != nil {
				return err
			}
			c.passes = append(c.passes, PassCount{Pass: p.name, Before: before, After: countNodes(g)})
		}
	}
	if err := sortAll(g); err != nil {
		return err
	}
	for _, p := range passList(c.opts.NoFusion) {
		if c.opts.skips(p.name) {
			continue
		}
		before := countNodes(g)
		if err := c.pass(p, g); err != nil {
			return fmt.Errorf("pass %s: %w", p.name, err)
		}
		c.passes = append(c.passes, PassCount{Pass: p.name, Before: before, After: countNodes(g)})
	}
	return nil
}

// pass applies one pass to a graph and then to its bodies, which see the constants of the graphs around them. Folding
// goes through bodies by itself.
func (c *compiler) pass(p pass, g *model.Graph) error {
	c.shapes = c.shapeMaps[g]
	if err := p.apply(c, g); err != nil {
		return err
	}
	if p.name == "fold" {
		return nil
	}
	c.outer = append(c.outer, g)
	defer func() { c.outer = c.outer[:len(c.outer)-1] }()
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := c.pass(p, sub); err != nil {
				return err
			}
		}
	}
	return nil
}

// sortAll orders the nodes of a graph and of its bodies.
func sortAll(g *model.Graph) error {
	if err := g.TopoSort(); err != nil {
		return err
	}
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := sortAll(sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func countNodes(g *model.Graph) int {
	k := len(g.Nodes)
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			k += countNodes(sub)
		}
	}
	return k
}

// pass is a named rewrite.
type pass struct {
	name  string
	apply func(c *compiler, g *model.Graph) error
}

// required are the passes that no option leaves out: they go through the bodies themselves.
var required = []pass{
	{"inline", (*compiler).inline},
	{"lower", func(c *compiler, g *model.Graph) error { c.lower(g); return nil }},
}

// errFoldSize says that a constant would be too large to compute at Compile.
var errFoldSize = errors.New("too large to fold")

// maxFoldBytes bounds one folded constant that is larger than its inputs.
const maxFoldBytes = 64 << 20

// fold computes nodes whose inputs are all constant, in the graph and its bodies.
func (c *compiler) fold(g *model.Graph) error { return c.foldIn(g, nil) }

// foldScope finds constants by name from the inside out.
type foldScope struct {
	outer *foldScope
	g     *model.Graph
	fixed map[string]bool // names that are no constants here: inputs and node outputs
}

func (s *foldScope) find(name string) *model.Tensor {
	for ; s != nil; s = s.outer {
		if s.fixed[name] {
			return nil
		}
		if t := s.g.Initializer(name); t != nil {
			return t
		}
	}
	return nil
}

func (c *compiler) foldIn(g *model.Graph, outer *foldScope) error {
	sc := &foldScope{outer: outer, g: g, fixed: map[string]bool{}}
	overridable := g.Model == nil || g.Model.IRVersion >= 4
	for _, v := range g.Inputs {
		if overridable || g.Initializer(v.Name) == nil {
			sc.fixed[v.Name] = true
		}
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			sc.fixed[o] = true
		}
	}
	kept := make([]*model.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			if err := c.foldIn(sub, sc); err != nil {
				return err
			}
		}
		outs, err := c.foldNode(n, sc)
		if err != nil {
			return fmt.Errorf("%s: %w", n, err)
		}
		if outs == nil {
			kept = append(kept, n)
			continue
		}
		for i, o := range n.Outputs {
			if o != "" {
				g.SetInitializer(o, outs[i])
				delete(sc.fixed, o)
			}
		}
	}
	if len(kept) < len(g.Nodes) {
		g.Nodes, c.view = kept, nil
	}
	return nil
}

// foldNode returns the outputs of a node that can be computed now, or nil.
func (c *compiler) foldNode(n *model.Node, sc *foldScope) ([]*model.Tensor, error) {
	if t := model.ConstantValue(n); t != nil && len(n.Outputs) == 1 {
		return []*model.Tensor{t}, nil
	}
	def, err := c.lookup(n)
	if err != nil || def.random || len(n.Subgraphs()) > 0 || len(n.Outputs) == 0 {
		return nil, nil // a missing operator is reported where the plan is made
	}
	if c.custom(n) {
		return nil, nil
	}
	switch n.Op {
	case "QuantizeLinear", "DequantizeLinear": // the marks of quantized weights: fused, not expanded
		return nil, nil
	}
	size := 0
	in := make([]*model.Tensor, len(n.Inputs))
	for i, name := range n.Inputs {
		if name == "" {
			continue
		}
		if in[i] = sc.find(name); in[i] == nil {
			return nil, nil
		}
		size += in[i].ByteSize()
	}
	call := &Call{Node: n, Opset: c.opset(n), In: in, arena: &arena{limit: maxFoldBytes, most: c.opts.Memory}}
	for _, t := range in {
		call.in = append(call.in, slot{t: t})
	}
	if t, err := c.foldHalf(n, call.In); err == nil && t != nil {
		return []*model.Tensor{t}, nil
	}
	call.arena.limit = max(maxFoldBytes, 2*size)
	if err := call.invoke(def); err != nil {
		return nil, nil // the same error comes back when the model runs
	}
	outs := make([]*model.Tensor, len(n.Outputs))
	for i, o := range n.Outputs {
		if o == "" {
			continue
		}
		if i >= len(call.out) || call.out[i].t == nil || call.out[i].is != isTensor {
			return nil, nil
		}
		outs[i] = call.out[i].t
	}
	return outs, nil
}
