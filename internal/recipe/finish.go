package recipe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/reports"
)

// finish writes result.json and the reports, then marks the journal and removes the state of interrupted
// stages.
func (r *run) finish(res *reports.Result) error {
	_, missing, err := reports.WriteDir(r.out, res)
	if err != nil {
		return err
	}
	for _, m := range missing {
		r.progress("left out: "+m, 0, 0)
	}
	if err := r.journal.put(kindFinished, "", struct{}{}); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(r.out, checkpointsName)); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
}

// Measure compares models as they are: the recipe's model is the baseline, others are files beside it.
// Nothing is written; the result has one variant per model.
func Measure(ctx context.Context, rec *Recipe, others []string, o Options) (*reports.Result, error) {
	for _, check := range []func() error{rec.checkTarget, rec.checkMeasure, rec.checkTask, rec.checkInputs} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	r := newRun(rec, o)
	defer r.close()
	if err := r.openModel(); err != nil {
		return nil, err
	}
	if err := r.files(others); err != nil {
		return nil, err
	}
	r.journal = memoryJournal()
	phases := []func(context.Context) error{r.loadAll, r.memoryAll}
	if len(others) > 0 || rec.Task != nil && rec.Task.Kind == "classification" {
		phases = []func(context.Context) error{r.loadAll, r.scoreAll, r.memoryAll}
	} else {
		r.bound.task = nil
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

// files takes the models as variants under the names of their files.
func (r *run) files(others []string) error {
	r.baseline = &made{Name: "baseline", Bytes: r.src.bytes, SHA256: r.src.sha256, Path: r.src.path}
	if r.src.path == "" {
		return fmt.Errorf("recipe: model %q: measuring takes files", r.recipe.Model)
	}
	r.made = []*made{r.baseline}
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
		m.Path = abs
		r.made = append(r.made, m)
		r.recipe.Variants = append(r.recipe.Variants, VariantSpec{Name: m.Name})
	}
	return nil
}

// Evaluate scores one model on the recipe's task and returns its accuracy.
func Evaluate(ctx context.Context, rec *Recipe, o Options) (*reports.Accuracy, error) {
	for _, check := range []func() error{rec.checkTarget, rec.checkMeasure, rec.checkTask, rec.checkInputs} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	r := newRun(rec, o)
	defer r.close()
	if err := r.openModel(); err != nil {
		return nil, err
	}
	r.baseline = &made{Name: "baseline", Path: r.src.path}
	r.made = []*made{r.baseline}
	r.journal = memoryJournal()
	artifact := r.artifact(r.baseline)
	s, err := r.runtime.Load(ctx, artifact, r.options())
	if err != nil {
		return nil, err
	}
	r.sessions = append(r.sessions, s)
	if err := r.scoreAll(ctx); err != nil {
		return nil, err
	}
	return r.accuracy(0, r.baseline)
}
