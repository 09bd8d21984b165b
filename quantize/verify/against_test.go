//go:build !static

package verify_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// graphOf returns a graph of x and y, opset 21, whose weights are normal deviates of the shapes.
func graphOf(x, y []int, weights map[string][]int, nodes ...*model.Node) *model.Graph {
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, x...)}, Outputs: []*model.Value{value("y", model.Float32, y...)}, Nodes: nodes}
	g.SetOpset("", 21)
	for i, name := range []string{"w", "v", "u", "s", "b", "m", "d"} {
		if shape := weights[name]; shape != nil {
			g.SetInitializer(name, normal(uint64(i+1), shape...))
		}
	}
	return g
}

func op(op, out string, in []string, attrs ...model.Attr) *model.Node {
	return &model.Node{Op: op, Name: out + "_" + op, Inputs: in, Outputs: []string{out}, Attrs: attrs}
}

// TestAgainstOwnFiles: what this project writes of weights in unusual places keeps every rule, and each weight is found and near the original.
func TestAgainstOwnFiles(t *testing.T) {
	ctx := context.Background()
	pads := model.IntsAttr("pads", 1, 1, 1, 1)
	folded := graphOf([]int{1, 4, 6, 6}, []int{1, 8, 6, 6}, map[string][]int{"w": {8, 4, 3, 3}, "s": {8}, "b": {8}, "m": {8}, "d": {8}},
		op("Conv", "c", []string{"x", "w"}, pads), op("BatchNormalization", "y", []string{"c", "s", "b", "m", "d"}))
	edit(folded, "d", func(x []float32) {
		for i := range x {
			x[i] = float32(math.Abs(float64(x[i]))) + 0.1
		}
	})
	foldedBack := graphOf([]int{1, 8, 4, 4}, []int{1, 6, 8, 8}, map[string][]int{"w": {8, 6, 2, 2}, "s": {6}, "b": {6}, "m": {6}, "d": {6}},
		op("ConvTranspose", "c", []string{"x", "w"}, model.IntsAttr("strides", 2, 2)), op("BatchNormalization", "y", []string{"c", "s", "b", "m", "d"}))
	edit(foldedBack, "d", func(x []float32) {
		for i := range x {
			x[i] = float32(math.Abs(float64(x[i]))) + 0.1
		}
	})
	loud := graphOf([]int{3, 64}, []int{3, 24}, map[string][]int{"s": {64}, "w": {64, 48}, "v": {24, 48}},
		op("Mul", "h", []string{"x", "s"}), op("MatMul", "a", []string{"h", "w"}), op("Gemm", "y", []string{"a", "v"}, model.IntAttr("transB", 1)))
	edit(loud, "s", func(x []float32) {
		for i := range x {
			x[i] = float32(math.Exp2(float64(i%9 - 4))) // inputs of very different size, which AWQ scales
		}
	})
	edit(loud, "w", func(x []float32) {
		for i := range x {
			x[i] *= float32(math.Exp2(float64(4 - i/48%9)))
		}
	})
	branch := func(seed uint64, out string) *model.Graph {
		b := &model.Graph{Name: "b" + out, Outputs: []*model.Value{{Name: out, Type: model.Type{DType: model.Float32}}}, Nodes: []*model.Node{op("MatMul", out, []string{"x", "w"})}}
		b.SetInitializer("w", normal(seed, 64, 48))
		return b
	}
	branches := graphOf([]int{3, 64}, []int{3, 48}, nil, op("If", "y", []string{"cond"},
		model.Attr{Name: "then_branch", Kind: model.AttrGraph, G: branch(1, "t")}, model.Attr{Name: "else_branch", Kind: model.AttrGraph, G: branch(2, "e")}))
	branches.SetInitializer("cond", model.Scalar(true))
	transposed := graphOf([]int{3, 64}, []int{3, 48}, map[string][]int{"w": {48, 64}}, op("Transpose", "wt", []string{"w"}, model.IntsAttr("perm", 1, 0)), op("MatMul", "y", []string{"x", "wt"}))
	grouped := graphOf([]int{1, 8, 5, 5}, []int{1, 12, 6, 6}, map[string][]int{"w": {8, 3, 2, 2}}, op("ConvTranspose", "y", []string{"x", "w"}, model.IntAttr("group", 4)))
	twoWays := graphOf([]int{3, 64}, []int{3, 64}, map[string][]int{"w": {64, 48}}, op("MatMul", "a", []string{"x", "w"}), op("Gemm", "y", []string{"a", "w"}, model.IntAttr("transB", 1)))
	gru := graphOf([]int{5, 2, 16}, []int{5, 1, 2, 8}, map[string][]int{"w": {1, 24, 16}, "v": {1, 24, 8}}, op("GRU", "y", []string{"x", "w", "v"}, model.IntAttr("hidden_size", 8)))
	odd := loud.Clone()
	edit(odd, "w", func(x []float32) { x[5] = float32(math.NaN()) })

	static := func(s quantize.Static, shape ...int) func(*model.Graph) ([]model.Note, error) {
		return func(g *model.Graph) ([]model.Note, error) { return s.Apply(ctx, g, feeds(4, shape...)) }
	}
	few := func(o quantize.WeightOnly, shape ...int) func(*model.Graph) ([]model.Note, error) {
		return func(g *model.Graph) ([]model.Note, error) {
			o.Feeds = feeds(40, shape...)
			return o.Apply(ctx, g)
		}
	}
	stored := func(g *model.Graph) ([]model.Note, error) {
		return quantize.QDQWeights{DType: model.Float8E4M3FN}.Apply(g)
	}
	for name, c := range map[string]struct {
		g     *model.Graph
		apply func(*model.Graph) ([]model.Note, error)
		want  []string
		least float64
	}{
		"QOperator":                 {network(), static(quantize.Static{Format: quantize.QOperator}, 1, 3, 12, 12), []string{"w1", "w2", "wt", "w3", "wg", "wm", "wn"}, 25},
		"QOperator, uint8":          {network(), static(quantize.Static{Format: quantize.QOperator, Weights: model.Uint8, Granularity: quantize.PerTensor}, 1, 3, 12, 12), []string{"w1", "w2", "wt", "w3", "wg", "wm", "wn"}, 25},
		"folded, of negative sign":  {folded, static(quantize.Static{}, 1, 4, 6, 6), []string{"w"}, 25},
		"folded along axis 1":       {foldedBack, static(quantize.Static{}, 1, 8, 4, 4), []string{"w"}, 25},
		"folded, QOperator":         {folded, static(quantize.Static{Format: quantize.QOperator}, 1, 4, 6, 6), []string{"w"}, 25},
		"AWQ":                       {loud, few(quantize.WeightOnly{Algorithm: quantize.AWQ}, 3, 64), []string{"w", "v"}, 12},
		"AWQ, QDQ":                  {loud, few(quantize.WeightOnly{Algorithm: quantize.AWQ, Format: quantize.QDQ}, 3, 64), []string{"w", "v"}, 12},
		"names of several branches": {branches, func(g *model.Graph) ([]model.Note, error) { return quantize.Dynamic{}.Apply(g) }, []string{"w", "w"}, 25},
		"computed from constants":   {transposed, static(quantize.Static{Format: quantize.QOperator}, 3, 64), []string{"wt"}, 25},
		"grouped ConvTranspose":     {grouped, stored, []string{"w"}, 12},
		"read both ways":            {twoWays, stored, []string{"w"}, 12},
		"GRU of uint8":              {gru, func(g *model.Graph) ([]model.Note, error) { return quantize.Dynamic{DType: model.Uint8}.Apply(g) }, []string{"w", "v"}, 25},
		"no number":                 {odd, few(quantize.WeightOnly{Bits: 8}, 3, 64), []string{"v"}, 25},
	} {
		t.Run(name, func(t *testing.T) {
			q := c.g.Clone()
			if _, err := c.apply(q); err != nil {
				t.Fatal(err)
			}
			restored, found := verify.Against(q, c.g)
			if found = append(found, verify.Graph(q)...); len(found) > 0 {
				t.Errorf("%v", found)
			}
			var names []string
			for _, r := range restored {
				if names = append(names, r.Weight); !(r.SQNR > c.least) {
					t.Errorf("%+v: want %v dB", r, c.least)
				}
			}
			if slices.Sort(names); fmt.Sprint(names) != fmt.Sprint(slices.Sorted(slices.Values(c.want))) {
				t.Errorf("restored %v, want %v", names, c.want)
			}
			for _, name := range c.want { // another model is not taken for the original
				if name == "w1" {
					other := c.g.Clone()
					other.SetInitializer(name, normal(99, c.g.Initializer(name).Shape()...))
					if _, found := verify.Against(q, other); len(found) == 0 {
						t.Error("another weight is taken for the original's")
					}
				}
			}
		})
	}
}
