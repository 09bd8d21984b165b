package measure

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// checkEnergy says why a variant has no energy although a meter was read.
func (r *runner) checkEnergy(c *Comparison) {
	if r.meter == nil {
		return
	}
	for i, s := range append([]Summary{c.Baseline}, c.Variants...) {
		if s.Energy != nil || s.Inferences == 0 {
			continue
		}
		why := "no block has a figure of the headline"
		for _, b := range c.Blocks {
			if own := b.Baseline == (i == 0) && (i == 0 || b.Variant == s.Name); !own {
				continue
			}
			if _, _, gap, _ := b.EnergyPerInference(); gap != "" {
				why = "every block has a gap (" + gap + ")"
				break
			}
			if by := b.CountedBy(); by != "" {
				why = by + " counts this machine"
			} else if _, ok := b.meaning(); ok && !c.Counts(b) {
				why = "its blocks were read otherwise than those of the other variants, and unlike figures are not set beside each other"
			}
		}
		r.warn("variant %q has no energy: %s", s.Name, why)
	}
}

// check adds the warnings that a reader must see.
func (r *runner) check(c *Comparison) {
	void, foreign, split := 0, 0, 0
	for _, b := range c.Blocks {
		if b.Unsteady > 0 {
			name := b.Variant
			if b.Baseline {
				name = c.Baseline.Name
			}
			r.warn("variant %q: not steady after a warm-up of %v; it is measured all the same", name, b.Unsteady.Round(time.Millisecond))
		}
		if b.Void != "" {
			void++
		}
		if b.Foreign > 0.05*float64(hostThreads()) {
			foreign++
		}
	}
	for _, v := range r.vars {
		for _, p := range r.pairs(v) {
			if p.a.Session != p.b.Session {
				split++
			}
		}
	}
	n := len(c.Blocks)
	if n > 0 && 5*void > n {
		r.warn("%d of %d blocks are void: the run as a whole cannot be trusted", void, n)
	}
	if 10*foreign > n {
		r.warn("other processes used more than 5 %% of the CPUs during %d of %d blocks", foreign, n)
	}
	if split > 0 {
		r.warn("%d pairs began before an interruption and ended after it", split)
	}
	if c.Overhead.Fraction > 0.005 {
		r.warn("reading the meter took %.1f %% of the blocks' time", 100*c.Overhead.Fraction)
	}
	if b, a := c.Idle.Before, c.Idle.After; b != nil && a != nil && b.Watts > 0 && a.Kind == Measured {
		if d := math.Abs(float64(a.Watts-b.Watts)) / float64(b.Watts); d > 0.05 {
			r.warn("idle power changed by %.0f %% from before to after", 100*d)
			if d > 0.15 {
				r.warn("with such a change of idle power the energies of this run are not to be trusted, and net ones mean nothing")
			}
		}
	}
	for _, s := range c.Variants {
		r.checkPairs(s)
	}
	r.checkCovariates()
	r.checkAttached(c.Blocks, c.meaning)
	r.checkEnergy(c)
}

// checkPairs says what makes the pairs of a variant suspect, and in which figure: both ratios are judged by their pairs.
func (r *runner) checkPairs(s Summary) {
	var said []string // of outliers
	for _, q := range []struct {
		what string
		*Ratio
	}{{"energy", s.EnergyRatio}, {"latency", s.LatencyRatio}} {
		if q.Ratio == nil {
			continue
		}
		if far := outliers(q.LogsPer, 5); far != nil {
			said = append(said, fmt.Sprintf("%s more than 5 MAD from the median in %s (kept)", lying(far, q.N), q.what))
		}
		switch {
		case q.Correl:
			r.warn("variant %q: neighbouring pairs are correlated in %s (r = %.2f)", s.Name, q.what, q.Lag1)
		case q.SlopeP < 0.01:
			r.warn("variant %q: the ratio of %s drifts over the run (p = %.3f)", s.Name, q.what, q.SlopeP)
		}
	}
	look := s.EnergyRatio
	if look == nil {
		look = s.LatencyRatio
	}
	if look != nil && look.N < look.Needed {
		r.warn("variant %q: a cap ended it after %d pairs, the rule asks for %d: only the wider interval of so few decides", s.Name, look.N, look.Needed)
	}
	for _, words := range said {
		r.warn("variant %q: %s", s.Name, words)
	}
}

// lying names pairs of n by their places, which count from 1: "pair 3 of 18 lies", "pairs 3, 7 and 9 of 18 lie".
func lying(at []int, n int) string {
	var s []string
	for _, k := range at {
		s = append(s, strconv.Itoa(k+1))
	}
	last := len(s) - 1
	if last == 0 {
		return fmt.Sprintf("pair %s of %d lies", s[0], n)
	}
	return fmt.Sprintf("pairs %s and %s of %d lie", strings.Join(s[:last], ", "), s[last], n)
}
