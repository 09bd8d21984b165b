package recipe

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// normModel writes a normalization over an axis of any size whose scale has six elements, before a product.
func normModel(t *testing.T) string {
	t.Helper()
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "a"}, {Size: -1, Param: "b"}, {Size: -1, Param: "c"}}}
	g := &model.Graph{Name: "norm", Inputs: []*model.Value{{Name: "x", Type: float}}, Outputs: []*model.Value{{Name: "z", Type: float}}, Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 13)
	g.SetInitializer("eps", model.Scalar(float32(1e-5)))
	g.SetInitializer("w", model.FromSlice([]int{6, 2}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}))
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
	node("MatMul", "z", nil, "y", "w")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestFallbacksAreWarnings: a measurement at a shape that the fused plan has no kernel for says so, with the number of runs and the node; at another it
// says nothing.
func TestFallbacksAreWarnings(t *testing.T) {
	path := normModel(t)
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

// TestFallbacksOfResumedRun: a run that was cut off among its blocks ends with the counts of both processes.
func TestFallbacksOfResumedRun(t *testing.T) {
	path := normModel(t)
	rec := parseIn(t, filepath.Dir(path), `version: 1
model: norm.onnx
inputs: {random: {seed: 3, n: 2}, shapes: {x: [2, 3, 1]}}
target: {threads: 1}
measure: {pairs: 4, max_pairs: 4, max_seconds: 5, block_seconds: 0.002, idle_seconds: 0.002, inputs: 2}
variants: [{name: sparse, stages: [{prune: {sparsity: 0.5}}]}]
`)
	o := options(t.TempDir())
	if _, err := compute(t.Context(), rec, o); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(o.Out, journalName)
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	counts := func(journal []byte) (unfused, int) {
		all, blocks := unfused{}, 0
		for line := range bytes.Lines(journal) {
			var l struct {
				Kind string
				Data struct{ Unfused unfused }
			}
			if json.Unmarshal(line, &l) == nil {
				all.add(l.Data.Unfused)
			}
			if l.Kind == kindBlock {
				blocks++
			}
		}
		return all, blocks
	}
	var cut []byte
	for line := range bytes.Lines(full) {
		if _, n := counts(cut); n == 6 {
			break
		}
		cut = append(cut, line...)
	}
	before, _ := counts(cut)
	if err := os.WriteFile(path, cut, 0o644); err != nil {
		t.Fatal(err)
	}
	o.Resume = true
	res, err := compute(t.Context(), rec, o)
	if err != nil {
		t.Fatal(err)
	}
	if full, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	after, _ := counts(full)
	for _, name := range []string{"baseline", "sparse"} {
		for node, n := range after[name] {
			if want := fmt.Sprintf("variant %q: %v", name, engine.Fallback{Node: node, Runs: n}); before[name][node] == 0 || n <= before[name][node] || !slices.Contains(res.Warnings, want) {
				t.Errorf("%s: %d of %d runs before; want %q in %q", name, before[name][node], n, want, res.Warnings)
			}
		}
		if len(after[name]) != 1 {
			t.Errorf("%s: %v", name, after[name])
		}
	}
}
