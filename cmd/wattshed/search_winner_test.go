package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/reports"
)

// TestPrintWinner: the model that won by the verdict of the search, with what is known of it, and the budget that nothing met.
func TestPrintWinner(t *testing.T) {
	file := filepath.Join("out", "variants", "w.onnx")
	tail := "report: " + filepath.Join("out", "report.html") + "\n"
	for _, c := range []struct {
		overall            reports.Verdict
		least, known, want string
	}{
		{reports.Pass, "least energy", "", "\nleast energy within the budget: " + file + "\n"},
		{reports.Pass, "least energy", " (against the original: no difference shown)", "\nleast energy within the budget (against the original: no difference shown): " + file + "\n"},
		{reports.Inconclusive, "least latency", "", "\nleast latency that the gates do not refuse: " + file + "\n"},
		{reports.Inconclusive, "least energy", " (against the original: more)", "\nleast energy that the gates do not refuse (against the original: more): " + file + "\n"},
		{reports.Fail, "least energy", "", "\nnothing meets the budget (size_ratio <= 0.1, accuracy_drop <= 0.01); the Pareto front is in " + filepath.Join("out", "variants") + "\n"},
	} {
		var b bytes.Buffer
		printWinner(&b, &recipe.SearchState{Winner: "w", Verdict: c.overall, Budget: []string{"size_ratio <= 0.1", "accuracy_drop <= 0.01"}}, "out", c.least, c.known)
		if got := b.String(); got != c.want+tail {
			t.Errorf("%s, %q: %q, want %q", c.overall, c.known, got, c.want+tail)
		}
	}
}
