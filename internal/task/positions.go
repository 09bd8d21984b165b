package task

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// Positions is the most positions of a sequence that a model has a place for: the rows of a table that it looks up by the place of a token.
type Positions struct {
	Most  int
	Table string // the weight
}

// TooLong is the error of a sequence that has more positions than the model.
type TooLong struct {
	Input  string
	Length int
	Positions
}

// Error names the input, its length and what the model has.
func (e *TooLong) Error() string {
	return fmt.Sprintf("task: input %q: a sequence of %d: the model has %d positions (table %q)", e.Input, e.Length, e.Most, e.Table)
}

// PositionsOf finds for each input of a sequence how many positions the model has for it: inputs whose length decides how much of a table is
// looked up, through a slice of the numbers 0, 1, 2 ... or a Range of them. Inputs without such a table are absent.
func PositionsOf(g *model.Graph) map[string]Positions {
	t := placeTrace{g: g, makers: map[string]*model.Node{}, weights: map[string]*model.Weight{}, inputs: map[string]bool{}}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			t.makers[o] = n
		}
	}
	for _, w := range g.Weights() {
		if w.Graph == g {
			t.weights[w.Value] = w
		}
	}
	for _, v := range g.Inputs {
		t.inputs[v.Name] = g.Initializer(v.Name) == nil
	}
	out := map[string]Positions{}
	for _, n := range g.Nodes {
		if !n.Is("Gather") || n.Int("axis", 0) != 0 {
			continue
		}
		w := t.table(n.In(0))
		if w == nil || w.Tensor.Rank() != 2 {
			continue
		}
		most, ok := t.places(n.In(1), w.Tensor.Shape()[0], 0)
		if !ok {
			continue
		}
		for _, input := range t.lengths(n.In(1)) {
			if p, known := out[input]; !known || most < p.Most {
				out[input] = Positions{most, w.Name}
			}
		}
	}
	return out
}

// CheckPositions refuses an input of [batch, length] that is longer than the model's positions.
func CheckPositions(most map[string]Positions, input string, shape []int) error {
	if p, ok := most[input]; ok && len(shape) == 2 && shape[1] > p.Most {
		return &TooLong{input, shape[1], p}
	}
	return nil
}

// placeTrace follows values of a graph back to what they are made of.
type placeTrace struct {
	g       *model.Graph
	makers  map[string]*model.Node
	weights map[string]*model.Weight
	inputs  map[string]bool
}

// mostTraced bounds how far back a value is followed.
const mostTraced = 24

// table is the constant that a value is, maybe in another type.
func (t *placeTrace) table(name string) *model.Weight {
	for range mostTraced {
		if w := t.weights[name]; w != nil {
			return w
		}
		n := t.makers[name]
		if n == nil || n.Op != "Cast" && n.Op != "Identity" && n.Op != "DequantizeLinear" {
			return nil
		}
		name = n.In(0)
	}
	return nil
}

// places returns how many positions there are for indices into a table of so many rows, and whether name holds places of tokens at all.
func (t *placeTrace) places(name string, rows, depth int) (most int, ok bool) {
	n := t.makers[name]
	if n == nil || depth > mostTraced || n.Domain != "" && n.Domain != "ai.onnx" {
		return 0, false
	}
	switch {
	case n.Op == "Range":
		from, ok := t.integer(n.In(0))
		step, one := t.integer(n.In(2))
		return rows - int(from), ok && from >= 0 && one && step == 1
	case n.Op == "Slice":
		if step, one := t.integer(n.In(4)); n.In(4) != "" && !(one && step == 1) {
			return 0, false
		}
		w := t.table(n.In(0))
		if w == nil {
			return t.places(n.In(0), rows, depth+1)
		}
		length, ok := counting(w.Tensor)
		return min(length, rows), ok
	case n.Op == "Add":
		for i := range 2 {
			if by, ok := t.integer(n.In(1 - i)); ok && by >= 0 {
				return t.places(n.In(i), rows-int(by), depth+1)
			}
		}
	case slices.Contains(passThrough, n.Op):
		return t.places(n.In(0), rows, depth+1)
	}
	return 0, false
}

// counting is the number of elements of a tensor that holds 0, 1, 2 ...
func counting(t *model.Tensor) (int, bool) {
	if t.DType().IsFloat() || t.Len() < 2 {
		return 0, false
	}
	if x, err := model.Data[int64](t); err == nil {
		return len(x), isCounting(x)
	}
	if x, err := model.Data[int32](t); err == nil {
		return len(x), isCounting(x)
	}
	return 0, false
}

func isCounting[T int32 | int64](x []T) bool {
	for i, v := range x {
		if v != T(i) {
			return false
		}
	}
	return true
}

// integer is the value of a constant of one element.
func (t *placeTrace) integer(name string) (int64, bool) {
	if w := t.table(name); w != nil && w.Tensor.Len() == 1 {
		return integer(w.Tensor)
	}
	return 0, false
}

// sizeOperators hand sizes on as they are, or with something added: what they give is no smaller.
var sizeOperators = append([]string{"Gather", "Slice", "Concat", "Range", "Add"}, passThrough...)

// lengths lists the inputs whose length a value is made of: those with a Shape, or the Shape of what a table has for their elements, that
// leads to it with nothing between that makes another number of it, as the strides of a convolution or a division do.
func (t *placeTrace) lengths(name string) []string {
	var out []string
	seen := map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		n := t.makers[name]
		if n == nil || seen[name] || len(seen) > 256 {
			return
		}
		seen[name] = true
		switch {
		case n.Is("Shape"):
			if input := t.elements(n.In(0)); input != "" && !slices.Contains(out, input) {
				out = append(out, input)
			}
		case n.Domain != "" && n.Domain != "ai.onnx" || !slices.Contains(sizeOperators, n.Op):
		default:
			if from := t.makers[n.In(0)]; n.Op == "Gather" && from != nil && from.Is("Shape") {
				if axis, ok := t.integer(n.In(1)); ok && axis == 0 { // how many there are, not how long
					return
				}
			}
			if n.Op == "Add" && slices.ContainsFunc(n.Inputs, func(in string) bool { by, ok := t.integer(in); return ok && by < 0 }) {
				return
			}
			for _, in := range n.Inputs {
				walk(in)
			}
		}
	}
	walk(name)
	return out
}

// elements is the input that a value has the elements of, or what a table has for each; "" for any other.
func (t *placeTrace) elements(name string) string {
	for range mostTraced {
		n := t.makers[name]
		switch {
		case t.inputs[name]:
			return name
		case n == nil:
			return ""
		case n.Is("Cast") || n.Is("Identity"):
			name = n.In(0)
		case n.Is("Gather") && n.Int("axis", 0) == 0 && t.table(n.In(0)) != nil:
			name = n.In(1)
		default:
			return ""
		}
	}
	return ""
}
