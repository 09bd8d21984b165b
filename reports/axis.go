package reports

import (
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// axis is a linear or logarithmic scale from lo to hi with ticks at round numbers inside.
type axis struct {
	lo, hi float64
	log    bool
	ticks  []float64
	digits int
}

// linearAxis covers lo to hi, which it makes finite and distinct, with at most n + 1 ticks.
func linearAxis(lo, hi float64, n int) axis {
	if !finite(lo) || !finite(hi) || hi < lo {
		lo, hi = 0, 1
	}
	if hi-lo <= math.Abs(hi)*1e-9 {
		pad := math.Max(math.Abs(hi)*0.1, 1e-12)
		if lo != 0 {
			lo -= pad
		}
		if hi += pad; lo == 0 && hi == pad {
			hi = 1
		}
	}
	raw := (hi - lo) / float64(max(n, 1))
	mag := math.Pow(10, math.Floor(math.Log10(raw)))
	step := 10 * mag
	for _, m := range []float64{1, 2, 5} {
		if m*mag >= raw*(1-1e-9) {
			step = m * mag
			break
		}
	}
	a := axis{lo: lo, hi: hi, digits: max(0, -int(math.Floor(math.Log10(step)+1e-9)))}
	for i := math.Ceil(lo/step - 1e-9); i*step <= hi+step*1e-9 && len(a.ticks) < 20; i++ {
		a.ticks = append(a.ticks, i*step)
	}
	return a
}

// logAxis covers lo to hi, both positive, with ticks at 1, 2, 5 times powers of ten (fewer when wide).
func logAxis(lo, hi float64) axis {
	if !(lo > 0) || !finite(hi) || hi <= lo {
		return linearAxis(lo, hi, 5)
	}
	a := axis{lo: lo, hi: hi, log: true, digits: -1}
	ms := []float64{1, 2, 5}
	if math.Log10(hi/lo) > 2 {
		ms = ms[:1]
	}
	for e := math.Floor(math.Log10(lo)); e <= math.Ceil(math.Log10(hi)) && len(a.ticks) < 20; e++ {
		for _, m := range ms {
			if t := m * math.Pow(10, e); t >= lo*(1-1e-9) && t <= hi*(1+1e-9) {
				a.ticks = append(a.ticks, t)
			}
		}
	}
	return a
}

// norm maps x to 0..1, clamped: a whisker may end at the edge, never outside.
func (a axis) norm(x float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		if !(x > 0) {
			return 0
		}
		lo, hi, x = math.Log(lo), math.Log(hi), math.Log(x)
	}
	t := (x - lo) / (hi - lo)
	if math.IsNaN(t) {
		return 0
	}
	return math.Min(1, math.Max(0, t))
}

func (a axis) label(t float64) string {
	if a.digits < 0 {
		return num(t)
	}
	s := strconv.FormatFloat(t, 'f', min(a.digits, 9), 64)
	if neg, _ := strconv.ParseFloat(s, 64); neg == 0 && t <= 0 {
		return strconv.FormatFloat(0, 'f', min(a.digits, 9), 64)
	}
	return minus(s)
}

// frame is a plotting area with its two scales; y may be unset.
type frame struct {
	c    draw.Canvas
	box  vg.Rectangle
	x, y axis
}

func (f frame) px(x float64) vg.Length {
	return f.box.Min.X + vg.Length(f.x.norm(x))*f.box.Size().X
}

func (f frame) py(y float64) vg.Length {
	return f.box.Min.Y + vg.Length(f.y.norm(y))*f.box.Size().Y
}

// drawX draws vertical grid lines, tick labels below the box and the name of the axis under them.
// Labels that would touch their left neighbour are left out.
func (f frame) drawX(name string) {
	lab := text(sizeSmall, muted, draw.XCenter)
	last := vg.Length(math.Inf(-1))
	for _, t := range f.x.ticks {
		x := f.px(t)
		f.c.StrokeLine2(hair(), x, f.box.Min.Y, x, f.box.Max.Y)
		s := f.x.label(t)
		w := lab.Width(s)
		if x-w/2 < last+5 {
			continue
		}
		last = x + w/2
		put(f.c, lab, vg.Point{X: x, Y: f.box.Min.Y - 9}, s)
	}
	width := f.box.Size().X + 50
	put(f.c, lab, vg.Point{X: (f.box.Min.X + f.box.Max.X) / 2, Y: f.box.Min.Y - 23}, fit(name, lab, width))
}

// drawY draws horizontal grid lines and tick labels left of the box; the name stands above the box.
func (f frame) drawY(name string) {
	lab := text(sizeSmall, muted, draw.XRight)
	for _, t := range f.y.ticks {
		y := f.py(t)
		f.c.StrokeLine2(hair(), f.box.Min.X, y, f.box.Max.X, y)
		put(f.c, lab, vg.Point{X: f.box.Min.X - 5, Y: y}, f.y.label(t))
	}
	lab.XAlign = draw.XLeft
	put(f.c, lab, vg.Point{X: f.c.Min.X, Y: f.box.Max.Y + 12}, name)
}

func hair() draw.LineStyle { return draw.LineStyle{Color: grid, Width: 0.75} }

// whiskerX draws an interval as a line with end caps at height y.
func (f frame) whiskerX(ci Interval, y, capSize vg.Length, col color.Color) {
	sty := draw.LineStyle{Color: col, Width: 1.1}
	a, b := f.px(ci[0]), f.px(ci[1])
	f.c.StrokeLine2(sty, a, y, b, y)
	f.c.StrokeLine2(sty, a, y-capSize, a, y+capSize)
	f.c.StrokeLine2(sty, b, y-capSize, b, y+capSize)
}

func (f frame) whiskerY(ci Interval, x, capSize vg.Length, col color.Color) {
	sty := draw.LineStyle{Color: col, Width: 1.1}
	a, b := f.py(ci[0]), f.py(ci[1])
	f.c.StrokeLine2(sty, x, a, x, b)
	f.c.StrokeLine2(sty, x-capSize, a, x+capSize, a)
	f.c.StrokeLine2(sty, x-capSize, b, x+capSize, b)
}
