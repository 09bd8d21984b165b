//go:build !static

package quantize_test

import (
	"context"
	"errors"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// scanGraph multiplies the rows of x in turn by w and adds them up: the body of a Scan reads a weight of the graph around it.
func scanGraph() *model.Graph {
	body := &model.Graph{Name: "body", Inputs: []*model.Value{value("sum", 8), value("row", 8)}, Outputs: []*model.Value{value("next", 8), value("out", 8)},
		Nodes: []*model.Node{node("Unsqueeze", "r2", "row", "axis"), node("MatMul", "p2", "r2", "w"), node("Squeeze", "p", "p2", "axis"), node("Add", "next", "sum", "p"), node("Identity", "out", "next")}}
	return graphOf(values(value("x", unknown, 8)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": normal(1, 8, 8), "zero": model.FromSlice([]int{8}, make([]float32, 8)), "axis": model.FromSlice([]int{1}, []int64{0})},
		&model.Node{Name: "scan", Op: "Scan", Inputs: []string{"zero", "x"}, Outputs: []string{"last", "y"}, Attrs: []model.Attr{{Name: "body", Kind: model.AttrGraph, G: body}, model.IntAttr("num_scan_inputs", 1)}})
}

// TestSchemesInLoops: weights that the bodies of Loop and Scan read are quantized by every scheme, and both engines compute nearly
// the float model; ranges of what enters a body are observed too.
func TestSchemesInLoops(t *testing.T) {
	ctx := context.Background()
	for name, g := range map[string]*model.Graph{"loop": loopGraph(normal(1, 8, 8), 1), "scan": scanGraph()} {
		feed := engine.Feed{"x": normal(5, 4, 8)}
		want := outputs(t, g, []engine.Feed{feed})
		for scheme, apply := range map[string]func(*model.Graph) ([]model.Note, error){
			"static":      func(g *model.Graph) ([]model.Note, error) { return quantize.Static{}.Apply(ctx, g, feedsOf(feed)) },
			"dynamic":     func(g *model.Graph) ([]model.Note, error) { return quantize.Dynamic{}.Apply(g) },
			"weight-only": func(g *model.Graph) ([]model.Note, error) { return quantize.WeightOnly{Bits: 8}.Apply(ctx, g) },
			"int16": func(g *model.Graph) ([]model.Note, error) {
				return quantize.QDQWeights{DType: model.Int16, Symmetric: true}.Apply(g)
			},
			"blocks": func(g *model.Graph) ([]model.Note, error) {
				return quantize.WeightOnly{Bits: 8, Group: 16, Format: quantize.QDQ}.Apply(ctx, g)
			},
			"fp16": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) },
			"fp16 graph": func(g *model.Graph) ([]model.Note, error) {
				return quantize.Half{DType: model.Float16, Feeds: feedsOf(feed)}.Apply(ctx, g)
			},
		} {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				q := g.Clone()
				notes, err := apply(q)
				if err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(q); err != nil {
					t.Fatal(err)
				}
				if n := noteOf(notes, "w"); n.Action == model.Left || n.BytesAfter == n.BytesBefore {
					t.Errorf("%+v", n)
				}
				got := outputs(t, q, []engine.Feed{feed})
				y := model.FromSlice([]int{len(got[0])}, got[0])
				if db := noise(t, model.FromSlice([]int{len(want[0])}, want[0]), y); db < 24 { // as in TestStaticInRuntimes, three steps deep
					t.Errorf("%.1f dB above the noise of quantization, want 24", db)
				}
				ort, err := session(t, q).Run(ctx, feed)
				if err != nil {
					t.Fatal(err)
				}
				if db := noise(t, ort["y"], y); db < 40 { // the runtimes differ where a sum falls on the border of two integers
					t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40", db)
				}
			})
		}
	}
}

// TestStaticLoopNotRun: a Loop whose body never runs has no ranges: its weights are left, with the reason.
func TestStaticLoopNotRun(t *testing.T) {
	g := loopGraph(normal(1, 8, 8), 1)
	g.SetInitializer("trips", model.Scalar(int64(0)))
	notes, err := quantize.Static{}.Apply(context.Background(), g, feedsOf(engine.Feed{"x": normal(5, 4, 8)}))
	if !errors.Is(err, quantize.ErrNothing) {
		t.Fatal(err)
	}
	if n := noteOf(notes, "w"); n.Action != model.Left || n.Reason != "no calibration run reached it" {
		t.Errorf("%+v", n)
	}
}
