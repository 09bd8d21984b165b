// Package prune removes weights: a Criterion scores every element, a Pattern selects from the scores
// which elements stay, and Apply writes zeros for the rest. The three steps are independent of each
// other: every pattern works with every criterion.
package prune

import (
	"errors"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// ErrNothing is returned when no weight of the graph can be pruned as asked.
var ErrNothing = errors.New("prune: no weight can be pruned")

// Weight is a dense float weight as the criteria see it.
type Weight struct {
	Name  string
	Shape []int
	Data  []float32 // row-major; must not be changed
	// In is the axis that is summed over (input features or channels): N:M groups lie along it.
	In int
}

// Stats are the activation statistics that a criterion may ask for; nil when no data were given.
type Stats interface {
	// InputNorm returns the L2 norm of every input feature of the weight, over all samples.
	InputNorm(weight string) ([]float32, bool)
}

// Criterion scores the elements of a weight: one score per element, a higher one is kept.
type Criterion interface {
	// Name is the recipe's word for the criterion.
	Name() string
	// Score returns len(w.Data) scores. It fails when it needs statistics that s lacks.
	Score(w Weight, s Stats) ([]float32, error)
}

// Scored are the scores of one weight.
type Scored struct {
	Name   string
	Shape  []int
	In     int
	Scores []float32
}

// Pattern selects the elements to keep.
type Pattern interface {
	// Name is the recipe's word for the pattern.
	Name() string
	// Select returns the elements to keep of every weight so that the fraction sparsity of them is
	// dropped (patterns with a fixed fraction ignore it), and a reason for every weight left out.
	Select(w []Scored, sparsity float64) (model.Mask, map[string]string, error)
}

// Options are the arguments of Select and of the prune stage.
type Options struct {
	Criterion Criterion // nil means Magnitude
	Pattern   Pattern   // nil means Unstructured
	Sparsity  float64   // fraction of zeros, 0 < s < 1
	Ops       []string  // operators whose weights are pruned; nil means DefaultOps
	Stats     Stats
}

// DefaultOps are the operators whose weights are pruned unless others are named: those that multiply by
// a matrix. Embedding tables (Gather) are looked up, not multiplied.
var DefaultOps = []string{"MatMul", "Gemm", "Conv", "LSTM", "GRU"}

// fixed is the extra ability of a pattern whose fraction of zeros is its own, whatever sparsity is asked for.
type fixed interface{ Fraction() float64 }

// Select scores the weights of g and returns the mask of the elements to keep, by Weight.Name, with a Note
// per weight of two or more dimensions. It fails with ErrNothing, notes given, when no element would be dropped. The
// graph is not changed.
func Select(g *model.Graph, o Options) (model.Mask, []model.Note, error) {
	if o.Criterion == nil {
		o.Criterion = Magnitude{}
	}
	if o.Pattern == nil {
		o.Pattern = Unstructured{}
	}
	if o.Ops == nil {
		o.Ops = DefaultOps
	}
	if _, ok := o.Pattern.(fixed); !ok && !(o.Sparsity > 0 && o.Sparsity < 1) {
		return nil, nil, fmt.Errorf("prune: sparsity %v is not between 0 and 1", o.Sparsity)
	}
	var scored []Scored
	var notes []model.Note
	at := map[string]int{}
	names := map[string]int{}
	weights := g.Weights()
	for _, w := range weights {
		names[w.Name]++
	}
	for _, w := range weights {
		if w.Tensor.Rank() < 2 || !w.Tensor.DType().IsFloat() {
			continue
		}
		n := model.Note{Weight: w.Name, Reader: w.Reader(), Ops: opsOf(w), Action: model.Left,
			BytesBefore: int64(w.Tensor.ByteSize()), BytesAfter: int64(w.Tensor.ByteSize())}
		axis, why := inputAxis(w, o.Ops)
		if why == "" && names[w.Name] > 1 {
			why = "another weight has the same name"
		}
		if why == "" {
			s, reason, err := score(w, axis, o)
			if err != nil {
				return nil, nil, err
			}
			if why = reason; why == "" {
				scored = append(scored, s)
				at[w.Name] = len(notes)
			}
		}
		n.Reason = why
		notes = append(notes, n)
	}
	mask, left, err := o.Pattern.Select(scored, o.Sparsity)
	if err != nil {
		return nil, nil, err
	}
	for name, i := range at {
		if why, ok := left[name]; ok {
			notes[i].Reason = why
			continue
		}
		b := mask[name]
		notes[i].Action = "pruned " + o.Pattern.Name()
		notes[i].Reason = fmt.Sprintf("%.1f %% zeros", 100*(1-float64(b.Count())/float64(max(b.N, 1))))
	}
	if mask.Sparsity() == 0 {
		return nil, notes, ErrNothing
	}
	return mask, notes, nil
}

// score returns the scores of w, or why it is left.
func score(w *model.Weight, axis int, o Options) (Scored, string, error) {
	if b := w.Tensor.DType().Bits(); b < 16 {
		return Scored{}, "stored as " + w.Tensor.DType().String(), nil
	}
	data, err := w.Tensor.Float32()
	if err != nil {
		return Scored{}, "", fmt.Errorf("prune: weight %q: %w", w.Name, err)
	}
	if len(data) == 0 {
		return Scored{}, "empty", nil
	}
	var check float32
	for _, v := range data {
		check += v - v
	}
	if check != 0 {
		return Scored{}, "holds a value that is not finite", nil
	}
	s, err := o.Criterion.Score(Weight{w.Name, w.Tensor.Shape(), data, axis}, o.Stats)
	if err != nil {
		return Scored{}, "", fmt.Errorf("prune: %s of weight %q: %w", o.Criterion.Name(), w.Name, err)
	}
	if len(s) != len(data) {
		return Scored{}, "", fmt.Errorf("prune: %s of weight %q: %d scores for %d elements", o.Criterion.Name(), w.Name, len(s), len(data))
	}
	return Scored{w.Name, w.Tensor.Shape(), axis, s}, "", nil
}

// Apply sets the elements that mask drops to zero; the others keep their bits, whatever their type. It fails
// when the mask names a weight that g lacks, has twice, or has in another size; g is unchanged then.
func Apply(g *model.Graph, mask model.Mask) error {
	var weights []*model.Weight
	var tensors []*model.Tensor
	for _, w := range g.Weights() {
		b, ok := mask[w.Name]
		if !ok {
			continue
		}
		t, err := masked(w.Tensor, b)
		if err != nil {
			return fmt.Errorf("prune: weight %q: %w", w.Name, err)
		}
		weights, tensors = append(weights, w), append(tensors, t)
	}
	if len(weights) != len(mask) {
		return fmt.Errorf("prune: the mask names %d weights, the graph has %d by these names", len(mask), len(weights))
	}
	for i, w := range weights {
		w.Set(tensors[i])
	}
	return nil
}

// masked returns t with the elements that b drops set to zero.
func masked(t *model.Tensor, b model.Bits) (*model.Tensor, error) {
	if t.Len() != b.N {
		return nil, fmt.Errorf("a mask of %d elements does not fit shape %v", b.N, t.Shape())
	}
	size := t.DType().Bits() / 8
	if size == 0 {
		return nil, fmt.Errorf("elements of %s cannot be masked", t.DType())
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := slices.Clone(raw)
	for i := range b.N {
		if !b.Get(i) {
			clear(out[i*size : (i+1)*size])
		}
	}
	return model.NewTensor(t.DType(), t.Shape(), out)
}

// inputAxis returns the axis that the readers of w sum over, or why w is left.
func inputAxis(w *model.Weight, ops []string) (int, string) {
	if len(w.Uses) == 0 {
		return 0, "no node reads it"
	}
	axis := -1
	for _, u := range w.Uses {
		a, ok := axisOf(u, len(w.Tensor.Shape()))
		switch {
		case !ok || !slices.Contains(ops, u.Node.Op):
			return 0, "read by " + opName(u.Node)
		case axis >= 0 && a != axis:
			return 0, "read along two different axes"
		}
		axis = a
	}
	return axis, ""
}

func axisOf(u model.Use, rank int) (int, bool) {
	n := u.Node
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return 0, false
	}
	switch n.Op {
	case "MatMul":
		if u.Input == 1 {
			return rank - 2, true
		}
		return rank - 1, true
	case "Gemm":
		if u.Input != 1 {
			return 0, false
		}
		if n.Int("transB", 0) != 0 {
			return 1, true
		}
		return 0, true
	case "Conv":
		return 1, u.Input == 1
	case "LSTM", "GRU", "RNN":
		return 2, u.Input == 1 || u.Input == 2
	}
	return 0, false
}

// opName returns the operator with its domain where that is not the default.
func opName(n *model.Node) string {
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return n.Domain + "." + n.Op
	}
	return n.Op
}

func opsOf(w *model.Weight) []string {
	var ops []string
	for _, u := range w.Uses {
		if !slices.Contains(ops, u.Node.Op) {
			ops = append(ops, u.Node.Op)
		}
	}
	return ops
}
