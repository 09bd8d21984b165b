package recipe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"runtime"
	"time"

	"github.com/wattshed/wattshed/engine"
)

// openModel loads model and data, checks that they fit together, and loads the model on the target: a runtime that
// cannot is found out before any other work.
func (r *run) openModel(ctx context.Context) error {
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
	if err := canceled(ctx, "open"); err != nil {
		return err
	}
	if r.bound, err = r.recipe.bind(r.src, r.opt.Builtin); err != nil {
		return withCustom(err, r.src.graph)
	}
	artifact := engine.Artifact{Path: r.src.path}
	if r.src.path == "" {
		artifact.Graph = r.src.graph
	}
	if r.baseline, err = r.runtime.Load(ctx, artifact, r.options()); err != nil {
		return withCustom(fmt.Errorf("model %q: %w", r.src.name, err), r.src.graph)
	}
	return canceled(ctx, "open")
}

// Limits of the timed steps behind the estimate.
const (
	calibrateRuns    = 3
	calibrateBatches = 2
	calibrateTime    = 500 * time.Millisecond
)

// estimate guesses the seconds that are left from a few timed runs and training steps on this machine, without a word of
// progress, since the plan comes first. It is rough: the
// machine may be busier later, and the measurements stop when they are precise enough, which nobody knows before.
func (r *run) estimate(ctx context.Context) (float64, error) {
	perRun, err := r.timeRun(ctx)
	if err != nil {
		return 0, err
	}
	m := r.recipe.Measure
	n := float64(len(r.recipe.Variants))
	blocks := max(0, 4*float64((m.Pairs+1)/2)*n-float64(len(r.journal.blocks)))
	s := blocks*m.BlockSeconds*1.15 + n*m.BlockSeconds // the least number of pairs is measured whatever max_seconds says
	if _, measured := lookup[float64](r.journal, kindOverhead, ""); !measured {
		s += 2 * m.IdleSeconds
	}
	perExample := perRun / float64(max(1, r.recipe.Target.Batch))
	if r.bound.task != nil {
		for _, name := range r.names() {
			if _, ok := r.journal.entries[kindScore+"/"+name]; !ok {
				s += float64(r.bound.task.Len()) * perExample
			}
		}
	}
	training, err := r.estimateTraining(ctx, perExample)
	return s + training + 3 + n*0.5, err
}

// longer is how many seconds the blocks may take beyond the least number of pairs, up to what the recipe allows.
func (r *run) longer() float64 {
	m := r.recipe.Measure
	n := float64(len(r.recipe.Variants))
	return max(0, n*(m.MaxSeconds-4*float64((m.Pairs+1)/2)*m.BlockSeconds))
}

func (r *run) names() []string {
	names := []string{"baseline"}
	for _, v := range r.recipe.Variants {
		names = append(names, v.Name)
	}
	return names
}

// timeRun returns the seconds of one run of the baseline on the target.
func (r *run) timeRun(ctx context.Context) (float64, error) {
	best := time.Duration(0)
	begin := time.Now()
	for i := range calibrateRuns + 1 {
		start := time.Now()
		if _, err := r.baseline.Run(ctx, r.bound.timing[i%len(r.bound.timing)]); err != nil {
			return 0, fmt.Errorf("model %q: %w", r.src.name, err)
		}
		if d := time.Since(start); best == 0 || d < best {
			best = d
		}
		if time.Since(begin) > calibrateTime {
			break
		}
	}
	return best.Seconds(), nil
}

// estimateTraining times two batches of every kind of training and multiplies.
func (r *run) estimateTraining(ctx context.Context, perExample float64) (float64, error) {
	total := 0.0
	seen := map[string]bool{}
	for _, v := range r.recipe.Variants {
		if _, made := r.journal.entries[kindVariant+"/"+v.Name]; made {
			continue
		}
		for i, spec := range v.Stages {
			key := stagesKey(v.Stages[:i+1])
			if spec.Distill == nil || seen[key] {
				continue
			}
			seen[key] = true
			step, err := r.timeStep(ctx, spec.Distill)
			if err != nil {
				return 0, err
			}
			left := 0
			for e := range spec.Distill.Epochs {
				if _, ok := r.journal.entries[kindEpoch+"/"+epochKey(key, e+1)]; !ok {
					left++
				}
			}
			steps := (r.training.N + spec.Distill.Batch - 1) / spec.Distill.Batch
			total += float64(left*steps)*step + float64(r.training.N)*perExample // the teacher's answers
			if v := r.training.Validation; v != nil {
				total += float64(left*v.Len()) * perExample
			}
		}
	}
	return total, nil
}

// timeStep returns the seconds of a training step, by training on a few batches for nothing.
func (r *run) timeStep(ctx context.Context, d *Distill) (float64, error) {
	few := *r.training
	few.N = min(few.N, calibrateBatches*d.Batch)
	few.Examples = firstFeeds(r.training.Examples, few.N)
	env := &Env{Training: &few, Threads: r.threads}
	start := r.src.graph.Clone()
	if d.Student != nil {
		var err error
		if start, err = d.student(start, env); err != nil {
			return 0, err
		}
	}
	tr := d.settings(env)
	tr.Epochs = 1
	_, rep, err := train(ctx, tr, start)
	if err != nil {
		return 0, err
	}
	return rep.Epochs[0].Seconds / float64(max(1, rep.Steps)), nil
}

// textDigest is the sha256 of s in hexadecimal.
func textDigest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
