package task

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// tables looks ids up in tables of 10, 5 and 7 rows.
func tables() *model.Graph {
	g := &model.Graph{Inputs: []*model.Value{
		value("ids", model.Int64, free("batch"), free("length")), value("kind", model.Int32, free("batch"), fixed(3)), value("pos", model.Int64, fixed(4)),
		value("x", model.Float32, free("batch"), fixed(2)), value("attention_mask", model.Int64, free("batch"), free("length")), value("mask16", model.Float16, fixed(1)),
		value("flag", model.Bool, fixed(8)), value("h", model.Float32, fixed(1), fixed(2)), value("small", model.Uint8, fixed(64))}}
	g.SetInitializer("ten", model.FromSlice([]int{10, 2}, make([]float32, 20)))
	g.SetInitializer("five", model.FromSlice([]int{2, 5}, make([]float32, 10)))
	g.Nodes = []*model.Node{
		{Op: "Gather", Inputs: []string{"ten", "ids"}, Outputs: []string{"a"}},
		{Op: "Cast", Inputs: []string{"kind"}, Outputs: []string{"kind64"}},
		{Op: "Unsqueeze", Inputs: []string{"kind64", "axes"}, Outputs: []string{"kind3"}},
		{Op: "Gather", Inputs: []string{"five", "kind3"}, Outputs: []string{"b"}, Attrs: []model.Attr{model.IntAttr("axis", -1)}},
		{Op: "Constant", Outputs: []string{"seven"}, Attrs: []model.Attr{model.TensorAttr("value", model.FromSlice([]int{7, 2}, make([]float32, 14)))}},
		{Op: "Identity", Inputs: []string{"seven"}, Outputs: []string{"seven2"}},
		{Op: "Gather", Inputs: []string{"seven2", "pos"}, Outputs: []string{"c"}},
		{Op: "Gather", Inputs: []string{"ten", "pos"}, Outputs: []string{"d"}},
	}
	return g
}

func TestIndexLimit(t *testing.T) {
	for name, want := range map[string]int64{"ids": 10, "kind": 5, "pos": 7, "attention_mask": 0, "x": 0} {
		if got := indexLimit(tables(), name); got != want {
			t.Errorf("%s indexes %d rows, want %d", name, got, want)
		}
	}
}

func TestRandom(t *testing.T) {
	r := &Random{N: 3, Seed: 5, Batch: 2, Sequence: 6, Zero: []string{"h"}}
	if err := r.Bind(tables()); err != nil {
		t.Fatal(err)
	}
	shapes := map[string][]int{"ids": {2, 6}, "kind": {2, 3}, "pos": {4}, "x": {2, 2}, "attention_mask": {2, 6}, "mask16": {1}, "flag": {8}, "h": {1, 2}, "small": {64}}
	limits := map[string]float32{"ids": 10, "kind": 5, "pos": 7, "flag": 2, "small": 2}
	seen := map[string]string{}
	for i := range 3 {
		f, mask, err := r.Feed(i, i+1)
		if err != nil || mask != nil || len(f) != len(shapes) {
			t.Fatalf("%d inputs, %v", len(f), err)
		}
		again, _, err := r.Feed(i, i+1)
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range f {
			if !reflect.DeepEqual(x.Shape(), shapes[name]) {
				t.Errorf("%s is %v, want %v", name, x.Shape(), shapes[name])
			}
			v, err := x.Float32()
			if err != nil {
				t.Fatal(err)
			}
			w, err := again[name].Float32()
			if err != nil || !reflect.DeepEqual(v, w) {
				t.Errorf("%s is not the same the second time", name)
			}
			for _, y := range v {
				lim, isIndex := limits[name]
				switch {
				case math.IsNaN(float64(y)), isIndex && (y < 0 || y >= lim), strings.Contains(name, "mask") && y != 1, name == "h" && y != 0:
					t.Errorf("%s holds %v", name, y)
				}
			}
			if s := fmt.Sprint(v); name == "x" || name == "ids" {
				if seen[name] == s {
					t.Errorf("%s is the same in two examples", name)
				}
				seen[name] = s
			}
		}
	}
	if _, _, err := r.Feed(0, 2); err == nil {
		t.Error("two runs at once")
	}
	if !strings.Contains(r.Describe(), "not an accuracy") {
		t.Error(r.Describe())
	}
}

// A dimension has one size wherever its name stands; tokens have the length that metadata give where nothing else says one.
func TestRandomLengths(t *testing.T) {
	g := &model.Graph{Inputs: []*model.Value{value("features", model.Float32, free("n"), free("frames"), fixed(3)), value("mask", model.Int64, free("n"), free("frames")),
		value("ids", model.Int64, free("n"), free("length")), value("sizes", model.Int64, free("n"), fixed(2))}}
	r := &Random{N: 1, Batch: 1, Known: 9, Shapes: map[string][]int{"features": {4, 7, 3}}}
	if err := r.Bind(g); err != nil {
		t.Fatal(err)
	}
	f, _, err := r.Feed(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]int{"features": {4, 7, 3}, "mask": {4, 7}, "ids": {4, 9}, "sizes": {4, 2}} {
		if got := f[name].Shape(); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if s := r.Length(); !strings.Contains(s, "9 tokens") {
		t.Errorf("Length is %q", s)
	}
}

func TestRandomRefuses(t *testing.T) {
	one := func(v *model.Value) *model.Graph { return &model.Graph{Inputs: []*model.Value{v}} }
	for name, c := range map[string]struct {
		r    Random
		g    *model.Graph
		want string
	}{
		"batch":     {Random{Sequence: 1}, tables(), `input "ids": dimension 0 (batch)`},
		"sequence":  {Random{Batch: 1}, tables(), `input "ids": dimension 1 (length)`},
		"third":     {Random{Batch: 1, Sequence: 1}, one(value("v", model.Float32, free("a"), free("b"), free("c"))), "dimension 2 (c) is not fixed"},
		"no shape":  {Random{}, one(&model.Value{Name: "v", Type: model.Type{DType: model.Float32}}), "no declared shape"},
		"no input":  {Random{Shapes: map[string][]int{"w": {1}}}, one(value("v", model.Float32, fixed(1))), `"w", the model has no such input`},
		"rank":      {Random{Shapes: map[string][]int{"v": {1, 2}}}, one(value("v", model.Float32, fixed(1))), "has 1 dimensions"},
		"text":      {Random{}, one(value("v", model.String, fixed(1))), "random values of string"},
		"nibbles":   {Random{}, one(value("v", model.Int4, fixed(1))), "random values of int4"},
		"too large": {Random{}, one(value("v", model.Float32, fixed(1<<20), fixed(1<<20))), "elements"},
		"overflow":  {Random{}, one(value("v", model.Float32, fixed(1<<40), fixed(1<<40))), `input "v"`},
		"large":     {Random{Shapes: map[string][]int{"v": {1 << 28}}}, one(value("v", model.Float32, free("n"))), "at most"},
		"no type":   {Random{}, one(value("v", model.Invalid, fixed(1))), "random values"},
	} {
		if err := c.r.Bind(c.g); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
	r := &Random{}
	if err := r.Bind(one(value("v", model.String, fixed(1)))); !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("%v", err)
	}
}
