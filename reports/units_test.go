package reports

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestInsideInterval: a figure is written with the digits that it takes to lie in the interval beside it.
func TestInsideInterval(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{numIn(0.99999952, Interval{0.99999951, 0.99999954}), "0.99999952 [0.99999951, 0.99999954]"},
		{numIn(0.5, Interval{0.4, 0.6}), "0.5 [0.4, 0.6]"},
		{numIn(1, Interval{1, 1}), "1 [1, 1]"},
		{beside(0.99999952, 0.99999951, 0.99999954), "0.99999952 [0.99999951, 0.99999954]"},
		{beside(-0.000134, -0.00014, -0.00013), "−0.000134 [−0.000140, −0.000130]"},
		{beside(0.5, 0.4, 0.6), "0.5 [0.40, 0.60]"},
		{beside(1.27e7, 1.26e7, 1.49e7), "1.27e+07 [1.26e+07, 1.49e+07]"},
		{beside(1.2345e7, 1.2344e7, 1.2347e7), "1.23450e+07 [1.23440e+07, 1.23470e+07]"},
		{beside(9.9996e6, 9.9e6, 1.01e7), "9999600 [9.900e+06, 1.010e+07]"},
		{beside(4e7, 0, 3e9), "4.00e+07 [0, 3.0e+09]"},
		{beside(1.27e-9, 1.26e-9, 1.49e-9), "1.27e-09 [1.26e-09, 1.49e-09]"},
		{within(0.5, digitsStyle(0.5, 4), nil, 1, 0), "0.5"},
		{Score("cosine", 0.999953, &Interval{0.999951, 0.999955}), "0.9999530 [0.9999510, 0.9999550]"},
		{Score("accuracy", 0.97594, &Interval{0.975936, 0.975944}), "97.59400 % [97.59360, 97.59440]"},
		{Score("accuracy", 0.9759, &Interval{0.9652, 0.9834}), "97.59 % [96.52, 98.34]"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// beside writes a figure and its interval as the table of gates does.
func beside(x, lo, hi float64) string {
	ci := &Interval{lo, hi}
	return within(x, digitsStyle(x, 4), ci, 1, 0) + " " + bracket(ci, 1)
}

// TestAlwaysInside: whatever the figures, one that lies in its interval is read so.
func TestAlwaysInside(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 50_000 {
		x := math.Exp(rng.Float64()*60 - 25)
		w := math.Exp(-20 * rng.Float64())
		ci := Interval{x * (1 - w*rng.Float64()), x * (1 + w*rng.Float64())}
		if rng.IntN(2) == 0 {
			x, ci = -x, Interval{-ci[1], -ci[0]}
		}
		s := beside(x, ci[0], ci[1])
		var read [3]float64
		if n, _ := fmt.Sscanf(strings.NewReplacer("−", "-", "[", "", "]", "", ",", "").Replace(s), "%g %g %g", &read[0], &read[1], &read[2]); n == 3 && (read[0] < read[1] || read[0] > read[2]) {
			t.Fatalf("%v in %v is written %q", x, ci, s)
		}
	}
}

// TestGateInside: the message of a gate and the table of gates show a figure inside its interval.
func TestGateInside(t *testing.T) {
	a := &Accuracy{Metric: "cosine", Value: 0.99999952, CI95: &Interval{0.99999951, 0.99999954}, N: 100}
	r := &Result{Schema: Schema, Variants: []Variant{{Name: "baseline"}, {Name: "fp16", Accuracy: a}}}
	r.Gates = Judge(r, Gates{Rules: []Gate{{Key: "accuracy", Op: ">=", Limit: 0.99}}})
	if m := r.Gates[0].Message; !strings.HasPrefix(m, "0.99999952 [0.99999951, 0.99999954] from 100 examples, need") {
		t.Error(m)
	}
	s := gateSection(r)
	if len(s.Rows) != 1 || s.Rows[0][1] != "pass: 0.99999952 [0.99999951, 0.99999954]" {
		t.Errorf("%v", s.Rows)
	}
}

// TestGatePossible: a limit that no value keeps, or every one, is no gate.
func TestGatePossible(t *testing.T) {
	for _, c := range []struct{ key, expr, want string }{
		{"accuracy", ">= 150%", "no value keeps it: accuracy is -1 to 1"},
		{"accuracy", "> 1", "no value keeps it"},
		{"accuracy", ">= 1", ""},
		{"accuracy", "<= 2", "every value keeps it"},
		{"accuracy_drop", "<= -3", "no value keeps it"},
		{"accuracy_drop", "<= -0.01", ""},
		{"size_ratio", "<= -1", "no value keeps it: size_ratio is at least 0"},
		{"size_ratio", "<= 0", ""},
		{"energy_j", ">= -1", "every value keeps it"},
	} {
		_, err := ParseGate(c.key, c.expr)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.key, c.expr, err, c.want)
		}
	}
}
