package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg/draw"
)

// The wordings for modelled figures; every renderer uses these.
const (
	modelledWords = "estimated from CPU time, no counter on this host"
	modelledPlot  = "Modelled (pale): " + modelledWords + "."
)

// Plots gives every plot of the result in the order of a report, those that cannot be drawn with
// the reason in Missing. A new plot is one builder and one line here.
func Plots(r *Result) []Plot {
	builders := []func(*Result) Plot{
		plotAccuracy, plotLatency, plotECDF, plotEnergy, plotCarbon, plotTornado, plotPareto, plotSize, plotMemory, plotOpTime, plotOpEnergy, plotTrace,
	}
	shown := *r
	if len(r.Variants) > plotVariants {
		shown.Variants = r.Variants[:plotVariants]
	}
	var out []Plot
	for _, b := range builders {
		p := b(&shown)
		if len(r.Variants) > plotVariants {
			p.caption = strings.TrimSpace(fmt.Sprintf("%s Shown: the first %d of %d variants.", p.caption, plotVariants, len(r.Variants)))
		}
		out = append(out, p)
	}
	return out
}

// plotVariants is how many variants a plot shows: beyond it a picture is neither readable nor small.
const plotVariants = 40

// rows starts a row plot with one row per variant.
func rows(r *Result) rowPlot {
	var p rowPlot
	for i := range r.Variants {
		p.names = append(p.names, numbered(i, r.Variants[i].Name))
	}
	return p
}

func (p Plot) of(rp rowPlot) Plot {
	p.height = rp.height()
	p.body = func(c draw.Canvas) { rp.draw(c) }
	return p
}

var notMeasured = cell{text: "not measured", faint: true}

// cells makes one cell per variant; f gives false where the figure is absent.
func cells(r *Result, f func(v *Variant, c *cell) bool) (cs []cell, any bool) {
	for i := range r.Variants {
		c := cell{variant: i}
		if f(&r.Variants[i], &c) && finite(c.sum()) {
			any = true
		} else {
			c = notMeasured
			c.variant = i
		}
		cs = append(cs, c)
	}
	return cs, any
}

func (c *cell) set(x float64, words string) {
	c.parts = []part{{x, variantColor(c.variant)}}
	c.text = words
}

func mulCI(ci *Interval, k float64) *Interval {
	if ci == nil || !finite(ci[0]*k) || !finite(ci[1]*k) {
		return nil
	}
	return &Interval{ci[0] * k, ci[1] * k}
}

// span writes "240" or "120 to 240".
func span(ns []int) string {
	if len(ns) == 0 {
		return ""
	}
	lo, hi := slices.Min(ns), slices.Max(ns)
	if lo == hi {
		return group(int64(lo))
	}
	return group(int64(lo)) + " to " + group(int64(hi))
}

func plotAccuracy(r *Result) Plot {
	p := Plot{Name: "accuracy", Title: "Accuracy", Alt: "Accuracy of each variant and its difference to the baseline, with 95 % intervals."}
	metric, k, u := "", 1.0, ""
	var ns []int
	for i := range r.Variants {
		if a := r.Variants[i].Accuracy; a != nil {
			metric = a.Metric
			ns = append(ns, a.N)
		}
	}
	if isPercent(metric) {
		k, u = 100, " (%)"
	}
	rp := rows(r)
	values, any := cells(r, func(v *Variant, c *cell) bool {
		if v.Accuracy == nil {
			return false
		}
		c.set(v.Accuracy.Value*k, score(metric, v.Accuracy.Value))
		c.ci = mulCI(v.Accuracy.CI95, k)
		return true
	})
	if !any {
		p.Missing = "no accuracy was scored"
		return p
	}
	if fidelity(r) {
		// Close to 1 throughout: bars from 0 would all look alike, so dots on their own scale.
		one := k
		rp.panels = []panel{{title: metricWord(r, metric) + u, cells: values, dots: true, ref: &one, share: 1}}
		p.Title, p.Alt = "Fidelity to the baseline", "Agreement of each variant with the outputs of the baseline, with 95 % intervals."
		p.caption = fmt.Sprintf("n = %s examples, the same for all variants. Whiskers: 95 %% intervals; the axis does not start at 0. Agreement with the baseline's outputs, not accuracy.", span(ns))
		return p.of(rp)
	}
	rp.panels = append(rp.panels, panel{title: plain(metric) + u, cells: values, share: 1})
	zero := 0.0
	deltas, any := cells(r, func(v *Variant, c *cell) bool {
		if v == &r.Variants[0] && v.Accuracy != nil {
			c.set(0, "baseline")
			c.faint = true
			return true
		}
		if v.Accuracy == nil || v.Accuracy.Delta == nil {
			return false
		}
		c.set(v.Accuracy.Delta.Value*k, strings.TrimSuffix(scoreDelta(metric, v.Accuracy.Delta.Value), " points"))
		c.ci = mulCI(v.Accuracy.Delta.CI95, k)
		return true
	})
	what := "difference"
	if k == 100 {
		what = "difference (percentage points)"
	}
	if any && len(r.Variants) > 1 {
		rp.panels = append(rp.panels, panel{title: what, cells: deltas, dots: true, ref: &zero, share: 1.05})
	}
	p.Title = "Accuracy before and after"
	p.caption = fmt.Sprintf("n = %s examples, the same for all variants. Whiskers: 95 %% intervals; the difference is paired, example by example.", span(ns))
	return p.of(rp)
}

// ratioPanel is the right-hand panel of the figures that are compared in pairs.
func ratioPanel(r *Result, get func(v *Variant) (*Ratio, bool)) (panel, bool) {
	one := 1.0
	found := false
	cs, _ := cells(r, func(v *Variant, c *cell) bool {
		q, mod := get(v)
		c.modelled = mod
		if v == &r.Variants[0] {
			c.set(1, "baseline")
			c.faint = true
			return true
		}
		if q == nil {
			return false
		}
		c.set(q.Value, times(q.Value))
		c.ci = mulCI(q.CI95, 1)
		found = true
		return true
	})
	return panel{title: "ratio to baseline", cells: cs, dots: true, ref: &one, share: 1}, found
}

func plotLatency(r *Result) Plot {
	p := Plot{Name: "latency", Title: "Latency before and after", Alt: "Mean and 95th percentile of the run time of each variant, and its ratio to the baseline with 95 % intervals."}
	most := 0.0
	var ns, pairs []int
	for i := range r.Variants {
		if l := r.Variants[i].Latency; l != nil {
			t, _ := timesOf(r, &r.Variants[i])
			most = math.Max(most, t.Own)
			ns = append(ns, l.N)
			if l.Ratio != nil && l.Ratio.N > 0 {
				pairs = append(pairs, l.Ratio.N)
			}
		}
	}
	u := siUnit(most, "s")
	rp := rows(r)
	times, any := cells(r, func(v *Variant, c *cell) bool {
		t, ok := timesOf(r, v)
		if !ok {
			return false
		}
		c.set(t.Own*u.mul, show(t.Own, "s"))
		c.ci = mulCI(t.CI, u.mul)
		if x := v.Latency.P95 * u.mul; finite(x) && x > 0 {
			c.mark = &x
		}
		return true
	})
	if !any {
		p.Missing = "no latency was measured"
		return p
	}
	bar := "geometric mean over blocks"
	if geometric, arithmetic := statistics(r); !geometric {
		bar = "arithmetic mean of runs"
	} else if arithmetic {
		bar += ", or arithmetic mean of runs where there are none"
	}
	rp.panels = []panel{{title: "per run (" + u.name + ")", cells: times, share: 1.1}}
	if q, ok := ratioPanel(r, func(v *Variant) (*Ratio, bool) {
		if v.Latency == nil {
			return nil, false
		}
		return v.Latency.Ratio, false
	}); ok {
		rp.panels = append(rp.panels, q)
	}
	p.caption = "Bar: " + bar + "; diamond: 95th percentile of runs; whisker: 95 % interval. n = " + span(ns) + " runs per variant, measured"
	if len(pairs) > 0 {
		p.caption += "; ratio of neighbouring blocks, " + span(pairs) + " pairs"
	}
	p.caption += "."
	return p.of(rp)
}

// energyWords says how the energy figures of a result came about.
func energyWords(r *Result) (subtitle string, kind string) {
	seen := map[string]bool{}
	for i := range r.Variants {
		if e := r.Variants[i].Energy; e != nil && e.Source != "" {
			seen[e.Source] = true
		}
	}
	switch {
	case len(seen) == 0:
		return "", ""
	case len(seen) == 1 && seen[SourceMeasured]:
		return "", "measured by counters"
	case len(seen) == 1 && seen[SourceModelled]:
		return modelledPlot, "modelled"
	}
	return "Pale: modelled in part, " + modelledWords + " for that part.", "partly modelled"
}

func plotEnergy(r *Result) Plot {
	p := Plot{Name: "energy", Title: "Energy before and after", Alt: "Energy per inference of each variant and its ratio to the baseline, with 95 % intervals."}
	most := 0.0
	var ns []int
	for i := range r.Variants {
		if e := r.Variants[i].Energy; e != nil && e.PerInference != nil {
			most = math.Max(most, *e.PerInference)
			if e.N > 0 {
				ns = append(ns, e.N)
			}
		}
	}
	u := siUnit(most, "J")
	rp := rows(r)
	joules, any := cells(r, func(v *Variant, c *cell) bool {
		if v.Energy == nil || v.Energy.PerInference == nil {
			return false
		}
		c.set(*v.Energy.PerInference*u.mul, show(*v.Energy.PerInference, "J"))
		c.ci = mulCI(v.Energy.CI95, u.mul)
		c.modelled = modelled(v.Energy)
		return true
	})
	if !any {
		p.Missing = "no energy was measured or modelled"
		return p
	}
	sub, kind := energyWords(r)
	p.subtitle = sub
	rp.panels = []panel{{title: u.name + " per inference", cells: joules, share: 1.1}}
	if q, ok := ratioPanel(r, func(v *Variant) (*Ratio, bool) {
		q := energyRatioOf(v)
		if q == nil {
			return nil, v.Energy != nil && modelled(v.Energy)
		}
		return &Ratio{Value: q.Value, CI95: q.CI95, N: q.N}, q.Basis != BasisCounter
	}); ok {
		rp.panels = append(rp.panels, q)
	}
	p.caption = "Whiskers: 95 % intervals. Kind: " + kind + "."
	if len(ns) > 0 {
		p.caption = "n = " + span(ns) + " inferences per variant. " + p.caption
	}
	if kind != "measured by counters" {
		p.caption += " The ratio compares CPU time only, so its interval is narrower than that of the joules."
	}
	return p.of(rp)
}

func plotCarbon(r *Result) Plot {
	p := Plot{Name: "carbon", Title: "Carbon before and after", Alt: "Grams of CO2 equivalent per inference of each variant, operational and embodied, with 95 % intervals."}
	most, embodied := 0.0, false
	var factor *Intensity
	total := func(c *Carbon) (op, em float64, ok bool) {
		switch {
		case c == nil:
			return 0, 0, false
		case c.Operational != nil:
			op = *c.Operational
		case c.Total != nil:
			op = *c.Total
			if c.Embodied != nil {
				op -= *c.Embodied
			}
		default:
			return 0, 0, false
		}
		if c.Embodied != nil {
			em = *c.Embodied
		}
		return op, em, true
	}
	for i := range r.Variants {
		c := r.Variants[i].Carbon
		if op, em, ok := total(c); ok {
			most = math.Max(most, op+em)
			embodied = embodied || em > 0
			if c.Intensity != nil {
				factor = c.Intensity
			}
		}
	}
	u := siUnit(most, "g")
	rp := rows(r)
	grams, any := cells(r, func(v *Variant, c *cell) bool {
		op, em, ok := total(v.Carbon)
		if !ok {
			return false
		}
		c.parts = []part{{op * u.mul, okabeIto[2]}}
		if em > 0 {
			c.parts = append(c.parts, part{em * u.mul, okabeIto[1]})
		}
		c.text = show(op+em, "g")
		c.ci = mulCI(v.Carbon.CI95, u.mul)
		c.modelled = v.Energy == nil || modelled(v.Energy)
		return true
	})
	if !any {
		p.Missing = "no energy figure or no grid intensity to compute it from"
		return p
	}
	p.subtitle, _ = energyWords(r)
	rp.panels = []panel{{title: u.name + " CO₂e per inference", cells: grams, share: 1}}
	if embodied {
		rp.legend = []legendItem{{"operational", okabeIto[2]}, {"embodied (share of the hardware's making)", okabeIto[1]}}
	}
	p.caption = "Whiskers: 95 % intervals of the total."
	if p.subtitle == "" {
		p.caption += " Energy measured by counters."
	}
	if factor != nil {
		p.caption += " Grid: " + intensityWords(factor) + "."
	}
	return p.of(rp)
}

func intensityWords(f *Intensity) string {
	s := num(f.GPerKWh) + " g CO₂e/kWh"
	var of []string
	if f.Zone != "" {
		of = append(of, plain(f.Zone))
	}
	if f.Year > 0 {
		of = append(of, fmt.Sprint(f.Year))
	}
	if f.Source != "" {
		of = append(of, plain(f.Source))
	}
	if f.Basis != "" {
		of = append(of, plain(f.Basis))
	}
	if len(of) > 0 {
		s += " (" + strings.Join(of, ", ") + ")"
	}
	return s
}
