package recipe

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Limits of the timed steps behind the estimate.
const (
	calibrateRuns    = 3
	calibrateBatches = 2
	calibrateLeast   = 150 * time.Millisecond // other processes show in it
	calibrateTime    = 500 * time.Millisecond
)

// span is a guessed duration in seconds between two bounds.
type span struct{ least, most float64 }

func (s *span) add(n float64, each span) { s.least, s.most = s.least+n*each.least, s.most+n*each.most }

// estimate guesses the seconds that are left from a few timed runs and training steps on this machine, without a word of progress, since the plan comes
// first. The least are those of the fastest of the runs and the least number of pairs; the most those of their mean, and of as many pairs as the recipe
// allows. It assumes that the machine stays as busy as it was since load began: others are the CPUs that other processes used, nil where that is not known. What
// pruning and quantizing take is not in it.
func (r *run) estimate(ctx context.Context, load measure.Load) (all span, others *float64, err error) {
	once, err := r.timeRun(ctx)
	if err != nil {
		return all, nil, err
	}
	models := float64(len(r.recipe.Variants) + 1)
	left := func(kind, key string) bool {
		_, done := r.journal.entries[kind+"/"+key]
		return !done
	}
	if left(kindOverhead, "") {
		all.add(2, span{r.recipe.Measure.IdleSeconds, r.recipe.Measure.IdleSeconds})
		all.add(1, r.estimateBlocks(once, models-1, load.Slowdown(1)))
	}
	batch := float64(max(1, r.recipe.Target.Batch))
	each := span{once.least / batch, once.most / batch} // example
	processes := 0.0                                    // of a round of peaks of memory
	for _, name := range r.names() {
		if r.bound.task != nil && left(kindScore, name) {
			all.add(float64(r.bound.task.Len()), each)
		}
		if r.opt.Child != nil && left(kindMemory, name) {
			processes++
		}
		if r.recipe.Target.Runtime == "native" && left(kindProfile, name) {
			all.add(float64(profileWarmup+max(profileRuns, len(r.bound.timing))), once)
		}
	}
	training, err := r.estimateTraining(ctx, each)
	if err != nil {
		return all, nil, err
	}
	all.add(1, training)
	slow := load.Slowdown(r.threads)
	if processes > 0 {
		round := (processes+1)*processStart + processes*(r.loading.Seconds()+once.least)
		least := MemoryProcesses * round
		all.add(1, span{least, slow * max(least, min(memoryMost*round, memoryTime.Seconds()+round))})
	}
	all.add(1, span{3 + 0.5*models, slow * (3 + 0.5*models)}) // ceilings, plots, reports
	if n, ok := load.Others(); ok {
		others = &n
	}
	return all, others, nil
}

// Of the estimate, in seconds, as measured on an idle guest of two CPUs: what lies between two blocks (a collection of garbage, reads of the meter), and the
// start of a process.
const (
	betweenBlocks = 0.015
	processStart  = 0.03
)

// estimateBlocks guesses what the blocks of n variants take that are not measured yet. A block is a whole number of passes over the inputs; a round that
// begins before max_seconds are over is finished. slow is how much longer other processes make what lies between them.
func (r *run) estimateBlocks(once span, n, slow float64) span {
	m := r.recipe.Measure
	passes := float64(len(r.bound.timing))
	wanted := measure.BlockLength(time.Duration(m.BlockSeconds*float64(time.Second)), r.opt.Meter).Seconds()
	block := span{max(wanted, passes*once.least), wanted + passes*once.most}
	least := 4 * float64((m.Pairs+1)/2) * n // blocks: the least number of pairs is measured whatever max_seconds says
	most := max(least, n*(m.MaxSeconds/block.least+4))
	if m.MaxPairs > 0 {
		most = max(least, min(most, 4*float64((m.MaxPairs+1)/2)*n))
	}
	done := float64(len(r.journal.blocks))
	warmup := n + 1 // about a block for each model
	return span{max(0, least-done)*(block.least+betweenBlocks) + warmup*block.least, max(0, most-done)*(block.most+slow*betweenBlocks) + warmup*block.most}
}

func (r *run) names() []string {
	names := []string{"baseline"}
	for _, v := range r.recipe.Variants {
		names = append(names, v.Name)
	}
	return names
}

// timeRun returns the seconds that a run of the baseline takes on the target: the fastest of some and their mean, which holds the times when other processes
// had the CPUs. The first one, which is slower by what it sets up, counts where there is time for no other.
func (r *run) timeRun(ctx context.Context) (span, error) {
	var s span
	begin, first := time.Now(), time.Time{}
	for i := 0; i <= calibrateRuns || time.Since(begin) < calibrateLeast; i++ {
		start := time.Now()
		if _, err := r.baseline.Run(ctx, r.bound.timing[i%len(r.bound.timing)]); err != nil {
			return s, fmt.Errorf("model %q: %w", r.src.name, err)
		}
		d := time.Since(start).Seconds()
		switch i {
		case 0:
			s, first = span{d, d}, time.Now()
		case 1:
			s.least = d
			fallthrough
		default:
			s.least, s.most = min(s.least, d), time.Since(first).Seconds()/float64(i)
		}
		if time.Since(begin) > calibrateTime {
			break
		}
	}
	return s, nil
}

// unmade reports whether variants are still to be pruned or quantized.
func (r *run) unmade() bool {
	return slices.ContainsFunc(r.recipe.Variants, func(v VariantSpec) bool {
		_, made := r.journal.entries[kindVariant+"/"+v.Name]
		return !made && slices.ContainsFunc(v.Stages, func(s StageSpec) bool { return s.Distill == nil })
	})
}

// estimateTraining times two batches of every kind of training and multiplies.
func (r *run) estimateTraining(ctx context.Context, example span) (total span, err error) {
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
				return total, err
			}
			left := 0
			for e := range spec.Distill.Epochs {
				if _, ok := r.journal.entries[kindEpoch+"/"+epochKey(key, e+1)]; !ok {
					left++
				}
			}
			steps := (r.training.N + spec.Distill.Batch - 1) / spec.Distill.Batch
			total.add(float64(left*steps), span{step, step})
			total.add(float64(r.training.N), example) // the teacher's answers
			if v := r.training.Validation; v != nil {
				total.add(float64(left*v.Len()), example)
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
