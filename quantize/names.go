package quantize

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// namer makes names that no value and no node of the model uses yet.
type namer struct {
	used map[string]bool
	next map[string]int
}

func newNamer(g *model.Graph) *namer {
	n := &namer{map[string]bool{}, map[string]int{}}
	n.add(g)
	return n
}

func (n *namer) add(g *model.Graph) {
	for _, vs := range [][]*model.Value{g.Inputs, g.Outputs, g.Values} {
		for _, v := range vs {
			n.used[v.Name] = true
		}
	}
	for _, name := range g.Initializers() {
		n.used[name] = true
	}
	for _, s := range g.Sparse {
		n.used[s.Name] = true
	}
	for _, m := range g.Nodes {
		n.used[m.Name] = true
		for _, o := range slices.Concat(m.Inputs, m.Outputs) {
			n.used[o] = true
		}
		for _, sub := range m.Subgraphs() {
			n.add(sub)
		}
	}
}

// name returns want, or want with the first free number behind it.
func (n *namer) name(want string) string {
	got := want
	for n.used[got] {
		n.next[want]++
		got = fmt.Sprintf("%s_%d", want, n.next[want])
	}
	n.used[got] = true
	return got
}

// modernize raises the IR version to 4, the first in which an initializer need not be an input.
func modernize(g *model.Graph) {
	if g.Model != nil && g.Model.IRVersion < 4 {
		g.Model.IRVersion = 4
	}
}

// outputNames returns by graph the names whose values are outputs of it or of one of its bodies, directly or through
// Identity nodes.
func outputNames(g *model.Graph) map[*model.Graph]map[string]bool {
	all := map[*model.Graph]map[string]bool{}
	var walk func(g *model.Graph) map[string]bool
	walk = func(g *model.Graph) map[string]bool {
		s := map[string]bool{}
		for _, o := range g.Outputs {
			s[o.Name] = true
		}
		for _, n := range slices.Backward(g.Nodes) {
			if n.Is("Identity") && s[n.Out(0)] {
				s[n.In(0)] = true
			}
			for _, sub := range n.Subgraphs() {
				inner := maps.Clone(walk(sub))
				for name := range defined(sub) {
					delete(inner, name)
				}
				maps.Copy(s, inner)
			}
		}
		all[g] = s
		return s
	}
	walk(g)
	return all
}

// defined returns the names of the values that g itself makes.
func defined(g *model.Graph) map[string]bool {
	d := map[string]bool{}
	for _, v := range g.Inputs {
		d[v.Name] = true
	}
	for _, name := range g.Initializers() {
		d[name] = true
	}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			d[o] = true
		}
	}
	return d
}

// dropWeights removes the weights named by graph and the Identity nodes that pass them on. Nothing else may read them.
func dropWeights(g *model.Graph, dead map[*model.Graph]map[string]bool) {
	var walk func(g *model.Graph, outer map[string]bool)
	walk = func(g *model.Graph, outer map[string]bool) {
		gone := map[string]bool{}
		if len(outer) > 0 {
			gone = maps.Clone(outer)
			for name := range defined(g) {
				delete(gone, name)
			}
		}
		for name := range dead[g] {
			g.RemoveInitializer(name)
			gone[name] = true
		}
		g.Nodes = slices.DeleteFunc(g.Nodes, func(n *model.Node) bool {
			if n.Is("Identity") && gone[n.In(0)] {
				gone[n.Out(0)] = true
				return true
			}
			for _, sub := range n.Subgraphs() {
				walk(sub, gone)
			}
			return model.ConstantValue(n) != nil && dead[g][n.Out(0)]
		})
		isGone := func(v *model.Value) bool { return gone[v.Name] }
		g.Inputs = slices.DeleteFunc(g.Inputs, isGone)
		g.Values = slices.DeleteFunc(g.Values, isGone)
	}
	walk(g, nil)
}
