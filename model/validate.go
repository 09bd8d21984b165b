package model

import (
	"errors"
	"fmt"
)

// Validate checks the structure of a graph and of its bodies and functions: every node has an operator, every
// value that is read is there, no value is made twice, nothing goes in a circle, every graph output is made, and every
// operator domain in use is imported. It returns all faults, each naming the node and the value; at most 20.
//
// Validate does not check the operators themselves: their attributes, types and shapes.
func Validate(g *Graph) error {
	v := &validator{domains: map[string]bool{}}
	if g.Model == nil {
		return fmt.Errorf("model: graph %q carries no model: it is the body of a node", g.Name)
	}
	imports(v.domains, g.Model.Opsets)
	local := map[string]bool{}
	for _, f := range g.Model.Functions {
		local[f.Domain+"\x00"+f.Name] = true
	}
	v.functions = local
	v.graph(g, nil)
	for _, f := range g.Model.Functions {
		v.function(f)
	}
	return errors.Join(v.faults...)
}

const maxFaults = 20

type validator struct {
	domains   map[string]bool // imported
	functions map[string]bool // of the model, by domain and name
	faults    []error
}

func imports(to map[string]bool, opsets []Opset) {
	for _, o := range opsets {
		if o.Domain == "ai.onnx" {
			o.Domain = ""
		}
		to[o.Domain] = true
	}
	if len(opsets) == 0 {
		to[""] = true // files of IR version 1 and 2 import nothing
	}
}

func (v *validator) fault(format string, args ...any) {
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, fmt.Errorf("model: "+format, args...))
	}
}

// names is a scope of values; outer ones are visible in bodies.
type names struct {
	outer *names
	made  map[string]string // value -> what makes it
}

func (s *names) has(name string) bool {
	for ; s != nil; s = s.outer {
		if _, ok := s.made[name]; ok {
			return true
		}
	}
	return false
}

func (v *validator) graph(g *Graph, outer *names) {
	sc := &names{outer: outer, made: map[string]string{}}
	for _, in := range g.Inputs {
		if in.Name == "" {
			v.fault("graph %q has an input without a name", g.Name)
			continue
		}
		v.define(sc, in.Name, "the inputs")
	}
	for _, name := range g.names {
		if sc.made[name] != "the inputs" { // an input may have a default
			v.define(sc, name, "the initializers")
		}
	}
	for _, sp := range g.Sparse {
		if sc.made[sp.Name] != "the inputs" {
			v.define(sc, sp.Name, "the initializers")
		}
	}
	v.nodes(g.Nodes, sc)
	if err := (&Graph{Nodes: append([]*Node(nil), g.Nodes...)}).TopoSort(); err != nil && len(v.faults) == 0 {
		v.faults = append(v.faults, err)
	}
	for _, out := range g.Outputs {
		if !sc.has(out.Name) {
			v.fault("graph %q: nothing makes its output %q", g.Name, out.Name)
		}
	}
}

func (v *validator) define(sc *names, name, by string) {
	if other, dup := sc.made[name]; dup {
		v.fault("value %q is made twice, by %s and by %s", name, other, by)
	}
	sc.made[name] = by
}

func (v *validator) nodes(nodes []*Node, sc *names) {
	for _, n := range nodes {
		for _, o := range n.Outputs {
			if o != "" {
				v.define(sc, o, n.String())
			}
		}
	}
	for _, n := range nodes {
		domain := n.Domain
		if domain == "ai.onnx" {
			domain = ""
		}
		switch {
		case n.Op == "":
			v.fault("%s has no operator", n)
		case !v.domains[domain] && !v.functions[n.Domain+"\x00"+n.Op]:
			v.fault("%s: operator set %q is not imported", n, domain)
		}
		for i, in := range n.Inputs {
			if in != "" && !sc.has(in) {
				v.fault("%s: nothing makes its input %d, %q", n, i, in)
			}
		}
		seen := map[string]bool{}
		for i := range n.Attrs {
			if a := &n.Attrs[i]; seen[a.Name] {
				v.fault("%s: attribute %q is there twice", n, a.Name)
			} else {
				seen[a.Name] = true
			}
		}
		for _, sub := range n.Subgraphs() {
			v.graph(sub, sc)
		}
	}
}

func (v *validator) function(f *Function) {
	sc := &names{made: map[string]string{}}
	for _, in := range f.Inputs {
		v.define(sc, in, "the inputs")
	}
	old := v.domains
	v.domains = map[string]bool{}
	imports(v.domains, f.Opsets)
	v.nodes(f.Nodes, sc)
	v.domains = old
	for _, out := range f.Outputs {
		if !sc.has(out) {
			v.fault("function %q: nothing makes its output %q", f.Name, out)
		}
	}
}
