package task

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Arrays makes the inputs of a model from arrays of the same names. An array of as many dimensions as the input holds one
// example per row and rows of a batch are put together; one with a dimension more holds a whole input per example,
// which is then run alone; an array without dimensions is given to every run.
type Arrays struct {
	NPZ    *NPZ
	Zero   []string         // inputs that are zeros: the state that a sequence starts from
	Shapes map[string][]int // of Zero, where the model leaves them open
	Labels string           // array that is no input; "" = none
	Limit  int              // the first n examples only; 0 = all

	inputs []arrayInput
	n      int
}

type arrayInput struct {
	name  string
	data  *model.Tensor
	whole bool // a whole input per example
	fixed bool // the same for all
}

var _ Inputs = (*Arrays)(nil)

// Bind finds the array of every input. Errors name the input or the array: one is missing or one too many, dimensions that do
// not fit, elements that cannot become the input's, numbers of examples that differ.
func (a *Arrays) Bind(inputs []*model.Value) error {
	a.n, a.inputs = -1, nil
	used := map[string]bool{a.Labels: true}
	for _, v := range inputs {
		in := arrayInput{name: v.Name}
		var err error
		if t := a.NPZ.Arrays[v.Name]; slices.Contains(a.Zero, v.Name) {
			in.fixed = true
			in.data, err = zeros(v, a.Shapes[v.Name])
		} else if t == nil {
			err = fmt.Errorf("no array of this name; there are %.200q", slices.Sorted(maps.Keys(a.NPZ.Arrays)))
		} else if in.data, err = convertElements(t, v.Type.DType); err == nil {
			err = in.place(v.Type.Shape)
		}
		if err != nil {
			return fmt.Errorf("task: %s: input %q: %w", a.NPZ.Name, v.Name, err)
		}
		used[v.Name] = true
		if n := in.examples(); !in.fixed && a.n < 0 {
			a.n = n
		} else if !in.fixed && n != a.n {
			return fmt.Errorf("task: %s: input %q: %d examples, others have %d", a.NPZ.Name, v.Name, n, a.n)
		}
		a.inputs = append(a.inputs, in)
	}
	for _, name := range slices.Sorted(maps.Keys(a.NPZ.Arrays)) {
		if !used[name] {
			return fmt.Errorf("task: %s: array %q is no input of the model", a.NPZ.Name, name)
		}
	}
	if a.n < 0 {
		a.n = 1 // nothing but constants
	}
	if a.n == 0 {
		return fmt.Errorf("task: %s: no examples", a.NPZ.Name)
	}
	if a.Limit > 0 {
		a.n = min(a.n, a.Limit)
	}
	return nil
}

// place decides what the dimensions of the array mean beside those of the input, and checks the sizes that the model fixes.
func (in *arrayInput) place(want model.Shape) error {
	have := in.data.Shape()
	switch {
	case want == nil && len(have) > 0:
		return nil // one example per row
	case len(have) == 0 && len(want) == 0:
		in.fixed = true
		return nil
	case len(have) == len(want)+1:
		in.whole = true
		have = have[1:]
	case len(have) != len(want):
		return fmt.Errorf("array of shape %v, the input is %s", in.data.Shape(), want)
	}
	for i, d := range want {
		if d.Known() && int64(have[i]) != d.Size && (in.whole || i > 0) {
			return fmt.Errorf("array of shape %v, the input is %s", in.data.Shape(), want)
		}
	}
	return nil
}

func (in *arrayInput) examples() int {
	if in.fixed {
		return 1
	}
	return in.data.Shape()[0]
}

// zeros is the state of the first run.
func zeros(v *model.Value, shape []int) (*model.Tensor, error) {
	r := Random{Batch: 1, Shapes: map[string][]int{}, Zero: []string{v.Name}}
	if shape != nil {
		r.Shapes[v.Name] = shape
	}
	shape, err := r.shape(&model.Graph{}, v)
	if err == nil {
		err = checkShape(v.Name, shape)
	}
	if err != nil {
		return nil, err
	}
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	return model.NewTensor(v.Type.DType, shape, make([]byte, v.Type.DType.Size(n)))
}

// Len is the number of examples.
func (a *Arrays) Len() int { return a.n }

// Describe names the file.
func (a *Arrays) Describe() string { return fmt.Sprintf("%d examples of %s", a.n, a.NPZ.Name) }

// Whole reports whether an example is a whole run, so that none may be put together.
func (a *Arrays) Whole() bool {
	return slices.ContainsFunc(a.inputs, func(in arrayInput) bool { return in.whole })
}

// Feed returns the rows from to to-1 of every array. There is no padding.
func (a *Arrays) Feed(from, to int) (engine.Feed, *model.Tensor, error) {
	feed := engine.Feed{}
	for _, in := range a.inputs {
		if in.fixed {
			feed[in.name] = in.data
			continue
		}
		if in.whole && to != from+1 {
			return nil, nil, fmt.Errorf("task: input %q: array of shape %v has a whole input per example: batch must be 1", in.name, in.data.Shape())
		}
		b, err := in.data.Bytes()
		if err != nil {
			return nil, nil, err
		}
		shape := in.data.Shape()
		row := len(b) / shape[0]
		out := append([]int{to - from}, shape[1:]...)
		if in.whole {
			out = out[1:]
		}
		t, err := model.NewTensor(in.data.DType(), out, b[from*row:to*row])
		if err != nil {
			return nil, nil, err
		}
		feed[in.name] = t
	}
	return feed, nil, nil
}

// Classes returns the labels of the examples: an array of integers of 0 and above, one per example.
func (a *Arrays) Classes() ([]int, error) {
	t := a.NPZ.Arrays[a.Labels]
	if t == nil {
		return nil, fmt.Errorf("task: %s: no array of labels %q", a.NPZ.Name, a.Labels)
	}
	t, err := convertElements(t, model.Int64)
	if err != nil {
		return nil, fmt.Errorf("task: %s: labels %q: %w", a.NPZ.Name, a.Labels, err)
	}
	x, err := model.Data[int64](t)
	if err != nil {
		return nil, err
	}
	if t.Rank() != 1 || len(x) < a.n {
		return nil, fmt.Errorf("task: %s: labels %q: shape %v for %d examples", a.NPZ.Name, a.Labels, t.Shape(), a.n)
	}
	out := make([]int, a.n)
	for i := range out {
		if x[i] < 0 || x[i] > math.MaxInt32 {
			return nil, fmt.Errorf("task: %s: labels %q: example %d: %d is no class", a.NPZ.Name, a.Labels, i, x[i])
		}
		out[i] = int(x[i])
	}
	return out, nil
}

// convertElements gives t the element type want: floats to floats (rounded to nearest), integers to integers that can hold
// every value. want may be Invalid, an input whose type is not known.
func convertElements(t *model.Tensor, want model.DType) (*model.Tensor, error) {
	have := t.DType()
	switch {
	case have == want || want == model.Invalid:
		return t, nil
	case have.IsFloat() && want.IsFloat():
		x, err := t.Float32()
		if err != nil {
			return nil, err
		}
		return model.FromFloat32(want, t.Shape(), x)
	case have.IsFloat() || want.IsFloat() || want.Bits() < 8 || want == model.String || want == model.Bool || have == model.Bool || have == model.Uint64:
		return nil, fmt.Errorf("array of %s, the input is %s", have, want)
	}
	return integers(t, want)
}

func integers(t *model.Tensor, want model.DType) (*model.Tensor, error) {
	b, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	from, to := t.DType().Bits()/8, want.Bits()/8
	signed := func(d model.DType) bool {
		return d == model.Int8 || d == model.Int16 || d == model.Int32 || d == model.Int64
	}
	lo, hi := int64(0), int64(math.MaxInt64)
	if to < 8 {
		hi = 1<<(8*to) - 1
	}
	if signed(want) {
		hi = 1<<(8*to-1) - 1
		lo = -hi - 1
	}
	out := make([]byte, t.Len()*to)
	for i := range t.Len() {
		v := uint64(0)
		for k := range from {
			v |= uint64(b[i*from+k]) << (8 * k)
		}
		x := int64(v)
		if signed(t.DType()) {
			x = x << (64 - 8*from) >> (64 - 8*from)
		}
		if x < lo || x > hi {
			return nil, fmt.Errorf("%d does not fit %s", x, want)
		}
		for k := range to {
			out[i*to+k] = byte(x >> (8 * k))
		}
	}
	return model.NewTensor(want, t.Shape(), out)
}
