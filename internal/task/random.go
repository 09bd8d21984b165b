package task

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Random makes inputs from a seed: standard normal floats, integers inside the table that they index, single integers that the model
// compares with a constant equal to it (a rate of 16000 that it knows), ones for masks. What is scored on them is no accuracy.
type Random struct {
	N        int
	Seed     uint64
	Batch    int64            // value of a symbolic batch dimension (the first, the second of a recurrent state, and those of their names), 0 = not given
	Sequence int64            // value of a symbolic second dimension, 0 = not given
	Shapes   map[string][]int // shape by input name, before Batch and Sequence; fixes dimensions of other inputs that have the same names, too
	Zero     []string         // inputs that are zeros: the state that a sequence starts from
	Known    int64            // length of token sequences by the model's metadata, for inputs of integers; stands for Sequence where that is not given, 0 = not known either

	inputs []randomInput
	named  map[string]int // size of a symbolic dimension by its name: that of Shapes, Batch or Sequence
	known  bool           // an input has the length Known
}

type randomInput struct {
	name  string
	dtype model.DType
	shape []int
	limit int64 // integers are below it
	fill  fill
	equal []int64 // of a single integer: what the model compares it with
}

// fill says what an input is filled with.
type fill int

const (
	fillRandom fill = iota
	fillOnes
	fillZeros
)

var _ Inputs = (*Random)(nil)

// Bind fixes the shape of every input of g. A symbolic dimension that neither Shapes, Batch nor Sequence
// fixes is an error naming it.
func (r *Random) Bind(g *model.Graph) error {
	for name := range r.Shapes {
		if !slices.ContainsFunc(g.Inputs, func(v *model.Value) bool { return v.Name == name }) {
			var names []string
			for _, v := range g.Inputs {
				if g.Initializer(v.Name) == nil {
					names = append(names, v.Name)
				}
			}
			return fmt.Errorf("task: shape given for %q, the model has no such input; it has %.200s", name, strings.Join(names, ", "))
		}
	}
	r.nameSizes(g)
	positions := PositionsOf(g)
	var open *OpenShape
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) != nil {
			continue
		}
		in := randomInput{name: v.Name, dtype: v.Type.DType, limit: indexLimit(g, v.Name)}
		shape, err := r.shape(g, v)
		var here *OpenShape
		switch {
		case errors.As(err, &here) && open == nil:
			open = here
			continue
		case here != nil && open.fixes(here):
			continue
		case here != nil:
			open.Others = append(open.Others, here)
			continue
		case err == nil:
			err = errors.Join(checkShape(v.Name, shape), CheckPositions(positions, v.Name, shape))
		}
		if err != nil {
			return err
		}
		in.shape = shape
		switch {
		case in.dtype == model.Invalid || in.dtype == model.String || in.dtype.Bits() < 8:
			return fmt.Errorf("task: input %q: random values of %s: %w", v.Name, v.Type.DType, model.ErrUnsupported)
		case slices.Contains(r.Zero, v.Name):
			in.fill = fillZeros
		case isMask(v.Name):
			in.fill = fillOnes
		case !in.dtype.IsFloat() && in.limit == 0 && len(shape) < 2 && (len(shape) == 0 || shape[0] == 1):
			in.equal = comparedWith(g, v.Name)
		}
		r.inputs = append(r.inputs, in)
	}
	if open != nil {
		return open
	}
	return nil
}

// nameSizes finds the sizes of symbolic dimensions by their names: those of Shapes, and for the names that a first dimension has Batch, or
// Sequence where an input is [batch, length] of that length.
func (r *Random) nameSizes(g *model.Graph) {
	r.named = map[string]int{}
	lengths := map[string]bool{}
	for _, v := range g.Inputs {
		if s := v.Type.Shape; len(s) == 2 && !s[0].Known() && s[0].Param != s[1].Param {
			lengths[s[1].Param] = true
		}
	}
	for _, v := range g.Inputs {
		s := v.Type.Shape
		switch {
		case len(s) == 0 || s[0].Param == "" || r.Shapes[v.Name] != nil:
		case lengths[s[0].Param]:
			r.named[s[0].Param] = int(r.Sequence)
		case r.Batch > 0:
			r.named[s[0].Param] = int(r.Batch)
		}
	}
	for _, v := range g.Inputs {
		for i, n := range r.Shapes[v.Name] {
			if i < len(v.Type.Shape) && v.Type.Shape[i].Param != "" {
				r.named[v.Type.Shape[i].Param] = n
			}
		}
	}
}

func isMask(name string) bool { return strings.Contains(strings.ToLower(name), "mask") }

func (r *Random) shape(g *model.Graph, v *model.Value) ([]int, error) {
	if s, ok := r.Shapes[v.Name]; ok {
		if v.Type.Shape != nil && len(s) != len(v.Type.Shape) {
			return nil, fmt.Errorf("task: input %q has %d dimensions, the shape given has %d", v.Name, len(v.Type.Shape), len(s))
		}
		return s, nil
	}
	if v.Type.Shape == nil {
		return nil, fmt.Errorf("task: input %q has no declared shape: give one", v.Name)
	}
	out := make([]int, len(v.Type.Shape))
	batch, axis := r.batchAxis(g, v), -1
	for i, d := range v.Type.Shape {
		switch {
		case d.Known():
			out[i] = int(d.Size)
		case r.named[d.Param] > 0:
			out[i] = r.named[d.Param]
		case i == batch && r.Batch > 0:
			out[i] = int(r.Batch)
		case i == 1 && i != batch && r.Sequence > 0:
			out[i] = int(r.Sequence)
		case i == 1 && r.Known > 0 && !v.Type.DType.IsFloat():
			out[i], r.known = int(r.Known), true
		default:
			if out[i] = -1; axis < 0 {
				axis = i
			}
		}
	}
	if axis >= 0 {
		return nil, &OpenShape{Input: v.Name, Type: v.Type, Axis: axis, Sizes: out, Batch: batch, Inputs: g.Inputs}
	}
	return out, nil
}

// maxElements bounds one random input: larger shapes are more likely wrong than meant.
const maxElements = 1 << 27

func checkShape(name string, shape []int) error {
	n, err := model.NumElements(shape)
	if err == nil && n > maxElements {
		err = fmt.Errorf("shape %v has %d elements, at most %d are made", shape, n, maxElements)
	}
	if err != nil {
		return fmt.Errorf("task: input %q: %w", name, err)
	}
	return nil
}

// passThrough are operators that hand the values of their first input on.
var passThrough = []string{"Cast", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Transpose", "Flatten", "Expand", "DequantizeLinear"}

// indexLimit returns the size of the axis that the input indexes through Gather (directly or behind operators that hand
// its values on), the smallest of several, or 0 when it indexes no constant table. Tables may be initializers, Constant
// nodes, or either behind a Cast or a DequantizeLinear. Nodes are taken in the order in which they stand.
func indexLimit(g *model.Graph, name string) int64 {
	same := map[string]bool{name: true}
	tables := map[string][]int{}
	for _, w := range g.Weights() {
		if w.Graph != g {
			continue // of a body
		}
		tables[w.Value] = w.Tensor.Shape()
	}
	limit := int64(0)
	for _, n := range g.Nodes {
		switch {
		case n.Domain != "" && n.Domain != "ai.onnx":
		case slices.Contains(passThrough, n.Op):
			if same[n.In(0)] {
				same[n.Out(0)] = true
			}
			if t, ok := tables[n.In(0)]; ok && (n.Op == "Cast" || n.Op == "Identity" || n.Op == "DequantizeLinear") {
				tables[n.Out(0)] = t
			}
		case n.Op == "Gather" && same[n.In(1)]:
			t := tables[n.In(0)]
			axis := int(n.Int("axis", 0))
			if axis < 0 {
				axis += len(t)
			}
			if axis >= 0 && axis < len(t) {
				if size := int64(t[axis]); limit == 0 || size < limit {
					limit = size
				}
			}
		}
	}
	return limit
}

// Len returns N.
func (r *Random) Len() int { return r.N }

// Length says how long sequences are where Known decides it, and that metadata say so; "" elsewhere.
func (r *Random) Length() string {
	if !r.known {
		return ""
	}
	return fmt.Sprintf("sequences of %d tokens, the length that the model's metadata gives", r.Known)
}

// Describe says that the inputs are random.
func (r *Random) Describe() string {
	if s := r.Length(); s != "" {
		return fmt.Sprintf("%d random inputs (seed %d, %s): not an accuracy", r.N, r.Seed, s)
	}
	return fmt.Sprintf("%d random inputs (seed %d): not an accuracy", r.N, r.Seed)
}

// Feed returns the inputs of example from; an example is one run whatever its batch, so to must be from+1.
func (r *Random) Feed(from, to int) (engine.Feed, *model.Tensor, error) {
	if to != from+1 {
		return nil, nil, fmt.Errorf("task: random inputs are made one run at a time")
	}
	feed := engine.Feed{}
	for k, in := range r.inputs {
		rng := rand.New(rand.NewPCG(r.Seed, uint64(from)<<16|uint64(k)))
		t, err := in.make(rng)
		if err != nil {
			return nil, nil, err
		}
		feed[in.name] = t
	}
	return feed, nil, nil
}

func (in randomInput) make(rng *rand.Rand) (*model.Tensor, error) {
	n, err := model.NumElements(in.shape)
	if err != nil {
		return nil, err
	}
	if in.dtype.IsFloat() {
		x := make([]float32, n)
		for i := range x {
			switch in.fill {
			case fillOnes:
				x[i] = 1
			case fillRandom:
				x[i] = float32(rng.NormFloat64())
			}
		}
		return model.FromFloat32(in.dtype, in.shape, x)
	}
	x := make([]byte, in.dtype.Size(n))
	size := in.dtype.Bits() / 8
	for i := range n {
		v := int64(0)
		switch {
		case in.fill == fillOnes:
			v = 1
		case len(in.equal) > 0:
			v = in.equal[0]
		case in.fill == fillRandom && in.limit > 0:
			v = rng.Int64N(in.limit)
		case in.fill == fillRandom:
			v = rng.Int64N(2)
		}
		for b := range min(size, 8) {
			x[i*size+b] = byte(v >> (8 * b))
		}
	}
	return model.NewTensor(in.dtype, in.shape, x)
}
