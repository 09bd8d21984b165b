package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestWatch: watched values are shown once a run in the order in which they are made, fused patterns around them are left
// alone, and an error of See ends the run.
func TestWatch(t *testing.T) {
	f32 := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 1, 2, 2)}}
	}
	g := &model.Graph{Inputs: []*model.Value{f32("x")}, Outputs: []*model.Value{f32("y")}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{
			{Op: "Conv", Inputs: []string{"x", "w"}, Outputs: []string{"a"}}, {Op: "Relu", Inputs: []string{"a"}, Outputs: []string{"b"}},
			{Op: "Add", Inputs: []string{"b", "x"}, Outputs: []string{"y"}}, {Op: "Neg", Inputs: []string{"b"}, Outputs: []string{"unread"}},
		}}
	g.SetInitializer("w", model.FromSlice([]int{1, 1, 1, 1}, []float32{-2}))
	x := model.FromSlice([]int{1, 1, 2, 2}, []float32{1, -1, 2, -3})
	want := map[string][]float32{"a": {-2, 2, -4, 6}, "b": {0, 2, 0, 6}, "y": {1, 1, 2, 3}, "unread": {0, -2, 0, -6}}
	var seen []string
	stop := errors.New("stop")
	var fail error
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Watch: &engine.Watch{
		Names: []string{"y", "b", "a", "unread", "nosuch", "x"}, See: func(name string, v *model.Tensor) error {
			got, err := v.Float32()
			if err != nil {
				return err
			}
			if !slices.Equal(got, want[name]) {
				t.Errorf("%s: %v, want %v", name, got, want[name])
			}
			seen = append(seen, name)
			return fail
		}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 {
		seen = nil
		if _, err := s.Run(context.Background(), engine.Feed{"x": x}); err != nil {
			t.Fatal(err)
		}
		at := slices.Index(seen, "a")
		if len(seen) != 4 || at < 0 || slices.Index(seen, "b") < at {
			t.Errorf("seen %v", seen)
		}
	}
	fail = stop
	if _, err := s.Run(context.Background(), engine.Feed{"x": x}); !errors.Is(err, stop) {
		t.Errorf("error of See: %v", err)
	}
}

// TestWatchBlocked: values of convolutions that are computed in a layout of their own are shown in that of the model.
func TestWatchBlocked(t *testing.T) {
	image := func(name string, channels int) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, channels, 3, 3)}}
	}
	g := &model.Graph{Inputs: []*model.Value{image("x", 16)}, Outputs: []*model.Value{image("y", 16)}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{{Op: "Conv", Inputs: []string{"x", "w"}, Outputs: []string{"a"}}, {Op: "Relu", Inputs: []string{"a"}, Outputs: []string{"b"}},
			{Op: "Conv", Inputs: []string{"b", "w"}, Outputs: []string{"y"}}}}
	w, x := make([]float32, 256), make([]float32, 144)
	for i := range 16 {
		w[i*17] = -1
	}
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	g.SetInitializer("w", model.FromSlice([]int{16, 16, 1, 1}, w))
	seen := map[string][]float32{}
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Watch: &engine.Watch{Names: []string{"a", "b"}, See: func(name string, v *model.Tensor) error {
		got, err := v.Float32()
		seen[name] = slices.Clone(got)
		return err
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Run(context.Background(), engine.Feed{"x": model.FromSlice([]int{1, 16, 3, 3}, x)}); err != nil {
		t.Fatal(err)
	}
	for i, v := range x {
		if a := seen["a"]; len(a) != len(x) || a[i] != -v || seen["b"][i] != max(-v, 0) {
			t.Fatalf("element %d: a %v, b %v of %v", i, seen["a"], seen["b"], x)
		}
	}
}

// TestFold: what depends on constants alone is computed, in bodies too, and what nothing reads is dropped.
func TestFold(t *testing.T) {
	scalar := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.Shape{}}}
	}
	body := &model.Graph{Name: "b", Outputs: []*model.Value{scalar("t")}, Nodes: []*model.Node{
		{Op: "Add", Inputs: []string{"two", "two"}, Outputs: []string{"four"}}, {Op: "Mul", Inputs: []string{"x", "four"}, Outputs: []string{"t"}}}}
	cond := &model.Value{Name: "c", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}
	g := &model.Graph{Inputs: []*model.Value{scalar("x"), cond}, Outputs: []*model.Value{scalar("y")}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{
			{Op: "Neg", Inputs: []string{"minus"}, Outputs: []string{"two"}}, {Op: "Exp", Inputs: []string{"x"}, Outputs: []string{"unread"}},
			{Op: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []model.Attr{{Name: "then_branch", Kind: model.AttrGraph, G: body}, {Name: "else_branch", Kind: model.AttrGraph, G: body.Clone()}}},
		}}
	g.SetInitializer("minus", model.Scalar(float32(-2)))
	if err := engine.Fold(g); err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 1 || g.Nodes[0].Op != "If" {
		t.Errorf("%d nodes, first %s", len(g.Nodes), g.Nodes[0])
	}
	for _, b := range g.Nodes[0].Subgraphs() {
		if v := b.Initializer("four"); len(b.Nodes) != 1 || v == nil {
			t.Errorf("body: %d nodes, four %v", len(b.Nodes), v)
		} else if x, _ := v.Float32(); x[0] != 4 {
			t.Errorf("four is %v", x)
		}
	}
	if err := model.Validate(g); err != nil {
		t.Error(err)
	}
}
