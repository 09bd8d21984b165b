package recipe

import (
	"math"
	"slices"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// rawBlocks restates the blocks as they were measured. Sessions of an interrupted run follow each other without what lay
// between them.
func rawBlocks(cmp measure.Comparison) []reports.Block {
	var out []reports.Block
	var offset, origin, end time.Duration
	session := -1
	for _, b := range cmp.Blocks {
		if b.Session != session {
			offset, origin, session = end, b.Start, b.Session
		}
		start := offset + b.Start - origin
		end = start + b.Wall
		x := reports.Block{Round: b.Round, Position: b.Position, Variant: b.Variant, Baseline: b.Baseline, Session: b.Session,
			Start: start.Seconds(), Seconds: b.Wall.Seconds(), CPU: b.CPU.Seconds(), Inferences: b.Inferences, Foreign: b.Foreign, Void: b.Void}
		j, kind, why, ok := b.EnergyPerInference()
		x.Source, x.Gap = string(kind), why
		x.CountedBy = b.CountedBy()
		if ok && !cmp.Counts(b) { // it means something else than the others'
			x.Gap = reports.GapUnlike
		} else if ok {
			all := float64(j * measure.Joules(b.Inferences))
			x.Joules = &all
		}
		if c := b.Covariates; c != nil {
			x.MHz, x.Celsius = c.MHz, c.Celsius
			if c.Throttles != nil {
				n := int64(min(*c.Throttles, 1<<53))
				x.Throttles = &n
			}
		}
		out = append(out, x)
	}
	return out
}

// idleOf restates the idle power, known within u of itself where that is not 0; nil where it was not measured.
func idleOf(i measure.Idle, u float64) *reports.Idle {
	var out reports.Idle
	for _, w := range []struct {
		from *measure.IdleWindow
		to   **float64
		ci   **reports.Interval
		took *float64
	}{{i.Before, &out.BeforeW, &out.BeforeCI, &out.BeforeS}, {i.After, &out.AfterW, &out.AfterCI, &out.AfterS}} {
		if w.from != nil && w.from.Watts > 0 {
			x := float64(w.from.Watts)
			*w.to, out.Source, *w.took = &x, string(w.from.Kind), w.from.Duration.Seconds()
			if out.N++; u > 0 && finite(u) {
				*w.ci = &reports.Interval{x / (1 + u), x * (1 + u)}
			}
		}
	}
	if out.Source == "" {
		return nil
	}
	return &out
}

// medianInterval is the 95 % interval of the median run time of an arm, from the medians of its blocks, since runs of one
// block are alike: their order statistics n/2 ± 0.98·√n (Hahn and Meeker, Statistical Intervals, 5.2). nil below six blocks.
func medianInterval(blocks []measure.Block, name string, baseline bool, p50 float64) *reports.Interval {
	var medians []float64
	for _, b := range blocks {
		if b.Baseline != baseline || !baseline && b.Variant != name || b.Void != "" || len(b.Samples) == 0 {
			continue
		}
		s := slices.Sorted(slices.Values(b.Samples))
		medians = append(medians, (s[(len(s)-1)/2]+s[len(s)/2]).Seconds()/2)
	}
	if len(medians) < 6 {
		return nil
	}
	slices.Sort(medians)
	n := float64(len(medians))
	d := 0.98 * math.Sqrt(n)
	at := func(rank float64) float64 { return medians[int(min(max(rank, 0), n-1))] }
	return intervalOf(measure.Interval{Lo: min(p50, at(math.Floor(n/2-d-1))), Hi: max(p50, at(math.Ceil(n/2+d)))})
}
