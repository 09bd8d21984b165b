package reports

import (
	"cmp"
	"image/color"
	"math"
	"sort"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// rowPlot is the layout of most plots: one row per variant, its name at the left, then one or two
// panels that share the rows, each with the value in words in a column of its own at its right, where
// nothing can overlap it. Panels of bars start at 0; panels of dots need not.
type rowPlot struct {
	names  []string
	panels []panel
	legend []legendItem
	wide   vg.Length // the most that names take; 0: nameWide
}

type panel struct {
	title string // with the unit
	cells []cell
	dots  bool     // dots with whiskers instead of bars
	ref   *float64 // the line of no change in a panel of dots
	share float64  // of the width, relative to the other panels
}

// cell is one variant in one panel.
type cell struct {
	parts    []part    // stacked parts of a bar, or one dot
	ci       *Interval // whisker of the sum
	span     *Interval // in a panel of dots: a bar from end to end instead of the dot
	mark     *float64  // a second figure, drawn as a diamond (p95)
	text     string    // the value in words
	faint    bool      // text is a reason, not a value
	modelled bool
	variant  int
}

type part struct {
	value float64
	color color.NRGBA
}

type legendItem struct {
	name  string
	color color.NRGBA
}

const (
	rowHeight    = vg.Length(23)
	axisHeight   = vg.Length(34)
	legendHeight = vg.Length(18)
	panelHead    = vg.Length(4)
	nameWide     = vg.Length(160)
	sizeNarrow   = vg.Length(8.5) // of names in two lines
)

func (c cell) sum() float64 {
	s := 0.0
	for _, p := range c.parts {
		s += p.value
	}
	return s
}

// height is that of the body for this number of rows.
func (r rowPlot) height() vg.Length {
	h := vg.Length(len(r.names))*rowHeight + axisHeight + panelHead
	if len(r.legend) > 0 {
		h += vg.Length(len(r.legendLines(plotWidth-20))) * legendHeight
	}
	return h
}

func (r rowPlot) legendLines(w vg.Length) [][]legendItem {
	sty := text(sizeSmall, ink, draw.XLeft)
	var lines [][]legendItem
	x := w + 1
	for _, it := range r.legend {
		need := 14 + sty.Width(it.name) + 14
		if x+need > w {
			lines = append(lines, nil)
			x = 0
		}
		lines[len(lines)-1] = append(lines[len(lines)-1], it)
		x += need
	}
	return lines
}

func (r rowPlot) draw(c draw.Canvas) {
	top := c.Max.Y
	sty := text(sizeSmall, ink, draw.XLeft)
	for _, line := range r.legendLines(c.Size().X) {
		x, y := c.Min.X, top-legendHeight/2
		for _, it := range line {
			fillRect(c, it.color, x, y-4, x+9, y+4)
			put(c, sty, vg.Point{X: x + 13, Y: y}, it.name)
			x += 14 + sty.Width(it.name) + 14
		}
		top -= legendHeight
	}
	top -= panelHead
	nameWidth := vg.Length(0)
	for i, n := range r.names {
		lines, sty := nameLines(n, cmp.Or(r.wide, nameWide))
		y := rowY(top, i) + vg.Length(len(lines)-1)*sty.Font.Size*0.55
		for _, s := range lines {
			put(c, sty, vg.Point{X: c.Min.X, Y: y}, s)
			nameWidth = max(nameWidth, sty.Width(s))
			y -= sty.Font.Size * 1.1
		}
	}
	bottom := c.Min.Y + axisHeight
	x := c.Min.X + nameWidth + 12
	shares := 0.0
	for _, p := range r.panels {
		shares += p.share
	}
	avail := c.Max.X - x
	val := text(sizeLabel, ink, draw.XLeft)
	for k, p := range r.panels {
		textWidth := vg.Length(0)
		for _, cl := range p.cells {
			textWidth = max(textWidth, val.Width(cl.text))
		}
		width := avail * vg.Length(p.share/shares)
		box := vg.Rectangle{Min: vg.Point{X: x + 4, Y: bottom}, Max: vg.Point{X: x + width - textWidth - 8, Y: top}}
		if k < len(r.panels)-1 {
			box.Max.X -= 18
		}
		if box.Max.X < box.Min.X+30 {
			box.Max.X = box.Min.X + 30
		}
		p.draw(c, box)
		x += width
	}
}

// nameLines is a name in one line, or, where that is wider than w, in two smaller ones, broken behind a separator where one is near. What two lines
// cannot hold is left out in the middle.
func nameLines(s string, w vg.Length) ([]string, draw.TextStyle) {
	sty := text(sizeLabel, ink, draw.XLeft)
	s = plain(s)
	if sty.Width(s) <= w {
		return []string{s}, sty
	}
	if sty.Font.Size = sizeNarrow; sty.Width(s) <= w {
		return []string{s}, sty
	}
	rs := []rune(clip(s, 400))
	most := sort.Search(len(rs), func(n int) bool { return sty.Width(string(rs[:n+1])) > w })
	at := most
	for i := most; i > most/2; i-- {
		if strings.ContainsRune("/._-: ", rs[i-1]) {
			at = i
			break
		}
	}
	if rest := string(rs[at:]); sty.Width(rest) <= w {
		return []string{strings.TrimSpace(string(rs[:at])), strings.TrimSpace(rest)}, sty
	}
	// The end tells names apart: the second line is as much of it as fits.
	from := sort.Search(len(rs), func(n int) bool { return sty.Width("…"+string(rs[n:])) <= w })
	return []string{strings.TrimSpace(string(rs[:most])), "…" + strings.TrimSpace(string(rs[from:]))}, sty
}

func rowY(top vg.Length, i int) vg.Length { return top - rowHeight*vg.Length(i) - rowHeight/2 }

func (p panel) draw(c draw.Canvas, box vg.Rectangle) {
	f := frame{c: c, box: box, x: p.scale(int(box.Size().X / 28))}
	f.drawX(p.title)
	if p.ref != nil {
		x := f.px(*p.ref)
		c.StrokeLine2(draw.LineStyle{Color: muted, Width: 1, Dashes: []vg.Length{3, 2}}, x, box.Min.Y, x, box.Max.Y)
	}
	for i, cl := range p.cells {
		y := rowY(box.Max.Y, i)
		if p.dots {
			cl.drawDot(f, y)
		} else {
			cl.drawBar(f, y)
		}
		sty := text(sizeLabel, ink, draw.XLeft)
		if cl.faint {
			sty.Color = muted
		}
		put(c, sty, vg.Point{X: box.Max.X + 8, Y: y}, cl.text)
	}
	if !p.dots {
		c.StrokeLine2(draw.LineStyle{Color: muted, Width: 1}, box.Min.X, box.Min.Y, box.Min.X, box.Max.Y)
	}
}

// scale covers all values, whiskers and marks of the panel; from 0 for bars, around ref for dots.
func (p panel) scale(n int) axis {
	lo, hi := math.Inf(1), math.Inf(-1)
	see := func(x float64) {
		if finite(x) {
			lo, hi = math.Min(lo, x), math.Max(hi, x)
		}
	}
	for _, cl := range p.cells {
		if len(cl.parts) == 0 {
			continue
		}
		see(cl.sum())
		if cl.ci != nil {
			see(cl.ci[0])
			see(cl.ci[1])
		}
		if cl.mark != nil {
			see(*cl.mark)
		}
		if cl.span != nil {
			see(cl.span[0])
			see(cl.span[1])
		}
	}
	if !p.dots {
		see(0)
		lo = math.Min(lo, 0)
		return linearAxis(lo, hi*1.02, min(max(n, 2), 5))
	}
	if p.ref != nil {
		see(*p.ref)
	}
	pad := (hi - lo) * 0.06
	return linearAxis(lo-pad, hi+pad, min(max(n, 2), 5))
}

func (cl cell) drawBar(f frame, y vg.Length) {
	at := 0.0
	const half = vg.Length(6.5)
	for _, p := range cl.parts {
		col := p.color
		if cl.modelled {
			col = pale(col)
		}
		a, b := f.px(at), f.px(at+p.value)
		fillRect(f.c, col, a, y-half, b, y+half)
		if cl.modelled && b > a {
			f.c.StrokeLines(draw.LineStyle{Color: p.color, Width: 0.8}, []vg.Point{{X: a, Y: y - half}, {X: b, Y: y - half}, {X: b, Y: y + half}, {X: a, Y: y + half}, {X: a, Y: y - half}})
		}
		at += p.value
	}
	if cl.mark != nil && len(cl.parts) > 0 {
		x := f.px(*cl.mark)
		f.c.StrokeLine2(draw.LineStyle{Color: cl.parts[0].color, Width: 1, Dashes: []vg.Length{2, 2}}, f.px(at), y, x, y)
		if x < f.px(at) { // in its own bar, where it would not be seen
			fillDiamond(f.c, ink, x, y, 5.2)
		}
		fillDiamond(f.c, cl.parts[0].color, x, y, 4)
	}
	if cl.ci != nil && len(cl.parts) > 0 {
		f.whiskerX(*cl.ci, y, 3.5, ink)
	}
}

func (cl cell) drawDot(f frame, y vg.Length) {
	if len(cl.parts) == 0 {
		return
	}
	col := cl.parts[0].color
	if cl.span != nil {
		cl.drawSpan(f, y, col)
		return
	}
	if cl.ci != nil {
		f.whiskerX(*cl.ci, y, 3.5, ink)
	}
	x := f.px(cl.parts[0].value)
	drawGlyph(f.c, cl.variant, col, cl.modelled, vg.Point{X: x, Y: y}, 4)
}

func (cl cell) drawSpan(f frame, y vg.Length, col color.NRGBA) {
	const half = vg.Length(6.5)
	a, b := f.px(cl.span[0]), f.px(cl.span[1])
	fill := col
	if cl.modelled {
		fill = pale(col)
	}
	fillRect(f.c, fill, a, y-half, b, y+half)
	f.c.StrokeLines(draw.LineStyle{Color: col, Width: 0.8}, []vg.Point{{X: a, Y: y - half}, {X: b, Y: y - half}, {X: b, Y: y + half}, {X: a, Y: y + half}, {X: a, Y: y - half}})
}

// drawGlyph draws the shape of a variant; a modelled one is pale inside a full outline.
func drawGlyph(c draw.Canvas, variant int, col color.NRGBA, modelled bool, at vg.Point, r vg.Length) {
	shape := variantShape(variant)
	pts := make([]vg.Point, 0, len(shape)+1)
	for _, p := range shape {
		pts = append(pts, vg.Point{X: at.X + r*vg.Length(p[0]), Y: at.Y + r*vg.Length(p[1])})
	}
	fill := col
	if modelled {
		fill = pale(col)
	}
	c.FillPolygon(fill, pts)
	c.StrokeLines(draw.LineStyle{Color: outline(col), Width: 1.1}, append(pts, pts[0]))
}

func fillRect(c draw.Canvas, col color.Color, x0, y0, x1, y1 vg.Length) {
	c.FillPolygon(col, []vg.Point{{X: x0, Y: y0}, {X: x1, Y: y0}, {X: x1, Y: y1}, {X: x0, Y: y1}})
}

func fillDiamond(c draw.Canvas, col color.Color, x, y, r vg.Length) {
	c.FillPolygon(col, []vg.Point{{X: x - r, Y: y}, {X: x, Y: y + r}, {X: x + r, Y: y}, {X: x, Y: y - r}})
}
