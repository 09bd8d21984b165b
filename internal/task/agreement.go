package task

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Relative is a Task that compares with the outputs of the baseline, which SetBaseline records before anything is scored.
type Relative interface {
	Task
	SetBaseline(ctx context.Context, s engine.Session, progress func(done int)) error
}

var (
	_ Relative = (*Fidelity)(nil)
	_ Relative = (*Agreement)(nil)
)

// Agreement scores how often a model decides as the baseline does, on examples without labels: the outcome of an example is 1 when
// both pick the same class, or are on the same side of Threshold where the output is one value.
type Agreement struct {
	Inputs    Inputs
	Batch     int
	Output    string  // "" = the first output
	Threshold float32 // of an output of one value

	reference []int
}

// Kind returns "agreement".
func (a *Agreement) Kind() string { return "agreement" }

// Metric returns "decisions as the baseline".
func (a *Agreement) Metric() string { return "decisions as the baseline" }

// Len returns the number of examples.
func (a *Agreement) Len() int { return a.Inputs.Len() }

// SetBaseline records the decisions of the baseline, which Score compares with.
func (a *Agreement) SetBaseline(ctx context.Context, s engine.Session, progress func(int)) (err error) {
	a.reference, err = a.decisions(ctx, s, progress)
	return err
}

// Score returns 1 for every example on which s decides as the baseline did, else 0; SetBaseline must have been called.
func (a *Agreement) Score(ctx context.Context, s engine.Session, progress func(int)) ([]float64, error) {
	if a.reference == nil {
		return nil, fmt.Errorf("task: agreement without the decisions of a baseline")
	}
	picked, err := a.decisions(ctx, s, progress)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(picked))
	for i, p := range picked {
		if p == a.reference[i] && p >= 0 {
			out[i] = 1
		}
	}
	return out, nil
}

func (a *Agreement) decisions(ctx context.Context, s engine.Session, progress func(int)) ([]int, error) {
	name, err := outputOf(s, a.Output)
	if err != nil {
		return nil, err
	}
	all := make([]int, 0, a.Len())
	err = each(ctx, a.Inputs, a.Batch, s, []string{name}, progress, func(from, to int, out engine.Feed, _ *model.Tensor) error {
		picked, err := Argmax(out[name], to-from, a.Threshold)
		if err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
		all = append(all, picked...)
		return nil
	})
	return all, err
}

// outputOf is the output called name, or the first where name is "".
func outputOf(s engine.Session, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	if len(s.Outputs()) == 0 {
		return "", fmt.Errorf("task: the model has no output")
	}
	return s.Outputs()[0].Name, nil
}
