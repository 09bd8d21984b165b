package reports

import (
	"math"
	"strings"
	"testing"
)

// severalResult has m variants with one measured energy ratio each.
func severalResult(coverage float64, ratios ...EnergyRatio) *Result {
	r := &Result{Schema: Schema, Variants: []Variant{{Name: "baseline", Energy: &Energy{Source: SourceMeasured, Coverage: ptr(1.0)}}}}
	for i := range ratios {
		ratios[i].Basis, ratios[i].N = BasisCounter, 40
		r.Variants = append(r.Variants, Variant{Name: string(rune('a' + i)), Energy: &Energy{Source: SourceMeasured, Coverage: &coverage, Ratio: &ratios[i]}})
	}
	return r
}

// TestGateOverSeveral: where one passing variant is enough, a pass by a hair among four is none, a clear one is; by itself, or where all
// must pass, the hair's breadth is enough. On the log scale the half-width is ln(1.05); the limit is 2.08 standard errors away:
// p = 0.0188 by the normal table, 4p = 0.075.
func TestGateOverSeveral(t *testing.T) {
	close := EnergyRatio{Value: 0.6 / math.Pow(1.05, 2.08/1.96), CI95: &Interval{0.6 / math.Pow(1.05, 2.08/1.96+1), 0.6 / math.Pow(1.05, 2.08/1.96-1)}}
	clear := EnergyRatio{Value: 0.5, CI95: &Interval{0.48, 0.52}}
	far := EnergyRatio{Value: 1, CI95: &Interval{0.95, 1.05}}
	g, err := ParseGates(map[string]string{"energy_ratio": "<= 0.6"}, false)
	if err != nil {
		t.Fatal(err)
	}
	verdict := func(g Gates, x ...EnergyRatio) (GateResult, Verdict) {
		out := Judge(severalResult(1, x...), g)
		return out[0], Overall(g, out)
	}
	if first, all := verdict(g, close); first.Verdict != Pass || all != Pass {
		t.Errorf("by itself: %+v", first)
	}
	first, all := verdict(g, close, far, far, far)
	if first.Verdict != Inconclusive || first.Reason != ReasonSeveral || all != Inconclusive || !strings.Contains(first.Message, "among 4 variants") {
		t.Errorf("among four: %+v, %s", first, all)
	}
	if first, all := verdict(g, clear, far, far, far); first.Verdict != Pass || all != Pass {
		t.Errorf("clear among four: %+v, %s", first, all)
	}
	named := g
	named.Variants = []string{"a", "b"}
	if first, all := verdict(named, close, clear); first.Verdict != Pass || all != Pass {
		t.Errorf("all must pass: %+v, %s", first, all)
	}
}

// TestGateWantsCoverage: energy of which the meter saw 94 % passes no gate, and fails one all the same.
func TestGateWantsCoverage(t *testing.T) {
	for _, c := range []struct {
		coverage float64
		limit    string
		want     Verdict
		reason   string
	}{{0.96, "<= 0.6", Pass, ""}, {0.94, "<= 0.6", Inconclusive, ReasonCoverage}, {0.94, "<= 0.4", Fail, ""}} {
		g, err := ParseGates(map[string]string{"energy_ratio": c.limit}, false)
		if err != nil {
			t.Fatal(err)
		}
		got := Judge(severalResult(c.coverage, EnergyRatio{Value: 0.5, CI95: &Interval{0.48, 0.52}}), g)
		if got[0].Verdict != c.want || got[0].Reason != c.reason {
			t.Errorf("%+v: %+v", c, got[0])
		}
	}
}
