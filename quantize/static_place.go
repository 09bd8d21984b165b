package quantize

import (
	"slices"

	"github.com/wattshed/wattshed/model"
)

// spread marks the activations of anchors and then, until nothing changes, the nodes whose activations are all there in 8
// bits, with what they make.
func (p *staticPlan) spread() {
	for _, n := range p.nodes {
		if n.on {
			p.act(n.In(0), false, "")
			if n.place == anchorQ {
				p.act(n.Out(0), true, "")
			}
		}
	}
	for again := true; again; {
		again = false
		for _, n := range p.nodes {
			if n.on || !p.canFollow(n) {
				continue
			}
			n.on, again = true, true
			for _, o := range n.Outputs {
				if o != "" {
					same := ""
					if n.place == moves {
						same = n.In(0)
					}
					p.act(o, true, same)
				}
			}
		}
	}
}

func (p *staticPlan) act(name string, born bool, same string) {
	a := p.acts[name]
	if a == nil {
		a = &activation{name: name}
		p.acts[name] = a
	}
	if m := p.maker[name]; m != nil && m.on && (m.place == anchor || m.place == anchorQ) {
		born = true
	}
	a.born = a.born || born
	if same != "" {
		a.same = same
	}
}

// canFollow reports whether all activations that n reads are quantized.
func (p *staticPlan) canFollow(n *planned) bool {
	switch n.place {
	case follow:
		any := false
		for _, in := range n.Inputs {
			switch t := p.consts[in]; {
			case in == "":
				return false
			case t != nil && !p.quantizable(t):
				return false
			case t == nil && p.acts[in] == nil:
				return false
			case t == nil:
				any = true
			}
		}
		return any
	case clamp:
		return p.acts[n.In(0)] != nil && p.clampBounds(n) != nil
	case moves:
		if p.acts[n.In(0)] == nil || p.consts[n.In(0)] != nil {
			return false
		}
		switch n.Op {
		case "MaxPool":
			return len(n.Outputs) == 1
		case "Pad":
			if v := n.In(2); v != "" {
				x, err := p.values(v)
				return err == nil && len(x) == 1 && x[0] == 0 || n.Str("mode", "constant") != "constant"
			}
		case "Resize":
			return n.Str("mode", "nearest") == "nearest"
		}
		return true
	}
	return false
}

// quantizable reports whether a constant operand of an elementwise operator has an 8-bit form.
func (p *staticPlan) quantizable(t *model.Tensor) bool {
	if t.DType() != model.Float32 || t.Len() == 0 {
		return false
	}
	x, err := t.Float32()
	return err == nil && finite(x)
}

// values returns those of a float constant, nil for anything else.
func (p *staticPlan) values(name string) ([]float32, error) {
	t := p.consts[name]
	if t == nil || t.DType() != model.Float32 {
		return nil, nil
	}
	return t.Float32()
}

// clampBounds returns the bounds of a clamp, nil when they are not constant.
func (p *staticPlan) clampBounds(n *planned) *Interval {
	b := &Interval{-maxFloat, maxFloat}
	if n.Op == "Relu" {
		b.Lo = 0
		return b
	}
	for i, to := range []*float32{&b.Lo, &b.Hi} {
		if n.In(1+i) == "" {
			continue
		}
		x, err := p.values(n.In(1 + i))
		if err != nil || len(x) != 1 {
			return nil
		}
		*to = x[0]
	}
	return b
}

const maxFloat = 0x1.fffffep127

// prune lets nodes fall back to float whose results no quantized node reads, last first.
func (p *staticPlan) prune() {
	for _, n := range slices.Backward(p.topological()) {
		if !n.on || n.place == anchor || n.place == anchorQ {
			continue
		}
		read := false
		for _, o := range n.Outputs {
			for _, r := range p.readers[o] {
				read = read || r.on && (r.In(0) == o || r.place == follow)
			}
		}
		if read || n.place == clamp && p.loneAnchor(n) {
			continue
		}
		n.on = false
		for _, o := range n.Outputs {
			delete(p.acts, o)
		}
	}
	for name := range p.acts { // an activation that only nodes read that fell back, and that no anchor must quantize
		m := p.maker[name]
		if m != nil && m.on && m.place != anchor || p.needed(name) {
			continue
		}
		delete(p.acts, name)
	}
	p.order = nil
	add := func(name string) {
		if p.acts[name] != nil && !slices.Contains(p.order, name) {
			p.order = append(p.order, name)
		}
	}
	eachGraph(p.g, func(g *model.Graph) {
		for _, v := range g.Inputs {
			add(v.Name)
		}
	})
	for _, n := range p.topological() {
		for _, o := range n.Outputs {
			add(o)
		}
	}
}

// needed reports whether a quantized node reads the activation.
func (p *staticPlan) needed(name string) bool {
	return slices.ContainsFunc(p.readers[name], func(r *planned) bool { return r.on && (r.In(0) == name || r.place == follow) })
}

// topological returns the nodes so that every maker comes before the readers of its values. The nodes of one graph are in
// order; a body comes right before the node that it belongs to, since its nodes may read what comes before that.
func (p *staticPlan) topological() []*planned {
	byNode := make(map[*model.Node]*planned, len(p.nodes))
	for _, n := range p.nodes {
		byNode[n.Node] = n
	}
	var out []*planned
	var walk func(g *model.Graph)
	walk = func(g *model.Graph) {
		for _, n := range g.Nodes {
			for _, sub := range n.Subgraphs() {
				walk(sub)
			}
			out = append(out, byNode[n])
		}
	}
	walk(p.g)
	return out
}

// lone reports whether the clamp n alone reads a value that a quantized node makes by computing it.
func (p *staticPlan) lone(n *planned) bool {
	in := n.In(0)
	m := p.maker[in]
	return m != nil && m.on && m.place != moves && m.place != clamp && len(p.readers[in]) == 1 && !p.pinned[in]
}

// loneAnchor is lone for a maker whose output is quantized in any case.
func (p *staticPlan) loneAnchor(n *planned) bool {
	return p.lone(n) && p.maker[n.In(0)].place == anchorQ
}

// absorb moves the quantization of a value that only a clamp reads behind the clamp, which most targets then leave out.
func (p *staticPlan) absorb() {
	for _, n := range p.nodes {
		if n.place != clamp || !p.lone(n) || p.acts[n.Out(0)] == nil {
			continue
		}
		in := n.In(0)
		if !n.on { // behind an anchor whose output is float: now it is not
			if p.clampBounds(n) == nil {
				continue
			}
			n.on, p.acts[n.Out(0)].born = true, true
		}
		if p.acts[in] != nil {
			delete(p.acts, in)
			p.order = slices.DeleteFunc(p.order, func(o string) bool { return o == in })
		}
	}
}
