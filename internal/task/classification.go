package task

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Classification scores a classifier: the outcome of an example is 1 when the class with the highest
// logit (the first of equals) is the labelled one, else 0.
type Classification struct {
	Inputs  Inputs
	Classes []int // labelled class of every example
	Batch   int   // examples per run
	Output  string

	Threshold float32 // between two classes, where the output is one value
}

var _ Task = (*Classification)(nil)

// Kind returns "classification".
func (c *Classification) Kind() string { return "classification" }

// Metric returns "accuracy".
func (c *Classification) Metric() string { return "accuracy" }

// Len returns the number of examples.
func (c *Classification) Len() int { return c.Inputs.Len() }

// Score runs the model over all examples. Its output must be [batch, classes], or [batch] or [batch, 1]
// for two classes divided at Threshold.
func (c *Classification) Score(ctx context.Context, s engine.Session, progress func(int)) ([]float64, error) {
	name, err := outputOf(s, c.Output)
	if err != nil {
		return nil, err
	}
	outcomes := make([]float64, c.Len())
	err = each(ctx, c.Inputs, c.Batch, s, []string{name}, progress, func(from, to int, out engine.Feed, _ *model.Tensor) error {
		picked, err := Argmax(out[name], to-from, c.Threshold)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		for i, p := range picked {
			if p == c.Classes[from+i] {
				outcomes[from+i] = 1
			}
		}
		return nil
	})
	return outcomes, err
}

// Argmax returns the class of each of n rows of logits: the first of equal ones, -1 for a row with NaN in it. A row of one
// value is class 1 above threshold, else 0.
func Argmax(t *model.Tensor, n int, threshold float32) ([]int, error) {
	x, err := t.Float32()
	if err != nil {
		return nil, err
	}
	if n == 0 || len(x) == 0 || len(x)%n != 0 {
		return nil, fmt.Errorf("task: shape %v holds no logits of %d examples", t.Shape(), n)
	}
	k := len(x) / n
	out := make([]int, n)
	for i := range n {
		row := x[i*k : (i+1)*k]
		if k == 1 && row[0] > threshold {
			out[i] = 1
		}
		for j, v := range row {
			if k > 1 && v > row[out[i]] {
				out[i] = j
			}
		}
		if slices.ContainsFunc(row, func(v float32) bool { return v != v }) {
			out[i] = -1
		}
	}
	return out, nil
}
