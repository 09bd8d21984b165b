package recipe

import (
	"strings"
	"testing"
)

// TestSearchNamesWhatItLeavesOut: variants that gates name have no say in a search, and it says so; a run of the same recipe keeps them.
func TestSearchNamesWhatItLeavesOut(t *testing.T) {
	rec, err := Parse(strings.NewReader(withLine(`gates: {accuracy_drop: "<= 0.1", size_ratio: "<= 1", variants: [half]}`)), "a.yaml", ".")
	if err != nil {
		t.Fatal(err)
	}
	s := &searcher{run: newRun(rec, Options{})}
	if g := s.budget(); g.Variants != nil || len(g.Rules) != 2 || len(rec.Judged.Variants) != 1 {
		t.Errorf("%+v, the recipe %+v", g, rec.Judged)
	}
	if len(s.warnings) != 1 || !strings.HasPrefix(s.warnings[0], "gates.variants [half] has no say in a search: ") {
		t.Errorf("%q", s.warnings)
	}
}
