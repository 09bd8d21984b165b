package recipe

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// paired makes a ratio of 30 pairs around value with 2 % scatter.
func paired(t *testing.T, value float64, seed uint64) *measure.Ratio {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	ones, x := make([]float64, 30), make([]float64, 30)
	for i := range x {
		ones[i], x[i] = 1, value*math.Exp(0.02*rng.NormFloat64())
	}
	r, err := measure.PairedRatio(ones, x, measure.BasisCounter, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// TestCarbonRatio: half of the baseline's grams follow the energy, half the time, and the interval covers what is not
// known of that share.
func TestCarbonRatio(t *testing.T) {
	s := measure.Summary{EnergyRatio: paired(t, 0.5, 1), LatencyRatio: paired(t, 0.9, 2)}
	exact := carbonRatio(s, 0.5, measure.Interval{Lo: 0.5, Hi: 0.5})
	// Σ of two independent scatters of 2 %: a standard error of 0.02·√(0.25·0.5²+0.25·0.9²)/0.7/√30 = 0.27 %.
	if exact == nil || math.Abs(exact.Value-0.7) > 0.007 || exact.CI95[0] > exact.Value || exact.CI95[1] < exact.Value || exact.N != 30 {
		t.Fatalf("%+v", exact)
	}
	wide := carbonRatio(s, 0.5, measure.Interval{Lo: 0.3, Hi: 0.7})
	if wide.Value != exact.Value || wide.CI95[0] > 0.64 || wide.CI95[1] < 0.76 { // 0.7 ± 0.2·0.4
		t.Errorf("share of 0.3 to 0.7: %v", wide.CI95)
	}
	if all := carbonRatio(s, 1, measure.Interval{Lo: 1, Hi: 1}); all.Value != s.EnergyRatio.Value {
		t.Errorf("without embodied grams: %v, energy %v", all.Value, s.EnergyRatio.Value)
	}
	if carbonRatio(measure.Summary{LatencyRatio: s.LatencyRatio}, 0.5, measure.Interval{}) != nil {
		t.Error("a ratio without energy")
	}
}

// TestFlips: only variants that are apart can swap.
func TestFlips(t *testing.T) {
	row := func(name string, index, half float64, parts [3]float64) indexed {
		return indexed{vector: reports.ImpactVector{Variant: name, Index: &index, CI95: &reports.Interval{index - half, index + half}}, parts: parts, ok: true}
	}
	rows := []indexed{row("lean", 0.8, 0.02, [3]float64{0.4, 0.4, 1.6}), row("quick", 0.9, 0.02, [3]float64{1.1, 1.1, 0.5})}
	if got := orderOf(rows, [3]float64{1, 1, 1}); got[0] != "lean" {
		t.Errorf("%v", got)
	}
	if !flips(rows, orderOf(rows, [3]float64{1, 1, 1}), orderOf(rows, [3]float64{1, 1, 3})) {
		t.Error("a swap of variants that are apart was not seen")
	}
	rows[1] = row("quick", 0.82, 0.05, rows[1].parts)
	if flips(rows, []string{"lean", "quick"}, []string{"quick", "lean"}) {
		t.Error("variants with overlapping intervals were said to flip")
	}
}

// TestPayback: a cost of 100 J over a saving of 0.5 of 1 J breaks even after 200 inferences. The interval knows the ratio's scatter, what
// does not cancel of the meter, and, where the energies are modelled, the assumptions of both.
func TestPayback(t *testing.T) {
	x := paired(t, 0.5, 1)
	q := energyRatioOf(x, measure.Summary{EnergyRatio: x})
	r := &run{}
	width := func(p payback) (float64, string) {
		b, none := paysBack[measure.Joules](r, p, 100, 1, q)
		if none || b == nil || b.CI95 == nil || math.Abs(b.Value-200) > 4 || !(b.CI95[0] < b.Value && b.Value < b.CI95[1]) {
			t.Fatalf("%+v: %+v, none %v", p, b, none)
		}
		return math.Log(b.CI95[1]/b.CI95[0]) / 2, b.Method
	}
	pairs, _ := width(payback{name: "v", source: reports.SourceMeasured})
	meter, method := width(payback{name: "v", source: reports.SourceMeasured, u: 0.1})
	// 10 % of the cost adds to the scatter of 30 pairs as squares; the t quantile of 29 instead of the normal one widens by 4 %.
	if want := math.Hypot(pairs, 0.1*2.045/1.96); method != methodFieller || math.Abs(meter-want) > 0.01 {
		t.Errorf("meter: half-width %v, want %v (%s)", meter, want, method)
	}
	model, method := width(payback{name: "v", source: reports.SourceModelled, model: math.Sqrt2 * math.Log(1.6)})
	if want := math.Hypot(pairs, math.Sqrt2*math.Log(1.6)); method != methodFiellerModel || math.Abs(model-want) > 0.01 {
		t.Errorf("model within 60 %%: half-width %v, want %v (%s)", model, want, method)
	}
}

// TestElsewhere: what needs more energy and less time is worse by index on a dirty grid and better where making the machine is all.
func TestElsewhere(t *testing.T) {
	row := func(name string, parts [3]float64) indexed {
		return indexed{vector: reports.ImpactVector{Variant: name}, parts: parts, ok: true}
	}
	rows := []indexed{row("baseline", [3]float64{1, 1, 1}), row("quick", [3]float64{1.35, 0, 0.7})}
	equal := [3]float64{1, 1, 1}
	if got := orderOf(elsewhere(rows, 1), equal); got[0] != "baseline" { // 1.35 + 1.35 + 0.7 = 3.4
		t.Errorf("all operational: %v", got)
	}
	if got := orderOf(elsewhere(rows, 0), equal); got[0] != "quick" { // 1.35 + 0.7 + 0.7 = 2.75
		t.Errorf("all embodied: %v", got)
	}
}
