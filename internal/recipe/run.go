package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// checkpointsName is the folder of the state of interrupted stages.
const checkpointsName = "checkpoints"

// Options are the arguments of Run besides the recipe.
type Options struct {
	Out      string                    // folder of everything that is written
	Resume   bool                      // go on with the run that the folder holds
	Builtin  fs.FS                     // the built-in model and data
	Runtimes map[string]engine.Runtime // by name
	Meter    measure.Meter             // nil: no energy figures
	// Assumptions are those of a modelled meter, in sentences.
	Assumptions []string
	Host        *reports.Host
	Facts       measure.HostFacts // of this machine, for embodied emissions
	Tool        reports.Tool
	// Child starts this program anew to measure peak memory: arguments, then a request on standard
	// input and the answer on standard output. nil: peak memory is not measured.
	Child    func(ctx context.Context, request []byte) ([]byte, error)
	Progress func(what string, done, total int) // may be nil
	Plan     func(Plan)                         // called once, before the work starts; may be nil
}

// Plan is what a run is going to do.
type Plan struct {
	Model    string
	Data     string
	Variants []string
	Pairs    int
	Seconds  float64 // rough estimate of the whole
	Report   string  // path of the report to come
	Resumed  int     // pieces of work found done
}

type run struct {
	recipe   *Recipe
	opt      Options
	out      string
	threads  int
	src      *source
	bound    *bound
	training *Training
	teacher  engine.Session
	runtime  engine.Runtime
	journal  *journal
	started  time.Time
	warnings []string

	baseline *made
	made     []*made // baseline first
	sessions []engine.Session
}

// Run carries out the recipe and returns the result, which is also written to the output folder with its
// reports. Interrupted by ctx or a kill it leaves no result, and goes on where it was with Resume.
func Run(ctx context.Context, rec *Recipe, o Options) (*reports.Result, error) {
	r := newRun(rec, o)
	defer r.close()
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	for _, phase := range []func(context.Context) error{r.makeAll, r.loadAll, r.scoreAll, r.memoryAll} {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	cmp, err := r.measureAll(ctx)
	if err != nil {
		return nil, err
	}
	res, err := r.result(ctx, cmp)
	if err != nil {
		return nil, err
	}
	if err := r.finish(res); err != nil {
		return nil, err
	}
	return res, nil
}

func newRun(rec *Recipe, o Options) *run {
	return &run{recipe: rec, opt: o, out: o.Out, started: time.Now()}
}

// openModel loads model and data and checks that they fit together.
func (r *run) openModel() error {
	r.runtime = r.opt.Runtimes[r.recipe.Target.Runtime]
	if r.runtime == nil {
		return fmt.Errorf("recipe: target.runtime: %q is not in this build", r.recipe.Target.Runtime)
	}
	r.threads = r.recipe.Target.Threads
	if r.threads == 0 {
		r.threads = runtime.NumCPU()
	}
	var err error
	if r.src, err = openModel(r.recipe.Model, r.recipe.Dir, r.opt.Builtin); err != nil {
		return err
	}
	r.bound, err = r.recipe.bind(r.src, r.opt.Builtin)
	return err
}

// open loads model and data and opens the journal.
func (r *run) open(ctx context.Context) error {
	if err := r.openModel(); err != nil {
		return err
	}
	var err error
	if r.training, err = r.recipe.bindTraining(r.src, r.bound, r.opt.Builtin, r.opt.Runtimes["native"]); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	id := identity{r.recipe.SHA256, r.src.sha256, r.opt.Tool.Version}
	if r.journal, err = openJournal(r.out, id, r.opt.Resume); err != nil {
		return err
	}
	if r.opt.Plan != nil {
		p := Plan{Model: r.src.name, Data: r.bound.describe, Pairs: r.recipe.Measure.Pairs, Report: filepath.Join(r.out, "report.html"),
			Resumed: len(r.journal.entries) - 1 + len(r.journal.blocks), Seconds: r.estimate()}
		for _, v := range r.recipe.Variants {
			p.Variants = append(p.Variants, v.Name)
		}
		r.opt.Plan(p)
	}
	return canceled(ctx, "run")
}

// estimate is a rough guess of the whole run in seconds: the blocks that the precision may ask for, and
// training and scoring by rule of thumb.
func (r *run) estimate() float64 {
	m := r.recipe.Measure
	n := float64(len(r.recipe.Variants))
	s := n * min(float64(m.Pairs)*2*m.BlockSeconds*1.2, m.MaxSeconds)
	s += 2 * m.IdleSeconds
	for _, v := range r.recipe.Variants {
		for _, st := range v.Stages {
			if st.Distill != nil {
				s += st.Distill.estimate(r.training)
			}
		}
	}
	if r.bound.task != nil {
		s += (n + 1) * float64(r.bound.task.Len()) * 0.004
	}
	return s + 3
}

// makeAll writes the baseline, where it is built in, and every variant that the journal lacks.
func (r *run) makeAll(ctx context.Context) error {
	r.baseline = &made{Name: "baseline", Bytes: r.src.bytes, SHA256: r.src.sha256, Path: r.src.path}
	if r.src.path == "" {
		r.baseline.Path = variantsName + "/baseline.onnx"
		path := filepath.Join(r.out, filepath.FromSlash(r.baseline.Path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("recipe: %w", err)
		}
		if err := writeFile(path, r.src.raw); err != nil {
			return err
		}
	}
	r.made = []*made{r.baseline}
	if err := r.loadTeacher(ctx); err != nil {
		return err
	}
	for i, v := range r.recipe.Variants {
		m := &made{}
		if r.journal.get(kindVariant, v.Name, m) && r.intact(m) {
			r.made = append(r.made, m)
			continue
		}
		r.progress("making "+v.Name, i, len(r.recipe.Variants))
		m, err := r.makeVariant(ctx, v)
		if err != nil {
			return err
		}
		if err := r.journal.put(kindVariant, v.Name, m); err != nil {
			return err
		}
		r.made = append(r.made, m)
	}
	return nil
}

// intact reports whether the file of a variant is as the journal says.
func (r *run) intact(m *made) bool {
	n, sum, err := fileDigest(r.path(m))
	return err == nil && n == m.Bytes && sum == m.SHA256
}

func (r *run) path(m *made) string {
	if filepath.IsAbs(m.Path) || m == r.baseline && r.src.path != "" {
		return m.Path
	}
	return filepath.Join(r.out, filepath.FromSlash(m.Path))
}

// artifact is the file of a variant, or the built-in graph where there is no file.
func (r *run) artifact(m *made) engine.Artifact {
	if m.Path == "" {
		return engine.Artifact{Graph: r.src.graph}
	}
	return engine.Artifact{Path: r.path(m)}
}

// loadTeacher loads the baseline on the native runtime for stages that distil from it.
func (r *run) loadTeacher(ctx context.Context) error {
	needed := false
	for _, v := range r.recipe.Variants {
		for _, s := range v.Stages {
			needed = needed || s.Distill != nil
		}
	}
	if !needed {
		return nil
	}
	if r.training == nil {
		return errors.New("recipe: a distill stage needs training data: give task.train")
	}
	s, err := r.opt.Runtimes["native"].Load(ctx, engine.Artifact{Graph: r.src.graph}, engine.Options{Threads: r.threads})
	if err != nil {
		return fmt.Errorf("teacher: %w", err)
	}
	r.teacher = s
	return nil
}

// loadAll reads every file back on the target.
func (r *run) loadAll(ctx context.Context) error {
	for _, m := range r.made {
		s, err := r.runtime.Load(ctx, r.artifact(m), r.options())
		if err != nil {
			return fmt.Errorf("variant %q: %w", m.Name, err)
		}
		r.sessions = append(r.sessions, s)
		if err := canceled(ctx, "load"); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) options() engine.Options {
	return engine.Options{Threads: r.threads, Provider: r.recipe.Target.Provider}
}

func (r *run) calibration() engine.Feeds { return feedsOf(r.bound.timing) }

func (r *run) progress(what string, done, total int) {
	if r.opt.Progress != nil {
		r.opt.Progress(what, done, total)
	}
}

func (r *run) warn(format string, args ...any) {
	w := fmt.Sprintf(format, args...)
	for _, have := range r.warnings {
		if have == w {
			return
		}
	}
	r.warnings = append(r.warnings, w)
}

func (r *run) close() {
	for _, s := range r.sessions {
		s.Close()
	}
	if r.teacher != nil {
		r.teacher.Close()
	}
	if r.journal != nil {
		r.journal.close()
	}
	if r.src != nil {
		r.src.close()
	}
}
