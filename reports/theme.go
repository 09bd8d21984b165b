package reports

import (
	"fmt"
	"image/color"
	"strings"
	"unicode"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
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

// variantColor gives the colour of variant i; 0 is the baseline.
func variantColor(i int) color.NRGBA {
	if i == 0 {
		return slate
	}
	return okabeIto[(i-1)%len(okabeIto)]
}

// variantShape is the second code beside the colour: the pair repeats only after 42 variants.
func variantShape(i int) draw.GlyphDrawer {
	if i == 0 {
		return draw.CrossGlyph{}
	}
	shapes := [...]draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.SquareGlyph{}, draw.RingGlyph{}, draw.TriangleGlyph{}}
	return shapes[(i-1+(i-1)/len(okabeIto))%len(shapes)]
}

// variantDashes is the second code of lines.
func variantDashes(i int) []vg.Length {
	dashes := [...][]vg.Length{nil, {6, 2}, {2, 2}, {8, 2, 2, 2}}
	return dashes[(i+i/len(okabeIto))%len(dashes)]
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

// text makes a style in the sans face of the Liberation family that plot carries.
func text(size vg.Length, c color.Color, x draw.XAlignment) draw.TextStyle {
	return draw.TextStyle{
		Color:   c,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		XAlign:  x,
		YAlign:  draw.YCenter,
		Handler: plot.DefaultTextHandler,
	}
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
	for keep := len(rs) - 1; keep > 1; keep-- {
		head := (keep + 1) / 2
		t := strings.TrimSpace(string(rs[:head])) + "…" + strings.TrimSpace(string(rs[len(rs)-(keep-head):]))
		if sty.Width(t) <= w {
			return t
		}
	}
	return "…"
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
