package grad

import (
	"fmt"
	"strconv"

	"github.com/wattshed/wattshed/model"
)

// builder collects the backward nodes of one graph.
type builder struct {
	g      *model.Graph
	nodes  []*model.Node
	taken  map[string]bool
	active map[string]bool
	sums   map[string][]string // by value: the derivatives that flow into it
	consts map[string]string
}

func newBuilder(g *model.Graph) *builder {
	b := &builder{g: g, taken: map[string]bool{}, sums: map[string][]string{}, consts: map[string]string{}}
	for _, v := range g.Inputs {
		b.taken[v.Name] = true
	}
	for _, name := range g.Initializers() {
		b.taken[name] = true
	}
	for _, n := range g.Nodes {
		b.taken[n.Name] = true
		for _, o := range n.Outputs {
			b.taken[o] = true
		}
	}
	return b
}

// fresh returns an unused name that begins with base.
func (b *builder) fresh(base string) string {
	name := base
	for i := 2; b.taken[name]; i++ {
		name = base + "." + strconv.Itoa(i)
	}
	b.taken[name] = true
	return name
}

// node adds a backward node of outs outputs and returns their names.
func (b *builder) node(op, domain string, in []string, outs int, attrs ...model.Attr) []string {
	n := &model.Node{Op: op, Domain: domain, Inputs: in, Attrs: attrs}
	n.Name = b.fresh("grad/" + op)
	for i := range outs {
		n.Outputs = append(n.Outputs, b.fresh(n.Name+":"+strconv.Itoa(i)))
	}
	b.nodes = append(b.nodes, n)
	return n.Outputs
}

// onnx adds a node of the default domain with one output.
func (b *builder) onnx(op string, in ...string) string { return b.node(op, "", in, 1)[0] }

// own adds a node of Domain with one output.
func (b *builder) own(op string, in []string, attrs ...model.Attr) string {
	return b.node(op, Domain, in, 1, attrs...)[0]
}

// scalar returns the name of a float32 scalar.
func (b *builder) scalar(v float32) string {
	key := strconv.FormatFloat(float64(v), 'g', -1, 32)
	if name, ok := b.consts[key]; ok {
		return name
	}
	name := b.fresh("grad/const/" + key)
	b.g.SetInitializer(name, model.Scalar(v))
	b.consts[key] = name
	return name
}

// accumulate records that derivative d flows into value.
func (b *builder) accumulate(value, d string) {
	if value != "" && d != "" {
		b.sums[value] = append(b.sums[value], d)
	}
}

// grad returns the name of the sum of the derivatives that flowed into value, in the order of their arrival, or "".
func (b *builder) grad(value string) string {
	ds := b.sums[value]
	if len(ds) == 0 {
		return ""
	}
	sum := ds[0]
	for _, d := range ds[1:] {
		sum = b.onnx("Add", sum, d)
	}
	b.sums[value] = []string{sum}
	return sum
}

// wants reports whether the derivative by input i of n is asked for.
func (b *builder) wants(n *model.Node, i int) bool { return n.In(i) != "" && b.active[n.In(i)] }

// opset returns the version of the default domain, 17 where the graph does not say.
func (b *builder) opset() int64 {
	if v := b.g.Opset(""); v > 0 {
		return v
	}
	return 17
}

// initializer returns the constant called name, or nil.
func (b *builder) initializer(name string) *model.Tensor {
	if t := b.g.Initializer(name); t != nil {
		return t
	}
	for _, n := range b.g.Nodes {
		if t := model.ConstantValue(n); t != nil && n.Out(0) == name {
			return t
		}
	}
	return nil
}

// backward adds the nodes that carry the derivatives of n's outputs to its inputs.
func (b *builder) backward(n *model.Node, needed map[string]bool) error {
	if isFlat(n) {
		return nil
	}
	reached, depends := false, false
	dy := make([]string, len(n.Outputs))
	for _, in := range reads(n) {
		depends = depends || in != "" && b.active[in]
	}
	if !depends {
		return nil
	}
	for i, o := range n.Outputs {
		if o != "" && needed[o] {
			dy[i] = b.grad(o)
			reached = reached || dy[i] != ""
		}
	}
	if !reached {
		return nil
	}
	r := ruleOf(n)
	if r == nil {
		return fmt.Errorf("grad: %s: no derivative: %w", n, model.ErrUnsupported)
	}
	dx, err := r(b, n, dy)
	if err != nil {
		return fmt.Errorf("grad: %s: %w", n, err)
	}
	for i, d := range dx {
		if b.wants(n, i) {
			b.accumulate(n.Inputs[i], d)
		}
	}
	return nil
}
