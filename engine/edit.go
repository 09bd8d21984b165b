package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// fusedDomain is the domain of the operators that passes make; they never leave this package.
const fusedDomain = "wattshed"

// editor is a view of one graph in which patterns are found and replaced.
type editor struct {
	c      *compiler
	g      *model.Graph
	maker  map[string]*model.Node
	users  map[string][]*model.Node // one entry per reading input
	pinned map[string]bool          // outputs, and values that bodies read
	gone   map[*model.Node]bool
	fixed  map[string]bool // graph inputs: no constants even where an initializer has their name
	made   map[string]bool // of a body, outputs of the nodes that were here at first: they hide names of the graphs around it
	reads  []*model.Node   // room for lists of users of one entry
}

// edit returns the view that an earlier pass left of a graph which nothing else has changed since, or else a new one.
func (c *compiler) edit(g *model.Graph) *editor {
	if e := c.view; e != nil && e.g == g {
		return e
	}
	e := newEditor(c, g)
	if c.view = nil; len(c.outer) == 0 && !hasBodies(g) {
		c.view = e
	}
	return e
}

func hasBodies(g *model.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *model.Node) bool { return len(n.Subgraphs()) > 0 })
}

func newEditor(c *compiler, g *model.Graph) *editor {
	n, reads := len(g.Nodes), 0
	for _, n := range g.Nodes {
		reads += len(n.Inputs)
	}
	e := &editor{c: c, g: g, maker: make(map[string]*model.Node, n), users: make(map[string][]*model.Node, n+n/2),
		pinned: map[string]bool{}, gone: map[*model.Node]bool{}, fixed: map[string]bool{}, made: map[string]bool{}, reads: make([]*model.Node, 0, reads)}
	for _, n := range g.Nodes {
		e.index(n)
		if len(c.outer) == 0 {
			continue
		}
		for _, o := range n.Outputs {
			e.made[o] = true
		}
	}
	for _, v := range g.Outputs {
		e.pinned[v.Name] = true
	}
	for name := range c.watch {
		e.pinned[name] = true
	}
	if g.Model == nil || g.Model.IRVersion >= 4 {
		for _, v := range g.Inputs {
			e.fixed[v.Name] = true
		}
	}
	return e
}

func (e *editor) index(n *model.Node) {
	for _, o := range n.Outputs {
		if o != "" {
			e.maker[o] = n
		}
	}
	for _, in := range n.Inputs {
		if in == "" {
			continue
		}
		if list := e.users[in]; list != nil || len(e.reads) == cap(e.reads) {
			e.users[in] = append(list, n)
			continue
		}
		at := len(e.reads)
		e.reads = append(e.reads, n)
		e.users[in] = e.reads[at : at+1 : at+1]
	}
	if len(n.Subgraphs()) > 0 {
		for _, name := range model.Captures(n) {
			e.pinned[name] = true
		}
	}
}

// constant returns the constant tensor of a name, or nil.
func (e *editor) constant(name string) *model.Tensor {
	if name == "" || e.fixed[name] {
		return nil
	}
	if t := e.g.Initializer(name); t != nil || e.made[name] {
		return t
	}
	for i := len(e.c.outer) - 1; i >= 0; i-- {
		g := e.c.outer[i]
		t := g.Initializer(name)
		for _, v := range g.Inputs {
			if v.Name == name && (t == nil || g.Model == nil || g.Model.IRVersion >= 4) {
				return nil
			}
		}
		if t != nil {
			return t
		}
		for _, n := range g.Nodes {
			if slices.Contains(n.Outputs, name) {
				return nil
			}
		}
	}
	return nil
}

// scalar returns the value of a constant of one number.
func (e *editor) scalar(name string) (float64, bool) {
	t := e.constant(name)
	if t == nil || t.Len() != 1 || t.DType() == model.String {
		return 0, false
	}
	v, err := toFloat64(t)
	if err != nil {
		return 0, false
	}
	return v[0], true
}

// isScalar reports whether a name is a constant close to v.
func (e *editor) isScalar(name string, v float64) bool {
	x, ok := e.scalar(name)
	return ok && math.Abs(x-v) <= 1e-3*math.Abs(v)
}

// from returns the node that makes a name if it is the operator op of the default domain, or nil.
func (e *editor) from(name, op string) *model.Node {
	n := e.maker[name]
	if n == nil || !n.Is(op) {
		return nil
	}
	return n
}

// user returns the only reader of a name, nil when there are several or the value leaves the graph.
func (e *editor) user(name string) *model.Node {
	if u := e.users[name]; len(u) == 1 && !e.pinned[name] {
		return u[0]
	}
	return nil
}

// other returns the other input of a node of two inputs.
func other(n *model.Node, name string) string {
	if len(n.Inputs) != 2 {
		return ""
	}
	if n.Inputs[0] == name {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

// widens reports whether a number among the inputs of an arithmetic node may give its result more dimensions than the other input has: the number
// has more than one, and the other is not known to have as many.
func (e *editor) widens(n *model.Node) bool {
	switch n.Op {
	case "Add", "Sub", "Mul", "Div", "Pow":
	default:
		return false
	}
	for i, name := range n.Inputs {
		t := e.constant(name)
		if t == nil || t.Len() != 1 || t.Rank() == 0 {
			continue
		}
		if s := e.c.shapes[n.In(1-i)]; s == nil && t.Rank() > 1 || s != nil && len(s) < t.Rank() {
			return true
		}
	}
	return false
}

// inner reports whether the outputs of all nodes but the last are read by these nodes alone, and none of them adds dimensions to a value.
func (e *editor) inner(nodes ...*model.Node) bool {
	set := map[*model.Node]bool{}
	for _, n := range nodes {
		if e.gone[n] || e.widens(n) {
			return false
		}
		set[n] = true
	}
	for _, n := range nodes[:len(nodes)-1] {
		for _, o := range n.Outputs {
			if e.pinned[o] {
				return false
			}
			for _, u := range e.users[o] {
				if !set[u] {
					return false
				}
			}
		}
	}
	return true
}

// replace puts n in the place of the nodes; n makes the outputs of the last of them.
func (e *editor) replace(n *model.Node, nodes ...*model.Node) {
	for _, old := range nodes {
		e.remove(old)
	}
	e.index(n)
	e.g.Nodes = append(e.g.Nodes, n)
}

// remove takes a node out of the view; finish takes it out of the graph.
func (e *editor) remove(n *model.Node) {
	if e.gone[n] {
		return
	}
	e.gone[n] = true
	for _, o := range n.Outputs {
		if e.maker[o] == n {
			delete(e.maker, o)
		}
	}
	for _, in := range n.Inputs {
		list := e.users[in]
		for i, u := range list {
			if u == n {
				e.users[in] = append(append([]*model.Node(nil), list[:i]...), list[i+1:]...)
				break
			}
		}
	}
}

// live returns the nodes that the outputs of the graph and the bodies of its nodes need.
func (e *editor) live() map[*model.Node]bool {
	out := make(map[*model.Node]bool, len(e.g.Nodes))
	var todo []*model.Node
	need := func(name string) {
		if n := e.maker[name]; n != nil && !out[n] {
			out[n] = true
			todo = append(todo, n)
		}
	}
	for name := range e.pinned {
		need(name)
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, in := range n.Inputs {
			need(in)
		}
	}
	return out
}

// rewire makes all readers of a name read another one. It fails for a name that leaves the graph.
func (e *editor) rewire(from, to string) bool {
	if e.pinned[from] {
		return false
	}
	for _, u := range e.users[from] {
		for i, in := range u.Inputs {
			if in == from {
				u.Inputs[i] = to
			}
		}
		e.users[to] = append(e.users[to], u)
	}
	delete(e.users, from)
	return true
}

// addConstant adds an initializer and returns its name.
func (e *editor) addConstant(t *model.Tensor) string {
	name := e.freshName("const")
	e.g.SetInitializer(name, t)
	return name
}

// freshName returns a name that the graph does not have.
func (e *editor) freshName(kind string) string {
	for {
		e.c.fresh++
		name := fmt.Sprintf("wattshed/%s%d", kind, e.c.fresh)
		if e.g.Initializer(name) == nil && e.maker[name] == nil {
			return name
		}
	}
}

// finish drops removed nodes and sorts what is left.
func (e *editor) finish() error {
	if len(e.gone) == 0 {
		return nil
	}
	kept := make([]*model.Node, 0, len(e.g.Nodes))
	for _, n := range e.g.Nodes {
		if !e.gone[n] {
			kept = append(kept, n)
		}
	}
	e.g.Nodes = kept
	clear(e.gone)
	return e.g.TopoSort()
}

// rewrite calls f for every node of the graph, in order.
func rewrite(f func(e *editor, n *model.Node)) func(c *compiler, g *model.Graph) error {
	return func(c *compiler, g *model.Graph) error {
		e := c.edit(g)
		for _, n := range slices.Clone(g.Nodes) {
			if !e.gone[n] {
				f(e, n)
			}
		}
		return e.finish()
	}
}

// version returns the opset of a node.
func (e *editor) version(n *model.Node) int64 { return e.c.opset(n) }
