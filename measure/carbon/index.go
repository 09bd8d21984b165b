package carbon

import (
	"fmt"
	"math"
)

// Impact is the vector of environmental impacts of one functional unit. It is what a report shows; an index is only
// ever shown beside it. A component that is not known is NaN, never 0.
type Impact struct {
	ClimateKg  float64 // kg CO2e
	ResourceKg float64 // abiotic depletion of elements, kg Sb eq
	PrimaryMJ  float64 // primary fossil energy, MJ
	WaterM3    float64 // m³ world-equivalent: litres must be weighted with a regional scarcity factor first
}

// Weights are the weights and the references of an index.
type Weights struct {
	Weight    Impact // rescaled to a sum of 1 by Index
	Reference Impact
	Source    string
}

// EFWeights are the weights and person-year references of the EU's Environmental Footprint 3.1 for these four categories.
func EFWeights() Weights {
	return Weights{Weight: Impact{21.06, 7.55, 8.32, 8.51}, Reference: Impact{7550, 0.0636, 65000, 11500},
		Source: "EU Environmental Footprint 3.1, person-years; four of its categories, weights rescaled"}
}

// WaterScarcity converts litres to m³ world-equivalent with a regional AWARE factor; 42.95 is the world's mean, for a place
// that is not known.
func WaterScarcity(litres, aware float64) float64 { return litres / 1000 * aware }

// Index returns Σ w_k·x_k/ref_k with weights rescaled to a sum of 1. A missing component, weight or reference is an error:
// nothing is filled with zero.
func (x Impact) Index(w Weights) (float64, error) {
	v, wt, ref := x.list(), w.Weight.list(), w.Reference.list()
	sum, total := 0.0, 0.0
	for i := range v {
		if math.IsNaN(v[i]) || math.IsInf(v[i], 0) || !(wt[i] >= 0) || math.IsInf(wt[i], 0) || !(ref[i] > 0) || math.IsInf(ref[i], 0) {
			return 0, fmt.Errorf("carbon: index: component %d is %g with weight %g and reference %g", i, v[i], wt[i], ref[i])
		}
		sum += wt[i] * v[i] / ref[i]
		total += wt[i]
	}
	if total == 0 {
		return 0, fmt.Errorf("carbon: index: all weights are 0")
	}
	return sum / total, nil
}

func (x Impact) list() [4]float64 {
	return [4]float64{x.ClimateKg, x.ResourceKg, x.PrimaryMJ, x.WaterM3}
}

// IndexFlips tells whether the order of the impacts changes when any single weight is raised or lowered by half.
func IndexFlips(xs []Impact, w Weights) (bool, error) {
	base, err := indexOrder(xs, w)
	if err != nil {
		return false, err
	}
	for k := range 4 {
		for _, f := range []float64{0.5, 1.5} {
			v := w
			p := []*float64{&v.Weight.ClimateKg, &v.Weight.ResourceKg, &v.Weight.PrimaryMJ, &v.Weight.WaterM3}[k]
			*p *= f
			o, err := indexOrder(xs, v)
			if err != nil {
				return false, err
			}
			for i := range o {
				if o[i] != base[i] {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

// indexOrder returns for each impact how many others have a lower index.
func indexOrder(xs []Impact, w Weights) ([]int, error) {
	idx := make([]float64, len(xs))
	for i, x := range xs {
		var err error
		if idx[i], err = x.Index(w); err != nil {
			return nil, err
		}
	}
	out := make([]int, len(xs))
	for i := range xs {
		for j := range xs {
			if idx[j] < idx[i] {
				out[i]++
			}
		}
	}
	return out, nil
}
