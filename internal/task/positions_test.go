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
	g.SetInitializer("two", model.Scalar(int64(2)))
	node("Gather", "w", "words", "ids")
	node("Shape", "shape", "ids")
	node("Gather", "length", "shape", "zero")
	node("Slice", "kinds", "zeros", "zero", "length")
	node("Gather", "k", "types", "kinds")
	switch form {
	case "slice":
		node("Slice", "at", "counted", "zero", "length")
	case "range":
		node("Range", "r", "zero", "length", "zero")
		node("Unsqueeze", "at", "r", "zero")
	case "offset":
		node("Range", "r", "zero", "length", "zero")
		node("Cast", "c", "r")
		node("Add", "at", "two", "c")
	case "given":
		node("Identity", "at", "other")
	}
	node("Gather", "p", "places", "at")
	return g
}

// The positions that a model has are found behind slices and ranges, are those of the input whose length counts, and bound it.
func TestPositions(t *testing.T) {
	for form, most := range map[string]int{"slice": 12, "range": 12, "offset": 10, "given": 0} {
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
