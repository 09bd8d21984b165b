package engine_test

import (
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestPackedWithOthers: a weight that two operators share is packed for each where what it is packed with differs, be it the scale, or a bias of
// the same name in another body. The same graph with a copy of the weight for each computes the same bits.
func TestPackedWithOthers(t *testing.T) {
	for name, build := range map[string]func(shared bool) (*model.Graph, engine.Feed){"scales": oneMatrixTwoScales, "bodies": oneWeightTwoBiases} {
		for _, packs := range []*engine.Packs{nil, new(engine.Packs)} {
			var got [2][][]float32
			for i, shared := range []bool{false, true} {
				g, feed := build(shared)
				s := load(t, g, engine.Options{Packs: packs, Threads: 1})
				for _, cond := range []bool{true, false} {
					if feed["cond"] != nil {
						feed["cond"] = model.Scalar(cond)
					}
					got[i] = append(got[i], run(t, s, feed))
				}
			}
			for k := range got[0] {
				if !sameBits(got[0][k], got[1][k]) {
					t.Errorf("%s, shared packs %t, run %d: other bits than with a copy for each", name, packs != nil, k)
				}
			}
		}
	}
}

// oneMatrixTwoScales is a quantized LSTM of 8 inputs and 8 units whose two weights are the same bytes, with other scales.
func oneMatrixTwoScales(shared bool) (*model.Graph, engine.Feed) {
	r := rand.New(rand.NewPCG(5, 12))
	b := newBuilder(31, 14)
	w := make([]int8, 8*32)
	for i := range w {
		w[i] = int8(r.IntN(255) - 127)
	}
	first := b.constant(model.FromSlice([]int{1, 8, 32}, w))
	second := first
	if !shared {
		second = b.constant(model.FromSlice([]int{1, 8, 32}, append([]int8(nil), w...)))
	}
	scale := func(s float32) string { return b.constant(model.FromSlice([]int{1}, []float32{s})) }
	zero := func() string { return b.constant(model.FromSlice([]int{1}, []int8{0})) }
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: -1}, {Size: 8}})
	b.g.SetOpset("com.microsoft", 1)
	b.output(b.node("DynamicQuantizeLSTM", []string{x, first, second, "", "", "", "", "", scale(0.003), zero(), scale(0.02), zero()}, model.IntAttr("hidden_size", 8)))
	b.g.Nodes[0].Domain = "com.microsoft"
	return b.g, engine.Feed{"x": randomTensor(r, 1, 5, 2, 8)}
}

// oneWeightTwoBiases is an If whose bodies convolve with one weight and biases of one name.
func oneWeightTwoBiases(shared bool) (*model.Graph, engine.Feed) {
	r := rand.New(rand.NewPCG(5, 13))
	b := newBuilder(32, 17)
	x := b.input("x", model.Float32, model.FixedShape(1, 16, 6, 6))
	cond := b.input("cond", model.Bool, model.Shape{})
	w := randomTensor(r, 0.2, 16, 16, 3, 3)
	weight := b.constant(w)
	body := func(name, weight string) *model.Graph {
		g := &model.Graph{Name: name, Outputs: []*model.Value{{Name: name}}, Nodes: []*model.Node{{Op: "Conv", Name: name, Inputs: []string{x, weight, "bias"}, Outputs: []string{name + "/c"}},
			{Op: "Conv", Name: name + "/2", Inputs: []string{name + "/c", weight, "bias"}, Outputs: []string{name}}}}
		g.SetInitializer("bias", randomTensor(r, 1, 16))
		return g
	}
	one := body("one", weight)
	if !shared {
		weight = b.constant(randomTensor(rand.New(rand.NewPCG(5, 13)), 0.2, 16, 16, 3, 3))
	}
	b.output(b.node("If", []string{cond}, model.Attr{Name: "then_branch", Kind: model.AttrGraph, G: one}, model.Attr{Name: "else_branch", Kind: model.AttrGraph, G: body("two", weight)}))
	return b.g, engine.Feed{"x": randomTensor(r, 1, 1, 16, 6, 6), "cond": model.Scalar(true)}
}
