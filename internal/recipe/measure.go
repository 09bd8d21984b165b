package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// Measure compares models as they are: the recipe's model is the baseline, others are files beside it.
// The result has one variant per model. With Options.Out every block is kept in that folder as it is taken, until the result is
// there: an interrupted measurement goes on with Resume, and without it its journal is set aside beside the new one. A folder
// that cannot be made, or that another process uses, only costs that.
func Measure(ctx context.Context, rec *Recipe, others []string, o Options) (res *reports.Result, err error) {
	r := newRun(rec, o)
	defer r.close()
	err = r.guarded(func() (err error) { res, err = r.measureFiles(ctx, others); return err })
	return res, err
}

func (r *run) measureFiles(ctx context.Context, others []string) (*reports.Result, error) {
	if err := r.recipe.prepare(); err != nil {
		return nil, err
	}
	if err := r.openModel(ctx); err != nil {
		return nil, err
	}
	if err := r.files(others); err != nil {
		return nil, err
	}
	if err := r.keep(); err != nil {
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
	res, err := r.result(ctx, cmp)
	if err == nil {
		err = r.kept()
	}
	return res, err
}

// asideName is the journal of an interrupted measurement that was not gone on with; later ones are asideName.2 and so on.
const asideName = journalName + ".old"

// setAside gives the journal in dir a name that none there has; "" where there is no journal.
func setAside(dir string) (string, error) {
	path, aside := filepath.Join(dir, journalName), filepath.Join(dir, asideName)
	for i := 2; ; i++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", fmt.Errorf("recipe: %w", err)
		}
		aside = filepath.Join(dir, fmt.Sprintf("%s.%d", asideName, i))
	}
	if err := os.Rename(path, aside); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("recipe: %w", err)
	}
	return aside, nil
}

// keep opens the journal of a measurement in Options.Out.
func (r *run) keep() error {
	if r.out == "" {
		return nil
	}
	f, err := openFolder(r.out)
	if err != nil {
		r.progress("blocks are not kept: "+err.Error(), 0, 0)
		return nil
	}
	r.folder = f
	if !r.opt.Resume {
		aside, err := setAside(r.out)
		if err != nil {
			return err
		}
		if aside != "" {
			r.progress("an interrupted measurement of the same is set aside as "+aside+"; --resume would have gone on with it", 0, 0)
		}
	}
	id := r.identity()
	b, err := json.Marshal(r.recipe)
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	id.Recipe = textDigest(string(b))
	for _, m := range r.made {
		id.Data = textDigest(id.Data + m.SHA256)
	}
	j, err := openJournal(r.out, "", id, r.opt.Resume)
	if err != nil {
		return err
	}
	r.journal = j
	if n := len(r.journal.blocks); n > 0 {
		r.progress(fmt.Sprintf("going on after %d blocks", n), 0, 0)
	}
	return nil
}

// kept removes the journal of a measurement that has its result, and the folder unless something else lies in it.
func (r *run) kept() error {
	if r.folder == nil {
		return nil
	}
	err := errors.Join(r.journal.close(), os.Remove(filepath.Join(r.out, journalName)), r.folder.finish())
	r.journal.f = nil
	_ = os.Remove(r.out) // not empty where an older journal lies
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
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
		return &NameError{wantFile, r.recipe.Model}
	}
	r.made = []*made{{Name: "baseline", Bytes: r.src.bytes, SHA256: r.src.sha256, Path: r.src.path}}
	seen := map[string]bool{"baseline": true}
	for _, path := range others {
		if err := FileOnly(path); err != nil {
			return err
		}
		m := &made{Name: filepath.Base(path), Path: path}
		for i := 2; seen[m.Name]; i++ {
			m.Name = fmt.Sprintf("%s (%d)", filepath.Base(path), i)
		}
		seen[m.Name] = true
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		if err := checkFile(path); err != nil {
			return err
		}
		if m.Bytes, m.SHA256, err = modelDigest(abs); err != nil {
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
func Evaluate(ctx context.Context, rec *Recipe, o Options) (acc *reports.Accuracy, err error) {
	r := newRun(rec, o)
	defer r.close()
	err = r.guarded(func() (err error) { acc, err = r.evaluate(ctx); return err })
	return acc, err
}

func (r *run) evaluate(ctx context.Context) (*reports.Accuracy, error) {
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
