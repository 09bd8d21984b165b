package recipe

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

// scaled is y = k x of any length.
func scaled(k float32) *model.Graph {
	value := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "sequence"}}}}
	}
	g := &model.Graph{Name: "scaled", Inputs: []*model.Value{value("x")}, Outputs: []*model.Value{value("y")},
		Nodes: []*model.Node{{Name: "mul", Op: "Mul", Inputs: []string{"x", "k"}, Outputs: []string{"y"}}},
		Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
	g.SetInitializer("k", model.Scalar(k))
	return g
}

// TestAgree: outputs are the same to a share of the largest of them, at every length.
func TestAgree(t *testing.T) {
	session := func(g *model.Graph) engine.Session {
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	g, random := scaled(2), task.Random{Seed: 1, Batch: 2}
	for _, c := range []struct {
		k    float32
		want float64
	}{{2, 0}, {2.5, 0.25}} { // |2.5x - 2x| / |2x|
		list, err := Agree(t.Context(), session(scaled(c.k)), session(g), g, random, []int{3, 8})
		if err != nil || len(list) != 2 || list[0].Sequence != 3 || list[1].Sequence != 8 {
			t.Fatalf("%v, %v", list, err)
		}
		for _, a := range list {
			if math.Abs(a.Share()-c.want) > 1e-6 || a.Output != "y" { // a rounding of float32
				t.Errorf("%v: %+v, want %v", c.k, a, c.want)
			}
		}
	}
	if _, err := Agree(t.Context(), session(g), session(g), g, random, nil); err == nil || !strings.Contains(err.Error(), "sequence") {
		t.Errorf("no length: %v", err)
	}
}

// TestFarthest: what is no number on one side alone, other shapes and strings that differ are never near.
func TestFarthest(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	outputs := []*model.Value{{Name: "y"}}
	of := func(x ...float32) *model.Tensor { return model.FromSlice([]int{len(x)}, x) }
	for _, c := range []struct {
		a, b  *model.Tensor
		share float64
	}{
		{of(1, nan, inf), of(1, nan, inf), 0}, {of(1, nan), of(1, 2), math.Inf(1)}, {of(1, 2), of(1, nan), math.Inf(1)}, {of(inf, 1), of(-inf, 1), math.Inf(1)},
		{of(0, 0), of(0, 0), 0}, {of(0, 1), of(0, 0), math.Inf(1)}, {of(1, 3), of(1, 4), 0.25}, {of(), of(), 0},
	} {
		got, err := farthest(engine.Feed{"y": c.a}, engine.Feed{"y": c.b}, outputs)
		if err != nil || got.Share() != c.share {
			t.Errorf("%v and %v: %+v, %v, want %v", c.a, c.b, got, err, c.share)
		}
		if _, err := json.Marshal(got); err != nil {
			t.Error(err)
		}
	}
	for _, other := range []engine.Feed{{}, {"y": of(1)}, {"y": model.FromSlice([]int{2}, []int32{1, 2})}} {
		if _, err := farthest(other, engine.Feed{"y": of(1, 2)}, outputs); err == nil {
			t.Errorf("%v is compared", other)
		}
	}
}
