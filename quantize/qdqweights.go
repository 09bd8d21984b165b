package quantize

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// QDQWeights are the settings of weights stored in any type of Scheme behind DequantizeLinear, activations left in float. Files
// shrink; a runtime that has no product for the type restores the weights in float32.
type QDQWeights struct {
	DType       model.DType // Int8, Uint8, Int16, Uint16, Int4, Uint4, Float8E4M3FN or Float8E5M2
	Symmetric   bool        // no zero points; floats have none in any case
	Granularity Granularity // PerTensor or PerChannel; "" means PerChannel
	Ops         []string    // operators whose weights are stored so; nil means QDQWeightOps
	Exclude     []string    // what is left as it is, quantized already or not: see Static.Exclude
}

// QDQWeightOps are the operators whose weights QDQWeights handles.
var QDQWeightOps = []string{"MatMul", "Gemm", "Conv", "ConvTranspose", "Gather", "LSTM", "GRU", "RNN"}

// Check completes the settings and refuses those that make no sense.
func (s *QDQWeights) Check() error {
	if s.Granularity == "" {
		s.Granularity = PerChannel
	}
	if s.Ops == nil {
		s.Ops = QDQWeightOps
	}
	_, integer := rangeOf(s.DType)
	_, float8 := formatOf(s.DType)
	switch {
	case !integer && !float8:
		return fmt.Errorf("quantize: weights of %s behind DequantizeLinear: %w", s.DType, model.ErrUnsupported)
	case s.Granularity != PerTensor && s.Granularity != PerChannel:
		return fmt.Errorf("quantize: granularity %q: want %s or %s", s.Granularity, PerTensor, PerChannel)
	}
	for _, op := range s.Ops {
		if !slices.Contains(QDQWeightOps, op) {
			return fmt.Errorf("quantize: weights of operator %q behind DequantizeLinear: want some of %s: %w", op, strings.Join(QDQWeightOps, ", "), model.ErrUnsupported)
		}
	}
	return checkExclude(s.Exclude)
}

// opset returns the lowest operator set whose DequantizeLinear has the type by axis.
func (s *QDQWeights) opset() int64 {
	switch s.DType {
	case model.Int8, model.Uint8:
		return 13
	case model.Float8E4M3FN, model.Float8E5M2:
		return 19
	}
	return 21
}

// Apply rewrites g in place: every float32 weight that only operators of Ops read, in the place of a weight, is made by
// DequantizeLinear from its quantized form; one DequantizeLinear serves all readers. Scales are per output channel, those of a
// table per row, those of a recurrent operator per row of its gates, shared by its directions. A model below the opset of the
// type is raised to it, and a note says so.
//
// The notes say for every float weight what was done or why it was left. It fails with ErrQuantized on a model that is
// quantized already and with ErrNothing (notes still given) when less than MinShare of the weight bytes would change; g is
// unchanged after an error.
func (s QDQWeights) Apply(g *model.Graph) ([]model.Note, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if err := refuse(g, s.Exclude); err != nil {
		return nil, err
	}
	return withOpset(g, s.opset(), "DequantizeLinear nodes of "+s.DType.String(), func(g *model.Graph) ([]model.Note, error) {
		notes, made, err := s.plan(g)
		if err != nil {
			return nil, err
		}
		if err := check(s.DType.String()+" weights", notes); err != nil {
			return notes, err
		}
		return notes, s.rewrite(g, made)
	})
}

// restoredWeight is a weight with its quantized form.
type restoredWeight struct {
	*model.Weight
	grid           *Grid
	q, scale, zero *model.Tensor
}

// plan quantizes the weights.
func (s *QDQWeights) plan(g *model.Graph) (notes []model.Note, made []*restoredWeight, err error) {
	outputs := outputNames(g)
	for _, w := range g.Weights() {
		if !w.Tensor.DType().IsFloat() || w.Tensor.Rank() == 0 {
			continue
		}
		n := newNote(w)
		if n.Reason = s.whyLeft(w); excludesWeight(s.Exclude, w) != "" {
			n.Reason = fmt.Sprintf(excludedBy+"%q", excludesWeight(s.Exclude, w))
		} else if n.Reason == "" && outputs[w.Graph][w.Value] {
			n.Reason = "an output of the graph"
		}
		if n.Reason == "" {
			r, err := s.quantize(w)
			switch {
			case errors.Is(err, errNotFinite):
				n.Reason = errNotFinite.Error()
			case err != nil:
				return nil, nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
			default:
				made = append(made, r)
				n.Action = fmt.Sprintf("%s %s", s.DType, r.grid.Granularity)
				n.BytesAfter = int64(r.q.ByteSize() + r.scale.ByteSize() + r.zero.ByteSize())
				n.Reason = "restored by DequantizeLinear: fewer bytes, float products"
			}
		}
		notes = append(notes, n)
	}
	return notes, made, nil
}

// whyLeft returns why w cannot be stored so, or "".
func (s *QDQWeights) whyLeft(w *model.Weight) string {
	switch {
	case len(w.Uses) == 0:
		return "no node reads it"
	case w.Tensor.DType() != model.Float32:
		return "stored as " + w.Tensor.DType().String()
	case w.Tensor.Rank() < 2:
		return "a vector"
	case w.Tensor.Len() == 0:
		return "empty"
	case w.Tensor.Len() < minHalf:
		return fmt.Sprintf("fewer than %d elements", minHalf)
	}
	for _, u := range w.Uses {
		n := u.Node
		if n.Domain != "" && n.Domain != "ai.onnx" {
			return fmt.Sprintf("read by %s.%s", n.Domain, n.Op)
		}
		if !slices.Contains(s.Ops, n.Op) {
			return fmt.Sprintf("read by %s, which is not among the operators to quantize", n.Op)
		}
		want := []int{1}
		switch n.Op {
		case "MatMul":
			want = []int{0, 1}
		case "Gather":
			want = []int{0}
		case "LSTM", "GRU", "RNN":
			want = []int{1, 2}
		}
		if !slices.Contains(want, u.Input) {
			return fmt.Sprintf("input %d of %s, no weight", u.Input, n.Op)
		}
	}
	return ""
}

// quantize makes the quantized form of w, with the axis that its first reader has channels on.
func (s *QDQWeights) quantize(w *model.Weight) (*restoredWeight, error) {
	u := w.Uses[0]
	sc := Scheme{DType: s.DType, Symmetric: s.Symmetric, Granularity: s.Granularity}
	switch n := u.Node; n.Op {
	case "MatMul":
		sc.Axis = -1
		if u.Input == 0 {
			sc.Axis = -2
		}
	case "Gemm":
		if sc.Axis = 1; n.Int("transB", 0) != 0 {
			sc.Axis = 0
		}
	case "ConvTranspose":
		if sc.Axis = 1; n.Int("group", 1) != 1 {
			sc.Axis = 0 // the inputs of a group: its outputs share axis 1 with those of the others
		}
	case "LSTM", "GRU", "RNN":
		sc.Axis = 1
	}
	x, err := w.Tensor.Float32()
	if err != nil {
		return nil, err
	}
	r := &restoredWeight{Weight: w}
	if r.grid, err = sc.ChooseParams(x, w.Tensor.Shape()); err != nil {
		return nil, err
	}
	if r.q, err = r.grid.Quantize(x); err != nil {
		return nil, err
	}
	r.scale, r.zero, err = r.grid.Tensors()
	return r, err
}

// rewrite lets DequantizeLinear make the values of the weights; their readers stay as they are.
func (s *QDQWeights) rewrite(g *model.Graph, made []*restoredWeight) error {
	names := newNamer(g)
	front := map[*model.Graph][]*model.Node{}
	for _, r := range made {
		h := r.Graph
		n := &model.Node{Name: names.name(r.Value + "_DequantizeLinear"), Op: "DequantizeLinear", Outputs: []string{r.Value}}
		for i, t := range []*model.Tensor{r.q, r.scale, r.zero} {
			name := names.name(r.Value + []string{"_quantized", "_scale", "_zero_point"}[i])
			h.SetInitializer(name, t)
			n.Inputs = append(n.Inputs, name)
		}
		if r.grid.Granularity == PerChannel {
			n.Attrs = []model.Attr{model.IntAttr("axis", int64(r.grid.Axis))}
		}
		if r.Node != nil {
			h.Nodes = slices.Clone(h.Nodes)
			h.Nodes[slices.Index(h.Nodes, r.Node)] = n
			continue
		}
		h.RemoveInitializer(r.Value)
		h.Inputs = slices.DeleteFunc(h.Inputs, func(v *model.Value) bool { return v.Name == r.Value })
		front[h] = append(front[h], n)
	}
	for h, nodes := range front {
		h.Nodes = append(nodes, h.Nodes...)
	}
	modernize(g)
	return nil
}
