package recipe

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/reports"
)

// RECIPE.md lists every gate with the words of the program, and a recipe may name the variants that must pass.
func TestGatesOfThePage(t *testing.T) {
	page, err := os.ReadFile("RECIPE.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.Split(reports.GateWords("\n"), "\n")
	for i, key := range reports.GateKeys() {
		what := strings.TrimSuffix(strings.TrimPrefix(words[i], key+" ("), ")")
		if row := "| `" + key + "` | " + what + " |\n"; !strings.Contains(string(page), row) {
			t.Errorf("RECIPE.md lacks the row %q", row)
		}
	}
	rec, err := Parse(strings.NewReader(withLine(`gates: {size_ratio: "<= 1", variants: [half, baseline]}`)), "a.yaml", ".")
	if err != nil || !slices.Equal(rec.Judged.Variants, []string{"half", "baseline"}) || len(rec.Judged.Rules) != 1 {
		t.Errorf("%v, %+v", err, rec)
	}
}
