package recipe

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// Trials of a search are ranked by ratios of one basis, that of the first; one that lacks it is no trial at all.
func TestTrialsAreRankedAlike(t *testing.T) {
	ratio := func(x float64, b measure.Basis) *measure.Ratio { return &measure.Ratio{Value: x, Basis: b, N: 10} }
	both := measure.Summary{LatencyRatio: ratio(0.9, measure.BasisWall), CPURatio: ratio(0.8, measure.BasisCPUTime), EnergyRatio: ratio(0.7, measure.BasisCounter)}
	none := measure.Summary{LatencyRatio: both.LatencyRatio, CPURatio: both.CPURatio}
	modelled := measure.Summary{LatencyRatio: both.LatencyRatio, CPURatio: both.CPURatio, EnergyRatio: both.CPURatio}
	held := []measure.Block{{Energy: []measure.DomainEnergy{{Source: measure.Source{CountedBy: "process 7"}}}}}
	for name, c := range map[string]struct {
		first, next measure.Summary
		basis       string
		value       float64
	}{
		"counter, counter":  {both, both, "counter", 0.7},
		"counter, nothing":  {both, none, "", 0},
		"counter, model":    {both, modelled, "", 0},
		"nothing, counter":  {none, both, "latency", 0.9},
		"model, counter":    {modelled, both, "cpu_time", 0.8},
		"model, no reading": {modelled, none, "cpu_time", 0.8},
	} {
		s := &searcher{state: &SearchState{Trials: []*Trial{{Failed: "it did"}}}}
		first, next := &Trial{}, &Trial{}
		if err := s.rank(first, c.first, nil); err != nil {
			t.Fatal(name, err)
		}
		s.state.Trials = append(s.state.Trials, first)
		err := s.rank(next, c.next, held)
		if c.basis == "" {
			if !errors.Is(err, errUnlike) || !strings.Contains(err.Error(), "process 7 counts this machine now") {
				t.Errorf("%s: %v", name, err)
			}
		} else if err != nil || next.Basis != c.basis || next.Energy == nil || next.Energy.Value != c.value {
			t.Errorf("%s: %+v, %v", name, next, err)
		}
	}
}

// Joules that another process's counting leaves idle power out of are not added to others, and not set beside the energy of runs that has it.
func TestSpendingOfOneMeaning(t *testing.T) {
	j := measure.Joules(2)
	own := spending{Wall: time.Second, Joules: &j, Kind: measure.Modelled}
	left := own
	left.CountedBy = "process 7"
	if s := own.plus(left); s.Joules != nil {
		t.Errorf("%v J with and without idle power", *s.Joules)
	}
	if s := left.plus(left); s.Joules == nil || *s.Joules != 4 || s.CountedBy == "" {
		t.Errorf("%+v", s)
	}
	for by, want := range map[string]bool{"": true, "process 8": false} {
		r := &run{}
		c := r.cost(&made{Name: "v", Cost: &own}, &carbonFactor{}, &measure.Energy{Kind: measure.Modelled, CountedBy: by})
		if (c.Joules != nil) != want || want == strings.Contains(strings.Join(r.warnings, "\n"), "making v: another process counted this machine") {
			t.Errorf("counted by %q: %+v, %q", by, c, r.warnings)
		}
	}
}

// The blocks of a result have joules where they mean what those of its figures do.
func TestUnlikeBlocksHaveNoJoules(t *testing.T) {
	domain := func(by string) []measure.DomainEnergy {
		return []measure.DomainEnergy{{Domain: measure.Domain{Zone: "m", Headline: true}, Source: measure.Source{Kind: measure.Modelled, CountedBy: by},
			Energy: 5e6, Status: measure.StatusOK}}
	}
	var done []measure.Block
	for round := range 2 {
		by := map[int]string{1: "process 7"}[round]
		for pos := range 4 {
			done = append(done, measure.Block{Round: round, Variant: "v", Position: pos, Baseline: pos == 0 || pos == 3, Passes: 1, Inferences: 1, Wall: time.Second,
				CPU: time.Second, Samples: []time.Duration{time.Second}, Energy: domain(by)})
		}
	}
	done[0].Void = measure.GapSuspend // what it holds means what the others do, and a void block says itself that it does not count
	idle := func(context.Context, int) error { return nil }
	cmp, err := measure.Compare(t.Context(), measure.Trial{Name: "baseline", Run: idle}, []measure.Trial{{Name: "v", Run: idle}},
		measure.Protocol{Done: done, MinPairs: 4, MaxPairs: 4, Precision: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range rawBlocks(cmp) {
		if unlike := b.CountedBy != ""; unlike != (b.Joules == nil) || unlike != (b.Gap == reports.GapUnlike) {
			t.Errorf("%+v", b)
		}
	}
}
