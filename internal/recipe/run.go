package recipe

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
)

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
	// Child starts this program anew to measure peak memory: a request on standard input, the answer on standard
	// output. nil: peak memory is not measured.
	Child    func(ctx context.Context, request []byte) ([]byte, error)
	Progress func(what string, done, total int) // may be nil
	Plan     func(Plan)                         // called once, before the work starts; may be nil
	Note     func(string)                       // told what is worth knowing before the work starts; may be nil
	// Live asks a service for the present intensity of the grid; nil: none can be asked. It is called only where the recipe names a
	// service (carbon.live), with a context that ends after liveTimeout.
	Live func(ctx context.Context, service, zone string) (carbon.Series, error)
	// FreeDisk tells the bytes that are free where a path is going to be, -1 where that is not known; nil asks the system.
	FreeDisk func(path string) int64
	// Ceilings measures what so many threads of this machine can do together; nil: the kernels' own loops do.
	Ceilings func(threads int) kernel.Peak
}

// Plan is what a run is going to do.
type Plan struct {
	Model     string
	Data      string
	Variants  []string
	Pairs     int
	Seconds   float64  // rough estimate of what is left, from a few timed steps on this machine, if the least number of pairs decides
	Most      float64  // the same by their mean, with as many pairs as the recipe allows
	Others    *float64 // CPUs that other processes used meanwhile, which both assume to stay so; nil where that is not known
	Uncounted bool     // variants are to be pruned or quantized, which is in neither
	Report    string   // path of the report to come
	Resumed   int      // pieces of work found done
}

// run is the state of one Run, Measure or Evaluate.
type run struct {
	recipe   *Recipe
	opt      Options
	out      string
	threads  int
	src      *source
	bound    *bound
	training *Training
	runtime  engine.Runtime
	loading  time.Duration // of the baseline
	folder   *folder       // nil where nothing is written
	journal  *journal
	warnings []string

	room       func(context.Context) int64      // bytes of the output folder that are needed besides the variants; nil: none
	calibrated map[string]*quantize.Calibration // ranges that stages share; nil where every stage calibrates itself
	baseline   engine.Session                   // on the target
	referenced bool                             // its outputs are kept for the score of fidelity
	teacher    engine.Session                   // the baseline on the native runtime, loaded by the first stage that needs it
	made       []*made                          // baseline first
	sessions   []engine.Session
	counted    unfused      // runs that fell back and are in the journal
	packs      engine.Packs // packed weights, held once for all native sessions: variants leave most of them as they are
}

// Run carries out the recipe and returns the result, which is also written to the output folder with its reports.
// Interrupted by ctx or a kill it leaves no result, and goes on where it was with Resume. Errors: those of the recipe's
// files and stages by name, ErrUnfinished, ErrOtherRun, ErrInUse, ErrJournal, the context's.
func Run(ctx context.Context, rec *Recipe, o Options) (res *reports.Result, err error) {
	if len(rec.Variants) == 0 {
		return nil, faultf("variants", "none: the recipe is one for a search")
	}
	r := newRun(rec, o)
	defer r.close()
	err = r.guarded(func() (err error) { res, err = r.all(ctx); return err })
	return res, err
}

// all makes, scores and measures the variants.
func (r *run) all(ctx context.Context) (*reports.Result, error) {
	for _, phase := range []func(context.Context) error{r.open, r.makeAll, r.loadAll, r.scoreAll, r.memoryAll} {
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
	if err := r.finish(ctx, res); err != nil {
		return nil, err
	}
	return res, nil
}

func newRun(rec *Recipe, o Options) *run {
	own := *rec // Measure adds variants
	own.Variants = slices.Clone(rec.Variants)
	return &run{recipe: &own, opt: o, out: o.Out, journal: memoryJournal()}
}

// open loads model and data, takes the output folder, opens the journal and tells the plan.
func (r *run) open(ctx context.Context) error {
	load := measure.StartLoad()
	if err := r.openModel(ctx); err != nil {
		return err
	}
	var err error
	if r.training, err = r.recipe.bindTraining(r.src, r.bound, r.opt.Builtin, r.opt.Runtimes["native"]); err != nil {
		return err
	}
	if !r.opt.Resume { // before a finished run is set aside
		if err := r.fits(ctx); err != nil {
			return err
		}
	}
	if r.folder, err = openFolder(r.out); err != nil {
		return err
	}
	j, err := openJournal(r.out, r.src.path, r.identity(), r.opt.Resume)
	if err != nil {
		_ = r.folder.abort() // the first error tells more
		return err
	}
	r.journal = j
	if r.opt.Resume {
		if err := r.fits(ctx); err != nil {
			return err
		}
	}
	if !j.replaced.IsZero() && r.opt.Note != nil {
		r.opt.Note(fmt.Sprintf("%s held a finished run of %s: its report and variants are in %s until this one is finished, which replaces them; another folder keeps both", r.out, j.replaced.Format("2006-01-02 15:04 MST"), filepath.Join(r.out, replacedName)))
	}
	if j.done() == 0 {
		if err := r.folder.fresh(); err != nil {
			return err
		}
	}
	if r.opt.Plan != nil {
		p := Plan{Model: r.src.name, Data: r.bound.describe, Pairs: r.recipe.Measure.Pairs, Report: filepath.Join(r.out, "report.html"), Resumed: j.done()}
		left, others, err := r.estimate(ctx, load)
		if err != nil {
			return err
		}
		p.Seconds, p.Most, p.Others, p.Uncounted = left.least, left.most, others, r.unmade()
		for _, v := range r.recipe.Variants {
			p.Variants = append(p.Variants, v.Name)
		}
		r.opt.Plan(p)
	}
	return canceled(ctx, "run")
}

func (r *run) identity() identity {
	host := r.opt.Facts.CPU
	if h := r.opt.Host; h != nil {
		host = fmt.Sprintf("%s, %d cores, %v", h.CPU, h.Cores, h.ISA)
	}
	data := r.bound.digest
	if r.training != nil {
		data += " " + r.training.digest
	}
	return identity{Recipe: r.recipe.SHA256, Model: r.src.sha256, Data: textDigest(data), Version: r.opt.Tool.Version, Host: host,
		Meter: strings.Join(r.opt.Assumptions, "; ")}
}

// loadAll reads every file back on the target.
func (r *run) loadAll(ctx context.Context) error {
	r.sessions = []engine.Session{r.baseline}
	for i, m := range r.made[1:] {
		r.progress("loading "+m.Name, i, len(r.made)-1)
		s, err := r.runtime.Load(ctx, engine.Artifact{Path: r.path(m)}, r.options())
		if err != nil {
			return fmt.Errorf("variant %q: %w", m.Name, err)
		}
		r.sessions = append(r.sessions, s)
		if err := canceled(ctx, "load"); err != nil {
			return err
		}
	}
	r.counted = nil
	r.sinceLast() // what the plan was estimated from does not count
	return nil
}

func (r *run) options() engine.Options {
	o := r.recipe.Target.Options(r.threads)
	o.Packs = &r.packs
	return o
}

func (r *run) progress(what string, done, total int) {
	if r.opt.Progress != nil {
		r.opt.Progress(what, done, total)
	}
}

func (r *run) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(r.warnings, w) {
		r.warnings = append(r.warnings, w)
	}
}

// finish writes result.json and the reports, then marks the journal and removes the state of interrupted stages.
func (r *run) finish(ctx context.Context, res *reports.Result) error {
	r.progress("writing the report", 0, 0)
	if err := canceled(ctx, "report"); err != nil {
		return err
	}
	_, missing, err := reports.WriteDir(ctx, r.out, res)
	if err != nil {
		return err
	}
	for _, m := range missing {
		r.progress("left out: "+m, 0, 0)
	}
	if _, done := lookup[finished](r.journal, kindFinished, ""); !done {
		if err := r.journal.put(kindFinished, "", finished{res.Finished}); err != nil {
			return err
		}
	}
	return r.folder.finish()
}

// finished is the data of the journal's last line.
type finished struct {
	Finished time.Time `json:"finished"`
}

func (r *run) close() {
	sessions := r.sessions
	if len(sessions) == 0 && r.baseline != nil {
		sessions = []engine.Session{r.baseline}
	}
	if r.teacher != nil {
		sessions = append(sessions, r.teacher)
	}
	for _, s := range sessions {
		s.Close()
	}
	r.journal.close()
	if r.folder != nil {
		r.folder.close()
	}
	if r.src != nil {
		r.src.close()
	}
}
