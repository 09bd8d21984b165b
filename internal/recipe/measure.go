package recipe

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// Measure compares models as they are: the recipe's model is the baseline, others are files beside it.
// Nothing is written; the result has one variant per model.
func Measure(ctx context.Context, rec *Recipe, others []string, o Options) (*reports.Result, error) {
	r := newRun(rec, o)
	defer r.close()
	if err := r.recipe.prepare(); err != nil {
		return nil, err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, err
	}
	if err := r.files(others); err != nil {
		return nil, err
	}
	phases := []func(context.Context) error{r.loadAll, r.scoreAll, r.memoryAll}
	if _, labels := r.bound.task.(*task.Classification); len(others) == 0 && !labels {
		r.bound.task = nil // there is nothing to compare outputs with
	}
	for _, phase := range phases {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	cmp, err := r.measureAll(ctx)
	if err != nil {
		return nil, err
	}
	return r.result(ctx, cmp)
}

// prepare checks and completes a recipe without variants.
func (r *Recipe) prepare() error {
	for _, check := range []func() error{r.checkTarget, r.checkMeasure, r.checkCarbon, r.checkTask, r.checkInputs} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// files takes the models as variants under the names of their files.
func (r *run) files(others []string) error {
	if r.src.path == "" {
		return fmt.Errorf("recipe: model %q: measuring takes files", r.recipe.Model)
	}
	r.made = []*made{{Name: "baseline", Bytes: r.src.bytes, SHA256: r.src.sha256, Path: r.src.path}}
	seen := map[string]bool{"baseline": true}
	for _, path := range others {
		m := &made{Name: filepath.Base(path), Path: path}
		for i := 2; seen[m.Name]; i++ {
			m.Name = fmt.Sprintf("%s (%d)", filepath.Base(path), i)
		}
		seen[m.Name] = true
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if m.Bytes, m.SHA256, err = fileDigest(abs); err != nil {
			return err
		}
		if err := checkFile(path); err != nil {
			return err
		}
		m.Path = abs
		r.made = append(r.made, m)
		r.recipe.Variants = append(r.recipe.Variants, VariantSpec{Name: m.Name})
	}
	return nil
}

// checkFile refuses a model with an operator that does not exist.
func checkFile(path string) error {
	f, err := onnx.Open(path)
	if err != nil {
		return err
	}
	err = model.CheckOperators(f.Graph())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Evaluate scores one model on the recipe's task and returns its accuracy.
func Evaluate(ctx context.Context, rec *Recipe, o Options) (*reports.Accuracy, error) {
	r := newRun(rec, o)
	defer r.close()
	if err := r.recipe.prepare(); err != nil {
		return nil, err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, err
	}
	r.made = []*made{{Name: "baseline", Path: r.src.path}}
	r.sessions = []engine.Session{r.baseline}
	if err := r.scoreAll(ctx); err != nil {
		return nil, err
	}
	return r.accuracy(0, r.made[0])
}
