package carbon

import (
	"math"
	"testing"
)

func TestIndex(t *testing.T) {
	w := EFWeights()
	// One person-year of each is 1 by definition, and each alone is its rescaled weight: 0.463, 0.166, 0.183, 0.187.
	if v, err := w.Reference.Index(w); err != nil || math.Abs(v-1) > 1e-12 {
		t.Error(v, err)
	}
	for i, want := range []float64{0.463, 0.166, 0.183, 0.187} {
		r := w.Reference.list()
		x := Impact{}
		*[]*float64{&x.ClimateKg, &x.ResourceKg, &x.PrimaryMJ, &x.WaterM3}[i] = r[i]
		if v, err := x.Index(w); err != nil || math.Abs(v-want) > 5e-4 { // published to three digits
			t.Errorf("component %d: %v, want %v, %v", i, v, want, err)
		}
	}
	if _, err := (Impact{1, math.NaN(), 1, 1}).Index(w); err == nil {
		t.Error("a missing component was filled in")
	}
	clean, scarce := Impact{1000, 0.01, 1000, 100}, Impact{100, 0.031, 1000, 100}
	if flips, err := IndexFlips([]Impact{clean, scarce}, w); err != nil || !flips {
		t.Errorf("a close call does not flip: %v", err)
	}
	if flips, err := IndexFlips([]Impact{{1, 1, 1, 1}, {2, 2, 2, 2}}, w); err != nil || flips {
		t.Errorf("a dominated variant flips: %v", err)
	}
	if l := WaterScarcity(1000, 42.95); l != 42.95 {
		t.Error(l)
	}
}
