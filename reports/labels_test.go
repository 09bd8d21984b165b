package reports

import (
	"fmt"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/plot/vg"
)

// No two of the variants that a plot shows look alike: neither the same colour and dash nor the same colour and shape, and as
// long as there are colours not even the same colour.
func TestVariantCodes(t *testing.T) {
	type line struct {
		c    color.NRGBA
		dash string
	}
	type mark struct {
		c     color.NRGBA
		shape string
	}
	colors, lines, marks := map[color.NRGBA]int{}, map[line]int{}, map[mark]int{}
	for i := range plotVariants + 1 {
		c := variantColor(i)
		l, m := line{c, fmt.Sprint(variantDashes(i))}, mark{c, fmt.Sprint(variantShape(i))}
		if j, ok := lines[l]; ok {
			t.Errorf("lines of variants %d and %d look the same: %v", j, i, l)
		}
		if j, ok := marks[m]; ok {
			t.Errorf("points of variants %d and %d look the same: colour %v", j, i, c)
		}
		if j, ok := colors[c]; ok && i <= 3*len(okabeIto) {
			t.Errorf("variants %d and %d have the same colour %v", j, i, c)
		}
		colors[c], lines[l], marks[m] = i, i, i
	}
	if c := contrast(outline(variantColor(7)), paper); c < 3 { // WCAG 2.1, 1.4.11: graphics need 3 to 1
		t.Errorf("yellow has contrast %.2f with the paper", c)
	}
}

// Names stand inside the frame, clear of each other and of all points, however the points lie: in one heap, in a row, or at random.
func TestPlaceLabels(t *testing.T) {
	box := vg.Rectangle{Max: vg.Point{X: 480, Y: 200}}
	heap := func(i int, _ *rand.Rand) vg.Point { return vg.Point{X: 400 + vg.Length(i%3), Y: 150 - vg.Length(i)} }
	row := func(i int, _ *rand.Rand) vg.Point { return vg.Point{X: 380 + 8*vg.Length(i), Y: 199} }
	random := func(_ int, r *rand.Rand) vg.Point {
		return vg.Point{X: vg.Length(480 * r.Float64()), Y: vg.Length(200 * r.Float64())}
	}
	for name, at := range map[string]func(int, *rand.Rand) vg.Point{"heap": heap, "row": row, "random": random} {
		for seed := range uint64(8) {
			rng := rand.New(rand.NewPCG(seed, 3))
			var points []vg.Point
			var widths []vg.Length
			var lines []segment
			for i := range 9 {
				p := at(i, rng)
				points, widths = append(points, p), append(widths, vg.Length(25+rng.IntN(60)))
				lines = append(lines, segment{vg.Point{X: p.X, Y: p.Y - 40}, vg.Point{X: p.X, Y: p.Y + 40}})
			}
			places := placeLabels(points, widths, 6, box, lines)
			for i, l := range places {
				if l.box.Min.X < 0 || l.box.Min.Y < 0 || l.box.Max.X > box.Max.X || l.box.Max.Y > box.Max.Y {
					t.Errorf("%s %d: name %d is outside: %v", name, seed, i, l.box)
				}
				for j := range points {
					if touches(l.box, points[j], 6) {
						t.Errorf("%s %d: name %d covers point %d", name, seed, i, j)
					}
					if j < i && overlap(l.box, places[j].box, 0) {
						t.Errorf("%s %d: names %d and %d overlap", name, seed, j, i)
					}
				}
			}
		}
	}
}

// contrast is the contrast ratio of WCAG 2.1.
func contrast(a, b color.NRGBA) float64 {
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of WCAG 2.1.
func luminance(c color.NRGBA) float64 {
	lin := func(v uint8) float64 {
		if x := float64(v) / 255; x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((float64(v)/255+0.055)/1.055, 2.4)
	}
	return 0.2126*lin(c.R) + 0.7152*lin(c.G) + 0.0722*lin(c.B)
}
