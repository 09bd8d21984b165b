package recipe

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

// carbonFactor is what turns joules into grams in this run.
type carbonFactor struct {
	grid     carbon.Factor
	pue      carbon.PUE
	hardware *carbon.Hardware
	tokens   float64 // of input per inference; 0 where inputs have none
}

func (r *run) carbonFactor(ctx context.Context) (*carbonFactor, error) {
	f, err := carbon.Zone(r.recipe.Carbon.Zone, r.journal.started.Year(), true)
	if err != nil {
		return nil, fmt.Errorf("recipe: carbon.zone: %w", err)
	}
	if r.recipe.Carbon.Live != "" {
		if f, err = r.liveFactor(ctx, f); err != nil {
			return nil, err
		}
	}
	if f.Stale {
		r.warn("the grid intensity of %s is of %d: %d years old", f.Zone, f.Year, r.journal.started.Year()-f.Year)
	}
	out := &carbonFactor{grid: f, pue: carbon.PUE{Value: 1, Lo: 1, Hi: 1}, tokens: r.tokens()}
	switch c := r.recipe.Carbon; {
	case c.PUE != nil:
		if out.pue, err = carbon.SitePUE(*c.PUE); err != nil {
			return nil, fmt.Errorf("recipe: carbon.pue: %w", err)
		}
	case c.Provider != "":
		if out.pue, err = carbon.ProviderPUE(c.Provider, "", r.journal.started.Year()); err != nil {
			return nil, fmt.Errorf("recipe: carbon.provider: %w", err)
		}
		if out.pue.Stale {
			r.warn("the PUE of %s is of %d: %d years old", out.pue.Provider, out.pue.Year, r.journal.started.Year()-out.pue.Year)
		}
	}
	if r.recipe.Carbon.Embodied {
		h := carbon.HardwareOf(r.opt.Facts)
		out.hardware = &h
	}
	return out, nil
}

// tokens is the mean number of ids of one inference over the timing inputs of a model that reads text; 0 for others.
func (r *run) tokens() float64 {
	if r.bound.encoder == nil || len(r.bound.timing) == 0 {
		return 0
	}
	n := 0
	for _, f := range r.bound.timing {
		most := 0
		for _, t := range f {
			most = max(most, t.Len())
		}
		n += most
	}
	return float64(n) / float64(len(r.bound.timing)*max(1, r.recipe.Target.Batch))
}

// footprint assesses an energy, known within u of itself, and the time that it took; nil, with a warning, where that fails.
func (r *run) footprint(what string, energy measure.Joules, u float64, took time.Duration, f *carbonFactor) *carbon.Footprint {
	fp, err := carbon.Assess(carbon.Work{Energy: energy, EnergyU: u, Time: took,
		Grid: f.grid, PUE: f.pue, Hardware: f.hardware}, 1)
	if err != nil {
		r.warn("carbon of %s: %v", what, err)
		return nil
	}
	return &fp
}

// carbon is the footprint of one inference of a variant; base is that of the baseline, nil for itself.
func (r *run) carbon(v *reports.Variant, s measure.Summary, f *carbonFactor, base *reports.Variant) *reports.Carbon {
	e := v.Energy
	if e == nil {
		return nil
	}
	fp := r.footprint(s.Name, s.Energy.PerInference, s.Energy.UAbs, perItem(s.ThroughputPerS), f)
	if fp == nil {
		return nil
	}
	if r.recipe.Carbon.assumed && !f.live() {
		r.warn("no zone is given (carbon.zone): grams are those of the world's mean grid in %d; grids range from a twentieth to twice of it", f.grid.Year)
	}
	op, total, pue := float64(fp.Operational), float64(fp.Total), f.pue.Value
	out := &reports.Carbon{Operational: &op, Total: &total, PUE: &pue, PUESource: f.pueSource(), PUERange: &reports.Interval{f.pue.Lo, f.pue.Hi}, OperationalCI: intervalOf(fp.OperationalCI), CI95: intervalOf(fp.CI95), N: fp.Draws, Source: e.Source, Intensity: f.intensity()}
	if fp.Embodied != nil {
		m := float64(*fp.Embodied)
		out.Embodied, out.EmbodiedSource, out.EmbodiedCI = &m, f.hardware.Source, intervalOf(fp.EmbodiedCI)
	}
	for _, b := range fp.Tornado {
		out.Tornado = append(out.Tornado, reports.Swing{Input: b.Input, Lo: float64(b.Lo), Hi: float64(b.Hi)})
	}
	if w := r.recipe.Carbon; w.WUE != nil && w.EWIF != nil {
		l := carbon.Water(s.Energy.PerInference, *w.WUE, *w.EWIF, f.pue)
		out.WaterL = &l
		out.WaterCI = intervalOf(carbon.WaterInterval(s.Energy.PerInference, s.Energy.UAbs, *w.WUE, *w.EWIF, f.pue))
	}
	out.SCI = sci(out, v, f)
	if base == nil {
		return out
	}
	share := fp.Share
	if base.Carbon != nil && base.Carbon.Operational != nil && *base.Carbon.Total > 0 && base.Throughput != nil {
		if bs := r.footprint("baseline", measure.Joules(*base.Energy.PerInference), s.Energy.UAbs, perItem(*base.Throughput), f); bs != nil {
			share = bs.Share
		}
		out.Ratio = carbonRatio(s, *base.Carbon.Operational / *base.Carbon.Total, share)
	}
	return out
}

// carbonRatio is the ratio of two footprints: share·(energy ratio) + (1-share)·(time ratio) pair by pair, where share is the
// operational part of the baseline's total. The intervals are hulls of those at the ends of share's own interval, which
// is what the uncertainty of grid, PUE, embodied grams and lifetime comes down to.
func carbonRatio(s measure.Summary, share float64, within measure.Interval) *reports.EnergyRatio {
	e, t := s.EnergyRatio, s.LatencyRatio
	if e == nil {
		return nil
	}
	if share >= 1 {
		return energyRatioOf(e, s)
	}
	if t == nil || len(e.LogsPer) != len(t.LogsPer) {
		return nil
	}
	at := func(w float64) (measure.Ratio, error) {
		ones, x := make([]float64, len(e.LogsPer)), make([]float64, len(e.LogsPer))
		for i := range x {
			ones[i], x[i] = 1, w*math.Exp(e.LogsPer[i])+(1-w)*math.Exp(t.LogsPer[i])
		}
		return measure.PairedRatio(ones, x, e.Basis, 1)
	}
	r, err := at(share)
	if err != nil {
		return nil
	}
	for _, w := range []float64{within.Lo, within.Hi} {
		o, err := at(min(max(w, 0), 1))
		if err != nil {
			return nil
		}
		r.CI95, r.CI90, r.Early = hull(r.CI95, o.CI95), hull(r.CI90, o.CI90), hull(r.Early, o.Early)
		r.P = max(r.P, o.P)
		r.Needed = max(r.Needed, o.Needed)
	}
	return energyRatioOf(&r, measure.Summary{Stopped: s.Stopped, EnergyRatio: e})
}

// adjustCarbon sets the p values of the carbon ratios adjusted over all variants (Holm).
func adjustCarbon(res *reports.Result) {
	ps := make([]float64, len(res.Variants))
	for i, v := range res.Variants {
		ps[i] = math.NaN()
		if v.Carbon != nil && v.Carbon.Ratio != nil && v.Carbon.Ratio.P != nil {
			ps[i] = *v.Carbon.Ratio.P
		}
	}
	for i, p := range measure.Holm(ps) {
		if finite(p) {
			res.Variants[i].Carbon.Ratio.PHolm = &p
		}
	}
}

func hull(a, b measure.Interval) measure.Interval {
	return measure.Interval{Lo: min(a.Lo, b.Lo), Hi: max(a.Hi, b.Hi)}
}

// pueSource says where the PUE comes from.
func (f *carbonFactor) pueSource() string {
	switch p := f.pue; {
	case p.Source == "":
		return "1: a machine outside of a data centre, since no PUE and no provider is given"
	case p.Year > 0:
		return fmt.Sprintf("%s: %s (%d, %s)", p.Provider, p.Source, p.Year, p.Licence)
	default:
		return p.Source
	}
}

func (f *carbonFactor) intensity() *reports.Intensity {
	g := f.grid
	sd, assumed := g.Spread()
	return &reports.Intensity{GPerKWh: float64(g.Intensity), SD: sd, Assumed: assumed, Stale: g.Stale, Zone: g.Zone, Year: g.Year, Source: g.Source, Licence: g.Licence, Basis: g.Basis,
		Live: liveOf(g.Live)}
}

// sci restates a footprint per functional unit.
func sci(c *reports.Carbon, v *reports.Variant, f *carbonFactor) *reports.SCI {
	unit := func(covered, unit float64, extra *reports.Accuracy) *reports.Figure {
		g, err := carbon.SCI(measure.GramsCO2e(*c.Total), covered, unit)
		if err != nil {
			return nil
		}
		out := &reports.Figure{Value: float64(g), N: c.N}
		if c.CI95 != nil && *c.Total > 0 {
			lo, hi := math.Log(*c.Total/c.CI95[0]), math.Log(c.CI95[1] / *c.Total)
			if extra != nil && extra.CI95 != nil && extra.CI95[0] > 0 {
				lo, hi = math.Hypot(lo, math.Log(extra.CI95[1]/extra.Value)), math.Hypot(hi, math.Log(extra.Value/extra.CI95[0]))
			}
			out.CI95 = intervalOf(measure.Interval{Lo: out.Value * math.Exp(-lo), Hi: out.Value * math.Exp(hi)})
		}
		return out
	}
	s := &reports.SCI{Per1000Inferences: unit(1, 1000, nil),
		Boundary: "operational: " + c.Source + " energy of the computer times PUE times the grid's average intensity; no offsets, no market-based instruments"}
	if f.tokens > 0 {
		s.Per1000Tokens = unit(f.tokens, 1000, nil)
	}
	if v.Energy.PerCorrect != nil && v.Accuracy != nil && v.Accuracy.Value > 0 {
		s.PerCorrect = unit(v.Accuracy.Value, 1, v.Accuracy)
	}
	if c.Embodied != nil {
		s.Boundary += "; embodied: this machine's share by time and reserved resources"
	} else {
		s.Boundary += "; embodied emissions are not counted (carbon.embodied)"
	}
	return s
}

// cost is what making a variant took; nil where it was not made here. e is the energy of its runs, nil where there is none: joules that mean
// something else are left out.
func (r *run) cost(m *made, f *carbonFactor, e *measure.Energy) *reports.Cost {
	if m.Cost == nil {
		return nil
	}
	u := 0.0
	if e != nil {
		u = e.UAbs
	}
	seconds := m.Cost.Wall.Seconds()
	c := &reports.Cost{Seconds: &seconds, N: 1}
	if m.Cost.Joules == nil {
		return c
	}
	if e != nil && m.Cost.Kind == e.Kind && (m.Cost.CountedBy == "") != (e.CountedBy == "") {
		r.warn("making %s: another process counted this machine then or while the variants ran, not both times: the joules of making it mean something else than those of a run, and are left out", m.Name)
		return c
	}
	j := float64(*m.Cost.Joules)
	c.Joules, c.Source = &j, string(m.Cost.Kind)
	if u > 0 && finite(u) {
		c.JoulesCI95 = &reports.Interval{j / (1 + u), j * (1 + u)}
	}
	if fp := r.footprint("making "+m.Name, *m.Cost.Joules, u, m.Cost.Wall, f); fp != nil {
		g := float64(fp.Total)
		c.GCO2e, c.GCO2eCI95 = &g, intervalOf(fp.CI95)
	}
	return c
}

// perItem is the time of one of so many things per second; 0 where there are none.
func perItem(perS float64) time.Duration {
	if !(perS > 0) {
		return 0
	}
	return time.Duration(float64(time.Second) / perS)
}
