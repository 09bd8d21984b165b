package reports

import (
	"strings"
	"testing"
)

// TestInsideInterval: a figure is written with the digits that it takes to lie in the interval beside it.
func TestInsideInterval(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{numIn(0.99999952, Interval{0.99999951, 0.99999954}), "0.99999952 [0.99999951, 0.99999954]"},
		{numIn(0.5, Interval{0.4, 0.6}), "0.5 [0.4, 0.6]"},
		{numIn(1, Interval{1, 1}), "1 [1, 1]"},
		{within("1", 0.99999952, "[0.99999951, 0.99999954]"), "0.99999952"},
		{within("−0.0001", -0.000134, "[−0.00014, −0.00013]"), "−0.00013"},
		{within("0.5", 0.5, "[0.4, 0.6]"), "0.5"},
		{within("0.5", 0.5, ""), "0.5"},
		{Score("cosine", 0.999953, &Interval{0.999951, 0.999955}), "0.9999530 [0.9999510, 0.9999550]"},
		{Score("accuracy", 0.97594, &Interval{0.975936, 0.975944}), "97.59400 % [97.59360, 97.59440]"},
		{Score("accuracy", 0.9759, &Interval{0.9652, 0.9834}), "97.59 % [96.52, 98.34]"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

// TestGateInside: the message of a gate and the table of gates show a figure inside its interval.
func TestGateInside(t *testing.T) {
	a := &Accuracy{Metric: "cosine", Value: 0.99999952, CI95: &Interval{0.99999951, 0.99999954}, N: 100}
	r := &Result{Schema: Schema, Variants: []Variant{{Name: "baseline"}, {Name: "fp16", Accuracy: a}}}
	r.Gates = Judge(r, Gates{Rules: []Gate{{Key: "accuracy", Op: ">=", Limit: 0.99}}})
	if m := r.Gates[0].Message; !strings.HasPrefix(m, "0.99999952 [0.99999951, 0.99999954], need") {
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
