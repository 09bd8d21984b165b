package quantize

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// HalfWeights stores the float32 weights of g as dtype (Float16 or BFloat16), each behind a Cast to
// float32, so that every runtime computes as before; only the file and what is read from it shrink.
// Weights with values beyond the range of dtype are left, with the reason; weights of fewer than minHalf
// elements are left too. bf16 needs opset 13 for its Cast. g is changed in place.
func HalfWeights(g *model.Graph, dtype model.DType) ([]model.Note, error) {
	if dtype != model.Float16 && dtype != model.BFloat16 {
		return nil, fmt.Errorf("quantize: %s is no half precision type", dtype)
	}
	if dtype == model.BFloat16 && g.Opset("") < 13 {
		return nil, fmt.Errorf("quantize: bf16 weights need opset 13, the model has %d: %w", g.Opset(""), model.ErrUnsupported)
	}
	names := newNamer(g)
	var notes []model.Note
	for _, w := range g.Weights() {
		if w.Tensor.DType() != model.Float32 {
			continue
		}
		n := newNote(w)
		half, why, err := toHalf(w, dtype)
		if err != nil {
			return nil, err
		}
		n.Reason = why
		if half != nil {
			behindCast(w, half, names)
			n.Action, n.BytesAfter = shortName(dtype), int64(half.ByteSize())
		}
		notes = append(notes, n)
	}
	return notes, check(shortName(dtype), notes)
}

// minHalf is the number of elements below which a Cast node costs more bytes than it saves.
const minHalf = 64

func toHalf(w *model.Weight, dtype model.DType) (*model.Tensor, string, error) {
	if w.Tensor.Len() < minHalf {
		return nil, fmt.Sprintf("fewer than %d elements", minHalf), nil
	}
	x, err := w.Tensor.Float32()
	if err != nil {
		return nil, "", fmt.Errorf("quantize: weight %q: %w", w.Name, err)
	}
	limit := float32(65504) // largest float16; 65520 and above round to infinity
	if dtype == model.BFloat16 {
		limit = math.Float32frombits(0x7f7f0000)
	}
	for i, v := range x {
		if (v > limit || v < -limit) && !math.IsInf(float64(v), 0) {
			return nil, fmt.Sprintf("element %d is %g, beyond the range of %s", i, v, shortName(dtype)), nil
		}
	}
	t, err := model.FromFloat32(dtype, w.Tensor.Shape(), x)
	if err != nil {
		return nil, "", fmt.Errorf("quantize: weight %q: %w", w.Name, err)
	}
	return t, "", nil
}

// behindCast renames the weight, stores half under the new name, and puts a Cast that makes the old
// name in front of the nodes of its graph.
func behindCast(w *model.Weight, half *model.Tensor, names *namer) {
	stored := names.name(w.Value + "_" + shortName(half.DType()))
	cast := &model.Node{Name: names.name(w.Value + "_to_float32"), Op: "Cast", Inputs: []string{stored},
		Outputs: []string{w.Value}, Attrs: []model.Attr{model.IntAttr("to", int64(model.Float32))}}
	at := 0
	if w.Node != nil {
		w.Node.Attrs = []model.Attr{model.TensorAttr("value", half)}
		w.Node.Outputs = []string{stored}
		at = slices.Index(w.Graph.Nodes, w.Node) + 1
	} else {
		w.Graph.RemoveInitializer(w.Value)
		w.Graph.SetInitializer(stored, half)
		w.Graph.Inputs = slices.DeleteFunc(w.Graph.Inputs, func(v *model.Value) bool { return v.Name == w.Value })
	}
	w.Graph.Nodes = slices.Insert(w.Graph.Nodes, at, cast)
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
