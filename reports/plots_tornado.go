package reports

import (
	"fmt"
	"math"
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
