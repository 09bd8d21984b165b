package task

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// placed is a model of tokens with a table of 12 positions looked up as exporters write it, and a table of two token types by a slice of zeros.
func placed(form string) *model.Graph {
	g := &model.Graph{Inputs: []*model.Value{value("ids", model.Int64, free("batch"), free("length")), value("other", model.Int64, free("batch"), free("more"))}}
	table := func(name string, rows int) {
		g.SetInitializer(name, model.FromSlice([]int{rows, 2}, make([]float32, 2*rows)))
	}
	ints := func(name string, x ...int64) { g.SetInitializer(name, model.FromSlice([]int{1, len(x)}, x)) }
	node := func(op, out string, in ...string) {
		g.Nodes = append(g.Nodes, &model.Node{Op: op, Inputs: in, Outputs: []string{out}})
	}
	table("words", 100)
	table("places", 12)
	table("types", 2)
	ints("counted", 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	ints("zeros", 0, 0, 0)
	g.SetInitializer("zero", model.Scalar(int64(0)))
	g.SetInitializer("one", model.Scalar(int64(1)))
	g.SetInitializer("two", model.Scalar(int64(2)))
	node("Gather", "w", "words", "ids")
	node("Shape", "shape", "ids")
	node("Gather", "length", "shape", "one")
	node("Slice", "kinds", "zeros", "zero", "length")
	node("Gather", "k", "types", "kinds")
	switch form {
	case "slice":
		node("Slice", "at", "counted", "zero", "length")
	case "range":
		node("Range", "r", "zero", "length", "one")
		node("Unsqueeze", "at", "r", "zero")
	case "offset":
		node("Range", "r", "zero", "length", "one")
		node("Cast", "c", "r")
		node("Add", "at", "two", "c")
	case "embedded":
		node("Shape", "of words", "w")
		node("Gather", "words of", "of words", "one")
		node("Range", "at", "zero", "words of", "one")
	case "pooled": // half as many places as tokens
		node("Div", "half", "length", "two")
		node("Range", "at", "zero", "half", "one")
	case "strided": // a front end of sound
		node("Conv", "frames", "other")
		node("Shape", "of frames", "frames")
		node("Gather", "count", "of frames", "one")
		node("Range", "at", "zero", "count", "one")
	case "cut": // by the model itself
		node("Min", "most", "length", "two")
		node("Range", "at", "zero", "most", "one")
	case "nodes": // a row of a table for each example
		node("Gather", "examples", "shape", "zero")
		node("Range", "at", "zero", "examples", "one")
	case "every other":
		node("Range", "at", "zero", "length", "two")
	case "every other of a slice":
		node("Slice", "at", "counted", "zero", "length", "zero", "two")
	case "given":
		node("Identity", "at", "other")
	}
	node("Gather", "p", "places", "at")
	return g
}

// The positions that a model has are found behind slices and ranges, are those of the input whose length counts, and bound it; what looks
// a table up by fewer or other places bounds nothing.
func TestPositions(t *testing.T) {
	for form, most := range map[string]int{"slice": 12, "range": 12, "offset": 10, "embedded": 12, "given": 0, "pooled": 0, "strided": 0, "cut": 0, "nodes": 0,
		"every other": 0, "every other of a slice": 0} {
		g := placed(form)
		want := map[string]Positions{"ids": {most, "places"}}
		if most == 0 {
			want = map[string]Positions{}
		}
		if got := PositionsOf(g); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", form, got, want)
		}
		if most == 0 {
			continue
		}
		if err := (&Random{N: 1, Batch: 1, Sequence: int64(most)}).Bind(g); err != nil {
			t.Errorf("%s, %d positions: %v", form, most, err)
		}
		var long *TooLong
		err := (&Random{N: 1, Batch: 1, Sequence: int64(most) + 1}).Bind(g)
		if !errors.As(err, &long) || long.Most != most || long.Length != most+1 || !strings.Contains(err.Error(), "positions (table \"places\")") {
			t.Errorf("%s, a sequence of %d: %v", form, most+1, err)
		}
		if err := (&Random{N: 1, Batch: 1, Shapes: map[string][]int{"ids": {1, 4}, "other": {1, 99}}}).Bind(g); err != nil {
			t.Errorf("%s: an input without positions of its own: %v", form, err)
		}
	}
}
