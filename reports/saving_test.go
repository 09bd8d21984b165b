package reports

import (
	"strings"
	"testing"
)

// TestSaving: the verdict is "less" only where the deciding interval is below 1; joules beside a ratio are said to be pooled.
func TestSaving(t *testing.T) {
	one := 1.0
	result := func(ratio, lo, hi float64) *Result {
		base := Variant{Name: "baseline", Energy: &Energy{PerInference: &one, Source: "modelled"}}
		v := Variant{Name: "v", Energy: &Energy{PerInference: &one, Source: "modelled", Ratio: &EnergyRatio{Value: ratio, CI95: &Interval{lo, hi}, N: 40, Basis: "cpu_time"}}}
		return &Result{Schema: Schema, Variants: []Variant{base, v}}
	}
	for _, c := range []struct {
		ratio, lo, hi float64
		word          string
		shown         bool
	}{{0.8, 0.7, 0.9, "less", true}, {1.2, 1.1, 1.3, "more", false}, {0.97, 0.9, 1.04, "no change shown", false}} {
		r := result(c.ratio, c.lo, c.hi)
		if word, shown := Saving(r, "v"); word != c.word || shown != c.shown {
			t.Errorf("%v [%v, %v]: %q, %v, want %q", c.ratio, c.lo, c.hi, word, shown, c.word)
		}
		if word, shown := Saving(r, "baseline"); word != "" || shown {
			t.Errorf("the baseline: %q, %v", word, shown)
		}
		said := 0
		r.Variants[1].Energy.Domains = []Domain{{Domain: "cpu", Joules: 1}}
		r.Impact = &Impact{Vectors: []ImpactVector{{Variant: "v", EnergyJ: &one}}}
		for _, s := range sections(r) {
			for _, n := range s.Notes {
				said += strings.Count(n, "Ratios are paired")
			}
		}
		if said != 1 {
			t.Errorf("%d notes on pooled joules and paired ratios", said)
		}
	}
	r := result(0.95, 0.9, 0.99)
	wide := Interval{0.88, 1.03}
	r.Variants[1].Energy.Ratio.N, r.Variants[1].Energy.Ratio.NeededPairs, r.Variants[1].Energy.Ratio.Decides = 12, 40, &wide
	if word, shown := Saving(r, "v"); word != "undecided" || shown {
		t.Errorf("a wider interval decides below 30 pairs: %q, %v", word, shown)
	}
}
