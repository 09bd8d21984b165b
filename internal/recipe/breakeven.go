package recipe

import (
	"math"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// The methods of a break-even's interval.
const (
	methodFieller      = "fieller"
	methodFiellerModel = "fieller_model"
)

// breakeven says after how many inferences the joules, and the grams, spent on a variant are saved again.
func (r *run) breakeven(res *reports.Result, cmp measure.Comparison) {
	base := &res.Variants[0]
	for i := 1; i < len(res.Variants); i++ {
		v, s := &res.Variants[i], cmp.Variants[i-1]
		if v.Cost == nil || v.Cost.Joules == nil || s.EnergyRatio == nil || base.Energy == nil || s.Energy == nil || v.Cost.Source != base.Energy.Source {
			continue // what was measured and what was modelled do not pay each other back
		}
		p := payback{name: v.Name, source: v.Cost.Source, u: math.Sqrt2 * s.Energy.URatio}
		if v.Cost.Source != reports.SourceMeasured {
			p.u, p.model = 0, math.Sqrt2*math.Log1p(s.Energy.UAbs)
		}
		v.Cost.Breakeven, v.Cost.NoneDemonstrated = paysBack(r, p, measure.Joules(*v.Cost.Joules), measure.Joules(*base.Energy.PerInference), energyRatioOf(s.EnergyRatio, s))
		if v.Cost.GCO2e == nil || v.Carbon == nil || v.Carbon.Ratio == nil || base.Carbon == nil || base.Carbon.Total == nil {
			continue
		}
		v.Cost.BreakevenCarbon, v.Cost.NoneDemonstratedCarbon = paysBack(r, p, measure.GramsCO2e(*v.Cost.GCO2e), measure.GramsCO2e(*base.Carbon.Total), v.Carbon.Ratio)
	}
}

// payback is what a break-even is computed with beside its two figures. The gain of a meter and the factors of the grid are the same
// on both sides and cancel. u is what does not, as a relative half-width of the cost at 95 %; model is the same of the assumptions of a
// model, on the log scale: making a variant loads a machine otherwise than running it, so those of cost and saving are independent.
type payback struct {
	name, source string
	u, model     float64
}

// paysBack is the break-even of a cost over a saving of base·(1-ratio) per inference, in joules or in grams. The saving varies by the interval of the ratio;
// below 30 pairs by that which decides.
func paysBack[U measure.Joules | measure.GramsCO2e](r *run, p payback, cost, base U, x *reports.EnergyRatio) (*reports.Breakeven, bool) {
	ci := x.CI95
	if x.N < 30 {
		ci = x.Decides
	}
	if ci == nil || !(ci[0] > 0) {
		return nil, true
	}
	const z = 1.959963984540054
	t := measure.TQuantile(x.N)
	half := math.Log(ci[1]/ci[0]) / 2
	se := float64(base) * x.Value * half / t // as wide as the ratio's own interval, whichever method made it
	b, err := measure.BreakEven(measure.Estimate{Value: float64(cost), Var: math.Pow(float64(cost)*p.u/z, 2)}, measure.Estimate{Value: float64(base) * (1 - x.Value), Var: se * se}, 0, t)
	switch {
	case err != nil:
		r.warn("break-even of %s: %v", p.name, err)
		return nil, false
	case b.None || intervalOf(b.CI95) == nil:
		return nil, true
	}
	out := &reports.Breakeven{Value: b.Value, CI95: intervalOf(b.CI95), N: x.N, Method: methodFieller, Source: p.source}
	if p.model > 0 && b.Value > 0 {
		out.Method = methodFiellerModel
		lo, hi := math.Hypot(math.Log(b.Value/b.CI95.Lo), p.model), math.Hypot(math.Log(b.CI95.Hi/b.Value), p.model)
		out.CI95 = intervalOf(measure.Interval{Lo: b.Value * math.Exp(-lo), Hi: b.Value * math.Exp(hi)}) // exp(-Inf) where it was 0
	}
	return out, false
}
