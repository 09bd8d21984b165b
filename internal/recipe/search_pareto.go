package recipe

import (
	"context"
	"fmt"
	"slices"
	"sort"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/reports"
)

// pareto returns the trials that no other one beats in energy, accuracy and size at once, the least energy first, and the one of the
// least energy within the budget, nil where none is. Of equals the earlier one counts.
func pareto(trials []*Trial) (front []*Trial, best *Trial) {
	for i, t := range trials {
		if t.Failed != "" || t.Energy == nil || t.Accuracy == nil {
			continue
		}
		if t.Meets && (best == nil || t.Energy.Value < best.Energy.Value) {
			best = t
		}
		if !slices.ContainsFunc(trials, func(o *Trial) bool { return o != t && o.beats(t, slices.Index(trials, o) < i) }) {
			front = append(front, t)
		}
	}
	sort.SliceStable(front, func(i, j int) bool { return front[i].Energy.Value < front[j].Energy.Value })
	return front, best
}

// beats reports whether t is at least as good as o in everything and better in something, or as good and earlier.
func (t *Trial) beats(o *Trial, earlier bool) bool {
	if t.Failed != "" || t.Energy == nil || t.Accuracy == nil {
		return false
	}
	worse := t.Energy.Value > o.Energy.Value || t.Accuracy.Value < o.Accuracy.Value || t.Size > o.Size
	better := t.Energy.Value < o.Energy.Value || t.Accuracy.Value > o.Accuracy.Value || t.Size < o.Size
	return !worse && (better || earlier)
}

// measurePareto measures the best trial and others of the front as Run measures variants, judges the gates and writes the report.
func (s *searcher) measurePareto(ctx context.Context) (*reports.Result, error) {
	front, best := pareto(s.state.Trials)
	chosen := spread(front, best, s.spec.Keep)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("search: none of %d trials gave a model that runs: %s", len(s.state.Trials), s.failure())
	}
	s.recipe.Variants = nil
	base := &made{Name: "baseline", Bytes: s.src.bytes, SHA256: s.src.sha256, Path: s.src.path}
	if base.Path == "" {
		base.Path = variantsName + "/baseline.onnx"
		if err := writeFile(s.path(base), s.src.raw); err != nil {
			return nil, err
		}
	}
	s.made, s.sessions = []*made{base}, []engine.Session{s.baseline}
	for _, t := range chosen {
		v := s.specOf(t)
		m := t.Made
		if !s.intact(m) { // beaten once, and its file removed
			var err error
			if m, err = s.makeVariant(ctx, v); err != nil {
				return nil, err
			}
		}
		s.recipe.Variants = append(s.recipe.Variants, v)
		s.made = append(s.made, m)
	}
	for _, phase := range []func(context.Context) error{s.loadAll, s.scoreAll, s.memoryAll} {
		if err := phase(ctx); err != nil {
			return nil, err
		}
	}
	cmp, err := s.measureAll(ctx)
	if err != nil {
		return nil, err
	}
	res, err := s.result(ctx, cmp)
	if err != nil {
		return nil, err
	}
	return res, s.finish(ctx, res)
}

// winner is the variant with the least energy, or latency where no energy is known, of those that pass every gate, or of those that fail none.
func winner(res *reports.Result) (name string, verdict reports.Verdict) {
	failed, open := map[string]bool{}, map[string]bool{}
	for _, g := range res.Gates {
		failed[g.Variant] = failed[g.Variant] || g.Verdict == reports.Fail
		open[g.Variant] = open[g.Variant] || g.Verdict == reports.Inconclusive
	}
	verdict = reports.Fail
	least := 0.0
	for _, v := range res.Variants[1:] {
		var x float64
		switch {
		case failed[v.Name]:
			continue
		case v.Energy != nil && v.Energy.Ratio != nil:
			x = v.Energy.Ratio.Value
		case v.Latency != nil && v.Latency.Ratio != nil:
			x = v.Latency.Ratio.Value
		default:
			continue
		}
		now := reports.Pass
		if open[v.Name] {
			now = reports.Inconclusive
		}
		if verdict == reports.Fail || now == reports.Pass && verdict != reports.Pass || now == verdict && x < least {
			name, verdict, least = v.Name, now, x
		}
	}
	return name, verdict
}

// specOf is the variant of a trial.
func (s *searcher) specOf(t *Trial) VariantSpec {
	if t.Mix != nil {
		return s.variantOf(t.Mix, t.Name)
	}
	return s.given[slices.IndexFunc(s.given, func(v VariantSpec) bool { return v.Name == t.Name })]
}

func (s *searcher) failure() string {
	for _, t := range s.state.Trials {
		if t.Failed != "" {
			return t.Failed
		}
	}
	return "none was made"
}

// spread picks n of the front, evenly, with the best one among them.
func spread(front []*Trial, best *Trial, n int) []*Trial {
	if best != nil && !slices.Contains(front, best) {
		front = append([]*Trial{best}, front...)
	}
	if len(front) <= n {
		return front
	}
	var out []*Trial
	for i := range n {
		out = append(out, front[i*(len(front)-1)/max(1, n-1)])
	}
	if best != nil && !slices.Contains(out, best) {
		out[0] = best
	}
	return slices.Compact(out)
}
