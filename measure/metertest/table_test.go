package metertest_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/measure/metertest"
)

// TestTableBesideCodeCarbon keeps the table of METERS.md to the fixtures: every powercap case is in it, with the joules and the
// status that the suite asks of our meters.
func TestTableBesideCodeCarbon(t *testing.T) {
	text, err := os.ReadFile("../METERS.md")
	if err != nil {
		t.Fatal(err)
	}
	cases, err := metertest.Load(os.DirFS("../../testdata/energy"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if f := strings.Split(line, " | "); len(f) >= 6 {
			rows[strings.TrimPrefix(f[0], "| ")] = f
		}
	}
	number := func(s string) float64 {
		v, err := strconv.ParseFloat(strings.ReplaceAll(s, ",", ""), 64)
		if err != nil {
			t.Errorf("%q is no number", s)
		}
		return v
	}
	for _, c := range cases {
		if c.Source != "powercap" {
			continue
		}
		row := rows[c.Name]
		if row == nil {
			t.Errorf("case %s is missing", c.Name)
			continue
		}
		ours, status, _ := strings.Cut(row[2], " ")
		const printed = 0.0005001 // three digits
		if d := number(row[1]) - c.Want.Total.TrueJ; d > printed || d < -printed {
			t.Errorf("%s: true %s J, the case says %v", c.Name, row[1], c.Want.Total.TrueJ)
		}
		if d := number(ours) - c.Want.Total.MeasuredJ; d > printed || d < -printed || status != c.Want.Total.Status {
			t.Errorf("%s: wattshed %s, the case says %v %s", c.Name, row[2], c.Want.Total.MeasuredJ, c.Want.Total.Status)
		}
	}
}
