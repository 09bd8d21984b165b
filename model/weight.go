package model

import (
	"fmt"
	"strings"
)

// Weight is a constant tensor of a graph with the places that read it: an initializer, or the value of
// a Constant node, in the graph itself or in a body of If, Loop or Scan.
type Weight struct {
	// Name is the value's name; where sibling bodies reuse one, it is preceded by the path of the
	// owner: the node's name and the attribute, each followed by "/".
	Name   string
	Tensor *Tensor
	Graph  *Graph // the graph that holds it
	Value  string // its name inside Graph
	Node   *Node  // the Constant node, or nil for an initializer
	Uses   []Use
}

// Use is one reader of a Weight: input Input of Node in Graph. Readers behind Identity nodes count as
// readers of the weight, the Identity nodes themselves do not.
type Use struct {
	Graph *Graph
	Node  *Node
	Input int
}

// Reader names the node that reads the weight first, by its operator where it has no name, if the weight's own name is only a number, as
// exporters give: "123", "onnx::MatMul_123". It is "" for names that say something, and where nothing reads the weight.
func (w *Weight) Reader() string {
	name := w.Name[strings.LastIndexByte(w.Name, '/')+1:]
	if after, ok := strings.CutPrefix(name, "onnx::"); ok {
		name = after[strings.LastIndexByte(after, '_')+1:]
	}
	if name == "" || strings.Trim(name, "0123456789") != "" || len(w.Uses) == 0 {
		return ""
	}
	if n := w.Uses[0].Node; n.Name != "" {
		return n.Name
	}
	return w.Uses[0].Node.Op
}

// WithReader is the name of a weight for people, with the node that Reader names beside it.
func WithReader(weight, reader string) string {
	if reader == "" {
		return weight
	}
	return weight + " (" + reader + ")"
}

// Set puts t in the place of the weight's tensor, in the graph that holds it.
func (w *Weight) Set(t *Tensor) {
	if w.Node != nil {
		w.Node.Attrs = []Attr{TensorAttr("value", t)}
	} else {
		w.Graph.SetInitializer(w.Value, t)
	}
	w.Tensor = t
}

// Weights returns the constant tensors of the graph and of its subgraphs in a fixed order: per graph the
// initializers in file order, then the Constant nodes in node order, then those of the bodies.
// Constants that are not dense tensors are left out.
func (g *Graph) Weights() []*Weight {
	c := weightCollector{seen: map[string]int{}}
	c.graph(g, nil, "")
	for _, w := range c.out {
		if c.seen[w.Value] > 1 {
			w.Name = w.Name + w.Value
		} else {
			w.Name = w.Value
		}
	}
	return c.out
}

type weightScope struct {
	outer *weightScope
	local map[string]*Weight // nil entry: a value that is no weight and hides an outer one
}

func (s *weightScope) find(name string) *Weight {
	for ; s != nil; s = s.outer {
		if w, ok := s.local[name]; ok {
			return w
		}
	}
	return nil
}

type weightCollector struct {
	out  []*Weight
	seen map[string]int
}

func (c *weightCollector) graph(g *Graph, outer *weightScope, path string) {
	sc := &weightScope{outer: outer, local: map[string]*Weight{}}
	add := func(value string, t *Tensor, n *Node) {
		w := &Weight{Name: path, Value: value, Tensor: t, Graph: g, Node: n}
		sc.local[value] = w
		c.out = append(c.out, w)
		c.seen[value]++
	}
	for _, in := range g.Inputs {
		if g.tensors[in.Name] == nil {
			sc.local[in.Name] = nil
		}
	}
	for _, name := range g.names {
		add(name, g.tensors[name], nil)
	}
	for _, n := range g.Nodes {
		if t := ConstantValue(n); t != nil && len(n.Outputs) == 1 {
			add(n.Outputs[0], t, n)
			continue
		}
		if n.Is("Identity") && len(n.Inputs) == 1 && len(n.Outputs) == 1 {
			if w := sc.find(n.Inputs[0]); w != nil {
				sc.local[n.Outputs[0]] = w
				continue
			}
		}
		for _, o := range n.Outputs {
			if o != "" {
				sc.local[o] = nil
			}
		}
	}
	for _, n := range g.Nodes {
		if n.Is("Identity") && len(n.Outputs) == 1 && sc.local[n.Outputs[0]] != nil {
			continue
		}
		for i, in := range n.Inputs {
			if w := sc.find(in); w != nil && in != "" {
				w.Uses = append(w.Uses, Use{g, n, i})
			}
		}
		for i := range n.Attrs {
			a := &n.Attrs[i]
			label := n.Name
			if label == "" {
				label = n.Out(0)
			}
			if a.G != nil {
				c.graph(a.G, sc, path+label+"/"+a.Name+"/")
			}
			for j, sub := range a.Graphs {
				c.graph(sub, sc, fmt.Sprintf("%s%s/%s%d/", path, label, a.Name, j))
			}
		}
	}
}

// ConstantValue returns the tensor of a Constant node of the default domain, whatever attribute holds
// it, and nil for every other node and for sparse constants.
func ConstantValue(n *Node) *Tensor {
	if !n.Is("Constant") || len(n.Attrs) == 0 {
		return nil
	}
	a := &n.Attrs[0]
	switch a.Name {
	case "value":
		return a.T
	case "value_float":
		return Scalar(a.F)
	case "value_int":
		return Scalar(a.I)
	case "value_floats":
		return FromSlice([]int{len(a.Floats)}, a.Floats)
	case "value_ints":
		return FromSlice([]int{len(a.Ints)}, a.Ints)
	case "value_string":
		t, _ := NewStrings([]int{}, []string{string(a.S)})
		return t
	case "value_strings":
		s := make([]string, len(a.Strings))
		for i, b := range a.Strings {
			s[i] = string(b)
		}
		t, _ := NewStrings([]int{len(s)}, s)
		return t
	}
	return nil
}
