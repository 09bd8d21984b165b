package engine_test

import (
	"errors"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestMemoryOfLoops: a loop that collects numbers in a sequence, or as a scan output, for ever ends at the bound, although
// each is small and none lies in the recycled memory.
func TestMemoryOfLoops(t *testing.T) {
	for name, scan := range map[string]bool{"sequence": false, "scan": true} {
		seq := &model.Value{Name: "s", Type: model.Type{}}
		body := &model.Graph{Name: "body",
			Inputs: []*model.Value{{Name: "i", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}, {Name: "go", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}},
			Nodes:  []*model.Node{{Op: "Identity", Inputs: []string{"go"}, Outputs: []string{"on"}}}, Outputs: []*model.Value{{Name: "on"}}}
		g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", 1)}, Outputs: []*model.Value{{Name: "n"}}}
		loop := &model.Node{Op: "Loop", Inputs: []string{"", "yes"}, Outputs: []string{"all"}, Attrs: []model.Attr{{Name: "body", Kind: model.AttrGraph, G: body}}}
		g.SetInitializer("yes", model.FromSlice([]int{}, []bool{true}))
		last := &model.Node{Op: "Size", Inputs: []string{"all"}, Outputs: []string{"n"}}
		if scan {
			body.Nodes = append(body.Nodes, &model.Node{Op: "Identity", Inputs: []string{"i"}, Outputs: []string{"out"}})
			body.Outputs = append(body.Outputs, &model.Value{Name: "out"})
		} else {
			body.Inputs = append(body.Inputs, seq)
			body.Nodes = append(body.Nodes, &model.Node{Op: "SequenceInsert", Inputs: []string{"s", "i"}, Outputs: []string{"longer"}})
			body.Outputs = append(body.Outputs, &model.Value{Name: "longer"})
			g.Nodes = append(g.Nodes, &model.Node{Op: "SequenceEmpty", Outputs: []string{"empty"}, Attrs: []model.Attr{model.IntAttr("dtype", int64(model.Int64))}})
			loop.Inputs, last.Op = append(loop.Inputs, "empty"), "SequenceLength"
		}
		g.Nodes = append(g.Nodes, loop, last)
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Memory: 1 << 20})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1}, []float32{0})}); !errors.Is(err, engine.ErrMemory) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

// TestMemoryOfFloat64: operators that compute in float64 stay inside of the bound too.
func TestMemoryOfFloat64(t *testing.T) {
	for _, op := range []string{"MeanVarianceNormalization", "LpNormalization"} {
		n := &model.Node{Op: op, Inputs: []string{"x"}, Outputs: []string{"y"}}
		g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", 1, 4, 256, 256)},
			Outputs: []*model.Value{vector("y")}, Nodes: []*model.Node{n}}
		for memory, fits := range map[int64]bool{3 << 20: false, 64 << 20: true} { // x has 1 MiB
			s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Memory: memory})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1, 4, 256, 256}, make([]float32, 4<<16))})
			if fits != (err == nil) || !fits && !errors.Is(err, engine.ErrMemory) {
				t.Errorf("%s with %d bytes: %v", op, memory, err)
			}
			s.Close()
		}
	}
}
