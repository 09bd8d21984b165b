package recipe

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// accuracy is the mean outcome of variant i with its interval, and the paired difference to the baseline.
func (r *run) accuracy(i int, m *made) (*reports.Accuracy, error) {
	if r.bound.task == nil {
		return nil, nil
	}
	a := &reports.Accuracy{Metric: r.bound.task.Metric(), N: r.bound.task.Len(), Value: 1}
	cosine, fidelity := r.bound.task.(*task.Fidelity)
	_, relative := r.bound.task.(task.Relative)
	if relative && i == 0 {
		return a, nil
	}
	own, ok := lookup[scores](r.journal, kindScore, m.Name)
	if !ok {
		return nil, fmt.Errorf("recipe: variant %q has no score", m.Name)
	}
	if fidelity {
		a.FewValues = cosine.FewValues(r.sessions[0])
		return fidelityOf(a, own.Outcomes)
	}
	right := correct(own.Outcomes)
	a.Value = float64(count(right)) / float64(len(right))
	a.CI95 = intervalOf(measure.Wilson(count(right), len(right)))
	if relative {
		a.Delta = &reports.Delta{Value: a.Value - 1, Test: "wilson"}
		if a.CI95 != nil {
			a.Delta.CI95 = &reports.Interval{a.CI95[0] - 1, a.CI95[1] - 1}
		}
		return a, nil
	}
	if i == 0 {
		return a, nil
	}
	base, ok := lookup[scores](r.journal, kindScore, r.made[0].Name)
	if !ok {
		return nil, errors.New("recipe: the baseline has no score")
	}
	d, err := measure.AccuracyDelta(correct(base.Outcomes), right)
	if err != nil {
		return nil, err
	}
	a.Delta = &reports.Delta{Value: d.Value, CI95: intervalOf(d.CI95), Test: d.Test, P: &d.P, N: a.N}
	return a, nil
}

// fidelityOf fills in mean, interval and low percentile of cosines; the baseline's are 1.
func fidelityOf(a *reports.Accuracy, x []float64) (*reports.Accuracy, error) {
	sorted := slices.Sorted(slices.Values(x))
	p01 := measure.Percentile(sorted, 0.01)
	a.P01, a.P01CI = &p01, percentileInterval(sorted, 0.01, p01)
	ones := make([]float64, len(x))
	sum := 0.0
	for i, v := range x {
		ones[i] = 1
		sum += v
	}
	a.Value = sum / float64(len(x))
	if len(x) < 2 {
		return a, nil
	}
	d, err := measure.MeanDelta(ones, x, 1)
	if err != nil {
		return nil, err
	}
	a.CI95 = intervalOf(measure.Interval{Lo: 1 + d.CI95.Lo, Hi: 1 + d.CI95.Hi})
	a.Delta = &reports.Delta{Value: d.Value, CI95: intervalOf(d.CI95), Test: d.Test, N: a.N}
	return a, nil
}

// percentileInterval is the distribution-free 95 % interval of the p-th quantile of sorted values: the order statistics n·p ± 1.96·√(n·p·(1-p))
// (Hahn and Meeker, Statistical Intervals, 5.2), held around the figure x itself; nil below two values. Where n·p is small its lower end is
// the least value, which then covers with less than 95 %.
func percentileInterval(sorted []float64, p, x float64) *reports.Interval {
	n := float64(len(sorted))
	if n < 2 {
		return nil
	}
	d := 1.96 * math.Sqrt(n*p*(1-p))
	at := func(rank float64) float64 { return sorted[int(min(max(rank, 0), n-1))] }
	return hold(measure.Interval{Lo: at(math.Floor(n*p - d - 1)), Hi: at(math.Ceil(n*p + d))}, x)
}

func correct(outcomes []float64) []bool {
	out := make([]bool, len(outcomes))
	for i, v := range outcomes {
		out[i] = v > 0.5
	}
	return out
}

func count(b []bool) int {
	n := 0
	for _, v := range b {
		if v {
			n++
		}
	}
	return n
}

// intervalOf is nil when an end is not finite.
func intervalOf(i measure.Interval) *reports.Interval {
	if !finite(i.Lo) || !finite(i.Hi) {
		return nil
	}
	return &reports.Interval{i.Lo, i.Hi}
}

// perCorrect fills in the energy per correct answer of variant i: blocks, examples and the meter's own uncertainty vary
// together in its interval, pairs and examples in that of the ratio.
func (r *run) perCorrect(i int, e *reports.Energy, cmp measure.Comparison) error {
	if e == nil || r.bound.classes == nil {
		return nil
	}
	right, ok := r.right(i)
	if !ok || count(right) == 0 {
		return nil
	}
	sum, name := cmp.Baseline, ""
	if i > 0 {
		sum, name = cmp.Variants[i-1], cmp.Variants[i-1].Name
	}
	c := float64(sum.Energy.PerInference * measure.Joules(len(right)) / measure.Joules(count(right)))
	e.PerCorrect, e.PerCorrectN = &c, len(right)
	var joules []measure.Joules
	for _, b := range cmp.Blocks {
		if j, k, _, ok := b.EnergyPerInference(); ok && k == sum.Energy.Kind && cmp.Counts(b) && b.Void == "" && b.Baseline == (i == 0) && (i == 0 || b.Variant == name) {
			joules = append(joules, j)
		}
	}
	if pc, err := measure.EnergyPerCorrect(joules, right, 1); err == nil && pc.Joules > 0 && pc.CI95.Lo > 0 {
		u := math.Log1p(sum.Energy.UAbs)
		lo, hi := math.Hypot(math.Log(float64(pc.Joules)/pc.CI95.Lo), u), math.Hypot(math.Log(pc.CI95.Hi/float64(pc.Joules)), u)
		e.PerCorrectCI95 = intervalOf(measure.Interval{Lo: c * math.Exp(-lo), Hi: c * math.Exp(hi)})
	}
	if i == 0 || sum.EnergyRatio == nil {
		return nil
	}
	base, ok := r.right(0)
	if !ok {
		return nil
	}
	x, err := measure.PerCorrectRatio(*sum.EnergyRatio, base, right, 1)
	if errors.Is(err, measure.ErrNoneCorrect) || err != nil && len(sum.EnergyRatio.LogsPer) < 2 {
		return nil
	}
	if err != nil {
		return err
	}
	x.P = math.NaN() // the bootstrap has an interval and no test
	e.PerCorrectRatio = energyRatioOf(&x, measure.Summary{Stopped: sum.Stopped, EnergyRatio: sum.EnergyRatio})
	return nil
}

// right tells which examples variant i answered correctly; ok is false without a score.
func (r *run) right(i int) ([]bool, bool) {
	s, ok := lookup[scores](r.journal, kindScore, r.made[i].Name)
	return correct(s.Outcomes), ok
}

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
