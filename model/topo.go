package model

import "fmt"

// TopoSort orders the nodes so that every value is made before it is read, keeping the present order
// where it allows. Values read by a body count as read by the node that carries it. It fails on a
// cycle and on two nodes with the same output.
func (g *Graph) TopoSort() error {
	maker := make(map[string]int, len(g.Nodes))
	for i, n := range g.Nodes {
		for _, o := range n.Outputs {
			if o == "" {
				continue
			}
			if j, dup := maker[o]; dup {
				return fmt.Errorf("model: value %q is made twice, by %s and by %s", o, g.Nodes[j], n)
			}
			maker[o] = i
		}
	}
	state := make([]uint8, len(g.Nodes)) // 0 new, 1 open, 2 done
	order := make([]*Node, 0, len(g.Nodes))
	type frame struct {
		node int
		deps []string
	}
	var stack []frame
	for root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		stack = append(stack[:0], frame{root, reads(g.Nodes[root])})
		state[root] = 1
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if len(f.deps) == 0 {
				state[f.node] = 2
				order = append(order, g.Nodes[f.node])
				stack = stack[:len(stack)-1]
				continue
			}
			d := f.deps[0]
			f.deps = f.deps[1:]
			j, ok := maker[d]
			if !ok || state[j] == 2 {
				continue
			}
			if state[j] == 1 {
				return fmt.Errorf("model: %s is part of a cycle through value %q", g.Nodes[j], d)
			}
			state[j] = 1
			stack = append(stack, frame{j, reads(g.Nodes[j])})
		}
	}
	g.Nodes = order
	return nil
}

// reads returns the names a node reads, those captured by its bodies included.
func reads(n *Node) []string {
	if len(n.Subgraphs()) == 0 {
		return n.Inputs
	}
	return append(append([]string(nil), n.Inputs...), Captures(n)...)
}

// Captures returns the names that the bodies of n read from the graphs around them, each once, in
// order of first reading.
func Captures(n *Node) []string {
	subs := n.Subgraphs()
	if len(subs) == 0 {
		return nil
	}
	var out []string
	seen := map[string]bool{}
	for _, sub := range subs {
		local := map[string]bool{}
		for _, v := range sub.Inputs {
			local[v.Name] = true
		}
		for _, name := range sub.names {
			local[name] = true
		}
		for _, m := range sub.Nodes {
			for _, o := range m.Outputs {
				local[o] = true
			}
		}
		read := func(name string) {
			if name != "" && !local[name] && !seen[name] {
				seen[name] = true
				out = append(out, name)
			}
		}
		for _, m := range sub.Nodes {
			for _, name := range reads(m) {
				read(name)
			}
		}
		for _, v := range sub.Outputs {
			read(v.Name)
		}
	}
	return out
}
