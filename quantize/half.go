package quantize

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// HalfWeights stores the float32 weights of g as dtype (Float16 or BFloat16), each behind a Cast to
// float32, so that every runtime computes as before, with weights rounded to dtype; only the file and what is read from
// it shrink. Left, with the reason, are weights with values beyond the range of dtype, weights of fewer than
// minHalf elements, the scales of quantized operators, and what exclude names (see Static.Exclude). bf16 needs opset 13: an older model is raised to it, and a
// note says so.
//
// It fails with ErrNothing, and ErrQuantized where that is the cause, when less than MinShare of the weight bytes
// would change; g is unchanged after an error.
func HalfWeights(g *model.Graph, dtype model.DType, exclude ...string) ([]model.Note, error) {
	if err := checkExclude(exclude); err != nil {
		return nil, err
	}
	return halfWith(g, dtype, func(w *model.Weight) (*model.Tensor, string, error) {
		if by := excludesWeight(exclude, w); by != "" {
			return nil, fmt.Sprintf(excludedBy+"%q", by), nil
		}
		return halfOf(w, dtype)
	})
}

func halfWith(g *model.Graph, dtype model.DType, half func(*model.Weight) (*model.Tensor, string, error)) ([]model.Note, error) {
	if dtype != model.Float16 && dtype != model.BFloat16 {
		return nil, fmt.Errorf("quantize: %s is no half precision type", dtype)
	}
	need := int64(6) // of Cast to float16
	if dtype == model.BFloat16 {
		need = 13
	}
	return withOpset(g, need, shortName(dtype)+" weights", func(g *model.Graph) ([]model.Note, error) {
		return rewriteHalf(g, dtype, half)
	})
}

// rewriteHalf stores what half makes of every weight; a nil tensor leaves it, for the reason beside it.
func rewriteHalf(g *model.Graph, dtype model.DType, half func(*model.Weight) (*model.Tensor, string, error)) ([]model.Note, error) {
	var notes []model.Note
	var changed []*model.Weight
	var halves []*model.Tensor
	for _, w := range g.Weights() {
		if w.Tensor.DType() != model.Float32 {
			notes = append(notes, otherNotes(w)...)
			continue
		}
		n := newNote(w)
		t, why, err := half(w)
		if err != nil {
			return nil, err
		}
		n.Reason = why
		if t != nil {
			n.Action, n.BytesAfter = shortName(dtype), int64(t.ByteSize())
			changed, halves = append(changed, w), append(halves, t)
		}
		notes = append(notes, n)
	}
	if err := check(shortName(dtype), notes); err != nil {
		if s := Styles(g); len(s) > 0 {
			err = fmt.Errorf("%w: %w: %s", err, ErrQuantized, joinWords(s))
		}
		return notes, err
	}
	names := newNamer(g)
	casts := map[*model.Graph][]*model.Node{}
	for i, w := range changed {
		behindCast(w, halves[i], names, casts)
	}
	for h, nodes := range casts {
		h.Nodes = append(nodes, h.Nodes...)
	}
	modernize(g)
	return notes, nil
}

// minHalf is the number of elements below which a Cast node costs more bytes than it saves.
const minHalf = 64

// halfWhy returns why w is left whatever its values are, or "".
func halfWhy(w *model.Weight) string {
	if w.Tensor.Len() < minHalf {
		return fmt.Sprintf("fewer than %d elements", minHalf)
	}
	for _, u := range w.Uses {
		if style(u.Node) != "" {
			return "read by " + u.Node.Op + ", a quantized operator"
		}
	}
	return ""
}

// halfOf returns w as dtype with a remark, or nil and why it is left.
func halfOf(w *model.Weight, dtype model.DType) (*model.Tensor, string, error) {
	if why := halfWhy(w); why != "" {
		return nil, why, nil
	}
	x, err := w.Tensor.Float32()
	if err != nil {
		return nil, "", fmt.Errorf("quantize: weight %q: %w", w.Name, err)
	}
	if i := beyond(x, dtype); i >= 0 {
		return nil, fmt.Sprintf("element %d is %g, beyond the range of %s", i, x[i], shortName(dtype)), nil
	}
	t, lost, err := toHalf(dtype, w.Tensor.Shape(), x)
	if err != nil {
		return nil, "", fmt.Errorf("quantize: weight %q: %w", w.Name, err)
	}
	if lost > 0 {
		return t, fmt.Sprintf("%d of %d values are too small and become 0", lost, len(x)), nil
	}
	return t, "", nil
}

// halfLimit returns the largest finite value of dtype, and from where on values round to infinity.
func halfLimit(dtype model.DType) (largest, infinite float32) {
	if dtype == model.BFloat16 {
		return math.Float32frombits(0x7f7f0000), math.Float32frombits(0x7f7f8000)
	}
	return 65504, 65520
}

// beyond returns the index of the first finite value that dtype would turn into an infinity, or -1.
func beyond(x []float32, dtype model.DType) int {
	_, limit := halfLimit(dtype)
	if lo, hi := kernel.RangeF32(x); hi < limit && lo > -limit {
		return -1
	}
	for i, v := range x {
		if (v >= limit || v <= -limit) && !math.IsInf(float64(v), 0) {
			return i
		}
	}
	return -1
}

// toHalf rounds x to dtype, to nearest even, and counts the values other than 0 that become 0.
func toHalf(dtype model.DType, shape []int, x []float32) (t *model.Tensor, lost int, err error) {
	h := make([]uint16, len(x))
	convert := kernel.F32ToF16
	if dtype == model.BFloat16 {
		convert = kernel.F32ToBF16
	}
	parallel(len(x), grainElements, func(first, last int) { convert(h[first:last], x[first:last]) })
	for i, v := range h {
		if v&0x7fff == 0 && x[i] != 0 {
			lost++
		}
	}
	t, err = model.FromSlice(shape, h).View(dtype)
	return t, lost, err
}

// behindCast stores half under a new name and adds a Cast that makes the old name: behind a Constant node, else to
// casts, which go in front of the nodes of their graph.
func behindCast(w *model.Weight, half *model.Tensor, names *namer, casts map[*model.Graph][]*model.Node) {
	stored := names.name(w.Value + "_" + shortName(half.DType()))
	cast := &model.Node{Name: names.name(w.Value + "_to_float32"), Op: "Cast", Inputs: []string{stored},
		Outputs: []string{w.Value}, Attrs: toFloat32()}
	if w.Node != nil {
		at := slices.Index(w.Graph.Nodes, w.Node)
		w.Node.Attrs = []model.Attr{model.TensorAttr("value", half)}
		w.Node.Outputs = []string{stored}
		w.Graph.Nodes = slices.Insert(w.Graph.Nodes, at+1, cast)
		return
	}
	w.Graph.RemoveInitializer(w.Value)
	w.Graph.SetInitializer(stored, half)
	w.Graph.Inputs = slices.DeleteFunc(w.Graph.Inputs, func(v *model.Value) bool { return v.Name == w.Value })
	casts[w.Graph] = append(casts[w.Graph], cast)
}

func shortName(d model.DType) string {
	switch d {
	case model.Float16:
		return "fp16"
	case model.BFloat16:
		return "bf16"
	}
	return d.String()
}
