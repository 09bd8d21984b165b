package reports

import (
	"fmt"
	"image/color"
	"math"
	"sort"
	"strings"
	"unicode"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	xfont "golang.org/x/image/font"
)

// The neutral colours of the plots. In the page they become CSS variables, see inlineSVG.
var (
	paper = color.NRGBA{255, 255, 255, 255}
	ink   = color.NRGBA{32, 36, 42, 255}
	muted = color.NRGBA{91, 97, 106, 255}
	grid  = color.NRGBA{222, 226, 231, 255}
	slate = color.NRGBA{128, 132, 139, 255} // the baseline
)

// okabeIto is the palette of Okabe and Ito ("Color Universal Design", 2008), which readers with the
// common colour vision deficiencies can tell apart; black is left out, yellow comes last.
var okabeIto = [...]color.NRGBA{
	{0, 114, 178, 255},   // blue
	{230, 159, 0, 255},   // orange
	{0, 158, 115, 255},   // bluish green
	{213, 94, 0, 255},    // vermillion
	{86, 180, 233, 255},  // sky blue
	{204, 121, 167, 255}, // reddish purple
	{240, 228, 66, 255},  // yellow
}

// variantColor gives the colour of variant i; 0 is the baseline. After the seven colours of the palette come the same ones darker,
// then paler, so the colour alone tells 21 variants apart.
func variantColor(i int) color.NRGBA {
	if i == 0 {
		return slate
	}
	c := okabeIto[(i-1)%len(okabeIto)]
	switch (i - 1) / len(okabeIto) % 3 {
	case 1:
		c = mix(c, ink, 0.4)
	case 2:
		c = mix(c, paper, 0.45)
	}
	return c
}

// mix gives c with the share t of d.
func mix(c, d color.NRGBA, t float64) color.NRGBA {
	at := func(a, b uint8) uint8 { return uint8(math.Round(float64(a)*(1-t) + float64(b)*t)) }
	return color.NRGBA{at(c.R, d.R), at(c.G, d.G), at(c.B, d.B), c.A}
}

// light reports whether c has too little contrast with white paper to be a thin line.
func light(c color.NRGBA) bool {
	return 0.2126*float64(c.R)+0.7152*float64(c.G)+0.0722*float64(c.B) > 200
}

// outline is the colour of thin lines in colour c: a darker one where c is light.
func outline(c color.NRGBA) color.NRGBA {
	if light(c) {
		return mix(c, ink, 0.45)
	}
	return c
}

// secondCodes is how many shapes and dashes there are. It has no divisor in common with the seven colours, so a pair of colour and
// shape, or of colour and dash, comes again only after 42 variants at the earliest.
const secondCodes = 6

// variantShape is the second code beside the colour, a polygon of radius about 1: a cross for the baseline.
func variantShape(i int) [][2]float64 {
	if i == 0 {
		const a, b = 1.0, 0.36
		return [][2]float64{{b, a}, {b, b}, {a, b}, {a, -b}, {b, -b}, {b, -a}, {-b, -a}, {-b, -b}, {-a, -b}, {-a, b}, {-b, b}, {-b, a}}
	}
	switch (i - 1) % secondCodes {
	case 0:
		return polygon(24, 0, 1)
	case 1:
		return polygon(4, math.Pi/4, 1.2)
	case 2:
		return polygon(3, math.Pi/2, 1.3)
	case 3:
		return polygon(4, 0, 1.25)
	case 4:
		return polygon(3, -math.Pi/2, 1.3)
	}
	return polygon(5, math.Pi/2, 1.15)
}

func polygon(n int, turn, r float64) [][2]float64 {
	out := make([][2]float64, n)
	for i := range out {
		sin, cos := math.Sincos(turn + 2*math.Pi*float64(i)/float64(n))
		out[i] = [2]float64{r * cos, r * sin}
	}
	return out
}

// variantDashes is the second code of lines; the baseline's is whole, and so is that of the first variant.
func variantDashes(i int) []vg.Length {
	dashes := [secondCodes][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}, {12, 3}, {8, 2, 2, 2, 2, 2}}
	if i == 0 {
		return nil
	}
	return dashes[(i-1)%secondCodes]
}

// pale is how modelled figures are drawn.
func pale(c color.NRGBA) color.NRGBA {
	c.A = 105
	return c
}

const (
	sizeTitle = vg.Length(13)
	sizeLabel = vg.Length(11)
	sizeSmall = vg.Length(9.5)
)

// text makes a style in the regular face.
func text(size vg.Length, c color.Color, x draw.XAlignment) draw.TextStyle {
	f := typeface
	f.Size = size
	return draw.TextStyle{Color: c, Font: f, XAlign: x, YAlign: draw.YCenter, Handler: textHandler()}
}

// put writes s with the middle of its lower-case letters at the height of pt: the drawing library
// centres the whole line box, which looks too low beside a bar.
func put(c draw.Canvas, sty draw.TextStyle, pt vg.Point, s string) {
	pt.Y += sty.Font.Size * 0.11
	c.FillText(sty, pt, s)
}

func bold(s draw.TextStyle) draw.TextStyle {
	s.Font.Weight = xfont.WeightBold
	return s
}

// plain replaces what a picture or a line of text cannot hold, control and format characters, by spaces.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// numbered puts the number of a variant before a name in a script that the fonts of a PNG lack, so
// that its row can be told even where the name shows as blanks.
func numbered(i int, name string) string {
	for _, r := range name {
		if r > 0x2E80 || r > 0x58F && r < 0x1D00 {
			return fmt.Sprintf("%d: %s", i, name)
		}
	}
	return name
}

// fit shortens s in its middle until it is at most w wide, so that both ends stay readable.
func fit(s string, sty draw.TextStyle, w vg.Length) string {
	s = plain(s)
	if len(s) > 400 {
		s = clip(s, 400)
	}
	if sty.Width(s) <= w {
		return s
	}
	rs := []rune(s)
	cut := func(keep int) string {
		head := (keep + 1) / 2
		return strings.TrimSpace(string(rs[:head])) + "…" + strings.TrimSpace(string(rs[len(rs)-(keep-head):]))
	}
	// The width grows with the number of runes kept: find the last that fits.
	keep := sort.Search(len(rs), func(n int) bool { return sty.Width(cut(n)) > w }) - 1
	if keep < 2 {
		return "…"
	}
	return cut(keep)
}

// wrap breaks s into lines at most w wide, at spaces.
func wrap(s string, sty draw.TextStyle, w vg.Length) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(plain(s)) {
		word = fit(word, sty, w)
		switch {
		case line == "":
			line = word
		case sty.Width(line+" "+word) <= w:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// svgHex writes a colour with the arithmetic of plot's SVG canvas, so that it can be found there.
func svgHex(c color.Color) string {
	r, g, b, a := c.RGBA()
	k := 255.0 / float64(a)
	return fmt.Sprintf("#%02X%02X%02X", int(float64(r)*k), int(float64(g)*k), int(float64(b)*k))
}
