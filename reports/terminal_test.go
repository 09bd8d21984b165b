package reports

import (
	"bytes"
	"strings"
	"testing"
)

// What a variant gained, lost and leaves open, against the figures of the sample by hand: fp16 has half the bytes, 1.004 of the time
// [0.989, 1.020] and 1.014 of the energy [0.994, 1.034]; the sparse one 1.06 of the time [1.044, 1.077].
func TestOutcome(t *testing.T) {
	r := demoResult()
	r.Variants[2].Latency.Ratio.NeededPairs = 30 // 12 pairs that decide nothing
	for i, wants := range map[int][]string{
		1: {"fp16: gained size 0.50×", "; lost nothing shown; no change shown: accuracy ±0 points, latency 1.00×, energy 1.01× (modelled)"},
		2: {"gained size 0.50×", "; undecided: latency ", "× (12 pairs with outliers or correlation decide nothing)"},
		3: {"int8: gained size 0.26×, latency 0.47×, energy 0.47× (modelled), memory 0.61×; lost nothing shown; no change shown: accuracy −0.14 points"},
	} {
		for _, w := range wants {
			if s := Outcome(r, i); !strings.Contains(s, w) {
				t.Errorf("%q lacks %q", s, w)
			}
		}
	}
	for i := range r.Variants {
		if r.Variants[i].Name == "sparse-2:4-with-recovery" {
			if s := Outcome(r, i); !strings.Contains(s, "gained nothing shown; lost accuracy −0.89 points, latency 1.06×") {
				t.Errorf("%q", s)
			}
		}
	}
	if s := Outcome(r, 0) + Outcome(r, -1) + Outcome(r, 99) + Outcome(emptyResult(), 1); s != "" {
		t.Errorf("%q of nothing", s)
	}
	f := fidelityResult()
	f.Task.Kind = "agreement"
	f.Variants[1].Accuracy.Metric, f.Variants[1].Accuracy.Value, f.Variants[1].Accuracy.CI95 = "decisions as the baseline", 0.99, &Interval{0.98, 0.995}
	if s := Outcome(f, 1); !strings.Contains(s, "; lost identical decisions (99.00 % as the original's)") {
		t.Errorf("%q", s)
	}
	// A cosine is how close the outputs are: it must not read as what was lost.
	f = fidelityResult()
	a := f.Variants[1].Accuracy
	a.Value, a.CI95 = 0.9871, &Interval{0.98, 0.995}
	if s := Outcome(f, 1); !strings.Contains(s, "; lost identical outputs (cosine 0.9871 to the original)") {
		t.Errorf("%q", s)
	}
	a.FewValues = 2
	if s := Outcome(f, 1); !strings.Contains(s, "(cosine 0.9871 to the original, of 2 values only)") {
		t.Errorf("%q", s)
	}
	a.FewValues, a.Value, a.CI95 = 0, 1, nil
	if s := Outcome(f, 1); !strings.Contains(s, "; lost nothing shown; no change shown: outputs (cosine 1 to the original)") {
		t.Errorf("%q", s)
	}
}

func TestTerminal(t *testing.T) {
	var b bytes.Buffer
	if err := Terminal(&b, demoResult(), false); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	for _, want := range []string{"ENERGY RATIO (modelled)", "  CARBON (modelled)\n", " LATENCY  ", "LATENCY RATIO", " 909 µs (mean) ", "those marked (mean) are arithmetic means of runs", "3.12 MB", "97.35 %", "below 30 pairs", "\nnote: energy and carbon are modelled, estimated from CPU time"} {
		if !strings.Contains(s, want) {
			t.Errorf("lacks %q:\n%s", want, s)
		}
	}
	for _, bad := range []string{"MiB", "-0.0000", "PEAK MEMORY"} {
		if strings.Contains(s, bad) {
			t.Errorf("holds %q", bad)
		}
	}
	b.Reset()
	if err := Terminal(&b, pairedResult(), true); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "LATENCY, GEOMEAN") || strings.Contains(s, "(mean)") || !strings.Contains(s, "1.59 → 2.52 ms ") || !strings.Contains(s, " 1.59× [") || !strings.Contains(s, "geometric means over blocks") || !strings.Contains(s, "SINGLE RUNS") || !strings.Contains(s, "900 µs") {
		t.Errorf("the times beside a ratio are not those it is made of:\n%s", s)
	}
	for name, r := range map[string]*Result{"empty": emptyResult(), "none": {Schema: Schema}, "nasty": nastyResult(), "fidelity": fidelityResult()} {
		b.Reset()
		if err := Terminal(&b, r, true); err != nil || strings.ContainsAny(b.String(), "\x00\x1b") {
			t.Errorf("%s: %v:\n%q", name, err, b.String())
		}
	}
}
