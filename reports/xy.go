package reports

import (
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// xyPlot is the layout of plots with two numeric axes. Names stand beside the points where labelled is set, else in a legend
// that has a column of its own at the right.
type xyPlot struct {
	x, y         axis
	xName, yName string
	series       []series
	front        []point
	frontDown    bool // lower y is better
	labelled     bool // names beside the points, no legend
}

type series struct {
	name    string
	variant int
	xs      []float64 // sorted samples of a curve
	points  []point
}

type point struct {
	variant  int
	x, y     float64
	cx, cy   *Interval
	modelled bool
}

const xyBody = vg.Length(250)

func (p xyPlot) height() vg.Length {
	if p.labelled {
		return xyBody
	}
	return max(xyBody, vg.Length(len(p.series))*17+50)
}

// layout draws axes and legend and gives the frame for the data.
func (p xyPlot) layout(c draw.Canvas, key func(s series, x0, x1, y vg.Length)) frame {
	lab := text(sizeLabel, ink, draw.XLeft)
	names := make([]string, len(p.series))
	legend := vg.Length(0)
	for i, s := range p.series {
		names[i] = fit(s.name, lab, 150)
		legend = max(legend, lab.Width(names[i]))
	}
	tick := text(sizeSmall, muted, draw.XRight)
	left := vg.Length(0)
	for _, t := range p.y.ticks {
		left = max(left, tick.Width(p.y.label(t)))
	}
	f := frame{c: c, x: p.x, y: p.y, box: vg.Rectangle{
		Min: vg.Point{X: c.Min.X + left + 6, Y: c.Min.Y + axisHeight},
		Max: vg.Point{X: c.Max.X - legend - 50, Y: c.Max.Y - 22},
	}}
	if p.labelled {
		f.box.Max.X = c.Max.X - 6
	}
	f.drawX(p.xName)
	f.drawY(p.yName)
	if p.labelled {
		return f
	}
	for i, s := range p.series {
		y := f.box.Max.Y - vg.Length(i)*17 - 6
		x := f.box.Max.X + 14
		key(s, x, x+24, y)
		put(c, lab, vg.Point{X: x + 31, Y: y}, names[i])
	}
	return f
}

// drawCurves draws each series as the empirical distribution of its samples.
func (p xyPlot) drawCurves(c draw.Canvas) {
	style := func(v int) draw.LineStyle {
		return draw.LineStyle{Color: variantColor(v), Width: 1.7, Dashes: variantDashes(v)}
	}
	stroke := func(v int, pts ...vg.Point) {
		if light(variantColor(v)) { // too little contrast with white paper on its own
			c.StrokeLines(draw.LineStyle{Color: outline(variantColor(v)), Width: 2.8, Dashes: variantDashes(v)}, pts)
		}
		c.StrokeLines(style(v), pts)
	}
	f := p.layout(c, func(s series, x0, x1, y vg.Length) { stroke(s.variant, vg.Point{X: x0, Y: y}, vg.Point{X: x1, Y: y}) })
	for _, s := range p.series {
		n := len(s.xs)
		step := max(1, n/400) // more corners than this are not visible
		pts := []vg.Point{{X: f.px(s.xs[0]), Y: f.py(0)}}
		for i := 0; i < n; i += step {
			if s.xs[i] > f.x.hi {
				break
			}
			j := min(i+step, n)
			x := f.px(s.xs[j-1])
			pts = append(pts, vg.Point{X: x, Y: pts[len(pts)-1].Y}, vg.Point{X: x, Y: f.py(float64(j) / float64(n))})
		}
		stroke(s.variant, pts...)
	}
}

// drawPoints draws each series as points with whiskers, and the front as a step line under them.
func (p xyPlot) drawPoints(c draw.Canvas) {
	f := p.layout(c, func(s series, x0, x1, y vg.Length) {
		mod := len(s.points) > 0 && s.points[0].modelled
		drawGlyph(c, s.variant, variantColor(s.variant), mod, vg.Point{X: (x0 + x1) / 2, Y: y}, 4.5)
	})
	if line := p.frontLine(f); line != nil {
		c.StrokeLines(draw.LineStyle{Color: muted, Width: 1.1, Dashes: []vg.Length{4, 3}}, line)
	}
	for _, s := range p.series {
		for _, q := range s.points {
			at := vg.Point{X: f.px(q.x), Y: f.py(q.y)}
			if q.cx != nil {
				f.whiskerX(*q.cx, at.Y, 3, outline(variantColor(q.variant)))
			}
			if q.cy != nil {
				f.whiskerY(*q.cy, at.X, 3, outline(variantColor(q.variant)))
			}
		}
	}
	for _, s := range p.series {
		for _, q := range s.points {
			drawGlyph(c, q.variant, variantColor(q.variant), q.modelled, vg.Point{X: f.px(q.x), Y: f.py(q.y)}, 5)
		}
	}
	if p.labelled {
		p.drawLabels(f)
	}
}

// frontLine is the front as a step line, from the worse end of y to the right edge; nil without a front.
func (p xyPlot) frontLine(f frame) []vg.Point {
	if len(p.front) == 0 {
		return nil
	}
	end := f.box.Min.Y
	if p.frontDown {
		end = f.box.Max.Y
	}
	pts := []vg.Point{{X: f.px(p.front[0].x), Y: end}}
	for i, q := range p.front {
		if i > 0 {
			pts = append(pts, vg.Point{X: f.px(q.x), Y: pts[len(pts)-1].Y})
		}
		pts = append(pts, vg.Point{X: f.px(q.x), Y: f.py(q.y)})
	}
	return append(pts, vg.Point{X: f.box.Max.X, Y: pts[len(pts)-1].Y})
}
