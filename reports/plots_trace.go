package reports

import (
	"fmt"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// traceBlock is a block of the power trace: which arm, from when to when, at what mean power.
type traceBlock struct {
	arm        int // index of the variant, 0 the baseline
	from, to   float64
	watts      float64
	known      bool
	modelled   bool
	mhz, degC  float64
	hasM, hasC bool
}

// plotTrace shows the mean power of every block in the order run; blocks whose energy is not known are holes.
func plotTrace(r *Result) Plot {
	p := Plot{Name: "power-trace", Title: "Power over the measurement", Alt: "Mean power of every block of the measurement over time, by variant, with the idle power."}
	blocks, anyModelled, heat, clock := traceBlocks(r)
	most, end, gaps, drawn := 0.0, 0.0, 0, 0
	for _, b := range blocks {
		end = math.Max(end, b.to)
		if b.known {
			most = math.Max(most, b.watts)
			drawn++
		} else {
			gaps++
		}
	}
	if drawn < 2 {
		p.Missing = "no block has an energy figure"
		return p
	}
	tp := tracePlot{blocks: blocks, end: end}
	if idle := r.Idle; idle != nil {
		for _, w := range []*float64{idle.BeforeW, idle.AfterW} {
			if w != nil {
				tp.idle = append(tp.idle, *w)
				most = math.Max(most, *w)
			}
		}
	}
	over := 0
	if top := usualPower(blocks); top > 0 && most > 2*top { // one block that the machine held up would hide all others
		most = top
		for _, b := range blocks {
			over += b2i(b.known && b.watts > top)
		}
	}
	tp.unit = siUnit(most, "W")
	tp.most = most
	for i := range r.Variants {
		tp.names = append(tp.names, numbered(i, r.Variants[i].Name))
	}
	heat = heat && varies(blocks, func(b traceBlock) (float64, bool) { return b.degC, b.hasC }, 0.5)
	clock = clock && varies(blocks, func(b traceBlock) (float64, bool) { return b.mhz, b.hasM }, 20)
	switch {
	case heat:
		tp.lower, tp.lowerName = func(b traceBlock) (float64, bool) { return b.degC, b.hasC }, "CPU (°C)"
	case clock:
		tp.lower, tp.lowerName = func(b traceBlock) (float64, bool) { return b.mhz / 1000, b.hasM }, "clock (GHz)"
	}
	p.caption = fmt.Sprintf("n = %s blocks, mean power of each", group(int64(drawn)))
	if gaps > 0 {
		p.caption += fmt.Sprintf("; %s without a figure are holes", plural(gaps, "block"))
	}
	if over > 0 {
		p.caption += fmt.Sprintf("; %s above the axis, marked by a triangle", plural(over, "block"))
	}
	p.caption += ". Time without what lay between blocks of two sessions."
	if len(tp.idle) > 0 {
		p.caption += " Dashed: idle power before and after."
	}
	if anyModelled {
		p.subtitle = modelledPlot
	} else {
		p.caption += " Read from counters."
	}
	p.height = tp.height()
	p.body = func(c draw.Canvas) { tp.draw(c) }
	return p
}

// varies reports whether a covariate moves by at least that much: a guest is often told one constant clock.
func varies(blocks []traceBlock, get func(traceBlock) (float64, bool), least float64) bool {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, b := range blocks {
		if x, ok := get(b); ok && finite(x) {
			lo, hi = math.Min(lo, x), math.Max(hi, x)
		}
	}
	return hi-lo >= least
}

// usualPower is 1.4 times the 95th percentile of the blocks' power.
func usualPower(blocks []traceBlock) float64 {
	var ws []float64
	for _, b := range blocks {
		if b.known {
			ws = append(ws, b.watts)
		}
	}
	return 1.4 * quantile(ws, 0.95)
}

func traceBlocks(r *Result) (out []traceBlock, anyModelled, heat, clock bool) {
	arm := map[string]int{}
	for i := range r.Variants {
		arm[r.Variants[i].Name] = i
	}
	for i := range r.Blocks {
		b := &r.Blocks[i]
		k, ok := arm[b.Variant]
		if b.Baseline {
			k, ok = 0, true
		}
		if !ok || !(b.Seconds > 0) || !finite(b.Start) || b.Start < 0 {
			continue
		}
		t := traceBlock{arm: k, from: b.Start, to: b.Start + b.Seconds, modelled: b.Source != SourceMeasured}
		if b.Joules != nil && *b.Joules >= 0 && b.Void == "" {
			t.watts, t.known = *b.Joules/b.Seconds, true
			anyModelled = anyModelled || t.modelled
		}
		if b.MHz != nil {
			t.mhz, t.hasM, clock = *b.MHz, true, true
		}
		if b.Celsius != nil {
			t.degC, t.hasC, heat = *b.Celsius, true, true
		}
		out = append(out, t)
	}
	return out, anyModelled, heat, clock
}

// tracePlot is the layout of the power trace: watts above, temperature or clock below on the same time.
type tracePlot struct {
	blocks    []traceBlock
	end, most float64
	idle      []float64
	unit      unit
	names     []string
	lower     func(traceBlock) (float64, bool)
	lowerName string
}

const (
	lowerBody  = vg.Length(95)
	laneHeight = vg.Length(26) // of one variant, with the space above it
	laneGap    = vg.Length(6)
)

// lanes are the variants that have blocks, in their order.
func (p tracePlot) lanes() (out []int) {
	shown := map[int]bool{}
	for _, b := range p.blocks {
		shown[b.arm] = true
	}
	for i := range p.names {
		if shown[i] {
			out = append(out, i)
		}
	}
	return out
}

func (p tracePlot) height() vg.Length {
	h := vg.Length(len(p.lanes()))*laneHeight + axisHeight + 22
	if p.lower != nil {
		h += lowerBody
	}
	return h
}

// draw gives each variant a lane of its own, from no power to the most of all, and all of them one time below.
func (p tracePlot) draw(c draw.Canvas) {
	lanes := p.lanes()
	lab, small := text(sizeLabel, ink, draw.XLeft), text(sizeSmall, muted, draw.XRight)
	var left, right vg.Length
	means := make([]string, len(lanes))
	for row, i := range lanes {
		left = max(left, lab.Width(fit(p.names[i], lab, 150)))
		if w, ok := p.mean(i); ok {
			means[row] = "mean " + p.unit.in(w)
			right = max(right, small.Width(means[row]))
		}
	}
	f := frame{c: c, x: linearAxis(0, p.end, 8), box: vg.Rectangle{
		Min: vg.Point{X: c.Min.X + left + 10, Y: c.Min.Y + axisHeight}, Max: vg.Point{X: c.Max.X - right - 12, Y: c.Max.Y - 22}}}
	if p.lower != nil {
		f.box.Min.Y += lowerBody
	}
	f.drawX("time of measuring (s)")
	put(c, text(sizeSmall, muted, draw.XLeft), vg.Point{X: c.Min.X, Y: c.Max.Y - 8}, fmt.Sprintf("power, each lane from 0 to %s", p.unit.in(p.most)))
	for row, i := range lanes {
		lane := f
		lane.y = axis{lo: 0, hi: p.most * p.unit.mul}
		lane.box.Max.Y = f.box.Max.Y - vg.Length(row)*laneHeight - laneGap
		lane.box.Min.Y = lane.box.Max.Y - laneHeight + laneGap
		p.drawLane(lane, i)
		put(c, lab, vg.Point{X: c.Min.X, Y: (lane.box.Min.Y + lane.box.Max.Y) / 2}, fit(p.names[i], lab, 150))
		put(c, small, vg.Point{X: c.Max.X, Y: (lane.box.Min.Y + lane.box.Max.Y) / 2}, means[row])
	}
	if p.lower != nil {
		p.drawLower(c, f, p.lowerScale())
	}
}

// drawLane draws the blocks of one variant as bars.
func (p tracePlot) drawLane(f frame, arm int) {
	c, col := f.c, variantColor(arm)
	c.StrokeLine2(draw.LineStyle{Color: muted, Width: 0.4}, f.box.Min.X, f.box.Min.Y, f.box.Max.X, f.box.Min.Y)
	for _, b := range p.blocks {
		if b.arm != arm || !b.known {
			continue
		}
		x0, x1 := f.px(b.from), f.px(b.to)
		x1 = max(x1, x0+1)
		y := f.py(b.watts * p.unit.mul)
		fill := col
		if b.modelled {
			fill = pale(col)
		}
		fillRect(c, fill, x0, f.box.Min.Y, x1, y)
		c.StrokeLine2(draw.LineStyle{Color: outline(col), Width: 0.8}, x0, y, x1, y)
		if b.watts > p.most {
			x := (x0 + x1) / 2
			c.FillPolygon(outline(col), []vg.Point{{X: x - 3, Y: y - 5}, {X: x + 3, Y: y - 5}, {X: x, Y: y}})
		}
	}
	for _, w := range p.idle {
		y := f.py(w * p.unit.mul)
		c.StrokeLine2(draw.LineStyle{Color: muted, Width: 0.8, Dashes: []vg.Length{4, 3}}, f.box.Min.X, y, f.box.Max.X, y)
	}
}

// mean is the power of a variant's blocks over their time.
func (p tracePlot) mean(arm int) (watts float64, ok bool) {
	joules, seconds := 0.0, 0.0
	for _, b := range p.blocks {
		if b.arm == arm && b.known {
			joules, seconds = joules+b.watts*(b.to-b.from), seconds+b.to-b.from
		}
	}
	return joules / seconds, seconds > 0
}

// lowerScale covers the covariate under the power.
func (p tracePlot) lowerScale() axis {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, b := range p.blocks {
		if p.lower == nil {
			break
		}
		if x, ok := p.lower(b); ok && finite(x) {
			lo, hi = math.Min(lo, x), math.Max(hi, x)
		}
	}
	pad := math.Max((hi-lo)*0.15, 0.01*math.Abs(hi))
	return linearAxis(lo-pad, hi+pad, 3)
}

// drawLower draws it, as one dash per block.
func (p tracePlot) drawLower(c draw.Canvas, above frame, scale axis) {
	f := frame{c: c, x: above.x, y: scale, box: vg.Rectangle{
		Min: vg.Point{X: above.box.Min.X, Y: c.Min.Y + 8}, Max: vg.Point{X: above.box.Max.X, Y: c.Min.Y + lowerBody - 26}}}
	f.drawY(p.lowerName)
	for _, b := range p.blocks {
		if x, ok := p.lower(b); ok && finite(x) {
			y := f.py(x)
			c.StrokeLine2(draw.LineStyle{Color: variantColor(b.arm), Width: 1.6}, f.px(b.from), y, max(f.px(b.to), f.px(b.from)+1), y)
		}
	}
}
