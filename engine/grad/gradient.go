package grad

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// Domain is the operator domain of the nodes that Gradient and the losses add.
const Domain = "wattshed.grad"

// ErrNoPath is wrapped by the error of Gradient about a parameter that the loss does not depend on.
var ErrNoPath = fmt.Errorf("the loss does not depend on it")

// Gradient returns a graph that computes loss and its derivative by every value named in params, and the names of the
// derivatives by parameter. Parameters are float32 initializers, inputs or inner values of g; loss is a value of one
// element. The outputs of the new graph are loss and then the derivatives in the order of params; nodes that they do not
// need are left out, and LSTM and GRU nodes on the way become their twins of Domain that also hand out what the backward
// pass reads. g is not changed.
//
// An operator on a path from a parameter to the loss that has no derivative here is an error that names the node and wraps
// model.ErrUnsupported. Comparisons, shapes, roundings and casts to integers end a path, their derivative being zero.
// At the points where Relu, Clip and ReduceMax have none, the derivative taken is 0 at Relu's corner, 1 at
// the bounds of Clip, and an equal share for every maximum.
func Gradient(g *model.Graph, loss string, params []string) (*model.Graph, map[string]string, error) {
	c := g.Clone()
	if err := c.TopoSort(); err != nil {
		return nil, nil, fmt.Errorf("grad: %w", err)
	}
	b := newBuilder(c)
	active := activeValues(c, params)
	if !active[loss] {
		return nil, nil, fmt.Errorf("grad: loss %q: depends on none of the parameters", loss)
	}
	needed := neededValues(c, loss)
	b.active = active
	forward := c.Nodes
	b.accumulate(loss, b.node("OnesLike", Domain, []string{loss}, 1)[0])
	for i := len(forward) - 1; i >= 0; i-- {
		if err := b.backward(forward[i], needed); err != nil {
			return nil, nil, err
		}
	}
	grads := make(map[string]string, len(params))
	c.Nodes = append(forward, b.nodes...)
	outputs := []*model.Value{{Name: loss, Type: model.Type{DType: model.Float32}}}
	for _, p := range params {
		d := b.grad(p)
		if d == "" {
			return nil, nil, fmt.Errorf("grad: parameter %q: %w (%q)", p, ErrNoPath, loss)
		}
		grads[p] = d
		outputs = append(outputs, &model.Value{Name: d, Type: model.Type{DType: model.Float32}})
	}
	c.Nodes = append(forward, b.nodes...) // the last sums
	c.Outputs = outputs
	dropUnused(c)
	if c.Model != nil {
		c.SetOpset(Domain, 1)
	}
	return c, grads, c.TopoSort()
}

// Params returns the float32 initializers of one dimension or more that loss depends on through operators that have a derivative,
// in the graph's order.
func Params(g *model.Graph, loss string) []string {
	needed := neededValues(g, loss)
	var out []string
	for _, name := range g.Initializers() {
		t := g.Initializer(name)
		if t.DType() != model.Float32 || t.Rank() == 0 {
			continue
		}
		if needed[name] && activeValues(g, []string{name})[loss] {
			out = append(out, name)
		}
	}
	return out
}

// flat lists the operators whose derivative is zero wherever it exists; they end a path.
var flat = map[string]bool{
	"Shape": true, "Size": true, "Equal": true, "Less": true, "LessOrEqual": true, "Greater": true, "GreaterOrEqual": true,
	"Not": true, "And": true, "Or": true, "Xor": true, "ArgMax": true, "ArgMin": true, "ConstantOfShape": true, "Range": true,
	"Floor": true, "Ceil": true, "Round": true, "Sign": true, "NonZero": true, "IsNaN": true, "IsInf": true,
}

func isFlat(n *model.Node) bool {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return false
	}
	return flat[n.Op] || n.Op == "Cast" && !model.DType(n.Int("to", 0)).IsFloat()
}

// reads returns the names that n reads, those captured by its bodies included.
func reads(n *model.Node) []string {
	if len(n.Subgraphs()) == 0 {
		return n.Inputs
	}
	return append(append([]string(nil), n.Inputs...), model.Captures(n)...)
}

// activeValues returns the values that change with params.
func activeValues(g *model.Graph, params []string) map[string]bool {
	active := map[string]bool{}
	for _, p := range params {
		active[p] = true
	}
	for _, n := range g.Nodes {
		if isFlat(n) {
			continue
		}
		for _, in := range reads(n) {
			if in != "" && active[in] {
				for _, o := range n.Outputs {
					if o != "" {
						active[o] = true
					}
				}
				break
			}
		}
	}
	return active
}

// neededValues returns the values that the computation of name reads, name included.
func neededValues(g *model.Graph, names ...string) map[string]bool {
	needed := map[string]bool{}
	for _, name := range names {
		needed[name] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		for _, o := range n.Outputs {
			if o != "" && needed[o] {
				for _, in := range reads(n) {
					if in != "" {
						needed[in] = true
					}
				}
				break
			}
		}
	}
	return needed
}

// dropUnused removes the nodes, initializers and declarations that no output needs.
func dropUnused(g *model.Graph) {
	outs := make([]string, len(g.Outputs))
	for i, v := range g.Outputs {
		outs[i] = v.Name
	}
	needed := neededValues(g, outs...)
	kept := g.Nodes[:0:0]
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			if needed[o] && o != "" {
				kept = append(kept, n)
				break
			}
		}
	}
	g.Nodes = kept
	for _, name := range append([]string(nil), g.Initializers()...) {
		if !needed[name] {
			g.RemoveInitializer(name)
		}
	}
	values := g.Values[:0:0]
	for _, v := range g.Values {
		if needed[v.Name] {
			values = append(values, v)
		}
	}
	g.Values = values
}
