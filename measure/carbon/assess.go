package carbon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Work is what is assessed: the energy and the time of one functional unit, such as one inference.
type Work struct {
	Energy  measure.Joules // of the computer, without PUE
	EnergyU float64        // relative half-width of its 95 % interval
	Time    time.Duration  // wall time, for the embodied share
	Grid    Factor
	PUE     PUE
	// Hardware is the machine whose embodied share is counted; nil: only operational emissions, and the result says so.
	Hardware *Hardware
}

// Footprint is the answer per functional unit. Every figure is in grams.
type Footprint struct {
	Operational measure.GramsCO2e  // E · PUE · I
	Embodied    *measure.GramsCO2e // TE · share of life · share of machine; absent when not asked for
	Total       measure.GramsCO2e
	CI95        measure.Interval // of Total, all inputs varied together
	Tornado     []Bar            // what each input alone does to Total, the largest first
}

// Bar is the total with one input at the ends of its 95 % interval and all others at their value.
type Bar struct {
	Input  string // energy, intensity, pue, embodied
	Lo, Hi measure.GramsCO2e
}

// draws is the number of Monte-Carlo samples.
const draws = 10_000

// Assess computes C = E·PUE·I + M and its interval: 10,000 draws with the given seed, in which energy and
// embodied emissions are log-normal with the stated 95 % half-widths, the intensity is normal with the standard deviation of
// its last five years (5 % where that is not known) and the PUE uniform over its range. Errors: figures that are
// negative or not finite.
func Assess(w Work, seed uint64) (Footprint, error) {
	if !(w.Energy >= 0) || math.IsInf(float64(w.Energy), 0) || !(w.EnergyU >= 0) || math.IsInf(w.EnergyU, 0) || w.Time < 0 {
		return Footprint{}, fmt.Errorf("carbon: energy %g J ± %g, time %v", float64(w.Energy), w.EnergyU, w.Time)
	}
	if !(w.Grid.Intensity >= 0) || math.IsInf(float64(w.Grid.Intensity), 0) || !(w.PUE.Value >= 1) {
		return Footprint{}, fmt.Errorf("carbon: intensity %g g/kWh, PUE %g", float64(w.Grid.Intensity), w.PUE.Value)
	}
	m := model{energy: w.Energy.KWh(), intensity: float64(w.Grid.Intensity), pue: w.PUE.Value}
	f := Footprint{}
	uEmbodied := 0.0
	if w.Hardware != nil {
		if err := w.Hardware.check(); err != nil {
			return Footprint{}, err
		}
		share := w.Hardware.Share(w.Time)
		f.Embodied = &share
		m.embodied = float64(share)
		if uEmbodied = w.Hardware.U; uEmbodied == 0 {
			uEmbodied = 0.55
		}
	}
	f.Operational = measure.GramsCO2e(m.energy * m.pue * m.intensity)
	f.Total = measure.GramsCO2e(m.total())
	sd := w.Grid.SD
	if sd == 0 {
		sd = 0.05 * m.intensity
	}
	lo, hi := min(w.PUE.Lo, w.PUE.Value), max(w.PUE.Hi, w.PUE.Value)
	if w.PUE.Lo == 0 {
		lo = w.PUE.Value
	}
	rng := rand.New(rand.NewPCG(seed, 0x636f32))
	sample := make([]float64, draws)
	for i := range sample {
		d := m
		d.energy *= logNormal(rng.NormFloat64(), w.EnergyU)
		d.intensity = max(0, d.intensity+sd*rng.NormFloat64())
		d.pue = lo + (hi-lo)*rng.Float64()
		d.embodied *= logNormal(rng.NormFloat64(), uEmbodied)
		sample[i] = d.total()
	}
	slices.Sort(sample)
	f.CI95 = measure.Interval{Lo: measure.Percentile(sample, 0.025), Hi: measure.Percentile(sample, 0.975)}
	f.Tornado = m.tornado(w.EnergyU, sd, lo, hi, uEmbodied)
	return f, nil
}

// model holds the inputs of one total: kWh, g/kWh, PUE, g.
type model struct{ energy, intensity, pue, embodied float64 }

func (m model) total() float64 { return m.energy*m.pue*m.intensity + m.embodied }

// logNormal returns exp(z·σ) with σ such that 95 % of it lie within a factor 1+u of 1.
func logNormal(z, u float64) float64 { return math.Exp(z * math.Log1p(u) / 1.959963984540054) }

// tornado varies one input at a time.
func (m model) tornado(uEnergy, sd, pueLo, pueHi, uEmbodied float64) []Bar {
	const z = 1.959963984540054
	bar := func(name string, lo, hi model) Bar {
		return Bar{name, measure.GramsCO2e(lo.total()), measure.GramsCO2e(hi.total())}
	}
	with := func(change func(*model)) model {
		c := m
		change(&c)
		return c
	}
	bars := []Bar{
		bar("energy", with(func(c *model) { c.energy /= 1 + uEnergy }), with(func(c *model) { c.energy *= 1 + uEnergy })),
		bar("intensity", with(func(c *model) { c.intensity = max(0, c.intensity-z*sd) }), with(func(c *model) { c.intensity += z * sd })),
		bar("pue", with(func(c *model) { c.pue = pueLo }), with(func(c *model) { c.pue = pueHi })),
	}
	if m.embodied > 0 {
		bars = append(bars, bar("embodied", with(func(c *model) { c.embodied /= 1 + uEmbodied }), with(func(c *model) { c.embodied *= 1 + uEmbodied })))
	}
	slices.SortStableFunc(bars, func(a, b Bar) int {
		switch wa, wb := a.Hi-a.Lo, b.Hi-b.Lo; {
		case wa > wb:
			return -1
		case wa < wb:
			return 1
		}
		return 0
	})
	return bars
}

// SCI returns the software carbon intensity (O + M) per functional unit, where total covers units of them:
// 1,000 inferences, 1,000 tokens, one correct answer. Offsets are no part of it.
func SCI(total measure.GramsCO2e, covered, unit float64) (measure.GramsCO2e, error) {
	if !(covered > 0) || !(unit > 0) {
		return 0, fmt.Errorf("carbon: SCI per %g of %g units", unit, covered)
	}
	return total * measure.GramsCO2e(unit/covered), nil
}

// Water returns L = E·(WUE + PUE·EWIF) in litres: wue is the site's own litres per kWh, ewif the water behind a kWh of
// its grid. PUE multiplies only the grid's part.
func Water(e measure.Joules, wue, ewif float64, pue PUE) float64 {
	return e.KWh() * (wue + pue.Value*ewif)
}

// Ranked is a variant for Ranking.
type Ranked struct {
	Name   string
	Energy measure.Joules // per functional unit
	Time   time.Duration  // per functional unit
}

// Order is the ranking under one set of assumptions, the lowest total first.
type Order struct {
	Intensity measure.Intensity
	PUE       float64
	Life      time.Duration
	Names     []string
}

// Ranking ranks the variants on a clean, a middling and a dirty grid (20, 300, 800 g/kWh), in a good and in a common data
// centre (PUE 1.1, 1.56), with hardware that lives three and six years, and tells whether the order ever flips. hw may be nil.
func Ranking(variants []Ranked, hw *Hardware) (orders []Order, flips bool) {
	for _, grid := range []measure.Intensity{20, 300, 800} {
		for _, pue := range []float64{1.1, 1.56} {
			for _, years := range []int{3, 6} {
				o := Order{Intensity: grid, PUE: pue, Life: time.Duration(years) * 8760 * time.Hour}
				o.Names = rank(variants, o, hw)
				flips = flips || len(orders) > 0 && !slices.Equal(orders[0].Names, o.Names)
				orders = append(orders, o)
			}
		}
	}
	return orders, flips
}

func rank(variants []Ranked, o Order, hw *Hardware) []string {
	total := func(v Ranked) float64 {
		g := v.Energy.KWh() * o.PUE * float64(o.Intensity)
		if hw != nil {
			h := *hw
			h.Life = o.Life
			g += float64(h.Share(v.Time))
		}
		return g
	}
	sorted := slices.Clone(variants)
	slices.SortStableFunc(sorted, func(a, b Ranked) int {
		switch ta, tb := total(a), total(b); {
		case ta < tb:
			return -1
		case ta > tb:
			return 1
		}
		return 0
	})
	var names []string
	for _, v := range sorted {
		names = append(names, v.Name)
	}
	return names
}
