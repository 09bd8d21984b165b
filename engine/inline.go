package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// maxInline bounds the nodes that functions may expand to: nested functions can grow exponentially.
const maxInline = 1 << 20

// inline replaces calls of model-local functions by their nodes, in the graph and in its bodies.
func (c *compiler) inline(g *model.Graph) error {
	if len(g.Model.Functions) == 0 {
		return nil
	}
	in := &inliner{c: c, funcs: map[string]*model.Function{}}
	for _, f := range g.Model.Functions {
		in.funcs[f.Domain+"::"+f.Name+"::"+f.Overload] = f
	}
	if err := in.graph(g, nil); err != nil {
		return err
	}
	g.Model.Functions = nil
	return nil
}

type inliner struct {
	c     *compiler
	funcs map[string]*model.Function
	calls int
	nodes int
}

func (in *inliner) graph(g *model.Graph, stack []*model.Function) error {
	nodes, err := in.list(g.Nodes, stack)
	g.Nodes = nodes
	return err
}

func (in *inliner) list(nodes []*model.Node, stack []*model.Function) ([]*model.Node, error) {
	var out []*model.Node
	for _, n := range nodes {
		f := in.funcs[n.Domain+"::"+n.Op+"::"+n.Overload]
		if f == nil {
			for _, sub := range n.Subgraphs() {
				if err := in.graph(sub, stack); err != nil {
					return nil, err
				}
			}
			out = append(out, n)
			continue
		}
		for _, s := range stack {
			if s == f {
				return nil, fmt.Errorf("%s: function %q calls itself", n, f.Name)
			}
		}
		body, err := in.expand(n, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", n, err)
		}
		if body, err = in.list(body, append(stack[:len(stack):len(stack)], f)); err != nil {
			return nil, err
		}
		if in.nodes += len(body); in.nodes > maxInline {
			return nil, fmt.Errorf("%s: functions expand to more than %d nodes", n, maxInline)
		}
		out = append(out, body...)
	}
	return out, nil
}

// expand returns the nodes of one call, renamed so that they meet no other.
func (in *inliner) expand(n *model.Node, f *model.Function) ([]*model.Node, error) {
	in.calls++
	prefix := fmt.Sprintf("%s.%d/", f.Name, in.calls)
	names := map[string]string{"": ""}
	for i, name := range f.Inputs {
		names[name] = n.In(i)
	}
	attrs := map[string]*model.Attr{}
	for i := range f.Defaults {
		attrs[f.Defaults[i].Name] = &f.Defaults[i]
	}
	for i := range n.Attrs {
		attrs[n.Attrs[i].Name] = &n.Attrs[i]
	}
	tmp := &model.Graph{Nodes: f.Nodes}
	nodes := tmp.Clone().Nodes
	made := map[string]bool{}
	for _, m := range nodes {
		for _, o := range m.Outputs {
			made[o] = true
		}
	}
	for i, name := range f.Outputs {
		to := n.Out(i)
		switch {
		case !made[name]: // an input that is an output
			if to != "" {
				nodes = append(nodes, &model.Node{Name: prefix + "out", Op: "Identity", Inputs: []string{name}, Outputs: []string{to}})
				names[to] = to
			}
		case to != "":
			names[name] = to
		}
	}
	opset := func(domain string) int64 {
		for _, o := range f.Opsets {
			if o.Domain == domain || domain == "" && o.Domain == "ai.onnx" {
				return o.Version
			}
		}
		return 0
	}
	err := rename(nodes, names, prefix, attrs, opset)
	return nodes, err
}

// rename gives every value its outer name, or one behind the prefix, resolves attribute references and records opsets.
func rename(nodes []*model.Node, names map[string]string, prefix string, attrs map[string]*model.Attr, opset func(string) int64) error {
	to := func(s string) string {
		if v, ok := names[s]; ok {
			return v
		}
		return prefix + s
	}
	for _, n := range nodes {
		n.Name = prefix + n.Name
		for i, s := range n.Inputs {
			n.Inputs[i] = to(s)
		}
		for i, s := range n.Outputs {
			n.Outputs[i] = to(s)
		}
		var kept []model.Attr
		for _, a := range n.Attrs {
			if a.Ref != "" {
				src := attrs[a.Ref]
				if src == nil {
					continue // the call leaves it out
				}
				name := a.Name
				a = *src
				a.Name = name
			}
			kept = append(kept, a)
		}
		n.Attrs = kept
		for _, sub := range n.Subgraphs() {
			for _, v := range sub.Inputs {
				v.Name = to(v.Name)
			}
			for _, v := range sub.Outputs {
				v.Name = to(v.Name)
			}
			for _, name := range append([]string(nil), sub.Initializers()...) {
				t := sub.Initializer(name)
				sub.RemoveInitializer(name)
				sub.SetInitializer(to(name), t)
			}
			if err := rename(sub.Nodes, names, prefix, attrs, opset); err != nil {
				return err
			}
		}
		if d := n.Domain; d == "ai.onnx" || d == "" {
			d = ""
			if v := opset(d); v != 0 {
				n.SetAttr(model.IntAttr(opsetAttr, v))
			}
		}
	}
	return nil
}
