package reports

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

// pairedResult has pairs of blocks whose ratio is known by hand: (2/1 · 8/4 · 1/1)^(1/3) = 4^(1/3).
func pairedResult() *Result {
	r := &Result{Schema: Schema, Tool: Tool{Version: "0.1.0"}}
	for k, s := range [][2]float64{{1, 2}, {4, 8}, {1, 1}} {
		pos := k * 2
		first, second := Block{Round: k / 2, Position: pos % 4, Variant: "v", Baseline: true, Seconds: s[0], Inferences: 1000}, Block{Round: k / 2, Position: pos%4 + 1, Variant: "v", Seconds: 2 * s[1], Inferences: 2000}
		if k == 1 { // the second half of ABBA
			first, second = second, first
			first.Position, second.Position = 2, 3
		}
		r.Blocks = append(r.Blocks, first, second)
	}
	r.Blocks = append(r.Blocks, Block{Round: 9, Variant: "v", Baseline: true, Seconds: 99, Inferences: 1}, // without its partner
		Block{Round: 8, Variant: "v", Baseline: true, Seconds: 99, Inferences: 1, Void: "slept"}, Block{Round: 8, Position: 1, Variant: "v", Seconds: 1, Inferences: 1})
	q := math.Cbrt(4)
	r.Variants = []Variant{{Name: "baseline", Latency: &Latency{P50: 0.001, P95: 0.002, P99: 0.002, Mean: 0.003, N: 9}},
		{Name: "v", Latency: &Latency{P50: 0.0009, P95: 0.002, P99: 0.002, Mean: 0.003, N: 9, Ratio: &Ratio{Value: q, N: 3, CI95: &Interval{q * 0.9, q * 1.1}}}}}
	return r
}

// What stands beside a ratio has that ratio: (1·4·1)^(1/3) ms and (2·8·1)^(1/3) ms.
func TestTimesHaveTheRatio(t *testing.T) {
	r := pairedResult()
	got, ok := timesOf(r, &r.Variants[1])
	// t of two degrees of freedom is 4.3027 (Student's table); the logs of 2, 8 and 1 ms have the standard
	// deviation ln 2·√(7/3): ln 2·(1, 3, 0) lie around 4/3, the squares are 1/9 + 25/9 + 16/9 = 14/3, over 2.
	half := 4.3027 * math.Ln2 * math.Sqrt(7.0/3) / math.Sqrt(3)
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-4*b } // as many digits as the table has
	if !ok || !near(got.Base, math.Cbrt(4)*1e-3) || !near(got.Own, math.Cbrt(16)*1e-3) || !near(got.CI[0], got.Own*math.Exp(-half)) || !near(got.CI[1], got.Own*math.Exp(half)) {
		t.Errorf("%+v %v", got, got.CI)
	}
	if q := got.Own / got.Base; math.Abs(q-r.Variants[1].Latency.Ratio.Value) > 1e-12 {
		t.Errorf("quotient %v", q)
	}
	if s := got.words("s"); s != "1.59 → 2.52 ms" {
		t.Errorf("%q", s)
	}
	if s := (perRun{Own: 2e-6, Base: 1.5e-3}).words("s"); s != "1.5 ms → 2 µs" {
		t.Errorf("%q", s)
	}
	for i := range r.Blocks { // a count that differs, so these are not the blocks of the ratio
		if r.Blocks[i].Void != "" {
			r.Blocks[i].Void = ""
		}
	}
	if got, ok := timesOf(r, &r.Variants[1]); !ok || got != (perRun{Own: 0.003, Mean: true}) {
		t.Errorf("%+v, want the mean of the samples alone", got)
	}
	r.Blocks = nil
	if got, _ := timesOf(r, &r.Variants[0]); got != (perRun{Own: 0.003, Mean: true}) {
		t.Errorf("%+v, want the baseline's mean", got)
	}
}

// TestTimesAreNamed: every format says of which statistic a time is, and no more: without the blocks of the ratio it is an arithmetic mean.
func TestTimesAreNamed(t *testing.T) {
	for _, without := range []bool{false, true} {
		r := pairedResult()
		if without {
			r.Blocks = nil
		}
		for name, export := range map[string]func(*bytes.Buffer) error{
			"terminal": func(b *bytes.Buffer) error { return Terminal(b, r, true) },
			"markdown": func(b *bytes.Buffer) error { return Markdown(b, r) },
			"html":     func(b *bytes.Buffer) error { return HTML(b, r) },
		} {
			var b bytes.Buffer
			if err := export(&b); err != nil {
				t.Fatal(err)
			}
			s := strings.ToLower(b.String())
			geometric := strings.Contains(s, "latency, geom") || strings.Contains(s, "are geometric means") || strings.Contains(s, "bar: geometric")
			arithmetic := strings.Contains(s, "3 ms (mean)") && strings.Contains(s, "arithmetic means of runs")
			if geometric == without || arithmetic != without || strings.Contains(s, "times are means of blocks") {
				t.Errorf("%s, without blocks %v: geometric %v, arithmetic %v", name, without, geometric, arithmetic)
			}
		}
	}
}
