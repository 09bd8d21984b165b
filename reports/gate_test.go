package reports

import (
	"bytes"
	"strings"
	"testing"
)

func TestJudge(t *testing.T) {
	iv := func(a, b float64) *Interval { return &Interval{a, b} }
	res := func(mut func(v *Variant)) *Result {
		v := Variant{Name: "v"}
		mut(&v)
		base := Variant{Name: "baseline", File: &File{Path: "a", Bytes: 1000}, Memory: &Memory{PeakRSS: ptr(int64(100))}}
		return &Result{Schema: Schema, Variants: []Variant{base, v}}
	}
	energy := func(ci *Interval, basis string) func(*Variant) {
		return func(v *Variant) { v.Energy = &Energy{Ratio: &EnergyRatio{Value: 0.5, CI95: ci, Basis: basis}} }
	}
	for name, c := range map[string]struct {
		key, expr string
		mut       func(v *Variant)
		modelled  bool
		want      Verdict
		reason    string
	}{
		"whole interval below": {"energy_ratio", "<= 0.6", energy(iv(0.45, 0.6), BasisCounter), false, Pass, ""},
		"interval spans":       {"energy_ratio", "<= 0.6", energy(iv(0.45, 0.61), BasisCounter), false, Inconclusive, ReasonSpansLimit},
		"strict at the limit":  {"energy_ratio", "< 0.6", energy(iv(0.45, 0.6), BasisCounter), false, Inconclusive, ReasonSpansLimit},
		"whole interval above": {"energy_ratio", "<= 0.4", energy(iv(0.45, 0.6), BasisCounter), false, Fail, ""},
		"modelled":             {"energy_ratio", "<= 0.6", energy(iv(0.45, 0.5), BasisCPUTime), false, Inconclusive, ReasonNotMeasured},
		"modelled, allowed":    {"energy_ratio", "<= 0.6", energy(iv(0.45, 0.5), BasisCPUTime), true, Pass, ""},
		"no interval":          {"energy_ratio", "<= 0.6", energy(nil, BasisCounter), false, Inconclusive, ReasonNoInterval},
		"absent":               {"energy_ratio", "<= 0.6", func(*Variant) {}, false, Inconclusive, ReasonNotMeasured},
		"size is exact":        {"size_ratio", "<= 30%", func(v *Variant) { v.File = &File{Bytes: 300} }, false, Pass, ""},
		"size too big":         {"size_ratio", "<= 0.3", func(v *Variant) { v.File = &File{Bytes: 301} }, false, Fail, ""},
		"memory":               {"memory_ratio", "< 1", func(v *Variant) { v.Memory = &Memory{PeakRSS: ptr(int64(100))} }, false, Fail, ""},
		"drop is minus delta":  {"accuracy_drop", "<= 0.01", func(v *Variant) { v.Accuracy = &Accuracy{Delta: &Delta{Value: -0.02, CI95: iv(-0.03, -0.012)}} }, false, Fail, ""},
		"a gain is no drop":    {"accuracy_drop", "<= 0.01", func(v *Variant) { v.Accuracy = &Accuracy{Delta: &Delta{Value: 0.02, CI95: iv(0.01, 0.03)}} }, false, Pass, ""},
		"lower is better": {"accuracy_drop", "<= 0.01", func(v *Variant) {
			v.Accuracy = &Accuracy{LowerIsBetter: true, Delta: &Delta{Value: 0.02, CI95: iv(0.015, 0.03)}}
		}, false, Fail, ""},
		"latency":                  {"latency_ratio", "<= 1", func(v *Variant) { v.Latency = &Latency{Ratio: &Ratio{Value: 0.9, CI95: iv(0.8, 1)}} }, false, Pass, ""},
		"at least, whole interval": {"accuracy", ">= 0.95", func(v *Variant) { v.Accuracy = &Accuracy{Value: 0.96, CI95: iv(0.951, 0.97)} }, false, Pass, ""},
		"a cosine of two values":   {"accuracy", ">= 0.9", func(v *Variant) { v.Accuracy = &Accuracy{Value: 0.999, CI95: iv(0.998, 1), FewValues: 2} }, false, Inconclusive, ReasonFewValues},
		"its drop": {"accuracy_drop", "<= 0.1", func(v *Variant) {
			v.Accuracy = &Accuracy{FewValues: 1, Delta: &Delta{Value: -0.001, CI95: iv(-0.002, 0)}}
		}, false, Inconclusive, ReasonFewValues},
		"that can fail": {"accuracy", ">= 0.9", func(v *Variant) { v.Accuracy = &Accuracy{Value: 0.5, CI95: iv(0.4, 0.6), FewValues: 2} }, false, Fail, ""},
	} {
		g, err := ParseGates(map[string]string{c.key: c.expr}, c.modelled)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := Judge(res(c.mut), g)
		if len(got) != 1 || got[0].Verdict != c.want || got[0].Reason != c.reason {
			t.Errorf("%s: %+v, want %s %s", name, got, c.want, c.reason)
		}
	}
}

func TestOverall(t *testing.T) {
	gr := func(v string, x Verdict) GateResult { return GateResult{Variant: v, Verdict: x} }
	rules := []Gate{{Key: "size_ratio", Op: "<=", Limit: 1}}
	for name, c := range map[string]struct {
		g    Gates
		in   []GateResult
		want Verdict
		exit int
	}{
		"no gates":                   {Gates{}, nil, Pass, 0},
		"nothing to judge":           {Gates{Rules: rules}, nil, Inconclusive, 4},
		"one variant passes all":     {Gates{Rules: rules}, []GateResult{gr("a", Fail), gr("b", Pass), gr("b", Pass)}, Pass, 0},
		"passes are spread":          {Gates{Rules: rules}, []GateResult{gr("a", Fail), gr("a", Pass), gr("b", Pass), gr("b", Fail)}, Fail, 3},
		"the best is inconclusive":   {Gates{Rules: rules}, []GateResult{gr("a", Fail), gr("b", Inconclusive), gr("b", Pass)}, Inconclusive, 4},
		"named: all of them":         {Gates{Rules: rules, Variants: []string{"a", "b"}}, []GateResult{gr("a", Fail), gr("b", Pass)}, Fail, 3},
		"named: all pass":            {Gates{Rules: rules, Variants: []string{"a", "b"}}, []GateResult{gr("a", Pass), gr("b", Pass)}, Pass, 0},
		"named: one is inconclusive": {Gates{Rules: rules, Variants: []string{"a", "b"}}, []GateResult{gr("a", Pass), gr("b", Inconclusive)}, Inconclusive, 4},
	} {
		got := Overall(c.g, c.in)
		if got != c.want || ExitCode(got) != c.exit {
			t.Errorf("%s: %s (exit %d), want %s (exit %d)", name, got, ExitCode(got), c.want, c.exit)
		}
	}
}

func TestJudgeNamedButMissing(t *testing.T) {
	g := Gates{Rules: []Gate{{Key: "size_ratio", Op: "<=", Limit: 1}}, Variants: []string{"ghost"}}
	got := Judge(emptyResult(), g)
	if len(got) != 1 || got[0].Variant != "ghost" || got[0].Verdict != Inconclusive {
		t.Errorf("got %+v", got)
	}
}

func TestParseGateRefuses(t *testing.T) {
	for _, c := range [][2]string{{"energy", "<= 1"}, {"energy_ratio", "0.6"}, {"energy_ratio", "<= x"}, {"energy_ratio", "<= NaN"}, {"energy_ratio", "== 1"}, {"energy_ratio", ""}} {
		if g, err := ParseGate(c[0], c[1]); err == nil {
			t.Errorf("%v gave %v", c, g)
		}
	}
}

// Every gate is listed with what it limits, and words that people look for lead to one.
func TestGateWords(t *testing.T) {
	if len(GateKeys()) == 0 {
		t.Fatal("no gates")
	}
	_, err := ParseGate("fidelity", ">= 0.9")
	for _, g := range gateKeys() {
		if g.what == "" || g.figure == nil || !strings.Contains(GateTable(), "  "+g.key+" ") || err == nil || !strings.Contains(err.Error(), g.key+" ("+g.what+")") {
			t.Errorf("%s is not listed with what it is: %v", g.key, err)
		}
	}
	for word, key := range gateNames {
		if gateFigure(key) == nil || gateFigure(word) != nil || GateFor(strings.ToUpper(word)) != key {
			t.Errorf("%q stands for %q", word, key)
		}
	}
	if GateFor("accurate") != "" {
		t.Error("a word that nobody knows has a gate")
	}
}

// What a cosine of few values cannot show stands beside the gate's verdict, in the report too.
func TestFewValuesAreSaid(t *testing.T) {
	r := fidelityResult()
	for i := range r.Variants {
		r.Variants[i].Accuracy.FewValues = 2
	}
	r.Gates = Judge(r, Gates{Rules: []Gate{{Key: "accuracy", Op: ">=", Limit: 0.5}}})
	for _, g := range r.Gates {
		if g.Verdict != Inconclusive || !strings.Contains(g.Message, "the cosine of outputs with 2 values shows little but their signs") {
			t.Errorf("%+v", g)
		}
	}
	for name, export := range map[string]Exporter{"html": HTML, "md": Markdown} {
		var b bytes.Buffer
		if err := export(&b, r); err != nil || !strings.Contains(b.String(), "the cosine of outputs with 2 values shows little but their signs") {
			t.Errorf("%s: %v, no word of the few values", name, err)
		}
	}
}

// The reports explain what does not pass with the words of the terminal: the value, its interval, what it rests on, the limit, why, and what would decide it.
func TestGatesAreExplained(t *testing.T) {
	r := demoResult()
	v := &r.Variants[1]
	v.Latency.Ratio = &Ratio{Value: 0.64, CI95: &Interval{0.60, 0.68}, N: 12, Pairing: Pairing{NeededPairs: 30, Decides: &Interval{0.58, 0.71}}}
	v.Latency.P95, v.Latency.P95CI, v.Latency.N = 0.002, &Interval{0.0018, 0.0023}, 1200
	v.Accuracy = &Accuracy{Metric: "accuracy", Value: 0.95, N: 1000, Delta: &Delta{Value: -0.012, CI95: &Interval{-0.018, -0.006}, N: 1000}}
	r.Variants = r.Variants[:2]
	g, err := ParseGates(map[string]string{"latency_ratio": "<= 0.7", "latency_p95_s": "<= 0.001", "accuracy_drop": "<= 0.01", "memory_ratio": "<= 0.1", "size_ratio": "<= 0.01", "energy_j": "<= 0.001"}, false)
	if err != nil {
		t.Fatal(err)
	}
	v.Energy, v.Memory = nil, &Memory{PeakRSS: ptr(int64(500)), N: 3, Range: &Interval{400, 600}}
	r.Variants[0].Memory = &Memory{PeakRSS: ptr(int64(1000)), N: 5, Range: &Interval{900, 1100}}
	r.Gates = Judge(r, g)
	want := []string{
		"accuracy_drop <= 0.01, inconclusive: 0.012 [0.006, 0.018] from 1,000 examples, need <= 0.01: the 95 % interval holds the limit, about 8,000 more examples would decide.",
		"energy_j <= 0.001, inconclusive: not measured.",
		"latency_p95_s <= 0.001, fail: 0.002 [0.0018, 0.0023] from 1,200 runs, need <= 0.001: all of the 95 % interval breaks the limit.",
		"latency_ratio <= 0.7, inconclusive: 0.64 [0.58, 0.71] from 12 pairs, need <= 0.7: the wider interval, which decides below 30 pairs, holds the limit, about 18 more pairs would decide.",
		"memory_ratio <= 0.1, fail: 0.5 [0.3636, 0.6667] from 3 readings, need <= 0.1: all of the interval breaks the limit.",
		"size_ratio <= 0.01, fail: 0.502, need <= 0.01.",
	}
	for name, export := range map[string]Exporter{"html": HTML, "md": Markdown} {
		var b bytes.Buffer
		if err := export(&b, r); err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("\\", "", "&lt;", "<", "&gt;", ">").Replace(b.String())
		for _, s := range want {
			if !strings.Contains(text, plain(v.Name)+", "+s) {
				t.Errorf("%s lacks %q\n%s", name, s, text[strings.Index(text, "Gates"):][:2000])
			}
		}
	}
}

// What would decide follows from the side of the interval that holds the limit, which may be the longer one.
func TestMoreExamples(t *testing.T) {
	for _, c := range []struct {
		value float64
		ci    Interval
		limit float64
		n     int
		want  string
	}{
		{0.004, Interval{-0.001, 0.0101}, 0.01, 10_000, ", about 337 more examples would decide"}, // (0.0061/0.006)² - 1 of them
		{0.004, Interval{-0.0001, 0.0131}, 0, 10_000, ", about 507 more examples would decide"},   // (0.0041/0.004)² - 1 of them
		{0.004, Interval{-0.001, 0.01}, 0.01, 1000, ", about 1 more example would decide"},
	} {
		f := figure{value: c.value, ci: &c.ci, n: c.n, counted: "example"}
		if got := f.moreWords(c.limit, ""); got != c.want {
			t.Errorf("%v in %v, limit %v: %q, want %q", c.value, c.ci, c.limit, got, c.want)
		}
	}
}
