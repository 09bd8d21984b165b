package recipe

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

// carbonFactor is what turns joules into grams in this run.
type carbonFactor struct {
	grid     carbon.Factor
	pue      carbon.PUE
	hardware *carbon.Hardware
}

func (r *run) carbonFactor() (*carbonFactor, error) {
	f, err := carbon.Zone(r.recipe.Carbon.Zone, r.journal.started.Year(), true)
	if err != nil {
		return nil, fmt.Errorf("recipe: carbon.zone: %w", err)
	}
	out := &carbonFactor{grid: f, pue: carbon.PUE{Value: 1, Lo: 1, Hi: 1}}
	if p := r.recipe.Carbon.PUE; p != nil {
		if out.pue, err = carbon.SitePUE(*p); err != nil {
			return nil, fmt.Errorf("recipe: carbon.pue: %w", err)
		}
	}
	if r.recipe.Carbon.Embodied {
		h := carbon.HardwareOf(r.opt.Facts)
		out.hardware = &h
	}
	return out, nil
}

// accuracy is the mean outcome of variant i with its interval, and the paired difference to the baseline.
func (r *run) accuracy(i int, m *made) (*reports.Accuracy, error) {
	if r.bound.task == nil {
		return nil, nil
	}
	a := &reports.Accuracy{Metric: r.bound.task.Metric(), N: r.bound.task.Len(), Value: 1}
	_, fidelity := r.bound.task.(*task.Fidelity)
	if fidelity && i == 0 {
		return a, nil
	}
	own, ok := lookup[scores](r.journal, kindScore, m.Name)
	if !ok {
		return nil, fmt.Errorf("recipe: variant %q has no score", m.Name)
	}
	if fidelity {
		return fidelityOf(a, own.Outcomes)
	}
	right := correct(own.Outcomes)
	a.Value = float64(count(right)) / float64(len(right))
	a.CI95 = intervalOf(measure.Wilson(count(right), len(right)))
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
	a.Delta = &reports.Delta{Value: d.Value, CI95: intervalOf(d.CI95), Test: d.Test, P: &d.P}
	return a, nil
}

// fidelityOf fills in mean, interval and low percentile of cosines; the baseline's are 1.
func fidelityOf(a *reports.Accuracy, x []float64) (*reports.Accuracy, error) {
	p01 := measure.Percentile(slices.Sorted(slices.Values(x)), 0.01)
	a.P01 = &p01
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
	a.Delta = &reports.Delta{Value: d.Value, CI95: intervalOf(d.CI95), Test: d.Test}
	return a, nil
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

func (r *run) energy(s measure.Summary, a *reports.Accuracy) *reports.Energy {
	e := s.Energy
	if e == nil {
		return nil
	}
	per := float64(e.PerInference)
	out := &reports.Energy{PerInference: &per, Source: string(e.Kind), N: s.Inferences}
	if finite(e.UAbs) && e.UAbs > 0 {
		out.CI95 = &reports.Interval{per / (1 + e.UAbs), per * (1 + e.UAbs)}
	}
	for _, d := range e.Domains {
		u := float64(d.Joules) * d.Source.UAbs
		out.Domains = append(out.Domains, reports.Domain{Domain: d.Domain.Name, Source: d.Source.Name, Joules: float64(d.Joules), UAbs: &u})
	}
	if e.IdleWatts != nil {
		w := float64(*e.IdleWatts)
		out.IdleW = &w
	}
	if e.Net != nil && !e.NetBelow {
		n := float64(*e.Net)
		out.NetPerInference = &n
	}
	if a != nil && r.bound.classes != nil && a.Value > 0 {
		c := per / a.Value
		out.PerCorrect = &c
	}
	if x := s.EnergyRatio; x != nil {
		out.Ratio = &reports.EnergyRatio{Value: x.Value, CI95: intervalOf(x.CI95), N: x.N, Basis: string(x.Basis), Pairing: pairing(x, s)}
	}
	return out
}

func (r *run) carbon(e *reports.Energy, s measure.Summary, f *carbonFactor) *reports.Carbon {
	if e == nil {
		return nil
	}
	per := time.Duration(0)
	if s.ThroughputPerS > 0 {
		per = time.Duration(float64(time.Second) / s.ThroughputPerS)
	}
	fp, err := carbon.Assess(carbon.Work{Energy: measure.Joules(*e.PerInference), EnergyU: s.Energy.UAbs, Time: per,
		Grid: f.grid, PUE: f.pue, Hardware: f.hardware}, 1)
	if err != nil {
		r.warn("carbon of %s: %v", s.Name, err)
		return nil
	}
	op, total, pue := float64(fp.Operational), float64(fp.Total), f.pue.Value
	out := &reports.Carbon{Operational: &op, Total: &total, PUE: &pue, CI95: intervalOf(fp.CI95), Intensity: f.intensity()}
	if fp.Embodied != nil {
		m := float64(*fp.Embodied)
		out.Embodied = &m
	}
	return out
}

func (f *carbonFactor) intensity() *reports.Intensity {
	g := f.grid
	return &reports.Intensity{GPerKWh: float64(g.Intensity), Zone: g.Zone, Year: g.Year, Source: g.Source, Licence: g.Licence, Basis: g.Basis}
}

// cost is what making a variant took; nil where it was not made here.
func (r *run) cost(m *made, f *carbonFactor) *reports.Cost {
	if m.Cost == nil {
		return nil
	}
	c := &reports.Cost{Seconds: &m.Cost.Seconds}
	if m.Cost.Joules == nil {
		return c
	}
	c.Joules, c.Source = m.Cost.Joules, string(m.Cost.Kind)
	g := measure.Joules(*m.Cost.Joules).KWh() * f.pue.Value * float64(f.grid.Intensity)
	c.GCO2e = &g
	return c
}

// breakeven says after how many inferences the joules spent on a variant are saved again.
func (r *run) breakeven(res *reports.Result, cmp measure.Comparison) {
	for i := 1; i < len(res.Variants); i++ {
		v, x := &res.Variants[i], cmp.Variants[i-1].EnergyRatio
		if v.Cost == nil || v.Cost.Joules == nil || x == nil || cmp.Baseline.Energy == nil || v.Cost.Source != string(cmp.Baseline.Energy.Kind) {
			continue // what was measured and what was modelled do not pay each other back
		}
		base := float64(cmp.Baseline.Energy.PerInference)
		t := measure.TQuantile(x.N)
		se := base * x.Value * x.HalfWidth() / t // as wide as the ratio's own interval, whichever method made it
		b, err := measure.BreakEven(measure.Estimate{Value: *v.Cost.Joules},
			measure.Estimate{Value: base * (1 - x.Value), Var: se * se}, 0, t)
		switch {
		case err != nil:
			r.warn("break-even of %s: %v", v.Name, err)
		case b.None || intervalOf(b.CI95) == nil:
			v.Cost.NoneDemonstrated = true
		default:
			v.Cost.Breakeven = &reports.Breakeven{Value: b.Value, CI95: intervalOf(b.CI95)}
		}
	}
}

// finite reports whether x is a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
