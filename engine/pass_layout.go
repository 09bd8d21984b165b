package engine

import (
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// layout moves convolutions and what lies between them to the blocked layout of images, in which 16 channels lie side by
// side (kernel.ChannelBlock): the values there have names of their own, and nodes that change the layout stand only where a
// value is wanted in the form that it does not have.
type layout struct {
	e       *editor
	nodes   []*model.Node          // the new list
	blocked map[string]string      // value -> its name in the blocked layout
	ch      map[string]int         // value that is blocked -> its channels
	missing map[string]bool        // values that exist in the blocked layout only
	conv    map[string]*model.Node // blocked name -> the BlockedConv that makes it
	found   bool
}

// layoutPass rewrites the top graph; bodies of If, Loop and Scan stay as they are.
func layoutPass(c *compiler, g *model.Graph) error {
	l := &layout{e: c.edit(g), blocked: map[string]string{}, ch: map[string]int{}, missing: map[string]bool{}, conv: map[string]*model.Node{}}
	for _, n := range g.Nodes {
		if l.convert(n) {
			if c.watch[n.Out(0)] {
				l.plain(n.Out(0))
			}
			continue
		}
		for _, name := range n.Inputs {
			l.plain(name)
		}
		if len(n.Subgraphs()) > 0 {
			for _, name := range model.Captures(n) {
				l.plain(name)
			}
		}
		l.nodes = append(l.nodes, n)
	}
	if !l.found {
		return nil
	}
	for _, v := range g.Outputs {
		l.plain(v.Name)
	}
	g.Nodes, c.view = l.nodes, nil
	return nil
}

// plain makes sure that a value exists in its own layout.
func (l *layout) plain(name string) {
	if !l.missing[name] {
		return
	}
	delete(l.missing, name)
	l.nodes = append(l.nodes, &model.Node{Name: name + "/unblock", Op: "Unblock", Domain: fusedDomain, Inputs: []string{l.blocked[name]},
		Outputs: []string{name}, Attrs: []model.Attr{model.IntAttr(channelsAttr, int64(l.ch[name]))}})
}

// block returns the name of a value of ch channels in the blocked layout, which a new node makes where nothing else does.
func (l *layout) block(name string, ch int) string {
	if b := l.blocked[name]; b != "" {
		return b
	}
	b := l.fresh(name)
	l.nodes = append(l.nodes, &model.Node{Name: b, Op: "Block", Domain: fusedDomain, Inputs: []string{name},
		Outputs: []string{b}, Attrs: []model.Attr{model.IntAttr(channelsAttr, int64(ch))}})
	l.blocked[name], l.ch[name] = b, ch
	return b
}

// fresh returns a name that the graph does not have.
func (l *layout) fresh(name string) string {
	for {
		name += "/blocked"
		if l.e.maker[name] == nil && len(l.e.users[name]) == 0 && l.e.g.Initializer(name) == nil && !l.e.fixed[name] && !l.e.pinned[name] {
			return name
		}
	}
}

// made appends a node whose output 0, the value name, is blocked.
func (l *layout) made(n *model.Node, name string, ch int) {
	b := l.fresh(name)
	n.Outputs = []string{b}
	l.nodes = append(l.nodes, n)
	l.blocked[name], l.ch[name], l.missing[name], l.found = b, ch, true, true
}

// copyNode returns a copy of n as the operator op of the passes' domain with other inputs.
func copyNode(n *model.Node, op string, inputs ...string) *model.Node {
	c := *n
	c.Op, c.Domain, c.Inputs = op, fusedDomain, inputs
	c.Attrs = append([]model.Attr(nil), n.Attrs...)
	return &c
}

// convert rewrites one node, or reports false.
func (l *layout) convert(n *model.Node) bool {
	if len(n.Outputs) == 0 || n.Outputs[0] == "" || len(n.Subgraphs()) > 0 {
		return false
	}
	for _, o := range n.Outputs[1:] {
		if o != "" {
			return false
		}
	}
	if l.e.c.custom(n) {
		return false
	}
	if n.Op == "Conv" && (n.Is("Conv") || n.Domain == fusedDomain) {
		return l.convolution(n)
	}
	if l.blocked[n.In(0)] == "" && l.blocked[n.In(1)] == "" {
		return false
	}
	if n.Domain != "" && n.Domain != "ai.onnx" && n.Domain != fusedDomain {
		return false
	}
	switch n.Op {
	case "Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Clip", "Elu", "Gelu", "SiLU", "Softplus", "Abs", "Neg", "Sqrt", "Erf":
		return l.unary(n)
	case "Add", "Mul", "Sub", "Sum":
		return l.binary(n)
	case "MaxPool", "AveragePool":
		return l.pool(n)
	case "GlobalAveragePool":
		return l.mean(n)
	case "ReduceMean":
		return l.reduced(n) && l.mean(n)
	case "Concat":
		return l.concat(n)
	}
	return false
}

// Bounds of windows: larger ones would make long lists of kernel elements at the edges.
const (
	maxBlockedKernel = 256
	maxBlockedSide   = 16
)

func smallWindow(k []int) bool {
	return len(k) == 2 && max(k[0], k[1]) <= maxBlockedSide && k[0]*k[1] <= maxBlockedKernel
}

// convolution rewrites a Conv with constant weights, whose residual, if it has one, becomes blocked too.
func (l *layout) convolution(n *model.Node) bool {
	w := l.e.constant(n.In(1))
	if w == nil || w.DType() != model.Float32 || w.Rank() != 4 || w.Len() == 0 || !smallWindow(w.Shape()[2:]) {
		return false
	}
	cout, cg, groups := w.Shape()[0], w.Shape()[1], int(n.Int("group", 1))
	if groups < 1 || cout%groups != 0 || !kernel.BlockGroups(cout, cg, groups) {
		return false
	}
	if k := attrInts(n, "kernel_shape"); k != nil && !sameShape(k, w.Shape()[2:]) {
		return false
	}
	if name := n.In(2); name != "" {
		if b := l.e.constant(name); b == nil || b.DType() != model.Float32 || b.Rank() != 1 || b.Len() != cout {
			return false
		}
	}
	if x := l.e.c.shapes[n.In(0)]; x != nil && len(x) != 4 {
		return false
	}
	cin := cg * groups
	if y := l.e.c.shapes[n.Out(0)]; cout < kernel.ChannelBlock/2 && !(len(y) == 4 && y[2] == dim{c: 1} && y[3] == dim{c: 1}) {
		return false // most lanes would be empty
	}
	c := copyNode(n, "BlockedConv", append([]string(nil), n.Inputs...)...)
	switch {
	case l.blocked[n.In(0)] != "":
		if l.ch[n.In(0)] != cin {
			return false
		}
		c.Inputs[0] = l.blocked[n.In(0)]
	case cin < kernel.ChannelBlock && groups == 1:
		c.SetAttr(model.IntAttr(plainAttr, 1))
	default:
		c.Inputs[0] = l.block(n.In(0), cin)
	}
	if r := n.In(3); r != "" {
		if l.blocked[r] != "" && l.ch[r] != cout {
			return false
		}
		c.Inputs[3] = l.block(r, cout)
	}
	l.made(c, n.Out(0), cout)
	l.conv[c.Outputs[0]] = c
	return true
}

// unary rewrites an element-wise operator that is finite at 0, as unused lanes are; as the activation of the convolution before
// it where that has none.
func (l *layout) unary(n *model.Node) bool {
	x := n.In(0)
	if l.blocked[x] == "" {
		return false
	}
	for _, name := range n.Inputs[1:] {
		if t := l.e.constant(name); name != "" && (t == nil || t.Len() != 1) {
			return false
		}
	}
	conv, act := l.conv[l.blocked[x]], activationOf(l.e, n)
	if n.Is("HardSigmoid") {
		act = kernel.ActHardSigmoid
	}
	if conv != nil && act != kernel.ActNone && conv.Int(actAttr, 0) == 0 && l.e.user(x) == n {
		conv.SetAttr(model.IntAttr(actAttr, int64(act)))
		if act == kernel.ActHardSigmoid {
			conv.SetAttr(model.FloatAttr(alphaAttr, n.Float("alpha", 0.2)))
			conv.SetAttr(model.FloatAttr(betaAttr, n.Float("beta", 0.5)))
		}
		y := n.Out(0)
		l.blocked[y], l.ch[y], l.missing[y] = l.blocked[x], l.ch[x], true
		delete(l.missing, x)
		return true
	}
	c := *n
	c.Inputs = append([]string{l.blocked[x]}, n.Inputs[1:]...)
	l.made(&c, n.Out(0), l.ch[x])
	return true
}

// binary rewrites operators of two values of the same shape, of a value and a number, and the product of an image with a
// factor per channel.
func (l *layout) binary(n *model.Node) bool {
	if len(n.Inputs) != 2 {
		return false
	}
	a, b := n.In(0), n.In(1)
	sa, sb := l.e.c.shapes[a], l.e.c.shapes[b]
	for i := range 2 {
		x, t := n.In(i), l.e.constant(n.In(1-i))
		if t != nil && t.Len() == 1 && t.Rank() <= 4 && t.DType() == model.Float32 && l.blocked[x] != "" {
			c := *n
			c.Inputs = append([]string(nil), n.Inputs...)
			c.Inputs[i] = l.blocked[x]
			l.made(&c, n.Out(0), l.ch[x])
			return true
		}
	}
	if l.blocked[a] == "" || l.blocked[b] == "" || len(sa) != 4 || len(sb) != 4 || l.ch[a] != l.ch[b] {
		return false
	}
	if slices.Equal(sa, sb) {
		c := *n
		c.Inputs = []string{l.blocked[a], l.blocked[b]}
		l.made(&c, n.Out(0), l.ch[a])
		return true
	}
	one := dim{c: 1}
	for range 2 {
		if n.Op == "Mul" && sb[2] == one && sb[3] == one && sa[0] == sb[0] {
			l.made(copyNode(n, "BlockedScale", l.blocked[a], l.blocked[b]), n.Out(0), l.ch[a])
			return true
		}
		a, b, sa, sb = b, a, sb, sa
	}
	return false
}

func (l *layout) pool(n *model.Node) bool {
	x := n.In(0)
	if !smallWindow(attrInts(n, "kernel_shape")) || l.blocked[x] == "" {
		return false
	}
	l.made(copyNode(n, "Blocked"+n.Op, l.blocked[x]), n.Out(0), l.ch[x])
	return true
}

// mean rewrites the mean over all pixels.
func (l *layout) mean(n *model.Node) bool {
	x := n.In(0)
	if l.blocked[x] == "" {
		return false
	}
	l.made(copyNode(n, "BlockedMean", l.blocked[x]), n.Out(0), l.ch[x])
	return true
}

// reduced reports whether a ReduceMean is over the pixels of images and keeps their axes.
func (l *layout) reduced(n *model.Node) bool {
	if n.Int("keepdims", 1) != 1 {
		return false
	}
	list := attrInts(n, "axes")
	if l.e.version(n) >= 18 {
		t := l.e.constant(n.In(1))
		if t == nil {
			return false
		}
		var err error
		if list, err = ints(t); err != nil {
			return false
		}
	}
	mark, err := axes(list, 4)
	return err == nil && slices.Equal(mark, []bool{false, false, true, true})
}

// concat rewrites the concatenation of channels where all but the last value have whole blocks.
func (l *layout) concat(n *model.Node) bool {
	if n.Int("axis", 0) != 1 {
		return false
	}
	var in []string
	ch := 0
	for _, x := range n.Inputs {
		if l.blocked[x] == "" || ch%kernel.ChannelBlock != 0 {
			return false
		}
		in, ch = append(in, l.blocked[x]), ch+l.ch[x]
	}
	c := *n
	c.Inputs = in
	l.made(&c, n.Out(0), ch)
	return true
}
