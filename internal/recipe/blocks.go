package recipe

import (
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
		if ok {
			all := float64(j) * float64(b.Inferences)
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

// idleOf restates the idle power; nil where it was not measured.
func idleOf(i measure.Idle) *reports.Idle {
	var out reports.Idle
	for _, w := range []struct {
		from *measure.IdleWindow
		to   **float64
	}{{i.Before, &out.BeforeW}, {i.After, &out.AfterW}} {
		if w.from != nil && w.from.Watts > 0 {
			x := float64(w.from.Watts)
			*w.to, out.Source = &x, string(w.from.Kind)
		}
	}
	if out.Source == "" {
		return nil
	}
	return &out
}
