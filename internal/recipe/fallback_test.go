package recipe

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// TestFallbacksAreWarnings: a measurement at a shape that the fused plan has no kernel for says so, with the number of runs and the node; at another it
// says nothing.
func TestFallbacksAreWarnings(t *testing.T) {
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "a"}, {Size: -1, Param: "b"}, {Size: -1, Param: "c"}}}
	g := &model.Graph{Name: "norm", Inputs: []*model.Value{{Name: "x", Type: float}}, Outputs: []*model.Value{{Name: "y", Type: float}}, Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 13)
	g.SetInitializer("eps", model.Scalar(float32(1e-5)))
	g.SetInitializer("scale", model.FromSlice([]int{6}, []float32{1, 2, 3, 4, 5, 6}))
	node := func(op, out string, attrs []model.Attr, in ...string) {
		g.Nodes = append(g.Nodes, &model.Node{Name: "the " + out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs})
	}
	node("Mul", "square", nil, "x", "x")
	node("ReduceMean", "mean", []model.Attr{model.IntsAttr("axes", -1)}, "square")
	node("Add", "above", nil, "mean", "eps")
	node("Sqrt", "root", nil, "above")
	node("Div", "normal", nil, "x", "root")
	node("Mul", "y", nil, "normal", "scale")
	path := filepath.Join(t.TempDir(), "norm.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	for columns, told := range map[int]bool{6: false, 1: true} {
		rec := &Recipe{Model: path, Dir: ".", Inputs: InputsSpec{Random: &RandomSpec{Seed: new(uint64(3)), N: 2}, Shapes: map[string][]int{"x": {2, 3, columns}}},
			Target: TargetSpec{Threads: 1}, Measure: MeasureSpec{Pairs: 2, MaxPairs: 2, BlockSeconds: 0.002}}
		res, err := Measure(context.Background(), rec, nil, options(""))
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		for _, w := range res.Warnings {
			if strings.Contains(w, "fell back") {
				found += w
			}
		}
		if told != (found != "") || told && !(strings.HasPrefix(found, `variant "baseline": `) && strings.Contains(found, `node "the y"`)) {
			t.Errorf("%d columns: %q of %q", columns, found, res.Warnings)
		}
	}
}
