package reports

import (
	"regexp"
	"strconv"
	"testing"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// TestNarrowLabels: on a narrow screen the names of figures stand left of these in a column of their own: each fits it in two lines, which the
// least height of a figure holds. Widths are those of the plots' letters, which have the widths of Arial and Helvetica.
func TestNarrowLabels(t *testing.T) {
	number := func(pattern string) float64 {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(pageSource)
		if m == nil {
			t.Fatalf("the style has no %s", pattern)
		}
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	label := `figures td::before \{[^}]*`
	width, size, line := number(label+`[^-]width: (\d+)px`), number(label+`font-size: (\d+)px`), number(label+`line-height: ([\d.]+);`)
	indent, height := number(`figures td \{[^}]*padding: 2px 0 2px (\d+)px`), number(`figures td \{[^}]*min-height: (\d+)px`)
	if width >= indent || 2*size*line > height {
		t.Errorf("labels of %g px reach the figures at %g px, or two lines of %g px the next figure %g px below", width, indent, size*line, height)
	}
	const pointsPerPixel = 0.75
	sty := text(vg.Length(size*pointsPerPixel), ink, draw.XLeft)
	for _, r := range []*Result{demoResult(), pairedResult(), fidelityResult(), {Schema: Schema}} {
		for _, name := range newView(r).Columns {
			if lines := wrap(name, sty, vg.Length(width*pointsPerPixel)); len(lines) > 2 {
				t.Errorf("%q takes %d lines: %q", name, len(lines), lines)
			}
		}
	}
}
