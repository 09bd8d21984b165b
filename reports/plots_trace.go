package reports

import (
	"fmt"
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plotTornado shows what each uncertain input alone does to the grams of the baseline and of the variant with the least impact.
func plotTornado(r *Result) Plot {
	p := Plot{Name: "carbon-tornado", Title: "What the carbon figure rests on", Alt: "For each uncertain input, the range of the total carbon of one inference when only that input varies."}
	var shown []int
	for i := range r.Variants {
		c := r.Variants[i].Carbon
		if c == nil || c.Total == nil || len(c.Tornado) == 0 {
			continue
		}
		if best := r.Impact != nil && r.Impact.Variant == r.Variants[i].Name; i == 0 || best {
			shown = append(shown, i)
		}
	}
	if len(shown) == 0 {
		p.Missing = "no carbon figure with uncertain inputs"
		return p
	}
	var rp rowPlot
	index := map[string]int{}
	for _, i := range shown {
		for _, b := range r.Variants[i].Carbon.Tornado {
			if _, ok := index[b.Input]; !ok {
				index[b.Input] = len(rp.names)
				rp.names = append(rp.names, inputWord(b.Input))
			}
		}
	}
	for _, i := range shown {
		v := &r.Variants[i]
		c := v.Carbon
		u := siUnit(*c.Total, "g")
		total := *c.Total * u.mul
		cs := make([]cell, len(rp.names))
		for k := range cs {
			cs[k] = cell{variant: i, text: "not varied", faint: true}
		}
		for _, b := range c.Tornado {
			k := index[b.Input]
			cs[k] = cell{variant: i, parts: []part{{total, variantColor(i)}}, span: mulCI(&Interval{b.Lo, b.Hi}, u.mul),
				modelled: v.Energy == nil || modelled(v.Energy), text: swing(b.Lo, b.Hi, *c.Total)}
			if b.Lo == b.Hi {
				cs[k].text, cs[k].faint = "taken as exact", true
			}
		}
		name := clip(plain(v.Name), 24)
		rp.panels = append(rp.panels, panel{title: fmt.Sprintf("%s CO₂e per inference, %s", u.name, name), cells: cs, dots: true, ref: &total, share: 1})
	}
	p.subtitle, _ = energyWords(r)
	draws := r.Variants[shown[0]].Carbon.N
	p.caption = "Bars: the total with one input at the ends of its 95 % interval and all others at their value; dashed: the total."
	if draws > 0 {
		p.caption += fmt.Sprintf(" The intervals elsewhere come from %s draws of all inputs together.", group(int64(draws)))
	}
	return p.of(rp)
}

// swing words a range against its middle: "−12 % +15 %".
func swing(lo, hi, mid float64) string {
	pc := func(x float64) string { return digits(100*math.Abs(x/mid-1), 2) }
	return "−" + pc(lo) + " % +" + pc(hi) + " %"
}

func inputWord(input string) string {
	switch input {
	case "intensity":
		return "grid intensity"
	case "pue":
		return "PUE"
	case "lifetime":
		return "life of the hardware"
	case "embodied":
		return "making of the hardware"
	}
	return plain(input)
}

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

const lowerBody = vg.Length(95)

func (p tracePlot) height() vg.Length {
	h := max(vg.Length(210), vg.Length(len(p.names))*17+50)
	if p.lower != nil {
		h += lowerBody
	}
	return h
}

func (p tracePlot) draw(c draw.Canvas) {
	upper := c
	if p.lower != nil {
		upper.Min.Y += lowerBody
	}
	xp := xyPlot{x: linearAxis(0, p.end, 8), y: linearAxis(0, p.most*p.unit.mul*1.05, 5), xName: "time of measuring (s)", yName: "power (" + p.unit.name + ")"}
	shown := map[int]bool{}
	for _, b := range p.blocks {
		shown[b.arm] = true
	}
	for i, n := range p.names {
		if shown[i] {
			xp.series = append(xp.series, series{name: n, variant: i})
		}
	}
	scale := p.lowerScale()
	if p.lower != nil {
		for _, t := range scale.ticks {
			xp.left = max(xp.left, text(sizeSmall, muted, draw.XRight).Width(scale.label(t)))
		}
	}
	f := xp.layout(upper, func(s series, x0, x1, y vg.Length) {
		fillRect(c, variantColor(s.variant), x0, y-3, x1, y+3)
	})
	for _, w := range p.idle {
		y := f.py(w * p.unit.mul)
		c.StrokeLine2(draw.LineStyle{Color: muted, Width: 1, Dashes: []vg.Length{4, 3}}, f.box.Min.X, y, f.box.Max.X, y)
	}
	for _, b := range p.blocks {
		if !b.known {
			continue
		}
		col := variantColor(b.arm)
		x0, x1 := f.px(b.from), f.px(b.to)
		x1 = max(x1, x0+0.6)
		y := f.py(b.watts * p.unit.mul)
		var fill color.NRGBA = pale(col)
		if b.modelled {
			fill.A = 45
		}
		fillRect(c, fill, x0, f.box.Min.Y, x1, y)
		c.StrokeLine2(draw.LineStyle{Color: col, Width: 1.4}, x0, y, x1, y)
		if b.watts > p.most {
			x := (x0 + x1) / 2
			c.FillPolygon(col, []vg.Point{{X: x - 3, Y: y + 1}, {X: x + 3, Y: y + 1}, {X: x, Y: y + 6}})
		}
	}
	if p.lower != nil {
		p.drawLower(c, f, scale)
	}
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
