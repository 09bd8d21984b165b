package recipe

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// profileRuns is the least number of inferences that the time per operator is averaged over: whole passes over the inputs of a block, so
// that the operators are timed on what the blocks are. One pass is what a block takes at least, so that many inputs or slow ones make it no
// longer beside the measurement itself.
const profileRuns = 5

// profileWarmup is the number of inferences before them: the first ones convert weights and fill caches.
const profileWarmup = 3

// profile measures the time per operator in a session of its own, since measuring costs time; only the
// native runtime has one. What the warm-up took is subtracted.
func (r *run) profile(ctx context.Context, i int, m *made) ([]reports.OpProfile, error) {
	if r.recipe.Target.Runtime != "native" {
		return nil, nil
	}
	o := r.options()
	o.Profile = true
	s, err := r.runtime.Load(ctx, engine.Artifact{Path: r.path(m)}, o)
	if err != nil {
		return nil, fmt.Errorf("variant %q: %w", m.Name, err)
	}
	defer s.Close()
	r.progress("time by operator of "+m.Name, i, len(r.made))
	n := len(r.bound.timing)
	n *= (profileRuns + n - 1) / n
	var before, last []engine.OpTime
	runs := map[[2]string][]float64{} // seconds of every inference, by operator and kernel
	for k := range profileWarmup + n {
		if _, err := s.Run(ctx, r.bound.timing[k%len(r.bound.timing)]); err != nil {
			return nil, fmt.Errorf("variant %q: %w", m.Name, err)
		}
		now := s.Profile()
		if k < profileWarmup {
			before, last = now, now
			continue
		}
		for _, t := range since(last, now) {
			runs[[2]string{t.Op, t.Kernel}] = append(runs[[2]string{t.Op, t.Kernel}], t.Time.Seconds())
		}
		last = now
	}
	after := since(before, last)
	var total time.Duration
	for _, t := range after {
		total += t.Time
	}
	var out []reports.OpProfile
	for _, t := range after {
		p := reports.OpProfile{Op: t.Op, Kernel: t.Kernel, Count: t.Count, Seconds: t.Time.Seconds() / float64(n), N: n}
		if own := runs[[2]string{t.Op, t.Kernel}]; len(own) == n {
			if e, err := measure.EstimateOf(own); err == nil {
				h := measure.TQuantile(n) * math.Sqrt(e.Var)
				p.CI95 = intervalOf(measure.Interval{Lo: max(0, p.Seconds-h), Hi: p.Seconds + h})
			}
		}
		if total > 0 {
			p.Share = float64(t.Time) / float64(total)
		}
		if t.MACs > 0 {
			p.MACs = &t.MACs
		}
		if t.Bytes > 0 {
			p.Bytes = &t.Bytes
		}
		out = append(out, p)
	}
	return out, nil
}

// since is what after has more than before, by operator and kernel, longest first.
func since(before, after []engine.OpTime) []engine.OpTime {
	had := map[[2]string]time.Duration{}
	for _, t := range before {
		had[[2]string{t.Op, t.Kernel}] = t.Time
	}
	out := slices.Clone(after)
	for i := range out {
		out[i].Time -= had[[2]string{out[i].Op, out[i].Kernel}]
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Time > out[j].Time })
	return out
}

func macs(p []reports.OpProfile) int64 {
	var n int64
	for _, o := range p {
		if o.MACs != nil {
			n += *o.MACs
		}
	}
	return n
}
