package task

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// detector has the inputs of silero's voice detector: a frame, a state with the batch second, and a rate that is compared with two constants.
func detector(named bool) *model.Graph {
	batch, samples := free(""), free("")
	if named {
		batch, samples = free("batch"), free("sequence")
	}
	g := &model.Graph{Inputs: []*model.Value{value("input", model.Float32, batch, samples), value("state", model.Float32, fixed(2), batch, fixed(128)), {Name: "sr", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}},
		Outputs: []*model.Value{value("output", model.Float32, batch, fixed(1)), value("stateN", model.Float32, free(""), free(""), free(""))}}
	g.SetInitializer("wide", model.Scalar(int64(16000)))
	g.SetInitializer("narrow", model.Scalar(int32(8000)))
	g.Nodes = []*model.Node{
		{Op: "Identity", Inputs: []string{"sr"}, Outputs: []string{"rate"}},
		{Op: "Equal", Inputs: []string{"rate", "wide"}, Outputs: []string{"a"}},
		{Op: "Equal", Inputs: []string{"narrow", "sr"}, Outputs: []string{"b"}},
		{Op: "Equal", Inputs: []string{"wide", "narrow"}, Outputs: []string{"c"}},
	}
	return g
}

// The second dimension of a recurrent state is the batch, by its name or by the output that it comes back as, and no sequence; a single integer
// takes a value that the model knows.
func TestRandomState(t *testing.T) {
	for _, named := range []bool{false, true} {
		g := detector(named)
		if got := comparedWith(g, "sr"); !reflect.DeepEqual(got, []int64{16000, 8000}) {
			t.Errorf("sr is compared with %v", got)
		}
		r := &Random{N: 1, Batch: 3, Sequence: 576}
		if err := r.Bind(g); err != nil {
			t.Fatal(err)
		}
		f, _, err := r.Feed(0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][]int{"input": {3, 576}, "state": {2, 3, 128}, "sr": {}} {
			if got := f[name].Shape(); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
				t.Errorf("names %v: %s is %v, want %v", named, name, got, want)
			}
		}
		if x, ok := integer(f["sr"]); !ok || x != 16000 {
			t.Errorf("sr is %d", x)
		}
	}
}

// Every input that is open is named, with the sizes that are known.
func TestOpenShape(t *testing.T) {
	var e *OpenShape
	err := (&Random{N: 1}).Bind(detector(false))
	if !errors.As(err, &e) || len(e.Others) != 1 || e.Batch != 0 || e.Others[0].Batch != 1 {
		t.Fatalf("%v", err)
	}
	if want := `input "input": dimension 0 (?) is not fixed by batch, sequence or shapes; nor is dimension 1 (?) of input "state"`; !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q in it", err, want)
	}
	if !reflect.DeepEqual(e.Others[0].Sizes, []int{2, -1, 128}) || !reflect.DeepEqual(e.Sizes, []int{-1, -1}) {
		t.Errorf("sizes %v, %v", e.Sizes, e.Others[0].Sizes)
	}
	// a named dimension is fixed by the first input that has it
	two := &model.Graph{Inputs: []*model.Value{value("ids", model.Int64, free("n"), free("length")), value("mask", model.Int64, free("n"), free("length")), value("x", model.Float32, free("n"), free("more"))}}
	if err := (&Random{N: 1, Batch: 1}).Bind(two); !errors.As(err, &e) || len(e.Others) != 1 || e.Others[0].Input != "x" {
		t.Errorf("%v", err)
	}
	// features of a sequence are none: no output is called so, or no input beside them has a batch
	for _, out := range []string{"y", "features_clean"} {
		g := &model.Graph{Inputs: []*model.Value{value("features", model.Float32, fixed(1), free("frames"), fixed(80))},
			Outputs: []*model.Value{value(out, model.Float32, fixed(1), free("frames"), fixed(80))}}
		r := &Random{N: 1, Batch: 2, Sequence: 7}
		if err := r.Bind(g); err != nil || !reflect.DeepEqual(r.inputs[0].shape, []int{1, 7, 80}) {
			t.Errorf("%v, %v", r.inputs, err)
		}
	}
}

// The name of a length is none of a batch for standing first somewhere: of tokens [batch, length] it is known which is which.
func TestRandomNames(t *testing.T) {
	g := &model.Graph{Inputs: []*model.Value{value("positions", model.Int64, free("length")), value("bias", model.Float32, free("length"), free("length")),
		value("state", model.Float32, free("layers"), free("batch"), fixed(4)), value("ids", model.Int64, free("batch"), free("length"))}}
	r := &Random{N: 1, Batch: 2, Sequence: 7}
	if err := r.Bind(g); err != nil {
		t.Fatal(err)
	}
	want := map[string][]int{"positions": {7}, "bias": {7, 7}, "state": {2, 2, 4}, "ids": {2, 7}}
	for _, in := range r.inputs {
		if !reflect.DeepEqual(in.shape, want[in.name]) {
			t.Errorf("%s is %v, want %v", in.name, in.shape, want[in.name])
		}
	}
}
