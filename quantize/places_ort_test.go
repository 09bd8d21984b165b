//go:build !static

package quantize_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// inBodies are the graphs of placed, and ones with weights in and around the bodies of If, Loop and Scan: initializers of the body, Constant nodes,
// behind Identity.
func inBodies() map[string]*model.Graph {
	loop := func(outer, inner map[string]*model.Tensor, nodes ...*model.Node) *model.Graph {
		g := loopGraph(normal(1, 8, 8), 1)
		n := g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Op == "Loop" })]
		body := n.Attr("body").G
		g.RemoveInitializer("w")
		for name, t := range outer {
			g.SetInitializer(name, t)
		}
		for name, t := range inner {
			body.SetInitializer(name, t)
		}
		body.Nodes = append(nodes, body.Nodes...)
		return g
	}
	constant := func() *model.Node {
		return having(node("Constant", "w"), model.TensorAttr("value", normal(1, 8, 8)))
	}
	w := map[string]*model.Tensor{"w": normal(1, 8, 8)}
	graphs := placed()
	graphs["captured by a Loop"] = loop(w, nil)
	graphs["of a Loop"] = loop(nil, w)
	graphs["Constant in a Loop"] = loop(nil, nil, constant())
	graphs["Identity in a Loop"] = loop(map[string]*model.Tensor{"v": normal(1, 8, 8)}, nil, node("Identity", "w", "v"))
	graphs["captured by a Scan"] = scanGraph()
	x, cond := value("x", unknown, 8), &model.Value{Name: "c", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}
	graphs["Constant and Identity in branches"] = graphOf(values(x, cond), values(value("y", unknown, unknown)), nil, having(node("If", "y", "c"),
		model.Attr{Name: "then_branch", Kind: model.AttrGraph, G: bodyOf(nil, values(value("t", unknown, unknown)), nil, constant(), node("MatMul", "t", "x", "w"))},
		model.Attr{Name: "else_branch", Kind: model.AttrGraph, G: bodyOf(nil, values(value("e", unknown, unknown)), w, node("Identity", "v", "w"), node("MatMul", "e", "x", "v"))}))
	return graphs
}

// byTrio returns g with every matrix in the place of what the affine trio makes of it, quantized and restored, along the axis of its first reader.
func byTrio(t *testing.T, g *model.Graph, s quantize.Scheme) *model.Graph {
	t.Helper()
	h := g.Clone()
	done := 0
	for _, w := range h.Weights() {
		if w.Tensor.DType() != model.Float32 || w.Tensor.Rank() < 2 {
			continue
		}
		if s.Axis = -1; w.Uses[0].Node.Op != "MatMul" { // rows of a table, or of a Gemm with transB
			s.Axis = 0
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		grid, err := s.ChooseParams(x, w.Tensor.Shape())
		if err != nil {
			t.Fatal(err)
		}
		q, err := grid.Quantize(x)
		if err != nil {
			t.Fatal(err)
		}
		if x, err = grid.Dequantize(q); err != nil {
			t.Fatal(err)
		}
		restored := model.FromSlice(w.Tensor.Shape(), x)
		if w.Node != nil {
			w.Node.SetAttr(model.TensorAttr("value", restored))
		} else {
			w.Graph.SetInitializer(w.Value, restored)
		}
		done++
	}
	if done == 0 {
		t.Fatal("no matrix")
	}
	return h
}

// TestStoredPlaces: weights in Constant nodes, behind Identity and in bodies that are stored in 16 bits, as 8-bit floats and as 4-bit integers: both runtimes
// compute what the values of the affine trio give.
func TestStoredPlaces(t *testing.T) {
	for name, g := range inBodies() {
		feed := placedFeed(g)
		for _, dtype := range []model.DType{model.Float8E4M3FN, model.Float8E5M2, model.Int16, model.Uint16, model.Int4, model.Uint4} {
			t.Run(fmt.Sprint(name, "/", dtype), func(t *testing.T) {
				q := g.Clone()
				symmetric := dtype == model.Int16 || dtype == model.Int4
				notes, err := quantize.QDQWeights{DType: dtype, Symmetric: symmetric}.Apply(q)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range notes {
					if n.Action == model.Left && n.Weight != "b" && n.Weight != "zero" {
						t.Errorf("%+v", n)
					}
				}
				for _, w := range q.Weights() {
					if w.Tensor.DType() == model.Float32 && w.Tensor.Len() > 8*12 {
						t.Errorf("float weight %q is still there", w.Name)
					}
				}
				a, b, _, _ := reread(t, q, feed)
				trio := outputs(t, byTrio(t, g, quantize.Scheme{DType: dtype, Symmetric: symmetric, Granularity: quantize.PerChannel}), []engine.Feed{feed})
				want := model.FromSlice(a.Shape(), trio[0])
				// float32 sums in another order; of 4-bit weights ONNX Runtime, and the native engine, make products of activations in 8 bits
				least := 90.0
				if dtype.Bits() == 4 {
					least = 35
				}
				if db := noise(t, want, a); db < least {
					t.Errorf("native engine: %.1f dB from the trio, want %.0f", db, least)
				}
				if db := noise(t, want, b); db < least {
					t.Errorf("ONNX Runtime: %.1f dB from the trio, want %.0f", db, least)
				}
				if dtype.Bits() == 4 {
					return // the error of few bits: TestTypesInRuntimes
				}
				float := model.FromSlice(a.Shape(), outputs(t, g, []engine.Feed{feed})[0])
				if db := noise(t, float, a); db < 13 || math.IsInf(db, 1) { // 16 dB a layer of 2 bits of mantissa, three of them
					t.Errorf("%.1f dB above the noise of quantization, want 13, and not without", db)
				}
			})
		}
	}
}

// TestFourBitPlaces: groups of 4 bits by every algorithm and in both formats, where the weights stand in and around bodies. GPTQ and AWQ do not see
// what goes on in bodies, and say that they rounded to nearest.
func TestFourBitPlaces(t *testing.T) {
	for name, g := range inBodies() {
		if name == "table of rank 3" {
			continue // left, see TestWeightOnlyLeaves
		}
		feed := placedFeed(g)
		want := runORT(t, g, feed)
		for _, algorithm := range quantize.Algorithms {
			for _, format := range []quantize.Format{quantize.NBits, quantize.QDQ} {
				t.Run(fmt.Sprint(name, "/", algorithm, "/", format), func(t *testing.T) {
					h, notes := weightOnly(t, g, quantize.WeightOnly{Algorithm: algorithm, Format: format, Feeds: feedsOf(feed)})
					for _, n := range notes {
						if n.Action == model.Left && n.Weight != "b" && n.Weight != "zero" {
							t.Errorf("%+v", n)
						}
					}
					for _, w := range h.Weights() {
						if w.Tensor.DType() == model.Float32 && w.Tensor.Len() >= 64*64 {
							t.Errorf("float weight %q is still there", w.Name)
						}
					}
					out := runORT(t, h, feed)
					if e := relativeError(t, out, want); e > weightOnlyLimit || e == 0 {
						t.Errorf("relative error %.3g, want at most %.3g, and not 0", e, weightOnlyLimit)
					}
					got, err := native(t, h).Run(context.Background(), feed)
					if err != nil {
						t.Fatal(err)
					}
					tolerance := 1e-5 // as in TestWeightOnlyInRuntime
					if format == quantize.QDQ {
						tolerance = 1e-2
					}
					if e := relativeError(t, got, out); e > tolerance {
						t.Errorf("native engine and ONNX Runtime differ by %.2g", e)
					}
				})
			}
		}
	}
}
