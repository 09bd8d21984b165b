package reports

import (
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// labelledPoints is how many points have their names beside them; beyond it a legend is clearer.
const labelledPoints = 12

// labelHeight is the height that a name takes, from below its descenders to above its capitals.
const labelHeight = vg.Length(12)

// Sizes of names beside points: the gap between a name and what is around it, and the room for the shape of the point, which
// stands before the name where other points are near.
const (
	labelGap   = vg.Length(3)
	labelShape = vg.Length(13)
	labelNear  = vg.Length(32)
)

// segment is a straight line that names should stay clear of.
type segment struct{ a, b vg.Point }

// level reports whether s lies along a line of text, which it would strike through.
func (s segment) level() bool { return max(s.a.Y-s.b.Y, s.b.Y-s.a.Y) < max(s.a.X-s.b.X, s.b.X-s.a.X) }

// placedLabel is where a name stands, and from where a thin line leads to its point when that is not right beside it.
type placedLabel struct {
	box  vg.Rectangle
	from vg.Point // end of the leader at the name
	far  bool
}

// placeLabels finds a place for a box of the given width beside each point: inside box, clear of all points (discs of radius r)
// and names, and of lines where that can be had. It looks at 24 directions and eight distances per point, and goes over all
// points until none finds a better place, so the outcome depends on the input alone.
func placeLabels(at []vg.Point, widths []vg.Length, r vg.Length, box vg.Rectangle, lines []segment) []placedLabel {
	out := make([]placedLabel, len(at))
	placed := make([]bool, len(at))
	for range 4 {
		changed := false
		for i, p := range at {
			best, least := placedLabel{}, math.Inf(1)
			for _, d := range []vg.Length{3, 8, 16, 26, 38, 52, 70, 92} {
				for k := range 24 {
					l := candidate(p, widths[i], r, d, float64(k)*math.Pi/12)
					cost := float64(d) + 0.3*float64(k%6) // level or upright before aslant
					if l.box.Min.X < box.Min.X || l.box.Max.X > box.Max.X || l.box.Min.Y < box.Min.Y || l.box.Max.Y > box.Max.Y {
						cost += 1e6
					}
					cost += crowding(i, l, at, r, out, placed, lines)
					if cost < least-1e-9 {
						best, least = l, cost
					}
				}
			}
			if !placed[i] || best != out[i] {
				out[i], placed[i], changed = best, true, true
			}
		}
		if !changed {
			break
		}
	}
	return out
}

// candidate puts a name in direction angle from p, its nearest edge d beyond the disc of the point.
func candidate(p vg.Point, width, r, d vg.Length, angle float64) placedLabel {
	sin, cos := math.Sincos(angle)
	if math.Abs(sin) < 1e-9 {
		sin = 0
	}
	if math.Abs(cos) < 1e-9 {
		cos = 0
	}
	x, y := p.X+vg.Length(cos)*(r+d), p.Y+vg.Length(sin)*(r+d)
	mid := vg.Point{X: x + vg.Length(cos)*width/2, Y: y + vg.Length(sin)*labelHeight/2}
	return placedLabel{
		box: vg.Rectangle{Min: vg.Point{X: mid.X - width/2, Y: mid.Y - labelHeight/2}, Max: vg.Point{X: mid.X + width/2, Y: mid.Y + labelHeight/2}},
		// the point of the name's box that is nearest to p
		from: vg.Point{X: min(max(p.X, mid.X-width/2), mid.X+width/2), Y: min(max(p.Y, mid.Y-labelHeight/2), mid.Y+labelHeight/2)},
		far:  d > 8,
	}
}

// crowding is what place l of name i costs by what it would cover or cross.
func crowding(i int, l placedLabel, at []vg.Point, r vg.Length, out []placedLabel, placed []bool, lines []segment) float64 {
	cost := 0.0
	lead := segment{l.from, at[i]}
	for j, q := range at {
		if touches(l.box, q, r+1) {
			cost += 4000
		}
		if j == i {
			continue
		}
		if l.far && distance(lead, q) < r && math.Hypot(float64(q.X-at[i].X), float64(q.Y-at[i].Y)) > float64(r) {
			cost += 60
		}
		if !placed[j] {
			continue
		}
		o := out[j]
		if overlap(l.box, o.box, 2) {
			cost += 8000
		}
		if o.far && crosses(l.box, segment{o.from, q}) {
			cost += 500
		}
		if l.far && crosses(o.box, lead) {
			cost += 500
		}
		if l.far && o.far && meet(lead, segment{o.from, q}) {
			cost += 300
		}
	}
	for _, s := range lines {
		if crosses(l.box, s) && s.level() {
			cost += 400
		} else if crosses(l.box, s) {
			cost += 45
		}
	}
	return cost
}

func overlap(a, b vg.Rectangle, gap vg.Length) bool {
	return a.Min.X < b.Max.X+gap && b.Min.X < a.Max.X+gap && a.Min.Y < b.Max.Y+gap && b.Min.Y < a.Max.Y+gap
}

// touches reports whether the disc of radius r around q reaches into box.
func touches(box vg.Rectangle, q vg.Point, r vg.Length) bool {
	dx := q.X - min(max(q.X, box.Min.X), box.Max.X)
	dy := q.Y - min(max(q.Y, box.Min.Y), box.Max.Y)
	return dx*dx+dy*dy < r*r
}

// crosses reports whether s has a point inside box (Liang and Barsky's clipping).
func crosses(box vg.Rectangle, s segment) bool {
	t0, t1 := vg.Length(0), vg.Length(1)
	dx, dy := s.b.X-s.a.X, s.b.Y-s.a.Y
	for _, e := range [][2]vg.Length{{-dx, s.a.X - box.Min.X}, {dx, box.Max.X - s.a.X}, {-dy, s.a.Y - box.Min.Y}, {dy, box.Max.Y - s.a.Y}} {
		switch p, q := e[0], e[1]; {
		case p == 0:
			if q <= 0 {
				return false
			}
		case p < 0:
			t0 = max(t0, q/p)
		default:
			t1 = min(t1, q/p)
		}
	}
	return t0 < t1
}

// meet reports whether two lines cross.
func meet(s, t segment) bool {
	side := func(a, b, c vg.Point) vg.Length { return (b.X-a.X)*(c.Y-a.Y) - (b.Y-a.Y)*(c.X-a.X) }
	return side(s.a, s.b, t.a)*side(s.a, s.b, t.b) < 0 && side(t.a, t.b, s.a)*side(t.a, t.b, s.b) < 0
}

// distance is how far q is from the line s.
func distance(s segment, q vg.Point) vg.Length {
	dx, dy := s.b.X-s.a.X, s.b.Y-s.a.Y
	t := vg.Length(0)
	if n := dx*dx + dy*dy; n > 0 {
		t = min(1, max(0, ((q.X-s.a.X)*dx+(q.Y-s.a.Y)*dy)/n))
	}
	return vg.Length(math.Hypot(float64(q.X-s.a.X-t*dx), float64(q.Y-s.a.Y-t*dy)))
}

// drawLabels writes the names of the points of p into the frame.
func (p xyPlot) drawLabels(f frame) {
	const r = vg.Length(6)
	sty := text(sizeSmall, ink, draw.XLeft)
	var at []vg.Point
	var points []point
	var names []string
	var widths []vg.Length
	var lines []segment
	for _, s := range p.series {
		for _, q := range s.points {
			o := vg.Point{X: f.px(q.x), Y: f.py(q.y)}
			at, points = append(at, o), append(points, q)
			names = append(names, fit(s.name, sty, 130))
			widths = append(widths, sty.Width(names[len(names)-1])+2*labelGap)
			if q.cx != nil {
				lines = append(lines, segment{vg.Point{X: f.px(q.cx[0]), Y: o.Y}, vg.Point{X: f.px(q.cx[1]), Y: o.Y}})
			}
			if q.cy != nil {
				lines = append(lines, segment{vg.Point{X: o.X, Y: f.py(q.cy[0])}, vg.Point{X: o.X, Y: f.py(q.cy[1])}})
			}
		}
	}
	front := p.frontLine(f)
	for i := 1; i < len(front); i++ {
		lines = append(lines, segment{front[i-1], front[i]})
	}
	crowded := make([]bool, len(at))
	for i, a := range at {
		for j, b := range at {
			crowded[i] = crowded[i] || i != j && math.Hypot(float64(a.X-b.X), float64(a.Y-b.Y)) < float64(labelNear)
		}
		if crowded[i] {
			widths[i] += labelShape
		}
	}
	for i, l := range placeLabels(at, widths, r, f.box, lines) {
		x, y := l.box.Min.X+labelGap, (l.box.Min.Y+l.box.Max.Y)/2
		if l.far {
			f.c.StrokeLine2(draw.LineStyle{Color: muted, Width: 0.6}, l.from.X, l.from.Y, at[i].X, at[i].Y)
		}
		if crowded[i] {
			drawGlyph(f.c, points[i].variant, variantColor(points[i].variant), points[i].modelled, vg.Point{X: x + 5, Y: y}, 3.6)
			x += labelShape
		}
		put(f.c, sty, vg.Point{X: x, Y: y}, names[i])
	}
}
