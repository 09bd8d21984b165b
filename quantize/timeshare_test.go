package quantize

import (
	"iter"
	"math"
	"testing"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestTimeShares: the time of a kind is spread by multiply-accumulates at the sizes of the feed, worked out by hand, not by elements.
func TestTimeShares(t *testing.T) {
	zeros := func(shape ...int) *model.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return model.FromSlice(shape, make([]float32, n))
	}
	value := func(name string, shape ...int) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(shape...)}}
	}
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 8}, Inputs: []*model.Value{value("x", -1, 4, -1, -1), value("q", -1, 5, 8)}, Outputs: []*model.Value{value("y", -1, 6), value("z", -1, 5, 3)}}
	g.SetOpset("", 17)
	for name, w := range map[string]*model.Tensor{"c1": zeros(4, 4, 3, 3), "c2": zeros(4, 4, 3, 3), "w": zeros(4, 6), "v": zeros(8, 3)} {
		g.SetInitializer(name, w)
	}
	g.Nodes = []*model.Node{
		{Op: "Conv", Inputs: []string{"x", "c1"}, Outputs: []string{"a"}, Attrs: []model.Attr{model.IntsAttr("pads", 1, 1, 1, 1)}},
		{Op: "Conv", Inputs: []string{"a", "c2"}, Outputs: []string{"b"}, Attrs: []model.Attr{model.IntsAttr("pads", 1, 1, 1, 1), model.IntsAttr("strides", 2, 2)}},
		{Op: "GlobalAveragePool", Inputs: []string{"b"}, Outputs: []string{"p"}},
		{Op: "Flatten", Inputs: []string{"p"}, Outputs: []string{"f"}},
		{Op: "Gemm", Inputs: []string{"f", "w"}, Outputs: []string{"y"}},
		{Op: "Transpose", Inputs: []string{"q"}, Outputs: []string{"qt"}, Attrs: []model.Attr{model.IntsAttr("perm", 0, 2, 1)}},
		{Op: "MatMul", Inputs: []string{"q", "qt"}, Outputs: []string{"s"}},
		{Op: "MatMul", Inputs: []string{"s", "q"}, Outputs: []string{"r"}},
		{Op: "MatMul", Inputs: []string{"r", "v"}, Outputs: []string{"z"}},
	}
	profile := []engine.OpTime{{Op: "wattshed.Conv", Time: 6 * time.Second}, {Op: "MatMul", Time: 3 * time.Second}, {Op: "Transpose", Time: time.Second}}
	feeds := engine.Feeds{N: 1, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			yield(engine.Feed{"x": zeros(1, 4, 8, 8), "q": zeros(2, 5, 8)}, nil)
		}
	}}
	list := (Sensing{}).Weights(g)
	got, err := TimeShares(profile, g, list, feeds)
	if err != nil {
		t.Fatal(err)
	}
	// Convolutions: 64 and 16 places. Products: w 1*4*6, v 2*5*8*3, and between activations q*qt 2*5*5*8 and s*q 2*5*5*8.
	all := 24.0 + 240 + 400 + 400
	want := map[string]float64{"c1": 0.6 * 64 / 80, "c2": 0.6 * 16 / 80, "w": 0.3 * 24 / all, "v": 0.3 * 240 / all}
	if len(list) != len(want) {
		t.Fatalf("%d weights", len(list))
	}
	for i, w := range list {
		if math.Abs(got[i]-want[w.Name]) > 1e-12 { // a handful of roundings of float64
			t.Errorf("%s: %v, want %v", w.Name, got[i], want[w.Name])
		}
	}
}
