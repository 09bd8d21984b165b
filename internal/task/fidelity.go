package task

import (
	"context"
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Fidelity scores how closely a model's output follows that of the baseline: the outcome of an example
// is the cosine between the two output vectors. With Pooling "mean", an output [batch, length, width] is
// averaged over the real positions first.
type Fidelity struct {
	Inputs  Inputs
	Batch   int
	Output  string // "" = the first output
	Pooling string // "mean" or ""

	reference [][]float32
}

var _ Task = (*Fidelity)(nil)

// Kind returns "fidelity".
func (f *Fidelity) Kind() string { return "fidelity" }

// Metric returns "cosine to the baseline".
func (f *Fidelity) Metric() string { return "cosine to the baseline" }

// Len returns the number of examples.
func (f *Fidelity) Len() int { return f.Inputs.Len() }

// SetBaseline records the outputs of the baseline, which Score compares with.
func (f *Fidelity) SetBaseline(ctx context.Context, s engine.Session, progress func(int)) error {
	vectors, err := f.Vectors(ctx, s, progress)
	if err == nil {
		f.reference = vectors
	}
	return err
}

// fewValues is how many values an output should have at least for its cosine to show more than its signs and their balance.
const fewValues = 8

// FewValues returns how many values an example's output has, where the file of s says so and they are too few for a cosine to tell much: of
// one value it tells the sign alone. 0 otherwise.
func (f *Fidelity) FewValues(s engine.Session) int {
	name, err := outputOf(s, f.Output)
	if err != nil {
		return 0
	}
	for _, v := range s.Outputs() {
		if v.Name != name || len(v.Type.Shape) == 0 || f.Pooling == "mean" && len(v.Type.Shape) == 3 {
			continue
		}
		n := 1
		for _, d := range v.Type.Shape[1:] {
			if !d.Known() || d.Size >= fewValues {
				return 0
			}
			n *= int(d.Size)
		}
		if n < fewValues {
			return n
		}
	}
	return 0
}

// Score returns the cosine of every example; SetBaseline must have been called.
func (f *Fidelity) Score(ctx context.Context, s engine.Session, progress func(int)) ([]float64, error) {
	if f.reference == nil {
		return nil, fmt.Errorf("task: fidelity without the outputs of a baseline")
	}
	vectors, err := f.Vectors(ctx, s, progress)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(vectors))
	for i, v := range vectors {
		if len(v) != len(f.reference[i]) {
			return nil, fmt.Errorf("task: example %d: output of %d values, the baseline's has %d", i, len(v), len(f.reference[i]))
		}
		out[i] = Cosine(v, f.reference[i])
	}
	return out, nil
}

// Vectors returns the (pooled) output vector of every example.
func (f *Fidelity) Vectors(ctx context.Context, s engine.Session, progress func(int)) ([][]float32, error) {
	name, err := outputOf(s, f.Output)
	if err != nil {
		return nil, err
	}
	vectors := make([][]float32, 0, f.Len())
	err = each(ctx, f.Inputs, f.Batch, s, []string{name}, progress, func(from, to int, out engine.Feed, mask *model.Tensor) error {
		got, err := f.split(out[name], mask, to-from)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		vectors = append(vectors, got...)
		return nil
	})
	return vectors, err
}

func (f *Fidelity) split(t, mask *model.Tensor, n int) ([][]float32, error) {
	x, err := t.Float32()
	if err != nil {
		return nil, err
	}
	out := make([][]float32, n)
	shape := t.Shape()
	if f.Pooling != "mean" || len(shape) != 3 {
		if len(x)%n != 0 {
			return nil, fmt.Errorf("task: shape %v does not divide into %d examples", shape, n)
		}
		k := len(x) / n
		for i := range out {
			out[i] = append([]float32(nil), x[i*k:(i+1)*k]...)
		}
		return out, nil
	}
	var keep []int64
	if mask != nil {
		if keep, err = model.Data[int64](mask); err != nil {
			return nil, err
		}
	}
	length, width := shape[1], shape[2]
	if shape[0] != n || keep != nil && len(keep) != n*length {
		return nil, fmt.Errorf("task: shape %v does not fit %d examples and a mask of %d", shape, n, len(keep))
	}
	for i := range out {
		sum := make([]float64, width)
		count := 0.0
		for j := range length {
			if keep != nil && keep[i*length+j] == 0 {
				continue
			}
			count++
			for k, v := range x[(i*length+j)*width : (i*length+j+1)*width] {
				sum[k] += float64(v)
			}
		}
		out[i] = make([]float32, width)
		for k, v := range sum {
			out[i][k] = float32(v / math.Max(count, 1))
		}
	}
	return out, nil
}

// Cosine returns the cosine of the angle between a and b, computed in float64, within -1 and 1; 1 for two zero vectors
// and 0 when one is zero or not finite, or when the lengths differ.
func Cosine(a, b []float32) float64 {
	var ab, aa, bb float64
	if len(a) != len(b) {
		return 0
	}
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		ab += x * y
		aa += x * x
		bb += y * y
	}
	if aa == 0 && bb == 0 {
		return 1
	}
	c := ab / math.Sqrt(aa*bb)
	if math.IsNaN(c) || math.IsInf(c, 0) {
		return 0
	}
	return math.Max(-1, math.Min(c, 1))
}
