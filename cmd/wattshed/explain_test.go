package main

import (
	"strings"
	"testing"

	"github.com/wattshed/wattshed/internal/explain"
	"github.com/wattshed/wattshed/reports"
)

// TestExplainSaysWhatWasPromised: a variant without effects does what was promised only where something was that could be checked.
func TestExplainSaysWhatWasPromised(t *testing.T) {
	for scheme, want := range map[string]string{"int8": "v: does what its scheme promises\n", "": "v: promises nothing of size or time that could be checked\n"} {
		r := &reports.Result{Variants: []reports.Variant{{Name: "base"}, {Name: "v", Latency: &reports.Latency{Ratio: &reports.Ratio{Value: 0.7}}}}}
		if scheme != "" {
			r.Variants[1].Stages = []reports.Stage{{Name: "quantize", Options: map[string]any{"scheme": scheme}}}
		}
		c := explain.Case{Result: r, Variant: &r.Variants[1], Baseline: &r.Variants[0]}
		var b strings.Builder
		(&explained{Variant: "v", Promised: explain.Promised(c), Effects: explain.Effects(c)}).print(&b)
		if b.String() != want {
			t.Errorf("%q: %q, want %q", scheme, b.String(), want)
		}
	}
}
