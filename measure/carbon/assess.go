package carbon

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
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
	Operational               measure.GramsCO2e  // E · PUE · I
	Embodied                  *measure.GramsCO2e // TE · share of life · share of machine; absent when not asked for
	Total                     measure.GramsCO2e
	CI95                      measure.Interval // of Total, all inputs varied together
	OperationalCI, EmbodiedCI measure.Interval // of the two parts, likewise; EmbodiedCI is of no meaning without Embodied
	Share                     measure.Interval // of Operational in Total
	Draws                     int              // of the simulation
	Tornado                   []Bar            // what each input alone does to Total, the largest first
}

// Bar is the total with one input at the ends of its 95 % interval and all others at their value.
type Bar struct {
	Input  string // energy, intensity, pue, embodied, lifetime
	Lo, Hi measure.GramsCO2e
}

// draws is the number of Monte-Carlo samples.
const draws = 10_000

// Assess computes C = E·PUE·I + M and its interval: 10,000 draws with the given seed, in which energy and
// embodied emissions are log-normal with the stated 95 % half-widths, the intensity is normal with the standard deviation of
// its last five years (5 % where that is not known), the PUE and the life of the hardware uniform over their ranges. Errors: figures that are
// negative or not finite.
func Assess(w Work, seed uint64) (Footprint, error) {
	if !(w.Energy >= 0) || math.IsInf(float64(w.Energy), 0) || !(w.EnergyU >= 0) || math.IsInf(w.EnergyU, 0) || w.Time < 0 {
		return Footprint{}, fmt.Errorf("carbon: energy %g J ± %g, time %v", float64(w.Energy), w.EnergyU, w.Time)
	}
	if !(w.Grid.Intensity >= 0) || math.IsInf(float64(w.Grid.Intensity), 0) || !(w.PUE.Value >= 1) {
		return Footprint{}, fmt.Errorf("carbon: intensity %g g/kWh, PUE %g", float64(w.Grid.Intensity), w.PUE.Value)
	}
	m := model{energy: w.Energy, intensity: w.Grid.Intensity, pue: w.PUE.Value, age: 1}
	f := Footprint{Draws: draws}
	u := spread{energy: w.EnergyU, ageLo: 1, ageHi: 1}
	if w.Hardware != nil {
		if err := w.Hardware.check(); err != nil {
			return Footprint{}, err
		}
		share := w.Hardware.Share(w.Time)
		f.Embodied = &share
		m.embodied = share
		if u.embodied = w.Hardware.U; u.embodied == 0 {
			u.embodied = 0.5
		}
		life, lo, hi := w.Hardware.life()
		u.ageLo, u.ageHi = life.Seconds()/hi.Seconds(), life.Seconds()/lo.Seconds()
	}
	f.Operational, f.Total = m.operational(), m.total()
	u.sd, _ = w.Grid.Spread()
	u.pueLo, u.pueHi = min(w.PUE.Lo, w.PUE.Value), max(w.PUE.Hi, w.PUE.Value)
	if w.PUE.Lo == 0 {
		u.pueLo = w.PUE.Value
	}
	total, share, op, em := m.simulate(u, seed)
	f.OperationalCI = measure.Interval{Lo: measure.Percentile(op, 0.025), Hi: measure.Percentile(op, 0.975)}
	f.EmbodiedCI = measure.Interval{Lo: measure.Percentile(em, 0.025), Hi: measure.Percentile(em, 0.975)}
	f.CI95 = measure.Interval{Lo: measure.Percentile(total, 0.025), Hi: measure.Percentile(total, 0.975)}
	f.Share = measure.Interval{Lo: measure.Percentile(share, 0.025), Hi: measure.Percentile(share, 0.975)}
	f.Tornado = m.tornado(u)
	return f, nil
}

// model holds the inputs of one total; age is the assumed life over the real one.
type model struct {
	energy    measure.Joules
	intensity measure.Intensity
	pue       float64
	embodied  measure.GramsCO2e
	age       float64
}

func (m model) operational() measure.GramsCO2e {
	return m.energy.Grams(m.intensity) * measure.GramsCO2e(m.pue)
}

func (m model) making() measure.GramsCO2e { return m.embodied * measure.GramsCO2e(m.age) }

func (m model) total() measure.GramsCO2e { return m.operational() + m.making() }

// spread is the uncertainty of a model: relative half-widths of energy and embodied, a standard deviation of the
// intensity, ranges of the others.
type spread struct{ energy, sd, pueLo, pueHi, embodied, ageLo, ageHi float64 }

// simulate draws all inputs together and returns the totals, the operational shares, and both parts.
func (m model) simulate(u spread, seed uint64) (total, share, operational, embodied []float64) {
	rng := rand.New(rand.NewPCG(seed, 0x636f32))
	total, share = make([]float64, draws), make([]float64, draws)
	operational, embodied = make([]float64, draws), make([]float64, draws)
	for i := range total {
		d := m
		d.energy *= measure.Joules(logNormal(rng.NormFloat64(), u.energy))
		d.intensity = max(0, d.intensity+measure.Intensity(u.sd*rng.NormFloat64()))
		d.pue = u.pueLo + (u.pueHi-u.pueLo)*rng.Float64()
		d.embodied *= measure.GramsCO2e(logNormal(rng.NormFloat64(), u.embodied))
		life := 1/u.ageHi + (1/u.ageLo-1/u.ageHi)*rng.Float64() // lives are uniform, not their inverse
		d.age = 1 / life
		total[i], share[i] = float64(d.total()), 1
		operational[i], embodied[i] = float64(d.operational()), float64(d.making())
		if total[i] > 0 {
			share[i] = operational[i] / total[i]
		}
	}
	return total, share, operational, embodied
}

// logNormal returns exp(z·σ) with σ such that 95 % of it lie within a factor 1+u of 1.
func logNormal(z, u float64) float64 { return math.Exp(z * math.Log1p(u) / 1.959963984540054) }

// tornado varies one input at a time.
func (m model) tornado(u spread) []Bar {
	const z = 1.959963984540054
	bar := func(name string, lo, hi func(*model)) Bar {
		l, h := m, m
		lo(&l)
		hi(&h)
		return Bar{name, l.total(), h.total()}
	}
	bars := []Bar{
		bar("energy", func(c *model) { c.energy /= measure.Joules(1 + u.energy) }, func(c *model) { c.energy *= measure.Joules(1 + u.energy) }),
		bar("intensity", func(c *model) { c.intensity = max(0, c.intensity-measure.Intensity(z*u.sd)) }, func(c *model) { c.intensity += measure.Intensity(z * u.sd) }),
		bar("pue", func(c *model) { c.pue = u.pueLo }, func(c *model) { c.pue = u.pueHi }),
	}
	if m.embodied > 0 {
		bars = append(bars, bar("embodied", func(c *model) { c.embodied /= measure.GramsCO2e(1 + u.embodied) }, func(c *model) { c.embodied *= measure.GramsCO2e(1 + u.embodied) }),
			bar("lifetime", func(c *model) { c.age = u.ageLo }, func(c *model) { c.age = u.ageHi }))
	}
	sort.SliceStable(bars, func(i, j int) bool { return bars[i].Hi-bars[i].Lo > bars[j].Hi-bars[j].Lo })
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

// WaterInterval is the 95 % interval of Water: u is the relative half-width of the energy's, and the PUE has its range.
func WaterInterval(e measure.Joules, u, wue, ewif float64, pue PUE) measure.Interval {
	lo, hi := pue, pue
	lo.Value, hi.Value = min(pue.Value, max(pue.Lo, 1)), max(pue.Value, pue.Hi)
	return measure.Interval{Lo: Water(e/measure.Joules(1+u), wue, ewif, lo), Hi: Water(e*measure.Joules(1+u), wue, ewif, hi)}
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

// Share is the operational part of a variant's total under these assumptions; 1 without hardware.
func (o Order) Share(v Ranked, hw *Hardware) float64 {
	op := v.Energy.Grams(o.Intensity) * measure.GramsCO2e(o.PUE)
	if hw == nil || op <= 0 {
		return 1
	}
	h := *hw
	h.Life = o.Life
	return float64(op / (op + h.Share(v.Time)))
}

func rank(variants []Ranked, o Order, hw *Hardware) []string {
	total := func(v Ranked) measure.GramsCO2e {
		g := v.Energy.Grams(o.Intensity) * measure.GramsCO2e(o.PUE)
		if hw != nil {
			h := *hw
			h.Life = o.Life
			g += h.Share(v.Time)
		}
		return g
	}
	sorted := slices.Clone(variants)
	sort.SliceStable(sorted, func(i, j int) bool { return total(sorted[i]) < total(sorted[j]) })
	var names []string
	for _, v := range sorted {
		names = append(names, v.Name)
	}
	return names
}
