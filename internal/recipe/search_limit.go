package recipe

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// How a search ended that a limit of its own ended.
const (
	endedByTime   = " s are over"
	endedByTrials = " trials"
)

// Tried counts the trials of a search: variants of the recipe, whole models in one scheme, and mixes of schemes.
type Tried struct {
	Given   int     `json:"of_the_recipe"`
	Whole   int     `json:"whole_models"`
	Mixes   int     `json:"mixes"`
	Seconds float64 `json:"seconds"` // that trials and harms took
}

// noMix is what String says of no mixes.
const noMix = "no mix of schemes"

// String says what was tried.
func (t Tried) String() string {
	count := func(n int, one, many string) string {
		switch n {
		case 0:
			return "no " + one
		case 1:
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, many)
	}
	parts := []string{count(t.Whole, "whole model in one scheme", "whole models in one scheme"), count(t.Mixes, "mix of schemes", "mixes of schemes")}
	if t.Given > 0 {
		parts = slices.Insert(parts, 0, count(t.Given, "variant of the recipe", "variants of the recipe"))
	}
	return strings.Join(parts, ", ")
}

// count counts the trials so far.
func (s *searcher) count() Tried {
	n := Tried{Seconds: s.spent()}
	for _, t := range s.state.Trials {
		switch {
		case t.Mix == nil:
			n.Given++
		case t.Mix[0] != keepFloat && countOf(t.Mix, t.Mix[0]) == len(t.Mix):
			n.Whole++
		default:
			n.Mixes++
		}
	}
	return n
}

// shortfall says what a search lacked that a limit of its own ended before it tried a mix: what it tried, what it was allowed, and about how
// much it needs. It is empty for any other search.
func (s *searcher) shortfall() string {
	n, units := s.count(), len(s.state.Units)
	byTime, byTrials := strings.HasSuffix(s.state.Stopped, endedByTime), strings.HasSuffix(s.state.Stopped, endedByTrials)
	if n.Mixes > 0 || units < 2 || len(s.state.Trials) == 0 || !byTime && !byTrials {
		return ""
	}
	bisect := int(math.Ceil(math.Log2(float64(units)))) + 2 // trials that find how many units must be changed, and two to go on from there
	what := fmt.Sprintf("the search tried no mix of schemes: it tried %s in %s", strings.TrimSuffix(n.String(), ", "+noMix), seconds(n.Seconds))
	if byTrials {
		return fmt.Sprintf("%s, and search.max_trials allowed %d; %d would let it try some. What is kept is the front of what was measured", what, s.spec.MaxTrials, s.spec.MaxTrials+bisect)
	}
	harms, each := s.harms()
	left := max(units*len(s.state.Schemes)-harms, 0)
	trial := 0.0
	for _, t := range s.state.Trials {
		trial += t.Seconds / float64(len(s.state.Trials))
	}
	first := float64(left)*each + trial
	return fmt.Sprintf("%s, and search.max_seconds allowed %g; the first mix needs about %s more: %d looks at what one of %d groups of weights does to the outputs in one scheme, %s each, and a trial, %s. "+
		"max_seconds: %g would let it try some. What is kept is the front of what was measured", what, s.spec.MaxSeconds, seconds(first), left, units, seconds(each), seconds(trial), roundUp(n.Seconds+first+float64(bisect)*trial))
}

// harms is the number of harms that were looked at, and the mean time of one: where there was none yet, that of a run of the samples.
func (s *searcher) harms() (n int, mean float64) {
	sum := 0.0
	for key := range s.journal.entries {
		if id, ok := strings.CutPrefix(key, kindHarm+"/"); ok {
			h, _ := lookup[harmOf](s.journal, kindHarm, id)
			sum += h.Seconds
			n++
		}
	}
	if n == 0 {
		return 0, s.probe
	}
	return n, sum / float64(n)
}

// seconds is a time in words, in tenths below ten seconds.
func seconds(x float64) string {
	if x < 9.95 {
		return fmt.Sprintf("%.2g s", max(x, 0.01))
	}
	return fmt.Sprintf("%.0f s", x)
}

// roundUp takes x to the next number of two digits.
func roundUp(x float64) float64 {
	if !(x > 0) {
		return 1
	}
	unit := math.Pow(10, max(math.Floor(math.Log10(x))-1, 0))
	return math.Ceil(x/unit) * unit
}
