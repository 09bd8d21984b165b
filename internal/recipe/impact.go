package recipe

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/carbon"
	"github.com/wattshed/wattshed/reports"
)

// The components of the composite index, each with the same weight.
const (
	partEnergy  = "energy_j"
	partCarbon  = "carbon_g"
	partMachine = "machine_s"
)

// impact sums up what one inference of each variant does; nil without energy. The variant named is that which takes the least
// energy: per correct answer where all variants have that figure, per inference otherwise.
func (r *run) impact(res *reports.Result, cmp measure.Comparison, f *carbonFactor) *reports.Impact {
	best := least(res)
	if best < 0 {
		return nil
	}
	v, base := &res.Variants[best], &res.Variants[0]
	out := &reports.Impact{Variant: v.Name, Source: v.Energy.Source}
	if w := v.Weights; w != nil && w.MACs != nil && *w.MACs > 0 {
		macs := float64(*w.MACs)
		perMAC := *v.Energy.PerInference / macs
		out.EnergyIntensity, out.N = &perMAC, v.Energy.N
		if ci := v.Energy.CI95; ci != nil {
			out.IntensityCI = &reports.Interval{ci[0] / macs, ci[1] / macs}
		}
	}
	if c := v.Carbon; c != nil && c.Intensity != nil {
		g := c.Intensity.GPerKWh
		out.CarbonIntensity = &g
		out.CarbonCI = intervalOf(measure.Interval{Lo: max(0, g-1.96*c.Intensity.SD), Hi: g + 1.96*c.Intensity.SD})
	}
	if base.Energy == nil || base.Carbon == nil || base.Carbon.Total == nil || base.Throughput == nil || *base.Carbon.Total <= 0 || *base.Energy.PerInference <= 0 {
		return out
	}
	third := 1.0 / 3
	out.Weights = map[string]float64{partEnergy: third, partCarbon: third, partMachine: third}
	out.References = map[string]float64{partEnergy: *base.Energy.PerInference, partCarbon: *base.Carbon.Total, partMachine: 1 / *base.Throughput}
	out.Missing = []string{"abiotic resources and primary energy: no factor with a licence that allows it is built in"}
	if base.Carbon.Embodied == nil {
		out.Missing = append(out.Missing, "embodied emissions: carbon.embodied is not set")
	}
	if base.Carbon.WaterL == nil {
		out.Missing = append(out.Missing, "water: carbon.wue and carbon.ewif are not set")
	}
	share := *base.Carbon.Operational / *base.Carbon.Total
	var rows []indexed
	for i := range res.Variants {
		row := indexed{vector: vector(&res.Variants[i])}
		if i == 0 {
			row.parts, row.ok = [3]float64{1, 1, 1}, true
			one := 1.0
			row.vector.Index = &one
		} else {
			row.index(cmp.Variants[i-1], share)
		}
		if i == best {
			out.Index, out.IndexCI, out.IndexN = row.vector.Index, row.vector.CI95, row.vector.N
		}
		out.Vectors = append(out.Vectors, row.vector)
		rows = append(rows, row)
	}
	out.Ranking = ranking(rows, f)
	return out
}

// least is the index of the variant with the least energy, -1 without any.
func least(res *reports.Result) int {
	perCorrect := true
	for _, v := range res.Variants {
		perCorrect = perCorrect && v.Energy != nil && v.Energy.PerCorrect != nil
	}
	best, lowest := -1, 0.0
	for i, v := range res.Variants {
		if v.Energy == nil || v.Energy.PerInference == nil {
			continue
		}
		e := *v.Energy.PerInference
		if perCorrect {
			e = *v.Energy.PerCorrect
		}
		if best < 0 || e < lowest {
			best, lowest = i, e
		}
	}
	return best
}

// indexed is a vector with its components as ratios to the baseline: energy, carbon, machine time.
type indexed struct {
	vector reports.ImpactVector
	parts  [3]float64
	ok     bool
}

func vector(v *reports.Variant) reports.ImpactVector {
	x := reports.ImpactVector{Variant: v.Name}
	if v.Energy != nil {
		x.EnergyJ, x.EnergyCI = v.Energy.PerInference, v.Energy.CI95
	}
	if v.Carbon != nil {
		x.CarbonG, x.CarbonCI, x.WaterL, x.WaterCI = v.Carbon.Total, v.Carbon.CI95, v.Carbon.WaterL, v.Carbon.WaterCI
	}
	if v.Throughput != nil && *v.Throughput > 0 {
		s := 1 / *v.Throughput
		x.MachineS = &s
		if v.Rate != nil && v.Rate.CI95 != nil && v.Rate.CI95[0] > 0 {
			x.MachineCI = &reports.Interval{1 / v.Rate.CI95[1], 1 / v.Rate.CI95[0]}
		}
	}
	return x
}

// index computes the composite index pair by pair: the mean of the ratios of energy, of carbon (share of it is
// operational in the baseline) and of machine time.
func (x *indexed) index(s measure.Summary, share float64) {
	e, t := s.EnergyRatio, s.LatencyRatio
	if e == nil || t == nil || len(e.LogsPer) != len(t.LogsPer) {
		return
	}
	ones, all := make([]float64, len(e.LogsPer)), make([]float64, len(e.LogsPer))
	for i := range all {
		re, rt := math.Exp(e.LogsPer[i]), math.Exp(t.LogsPer[i])
		ones[i], all[i] = 1, (re+share*re+(1-share)*rt+rt)/3
	}
	r, err := measure.PairedRatio(ones, all, e.Basis, 1)
	if err != nil {
		return
	}
	x.parts, x.ok = [3]float64{e.Value, share*e.Value + (1-share)*t.Value, t.Value}, true
	x.vector.Index, x.vector.CI95, x.vector.N = &r.Value, intervalOf(r.CI95), r.N
}

// ranking orders the variants by index and tells whether other assumptions change the order.
func ranking(rows []indexed, f *carbonFactor) *reports.Ranking {
	var ranked []carbon.Ranked
	for _, x := range rows {
		if !x.ok || x.vector.EnergyJ == nil || x.vector.MachineS == nil {
			return nil // an order of some of them would mislead
		}
		ranked = append(ranked, carbon.Ranked{Name: x.vector.Variant, Energy: measure.Joules(*rows[0].vector.EnergyJ * x.parts[0]), // by the paired ratios
			Time: time.Duration(*rows[0].vector.MachineS * x.parts[2] * 1e9)})
	}
	if len(rows) < 2 {
		return nil
	}
	out := &reports.Ranking{Order: orderOf(rows, [3]float64{1, 1, 1})}
	for k := range 3 {
		for _, q := range []float64{0.5, 1.5} {
			w := [3]float64{1, 1, 1}
			w[k] = q
			out.FlipsByWeights = out.FlipsByWeights || flips(rows, out.Order, orderOf(rows, w))
		}
	}
	orders, _ := carbon.Ranking(ranked, f.hardware)
	for _, o := range orders {
		byIndex := orderOf(elsewhere(rows, o.Share(ranked[0], f.hardware)), [3]float64{1, 1, 1})
		out.Flips = out.Flips || flips(rows, orders[0].Names, o.Names)
		out.FlipsByIndex = out.FlipsByIndex || flips(rows, out.Order, byIndex)
		out.Cases = append(out.Cases, reports.RankingCase{GPerKWh: float64(o.Intensity), PUE: o.PUE, LifeYears: o.Life.Hours() / 8760, Order: o.Names, ByIndex: byIndex})
	}
	say := func(flips bool) string {
		if flips {
			return "flips"
		}
		return "does not flip"
	}
	out.Statement = fmt.Sprintf("Least impact first: %s. By carbon the order %s over grids of 20, 300 and 800 g/kWh, PUEs of 1.1 and 1.56 and lives of 3 and 6 years; "+
		"by index it %s over the same grids, PUEs and lives, and %s when any one weight is halved or raised by half. Variants whose indices have overlapping "+
		"intervals are taken as equal.", strings.Join(out.Order, ", "), say(out.Flips), say(out.FlipsByIndex), say(out.FlipsByWeights))
	if f.hardware == nil {
		out.Statement += " Without embodied emissions the order by carbon is that of the energy everywhere."
	}
	return out
}

// elsewhere restates the parts of the index on another grid, at another PUE or with another life of the hardware: the carbon of a variant over
// that of the baseline is share·(energy ratio) + (1-share)·(time ratio), where share is the operational part of the baseline's total there.
func elsewhere(rows []indexed, share float64) []indexed {
	out := slices.Clone(rows)
	for i := range out {
		out[i].parts[1] = share*out[i].parts[0] + (1-share)*out[i].parts[2]
	}
	return out
}

// flips reports whether two variants whose index intervals do not overlap stand in another order in b than in a.
func flips(rows []indexed, a, b []string) bool {
	ends := map[string]reports.Interval{}
	for _, x := range rows {
		ci := reports.Interval{*x.vector.Index, *x.vector.Index}
		if x.vector.CI95 != nil {
			ci = *x.vector.CI95
		}
		ends[x.vector.Variant] = ci
	}
	at := map[string]int{}
	for i, name := range b {
		at[name] = i
	}
	for i, p := range a {
		for _, q := range a[i+1:] {
			if apart := ends[p][1] < ends[q][0] || ends[q][1] < ends[p][0]; apart && at[p] > at[q] {
				return true
			}
		}
	}
	return false
}

// orderOf ranks by the weighted sum of the parts, the least first.
func orderOf(rows []indexed, w [3]float64) []string {
	sorted := slices.Clone(rows)
	sum := func(x indexed) float64 { return w[0]*x.parts[0] + w[1]*x.parts[1] + w[2]*x.parts[2] }
	sort.SliceStable(sorted, func(i, j int) bool { return sum(sorted[i]) < sum(sorted[j]) })
	var names []string
	for _, x := range sorted {
		names = append(names, x.vector.Variant)
	}
	return names
}
