package onnx

import (
	"fmt"
	"strconv"

	"github.com/wattshed/wattshed/model"
)

// Operator sets that UpConvert starts from and ends at.
const (
	minConvert = 7
	maxConvert = 21
)

// UpConvert raises the default operator set of the graph, its bodies and its functions to target, one version at a
// time, rewriting every node whose signature, default or meaning changes on the way; the results of the model stay the
// same. It starts from opset 7 to 20 and ends at 8 to 21; a graph that is at target or above already is left alone.
// Nodes of other domains are not touched. The IR version is raised to 9 or 10 where target came with it.
//
// A node that cannot be raised is an error that names it and wraps model.ErrUnsupported: an operator that
// this package does not know, or a use of one that the newer version has no equal for. The graph is unchanged then.
//
// Source: the operator changelog of the ONNX project.
func UpConvert(g *model.Graph, target int64) error {
	from := g.Opset("")
	if from >= target {
		return nil
	}
	if from < minConvert || target > maxConvert {
		return fmt.Errorf("onnx: opset %d to %d: %w: opset %d to %d can be raised, to at most %d", from, target,
			model.ErrUnsupported, minConvert, maxConvert-1, maxConvert)
	}
	c := g.Clone()
	for v := from + 1; v <= target; v++ {
		u := newUpConverter(c, v)
		if err := u.graph(c); err != nil {
			return fmt.Errorf("onnx: opset %d to %d: %w", from, target, err)
		}
		c.SetOpset("", v)
	}
	for _, f := range c.Model.Functions {
		if err := upConvertFunction(c, f, target); err != nil {
			return fmt.Errorf("onnx: opset %d to %d: function %q: %w", from, target, f.Name, err)
		}
	}
	if ir := irOf(target); c.Model.IRVersion < ir {
		if c.Model.IRVersion < 4 {
			dropDefaults(c)
		}
		c.Model.IRVersion = ir
	}
	*g = *c
	return nil
}

// dropDefaults removes initializers from the inputs: below IR version 4 they had to be there, above it that would
// make them replaceable.
func dropDefaults(g *model.Graph) {
	var inputs []*model.Value
	for _, in := range g.Inputs {
		if g.Initializer(in.Name) == nil {
			inputs = append(inputs, in)
		}
	}
	g.Inputs = inputs
}

func upConvertFunction(g *model.Graph, f *model.Function, target int64) error {
	f.Opsets = append([]model.Opset(nil), f.Opsets...)
	for i := range f.Opsets {
		o := &f.Opsets[i]
		if o.Domain != "" && o.Domain != "ai.onnx" {
			continue
		}
		if o.Version < minConvert {
			return fmt.Errorf("opset %d: %w", o.Version, model.ErrUnsupported)
		}
		for v := o.Version + 1; v <= target; v++ {
			u := newUpConverter(g, v)
			u.function = true
			nodes, err := u.nodes(f.Nodes)
			if err != nil {
				return err
			}
			f.Nodes = nodes
			o.Version = v
		}
	}
	return nil
}

// upConverter raises a graph from version-1 to version.
type upConverter struct {
	top      *model.Graph
	version  int64
	g        *model.Graph          // the graph at hand
	function bool                  // nodes of a function, which has no initializers
	used     map[string]bool       // names of values
	read     map[string]bool       // those that a node or an output reads
	types    map[string]model.Type // of values by name; nil until asked for
	pre      []*model.Node         // Constant nodes to go before the node at hand
}

func newUpConverter(g *model.Graph, version int64) *upConverter {
	u := &upConverter{top: g, version: version, used: map[string]bool{}, read: map[string]bool{}}
	u.collect(g)
	for _, f := range g.Model.Functions {
		for _, n := range f.Nodes {
			u.collectNode(n)
		}
		for _, o := range f.Outputs {
			u.read[o] = true
		}
	}
	return u
}

// collect notes every name in use.
func (u *upConverter) collect(g *model.Graph) {
	for _, list := range [][]*model.Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range list {
			u.used[v.Name] = true
		}
	}
	for _, v := range g.Outputs {
		u.read[v.Name] = true
	}
	for _, name := range g.Initializers() {
		u.used[name] = true
	}
	for _, n := range g.Nodes {
		u.collectNode(n)
	}
}

func (u *upConverter) collectNode(n *model.Node) {
	for _, name := range n.Inputs {
		u.used[name], u.read[name] = true, true
	}
	for _, name := range n.Outputs {
		u.used[name] = true
	}
	for _, sub := range n.Subgraphs() {
		u.collect(sub)
	}
}

// name returns a value name that is not in use.
func (u *upConverter) name(base string) string {
	name := base
	for i := 1; u.used[name]; i++ {
		name = base + "_" + strconv.Itoa(i)
	}
	u.used[name] = true
	return name
}

func (u *upConverter) graph(g *model.Graph) error {
	outer := u.g
	u.g = g
	nodes, err := u.nodes(g.Nodes)
	if err != nil {
		return err
	}
	g.Nodes = nodes
	u.g = outer
	return nil
}

func (u *upConverter) nodes(nodes []*model.Node) ([]*model.Node, error) {
	out := make([]*model.Node, 0, len(nodes))
	for _, n := range nodes {
		for _, sub := range n.Subgraphs() {
			pre := u.pre
			if err := u.graph(sub); err != nil {
				return nil, err
			}
			u.pre = pre
		}
		if n.Domain != "" && n.Domain != "ai.onnx" {
			out = append(out, n)
			continue
		}
		u.pre = nil
		made, err := u.node(n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		out = append(append(out, u.pre...), made...)
	}
	return out, nil
}

// node returns what takes the place of n.
func (u *upConverter) node(n *model.Node) ([]*model.Node, error) {
	rule, known := upRules[n.Op]
	if !known {
		return nil, fmt.Errorf("%w: no rule to raise it to opset %d", model.ErrUnsupported, u.version)
	}
	if rule == nil {
		return []*model.Node{n}, nil
	}
	return rule(u, n)
}

// constant returns the name of a value that holds t.
func (u *upConverter) constant(base string, t *model.Tensor) string {
	name := u.name(base)
	if u.function || u.top.Model.IRVersion < 4 { // where an initializer would have to be an input
		u.pre = append(u.pre, &model.Node{Op: "Constant", Outputs: []string{name}, Attrs: []model.Attr{model.TensorAttr("value", t)}})
	} else {
		u.g.SetInitializer(name, t)
	}
	return name
}

// typeOf returns what is known of a value's type.
func (u *upConverter) typeOf(name string) model.Type {
	if u.function {
		return model.Type{}
	}
	if u.types == nil {
		u.types = map[string]model.Type{}
		c := u.top.Clone()
		if model.InferShapes(c) == nil {
			u.noteTypes(c)
		}
	}
	return u.types[name]
}

// noteTypes collects the types of g and its bodies; names that mean two things mean nothing.
func (u *upConverter) noteTypes(g *model.Graph) {
	note := func(name string, t model.Type) {
		if old, ok := u.types[name]; ok && (old.DType != t.DType || len(old.Shape) != len(t.Shape) || (old.Shape == nil) != (t.Shape == nil)) {
			t = model.Type{}
		}
		u.types[name] = t
	}
	for _, name := range g.Initializers() {
		t := g.Initializer(name)
		note(name, model.Type{DType: t.DType(), Shape: model.FixedShape(t.Shape()...)})
	}
	for _, list := range [][]*model.Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range list {
			if g.Initializer(v.Name) == nil {
				note(v.Name, v.Type)
			}
		}
	}
	for _, n := range g.Nodes {
		for _, sub := range n.Subgraphs() {
			u.noteTypes(sub)
		}
	}
}

// take removes attribute name from n and returns it, nil where there is none. An attribute that a function's caller
// supplies cannot become an input.
func take(n *model.Node, name string) (*model.Attr, error) {
	a := n.Attr(name)
	if a == nil {
		return nil, nil
	}
	if a.Ref != "" {
		return nil, fmt.Errorf("%w: attribute %q is supplied by the function's caller", model.ErrUnsupported, name)
	}
	taken := *a
	var rest []model.Attr
	for _, b := range n.Attrs {
		if b.Name != name {
			rest = append(rest, b)
		}
	}
	n.Attrs = rest
	return &taken, nil
}

// setInput puts a name at input i, filling up with omitted ones.
func setInput(n *model.Node, i int, name string) {
	for len(n.Inputs) <= i {
		n.Inputs = append(n.Inputs, "")
	}
	n.Inputs[i] = name
}

// label is what names of constants made for n start with.
func label(n *model.Node) string {
	if n.Name != "" {
		return n.Name
	}
	return n.Out(0)
}
