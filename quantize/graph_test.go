package quantize_test

import (
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// unknown is a dimension without a size.
const unknown = -1

// value declares a float32 value.
func value(name string, dims ...int) *model.Value {
	s := make(model.Shape, len(dims))
	for i, d := range dims {
		s[i] = model.Dim{Size: int64(d)}
	}
	return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: s}}
}

// node makes a node whose name is its output.
func node(op, output string, inputs ...string) *model.Node {
	return &model.Node{Name: output, Op: op, Inputs: inputs, Outputs: []string{output}}
}

// graphOf makes a model at opset 17.
func graphOf(inputs, outputs []*model.Value, weights map[string]*model.Tensor, nodes ...*model.Node) *model.Graph {
	g := bodyOf(inputs, outputs, weights, nodes...)
	g.Model = &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}
	return g
}

// bodyOf makes the graph of a body.
func bodyOf(inputs, outputs []*model.Value, weights map[string]*model.Tensor, nodes ...*model.Node) *model.Graph {
	g := &model.Graph{Name: "g", Inputs: inputs, Outputs: outputs, Nodes: nodes}
	for _, n := range nodes { // initializers in the order of their readers, so that the tests are repeatable
		for _, in := range n.Inputs {
			if t := weights[in]; t != nil {
				g.SetInitializer(in, t)
			}
		}
	}
	for _, name := range sorted(weights) {
		g.SetInitializer(name, weights[name])
	}
	return g
}

func values(vs ...*model.Value) []*model.Value { return vs }

// normal makes a tensor of normal deviates.
func normal(seed uint64, shape ...int) *model.Tensor {
	n, err := model.NumElements(shape)
	if err != nil {
		panic(err)
	}
	rng := rand.New(rand.NewPCG(seed, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return model.FromSlice(shape, x)
}

// with returns t with element i set to v.
func with(t *model.Tensor, i int, v float32) *model.Tensor {
	x, err := t.Float32()
	if err != nil {
		panic(err)
	}
	x = append([]float32(nil), x...)
	x[i] = v
	return model.FromSlice(t.Shape(), x)
}

// histogram counts the operators of g and its bodies.
func histogram(g *model.Graph) map[string]int {
	h := map[string]int{}
	var walk func(*model.Graph)
	walk = func(g *model.Graph) {
		for _, n := range g.Nodes {
			h[n.Op]++
			for _, sub := range n.Subgraphs() {
				walk(sub)
			}
		}
	}
	walk(g)
	return h
}

// noteOf returns the note of a weight.
func noteOf(notes []model.Note, weight string) model.Note {
	for _, n := range notes {
		if n.Weight == weight {
			return n
		}
	}
	return model.Note{}
}

func sorted(m map[string]*model.Tensor) []string { return slices.Sorted(maps.Keys(m)) }
