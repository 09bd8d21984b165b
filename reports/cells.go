package reports

import (
	"fmt"
	"strings"
)

// change tells what a ratio shows: less or more words, by its interval, or by the value when exact. Of several variants some
// differ by chance: a difference that Holm's adjustment over them takes back is not claimed.
func change(f figure, less, more string) (word, tone string) {
	lo, hi := f.value, f.value
	switch ci := f.deciding(); {
	case ci != nil:
		lo, hi = ci[0], ci[1]
	case f.few:
		return tooFew, ""
	case !f.exact:
		return "no interval", ""
	}
	switch {
	case f.exact && f.value > 0.995 && f.value < 1.005:
		return "same", "same"
	case f.holm != nil && *f.holm > 0.05:
	case hi < 1:
		return less, "better"
	case lo > 1:
		return more, "worse"
	}
	if f.ci != nil && (f.ci[0] > 1 || f.ci[1] < 1) {
		return undecided, ""
	}
	return noChange, "same"
}

// fewWords says why so few pairs decide nothing.
func (f figure) fewWords() string {
	if f.n < 10 {
		return fmt.Sprintf("%d pairs decide nothing", f.n)
	}
	return fmt.Sprintf("%d pairs with outliers or correlation decide nothing", f.n)
}

// openWords says what leaves a ratio undecided whose 95 % interval does not hold 1: the wider interval that decides below 30 pairs, or
// Holm's adjustment. It is empty for any other ratio.
func (f figure) openWords() string {
	if word, _ := change(f, "less", "more"); word != undecided {
		return ""
	}
	if d := f.deciding(); d != nil && d[0] <= 1 && d[1] >= 1 {
		return "decided by " + bracket(d, 1)
	}
	return "decided by Holm's p, " + digits(*f.holm, 2)
}

func sizeCell(v, base *Variant) viewCell {
	if v.File == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: showBytes(v.File.Bytes)}
	if f, ok := sizeRatio(v, base); ok && v != base {
		c.Sub = times(f.value)
		c.Word, c.Tone = change(f, "smaller", "larger")
	}
	if _, ok := prunedShare(v); ok && v.Weights != nil && v.Weights.Sparsity != nil {
		c.Sub = join(c.Sub, percent(*v.Weights.Sparsity)+" zeros")
	}
	return c
}

// fidelity tells whether the scores are agreement with the baseline's own outputs, not accuracy.
// The baseline agrees with itself by definition, so there a difference to it is not a loss to be tested.
func fidelity(r *Result) bool {
	return r.Task != nil && (r.Task.Kind == "fidelity" || r.Task.Kind == "agreement")
}

// metricWord is the metric without what the column already says.
func metricWord(r *Result, metric string) string {
	if fidelity(r) {
		metric = strings.TrimSuffix(strings.TrimSuffix(metric, " to the baseline"), " as the baseline")
	}
	return plain(metric)
}

func scoreName(r *Result) string {
	if fidelity(r) {
		return "Fidelity"
	}
	return "Accuracy"
}

func accuracyCell(r *Result, v *Variant) viewCell {
	a, base := v.Accuracy, &r.Variants[0]
	if a == nil {
		return viewCell{Main: absent}
	}
	ci := scoreCI(a.Metric, a.CI95)
	c := viewCell{Main: scoreIn(a.Metric, a.Value, a.CI95), Sub: ci}
	if fidelity(r) {
		c.Sub = metricWord(r, a.Metric)
		if a.P01 != nil {
			c.Sub = join(c.Sub, "1st percentile "+score(a.Metric, *a.P01))
		} else if ci != "" {
			c.Sub = join(c.Sub, ci)
		}
		if v == base {
			c.Sub = "by definition"
		}
		return c
	}
	if v == base || a.Delta == nil {
		return c
	}
	c.Sub = strings.TrimSpace(scoreDelta(a.Metric, a.Delta.Value) + " " + scoreCI(a.Metric, a.Delta.CI95))
	c.Word, c.Tone = deltaWord(a)
	return c
}

// deltaWord tells whether the change of accuracy is shown, by its interval.
func deltaWord(a *Accuracy) (word, tone string) {
	if a.Delta == nil || a.Delta.CI95 == nil {
		return "no interval", ""
	}
	up, down := a.Delta.CI95[0] > 0, a.Delta.CI95[1] < 0
	if a.LowerIsBetter {
		up, down = down, up
	}
	switch {
	case up:
		return "better", "better"
	case down:
		return "worse", "worse"
	}
	return noChange, "same"
}

// latencyCell has the time of a run: of a variant its ratio, and its own time beside the baseline's in the same pairs.
func latencyCell(r *Result, v *Variant) viewCell {
	t, ok := timesOf(r, v)
	if !ok {
		return viewCell{Main: absent}
	}
	base := &r.Variants[0]
	c := viewCell{Main: t.words("s"), Sub: join("median "+show(v.Latency.P50, "s"), "p95 "+show(v.Latency.P95, "s"))}
	if f, ok := latencyRatio(v, base); ok && v != base {
		c.Main, c.Sub = times(f.value), join(bracket(f.ci, 1), f.openWords(), t.words("s"))
		c.Word, c.Tone = change(f, "faster", "slower")
	}
	return c
}

// energyCell has the energy per inference: of a variant the ratio, which is one of CPU times where the energy is modelled.
func energyCell(r *Result, v *Variant) viewCell {
	e, base := v.Energy, &r.Variants[0]
	if e == nil || e.PerInference == nil && e.Ratio == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{}
	kind := e.Source
	if allModelled(r) {
		kind = ""
	}
	j, known := joulesOf(r, v)
	if known {
		c.Main, c.Sub = show(j.Own, "J"), kind
	}
	if f, ok := energyRatio(v, base); ok && v != base {
		c.Main, c.Sub = times(f.value), join(bracket(f.ci, 1), f.openWords())
		switch {
		case known && f.modelled:
			c.Sub = join(c.Sub, "about "+show(j.Own, "J"))
		case known:
			c.Sub = join(c.Sub, j.words("J"))
		}
		if !allModelled(r) {
			kind = energyKind(f)
		}
		c.Sub = join(c.Sub, kind)
		c.Word, c.Tone = change(f, "less", "more")
	}
	return c
}

func energyKind(f figure) string {
	if f.modelled {
		return "modelled"
	}
	return "measured"
}

// allModelled tells whether every energy of the result comes from a model.
func allModelled(r *Result) bool {
	_, kind := energyWords(r)
	return kind == "modelled"
}

func carbonCell(r *Result, v *Variant) viewCell {
	base := &r.Variants[0]
	if v.Carbon == nil || v.Carbon.Total == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: show(*v.Carbon.Total, "g")}
	if f, ok := carbonRatio(v, base); ok && v != base {
		c.Sub = strings.TrimSpace(times(f.value) + " " + bracket(f.ci, 1))
	}
	if v.Energy != nil && !allModelled(r) {
		c.Sub = join(c.Sub, v.Energy.Source)
	}
	return c
}

// memoryNoise is how much the peaks of two processes that do the same may differ; where several were read, their ranges must not
// overlap either.
const memoryNoise = 0.10

// memoryChange is -1 for less memory, 1 for more, 0 where the readings do not tell them apart.
func memoryChange(f figure) int {
	switch {
	case f.value < 1-memoryNoise && (f.ci == nil || f.ci[1] < 1):
		return -1
	case f.value > 1+memoryNoise && (f.ci == nil || f.ci[0] > 1):
		return 1
	}
	return 0
}

func memoryCell(v, base *Variant) viewCell {
	if v.Memory == nil || v.Memory.PeakRSS == nil {
		return viewCell{Main: absent}
	}
	c := viewCell{Main: showBytes(*v.Memory.PeakRSS)}
	if f, ok := memoryRatio(v, base); ok && v != base {
		c.Sub = strings.TrimSpace(times(f.value) + " " + bracket(f.ci, 1))
		switch memoryChange(f) {
		case -1:
			c.Word, c.Tone = "less", "better"
		case 1:
			c.Word, c.Tone = "more", "worse"
		default:
			c.Word, c.Tone = aboutSame, "same"
		}
	}
	return c
}
