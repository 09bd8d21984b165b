package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"gonum.org/v1/plot/vg/draw"
)

func plotSize(r *Result) Plot {
	p := Plot{Name: "size", Title: "Size and sparsity", Alt: "File size and fraction of zero weights of each variant."}
	most := int64(0)
	for i := range r.Variants {
		if f := r.Variants[i].File; f != nil {
			most = max(most, f.Bytes)
		}
	}
	u := siUnit(float64(most), "B")
	rp := rows(r)
	bytes, any := cells(r, func(v *Variant, c *cell) bool {
		if v.File == nil {
			return false
		}
		c.set(float64(v.File.Bytes)*u.mul, showBytes(v.File.Bytes))
		if f, ok := sizeRatio(v, &r.Variants[0]); ok && v != &r.Variants[0] {
			c.text += "  " + times(f.value)
		}
		return true
	})
	if !any {
		p.Missing = "no file was written"
		return p
	}
	rp.panels = []panel{{title: "file (" + u.name + ")", cells: bytes, share: 1.3}}
	zeros, any := cells(r, func(v *Variant, c *cell) bool {
		if v.Weights == nil || v.Weights.Sparsity == nil {
			return false
		}
		c.set(100**v.Weights.Sparsity, num(math.Round(1000**v.Weights.Sparsity)/10)+" %")
		return true
	})
	if any {
		rp.panels = append(rp.panels, panel{title: "zero weights (%)", cells: zeros, share: 1})
	}
	p.caption = "Counted, exact. 1 MB is 1,000,000 bytes. Zeros shrink a file only where the format or a packer uses them."
	return p.of(rp)
}

func plotMemory(r *Result) Plot {
	p := Plot{Name: "memory", Title: "Peak memory", Alt: "Peak resident memory of each variant in a process of its own."}
	most := int64(0)
	for i := range r.Variants {
		if m := r.Variants[i].Memory; m != nil && m.PeakRSS != nil {
			most = max(most, *m.PeakRSS)
		}
	}
	u := siUnit(float64(most), "B")
	rp := rows(r)
	var ns []int
	peak, any := cells(r, func(v *Variant, c *cell) bool {
		if v.Memory == nil || v.Memory.PeakRSS == nil {
			return false
		}
		x := float64(*v.Memory.PeakRSS)
		c.set(x*u.mul, show(x, "B"))
		c.ci = mulCI(v.Memory.Range, u.mul)
		ns = append(ns, max(1, v.Memory.N))
		return true
	})
	if !any {
		p.Missing = "peak memory was not measured"
		return p
	}
	rp.panels = []panel{{title: "peak resident memory (" + u.name + ")", cells: peak, share: 1}}
	if ns = slices.Compact(ns); len(ns) == 1 && ns[0] == 1 {
		p.caption = "n = 1 process per variant, measured: load, three inferences, high-water mark, an empty process subtracted."
	} else {
		p.caption = "n = " + span(ns) + " processes per variant, measured: load, three inferences, high-water mark, the median, an empty process subtracted. Whiskers: its interval."
	}
	return p.of(rp)
}

// plotOpTime splits the time of a run, as the blocks measured it, by the shares of the operators in the profile. The profile itself is of a few
// runs of its own, so its sums are not drawn beside the latency that they would contradict; where they differ from it the caption says so.
func plotOpTime(r *Result) Plot {
	p := Plot{Name: "time-by-op", Title: "Time by operator", Alt: "Measured time of a run of each variant, split by operator.", Missing: "no profile was recorded"}
	whole := func(v *Variant) (float64, bool) {
		t, ok := timesOf(r, v)
		return t.Own, ok
	}
	return plotOps(r, p, "s", func(o *OpProfile) (float64, bool) { return o.Seconds, true }, whole, opTimeCaption(r))
}

// opTimeCaption says how many runs were profiled, how far they scatter, and where they took another time than the runs of the blocks.
func opTimeCaption(r *Result) string {
	var ns []int
	var off []string
	widest := 0.0
	for i := range r.Variants {
		v := &r.Variants[i]
		sum, half := profiled(v)
		if sum <= 0 {
			continue
		}
		ns = append(ns, max(1, v.Profile[0].N))
		widest = max(widest, half/sum)
		if t, ok := timesOf(r, v); ok && math.Abs(sum/t.Own-1) > 0.1 {
			off = append(off, plain(v.Name)+" "+show(sum, "s"))
		}
	}
	s := "Measured time of a run, split by shares of the runtime's profile: n = " + span(ns) + " profiled runs per variant"
	if widest > 0 {
		s += ", whose sums have 95 % intervals of ±" + digits(100*widest, 2) + " % at most"
	}
	s += ". They are runs apart from the measured ones, and timing each operator takes time too"
	if len(off) > 0 {
		s += ": their sums differ from the measured time by more than 10 % for " + strings.Join(off[:min(len(off), 4)], ", ")
		if len(off) > 4 {
			s += fmt.Sprintf(" and %d more", len(off)-4)
		}
		s += ". Of those trust the shares less"
	}
	return s + "."
}

func plotOpEnergy(r *Result) Plot {
	return plotOps(r, Plot{Name: "energy-by-op", Title: "Energy by operator", Alt: "Energy of one inference of each variant, split by operator.", Missing: "no energy was attributed to operators"},
		"J", func(o *OpProfile) (float64, bool) {
			if o.Joules == nil {
				return 0, false
			}
			return *o.Joules, true
		}, nil, "Kind: attributed by time, not measured per operator.")
}

// plotOps stacks a figure by operator type: the seven largest in colours, the rest as "other". Where whole tells what they make together the
// bars are as long.
func plotOps(r *Result, p Plot, base string, get func(*OpProfile) (float64, bool), whole func(*Variant) (float64, bool), caption string) Plot {
	sums := make([]map[string]float64, len(r.Variants))
	byOp := map[string]float64{}
	most := 0.0
	for i := range r.Variants {
		t := 0.0
		for j := range r.Variants[i].Profile {
			o := &r.Variants[i].Profile[j]
			x, ok := get(o)
			if !ok || !(x >= 0) || !finite(x) {
				continue
			}
			if sums[i] == nil {
				sums[i] = map[string]float64{}
			}
			sums[i][o.Op] += x
			t += x
		}
		if whole != nil && t > 0 {
			if x, ok := whole(&r.Variants[i]); ok && x > 0 && finite(x/t) {
				for op := range sums[i] {
					sums[i][op] *= x / t
				}
				t = x
			}
		}
		for op, x := range sums[i] {
			byOp[op] += x
		}
		most = math.Max(most, t)
	}
	if len(byOp) == 0 {
		return p
	}
	p.Missing = ""
	ops := make([]string, 0, len(byOp))
	for op := range byOp {
		ops = append(ops, op)
	}
	slices.SortFunc(ops, func(a, b string) int {
		return cmp.Or(cmp.Compare(byOp[b], byOp[a]), cmp.Compare(a, b))
	})
	other := len(ops) > len(okabeIto)
	if other {
		ops = ops[:len(okabeIto)]
	}
	u := siUnit(most, base)
	rp := rows(r)
	stacks, _ := cells(r, func(v *Variant, c *cell) bool {
		s := sums[c.variant]
		if s == nil {
			return false
		}
		t := 0.0
		for _, x := range sortedValues(s) {
			t += x
		}
		rest := t
		for k, op := range ops {
			if x := s[op]; x > 0 {
				c.parts = append(c.parts, part{x * u.mul, okabeIto[k]})
				rest -= x
			}
		}
		if other && rest > t*1e-9 {
			c.parts = append(c.parts, part{rest * u.mul, slate})
		}
		c.text = show(t, base)
		return true
	})
	rp.panels = []panel{{title: u.name + " per inference", cells: stacks, share: 1}}
	for k, op := range ops {
		rp.legend = append(rp.legend, legendItem{clip(plain(op), 40), okabeIto[k]})
	}
	if other {
		rp.legend = append(rp.legend, legendItem{"other", slate})
	}
	p.caption = caption
	return p.of(rp)
}

// sortedValues gives a map's values in key order, so that sums come out the same every time.
func sortedValues(m map[string]float64) []float64 {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]float64, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}

func plotECDF(r *Result) Plot {
	p := Plot{Name: "latency-ecdf", Title: "Latency distribution", Alt: "For each variant, the fraction of runs that finished within a given time."}
	type curve struct {
		variant int
		xs      []float64
	}
	var curves []curve
	var ns []int
	lo, hi := math.Inf(1), 0.0
	for i := range r.Variants {
		l := r.Variants[i].Latency
		if l == nil {
			continue
		}
		var xs []float64
		for _, x := range l.Samples {
			if finite(x) && x > 0 {
				xs = append(xs, x)
			}
		}
		if len(xs) < 2 {
			continue
		}
		slices.Sort(xs)
		curves = append(curves, curve{i, xs})
		ns = append(ns, len(xs))
		lo, hi = math.Min(lo, xs[0]), math.Max(hi, quantileSorted(xs, 0.99))
	}
	if len(curves) == 0 {
		p.Missing = "no latency samples were kept"
		return p
	}
	u := siUnit(hi, "s")
	x := linearAxis(0, hi*u.mul*1.03, 6)
	scale := ""
	if hi > 4*lo {
		x = logAxis(lo*u.mul*0.95, hi*u.mul*1.05)
		scale = ", logarithmic"
	}
	xp := xyPlot{x: x, y: linearAxis(0, 1, 5), xName: "time of one run (" + u.name + scale + ")", yName: "fraction of runs"}
	for _, c := range curves {
		xs := make([]float64, len(c.xs))
		for i, v := range c.xs {
			xs[i] = v * u.mul
		}
		xp.series = append(xp.series, series{name: numbered(c.variant, r.Variants[c.variant].Name), variant: c.variant, xs: xs})
	}
	p.caption = "n = " + span(ns) + " runs per variant, measured, all samples kept; the axis ends at the largest 99th percentile. Left is faster, steep is steady."
	p.height = xp.height()
	p.body = func(c draw.Canvas) { xp.drawCurves(c) }
	return p
}

func plotPareto(r *Result) Plot {
	p := Plot{Name: "pareto", Title: "Energy against accuracy", Alt: "Each variant by energy per inference and accuracy; the line is the Pareto front."}
	xp := xyPlot{}
	if fidelity(r) {
		p.Title = "Energy against fidelity"
	}
	var better []point
	metric, lower, mod := "", false, false
	lo, hi, least, most := math.Inf(1), math.Inf(-1), math.Inf(1), 0.0
	for i := range r.Variants {
		v := &r.Variants[i]
		if v.Accuracy == nil || v.Energy == nil || v.Energy.PerInference == nil {
			continue
		}
		if e, a := *v.Energy.PerInference, v.Accuracy.Value; finite(e) && finite(a) && e > 0 {
			pt := point{variant: i, x: e, y: a, modelled: modelled(v.Energy), cx: v.Energy.CI95, cy: v.Accuracy.CI95}
			better = append(better, pt)
			metric, lower, mod = v.Accuracy.Metric, v.Accuracy.LowerIsBetter, mod || pt.modelled
			least, most = math.Min(least, e), math.Max(most, e)
			lo, hi = math.Min(lo, a), math.Max(hi, a)
			if pt.cy != nil {
				lo, hi = math.Min(lo, pt.cy[0]), math.Max(hi, pt.cy[1])
			}
		}
	}
	if len(better) < 2 {
		p.Missing = "fewer than two variants have both an energy and an accuracy"
		return p
	}
	u := siUnit(most, "J")
	k, yu := 1.0, ""
	if isPercent(metric) {
		k, yu = 100, " (%)"
	}
	scale := ""
	xlo, xhi := 0.0, most
	for _, pt := range better {
		// A modelled joule figure is uncertain by a common factor: its whiskers would hide the
		// order, which is the same for all, so only counters draw them.
		if pt.cx != nil && !pt.modelled {
			xhi = math.Max(xhi, pt.cx[1])
		}
	}
	xp.x = linearAxis(xlo, xhi*u.mul*1.12, 6) // room for a name
	if most > 10*least {
		xp.x, scale = logAxis(least*u.mul*0.7, xhi*u.mul*1.4), ", logarithmic"
	}
	pad := (hi - lo) * 0.06
	xp.y = linearAxis((lo-pad)*k, (hi+2.5*pad)*k, 6) // room for a name above
	for i := range better {
		pt := &better[i]
		pt.x, pt.y, pt.cx, pt.cy = pt.x*u.mul, pt.y*k, mulCI(pt.cx, u.mul), mulCI(pt.cy, k)
		if pt.modelled {
			pt.cx = nil
		}
		xp.series = append(xp.series, series{name: numbered(pt.variant, r.Variants[pt.variant].Name), variant: pt.variant, points: []point{*pt}})
	}
	xp.labelled = len(better) <= labelledPoints
	xp.front = paretoFront(better, lower)
	xp.frontDown = lower
	word := ""
	if mod {
		word = ", modelled"
		p.subtitle = "Modelled (pale): " + modelledWords + "."
	}
	xp.xName = "energy per inference (" + u.name + word + scale + ")"
	xp.yName = metricWord(r, metric) + yu
	p.caption = "Dashed: the Pareto front by point estimates; what lies on it is beaten by no other variant in both. Whiskers: 95 % intervals."
	if mod {
		p.caption += " Modelled joules share one uncertain factor, so only accuracy has whiskers."
	}
	p.height = xp.height()
	p.body = func(c draw.Canvas) { xp.drawPoints(c) }
	return p
}

// paretoFront gives the points that no other beats in one figure without losing in the other,
// ascending in x. Lower x is better; higher y is better unless lower.
func paretoFront(ps []point, lower bool) []point {
	s := slices.Clone(ps)
	sign := 1.0
	if lower {
		sign = -1
	}
	sort.SliceStable(s, func(i, j int) bool { return s[i].x < s[j].x || s[i].x == s[j].x && sign*s[i].y > sign*s[j].y })
	var out []point
	best := math.Inf(-1)
	for _, p := range s {
		if sign*p.y > best {
			out = append(out, p)
			best = sign * p.y
		}
	}
	return out
}
