package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestUndecided: beside a 95 % interval that does not hold 1, what leaves the ratio undecided all the same stands wherever the ratio does: the wider
// interval of few pairs, or Holm's adjusted p. Beside a ratio that is decided, or holds 1, nothing does.
func TestUndecided(t *testing.T) {
	narrow, wide, low := Interval{0.90, 0.97}, Interval{0.85, 1.02}, Interval{0.88, 0.99}
	p := 0.08
	for _, c := range []struct {
		what    string
		ci      Interval
		pairing Pairing
		n       int
		want    string
	}{
		{"few pairs", narrow, Pairing{NeededPairs: 30, Decides: &wide}, 12, "decided by [0.85, 1.02]"},
		{"Holm", narrow, Pairing{PHolm: &p}, 40, "decided by Holm's p, 0.08"},
		{"decided by the wider one", narrow, Pairing{NeededPairs: 30, Decides: &low}, 12, ""},
		{"decided", narrow, Pairing{}, 40, ""},
		{"no change", Interval{0.9, 1.01}, Pairing{NeededPairs: 30, Decides: &wide}, 12, ""},
	} {
		r := demoResult()
		r.Variants[1].Latency.Ratio = &Ratio{Value: 0.935, CI95: &c.ci, N: c.n, Pairing: c.pairing}
		r.Variants[1].Energy.Ratio = nil
		f, _ := latencyRatio(&r.Variants[1], &r.Variants[0])
		if got := f.openWords(); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
		var text, page bytes.Buffer
		if err := Terminal(&text, r, false); err != nil {
			t.Fatal(err)
		}
		if err := HTML(&page, r); err != nil {
			t.Fatal(err)
		}
		row := ""
		for _, line := range strings.Split(text.String(), "\n") {
			if strings.HasPrefix(line, r.Variants[1].Name+" ") {
				row = line
			}
		}
		clause := ratioClause(f, "runs take", "time", "run time")
		cell := latencyCell(r, &r.Variants[1]).Sub
		for where, s := range map[string]string{"terminal": row, "clause": clause, "cell": cell, "outcome": Outcome(r, 1), "headline": strings.Join(undecidedLine(r), "")} {
			if has := strings.Contains(s, "decided by"); has != (c.want != "") || has && !strings.Contains(s, c.want) {
				t.Errorf("%s, %s: %q, want %q in it", c.what, where, s, c.want)
			}
		}
		if c.want != "" && !strings.Contains(strings.ReplaceAll(page.String(), "&#39;", "'"), c.want) {
			t.Errorf("%s: the page lacks %q", c.what, c.want)
		}
	}
}

// TestGateInterval: the table of gates shows the interval that a gate was judged by.
func TestGateInterval(t *testing.T) {
	narrow, wide := Interval{0.601, 0.682}, Interval{0.5871, 0.6991}
	r := demoResult()
	r.Variants[1].Latency.Ratio = &Ratio{Value: 0.6407, CI95: &narrow, N: 12, Pairing: Pairing{NeededPairs: 30, Decides: &wide}}
	r.Gates = Judge(r, Gates{Rules: []Gate{{Key: "latency_ratio", Op: "<=", Limit: 0.69}}, AllowModelled: true})
	for _, g := range r.Gates {
		if g.Variant == r.Variants[1].Name && (g.Verdict != Inconclusive || *g.CI95 != narrow || g.Decides == nil || *g.Decides != wide) {
			t.Errorf("%+v: want inconclusive by %v", g, wide)
		}
	}
	if s := fmt.Sprint(gateSection(r).Rows); !strings.Contains(s, "[0.59, 0.70]") || strings.Contains(s, "0.60") {
		t.Errorf("the table of gates: %s", s)
	}
}
