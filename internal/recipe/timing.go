package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
)

// measureAll runs baseline and variants in interleaved blocks; finished blocks come from the journal.
func (r *run) measureAll(ctx context.Context) (measure.Comparison, error) {
	m := r.recipe.Measure
	p := measure.Protocol{Meter: r.opt.Meter, HostCPU: measure.HostCPUTime, Covariates: measure.HostCovariates, Seed: seedOf(m.Seed), MinPairs: m.Pairs, Precision: m.Precision,
		Block:   measure.BlockLength(time.Duration(m.BlockSeconds*float64(time.Second)), r.opt.Meter),
		Idle:    time.Duration(m.IdleSeconds * float64(time.Second)),
		MaxTime: time.Duration(m.MaxSeconds * float64(len(r.made)-1) * float64(time.Second)),
		OnBlock: func(b measure.Block) error { return r.journal.put(kindBlock, "", blockLine{b, r.sinceLast()}) },
		OnIdle:  func(i measure.Idle) error { return r.journal.put(kindIdle, "", i) },
		OnProgress: func(p measure.Progress) {
			if p.Phase == "idle" {
				r.progress("idle power", 0, 0)
				return
			}
			r.progress(measuring(p, m.Pairs))
		},
	}
	if p.Block > time.Minute {
		r.warn("blocks last %v and %d pairs of a variant %v: 50 periods of a slow meter each", p.Block, m.Pairs, time.Duration(2*m.Pairs)*p.Block)
	}
	if m.MaxPairs > 0 {
		p.MaxPairs = m.MaxPairs
	}
	if idle, ok := lookup[measure.Idle](r.journal, kindIdle, ""); ok {
		p.DoneIdle = &idle
	}
	for _, raw := range r.journal.blocks {
		var b measure.Block
		if err := json.Unmarshal(raw, &b); err != nil {
			return measure.Comparison{}, fmt.Errorf("recipe: %w: block: %v", ErrJournal, err)
		}
		p.Done = append(p.Done, b)
	}
	trials, release := r.trials(ctx)
	defer release()
	cmp, err := measure.Compare(ctx, trials[0], trials[1:], p)
	if err == nil {
		err = r.whole(r.sessions...)
	}
	if err != nil {
		return cmp, fmt.Errorf("measuring: %w", err)
	}
	if past := pastCap(cmp.Blocks, p.MaxTime, len(r.made)-1); past > 0 {
		r.warn("the blocks took %s, more than max_seconds allows (%s for each of %d): the first %d pairs of each are taken whatever it says; fewer pairs or shorter blocks (block_seconds) take less",
			seconds(past.Seconds()), seconds(m.MaxSeconds), len(r.made)-1, m.Pairs)
	}
	unfused, err := remember(r.journal, kindUnfused, "", func() ([]string, error) { return r.fallbacks(), nil })
	if err != nil {
		return cmp, err
	}
	for _, w := range unfused {
		r.warn("%s", w)
	}
	// A run that is rendered again reads no meter: what reading cost stays as it was.
	cmp.Overhead, err = remember(r.journal, kindOverhead, "", func() (measure.Overhead, error) { return cmp.Overhead, nil })
	return cmp, err
}

// pastCap is what the blocks took, where that is more than limit and not only because the round of blocks that reached it was finished: a
// round is two pairs of each of n variants. 0 otherwise, or without a limit.
func pastCap(blocks []measure.Block, limit time.Duration, n int) time.Duration {
	var all, before time.Duration
	for i, b := range blocks {
		all += b.Wall
		if i < len(blocks)-4*n {
			before += b.Wall
		}
	}
	if limit <= 0 || before <= limit {
		return 0
	}
	return all
}

// measuring says how far p is: pairs against the least number, from there on only their number, since what is left
// depends on what they show; without variants blocks.
func measuring(p measure.Progress, least int) (what string, done, total int) {
	switch {
	case p.Variant == "baseline":
		return "measuring baseline", p.Blocks, max(least, p.Blocks)
	case p.Pairs < least:
		return "measuring " + p.Variant, p.Pairs, least
	}
	return fmt.Sprintf("measuring %s for precision, %d pairs", p.Variant, p.Pairs), 0, 0
}

// maxBoundBytes bounds the outputs that stay in memory between the blocks, those of all inputs on baseline and variants together.
const maxBoundBytes = 1 << 30

// binds tells whether the blocks run with inputs and outputs in place, the same for baseline and variants: not where outputs are fed back, nor where
// all outputs, if each input has as many as the first has on the baseline, take more than maxBoundBytes.
func (r *run) binds(ctx context.Context) bool {
	if len(r.bound.state) > 0 {
		return false
	}
	out, err := r.sessions[0].Run(ctx, r.bound.timing[0])
	if err != nil {
		return false // the blocks meet it again
	}
	size := 0.0
	for _, t := range out {
		size += float64(t.ByteSize())
	}
	if size *= float64(len(r.bound.timing) * len(r.sessions)); size > maxBoundBytes {
		r.warn("the outputs of %d inputs on %d models take %.1f GB, too much to keep them in place between inferences: latencies contain copying inputs and making outputs",
			len(r.bound.timing), len(r.sessions), size/1e9)
		return false
	}
	return true
}

// trials are those of baseline and variants; release lets go of what is bound.
func (r *run) trials(ctx context.Context) (ts []measure.Trial, release func()) {
	bind, all := r.binds(ctx), []engine.Bound(nil)
	for i, made := range r.made {
		var bound []engine.Bound
		if bind {
			bound = bindAll(r.sessions[i], r.bound.timing)
		}
		ts, all = append(ts, r.trial(made.Name, r.sessions[i], bound)), append(all, bound...)
	}
	return ts, func() { closeAll(all) }
}

// trial runs the timing inputs on s, or where it has them bound; state starts from zero at every pass.
func (r *run) trial(name string, s engine.Session, bound []engine.Bound) measure.Trial {
	s, restart := withState(s, r.bound.state)
	return measure.Trial{Name: name, Items: len(r.bound.timing), PerItem: r.recipe.Target.Batch,
		Run: func(ctx context.Context, i int) error {
			if i == 0 {
				restart()
			}
			if bound != nil {
				return bound[i].Run(ctx)
			}
			_, err := s.Run(ctx, r.bound.timing[i])
			return err
		}}
}

// bindAll binds the timing inputs where the session can, so that the copies of inputs and outputs and new memory for outputs are not measured; nil
// where it cannot.
func bindAll(s engine.Session, feeds []engine.Feed) []engine.Bound {
	b, ok := s.(engine.Binder)
	if !ok {
		return nil
	}
	var out []engine.Bound
	for _, f := range feeds {
		x, err := b.Bind(f)
		if err != nil { // the plain run says what is wrong
			closeAll(out)
			return nil
		}
		out = append(out, x)
	}
	return out
}

func closeAll(bound []engine.Bound) {
	for _, b := range bound {
		b.Close()
	}
}
