package main

import (
	"strings"
	"testing"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
)

// TestSearchNamesWhatWon: the winner has least energy only where its energy is known; otherwise its latency picked it.
func TestSearchNamesWhatWon(t *testing.T) {
	one := 1.0
	for _, c := range []struct {
		name   string
		energy *reports.Energy
		want   string
	}{
		{"shown to save", &reports.Energy{PerInference: &one, Ratio: &reports.EnergyRatio{Value: 0.8, CI95: &reports.Interval{0.7, 0.9}, N: 40}}, "\nleast energy within the budget: "},
		{"not shown to save", &reports.Energy{PerInference: &one, Ratio: &reports.EnergyRatio{Value: 0.97, CI95: &reports.Interval{0.9, 1.04}, N: 40}}, "\nleast energy within the budget (against the original: no change shown): "},
		{"joules without a ratio", &reports.Energy{PerInference: &one}, "\nleast latency within the budget (no energy known): "},
		{"no energy", nil, "\nleast latency within the budget (no energy known): "},
	} {
		r := &reports.Result{Variants: []reports.Variant{{Name: "baseline"}, {Name: "v", Energy: c.energy, Latency: &reports.Latency{Ratio: &reports.Ratio{Value: 0.8}}}}}
		least, known, why := won(r, "v")
		var b strings.Builder
		printWinner(&b, &recipe.SearchState{Winner: "v", Verdict: reports.Pass}, "out", least, known)
		if !strings.HasPrefix(b.String(), c.want) || (why != "") != strings.Contains(c.want, "against") {
			t.Errorf("%s: %q, %q", c.name, b.String(), why)
		}
	}
}
