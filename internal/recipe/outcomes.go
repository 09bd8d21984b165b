package recipe

import (
	"context"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
)

// Outcomes scores models as they are on the recipe's task: the recipe's model first, others are files beside it. It returns one
// outcome per model and example; where the task compares with the baseline, the baseline's are 1. Nothing is written or timed.
func Outcomes(ctx context.Context, rec *Recipe, others []string, o Options) (out [][]float64, err error) {
	r := newRun(rec, o)
	defer r.close()
	err = r.guarded(func() (err error) { out, err = r.outcomes(ctx, others); return err })
	return out, err
}

func (r *run) outcomes(ctx context.Context, others []string) ([][]float64, error) {
	if err := r.recipe.prepare(); err != nil {
		return nil, err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, err
	}
	if r.src.path != "" {
		if err := r.files(others); err != nil {
			return nil, err
		}
	} else {
		r.made = []*made{{Name: "baseline"}}
	}
	if err := r.loadAll(ctx); err != nil {
		return nil, err
	}
	if err := r.scoreAll(ctx); err != nil {
		return nil, err
	}
	var out [][]float64
	for i, m := range r.made {
		s, _ := lookup[scores](r.journal, kindScore, m.Name)
		if _, relative := r.bound.task.(task.Relative); relative && i == 0 {
			s.Outcomes = slices.Repeat([]float64{1}, r.bound.task.Len())
		}
		out = append(out, s.Outcomes)
	}
	return out, nil
}

// Calibration returns the first n calibration inputs of the recipe's model.
func Calibration(rec *Recipe, from string, n int, o Options) (engine.Feeds, error) {
	src, err := openModel(rec.Model, rec.Dir, o.Builtin)
	if err != nil {
		return engine.Feeds{}, err
	}
	defer src.close()
	feeds, _, err := rec.calibrating(src, o.Builtin)(from, n)
	return feeds, err
}
