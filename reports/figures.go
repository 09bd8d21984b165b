package reports

import "cmp"

// The figures that gates judge and tables show: each gives variant against baseline, false when
// either side is absent. Ratios are variant / baseline, so below 1 is smaller, faster, less.

func accuracyDrop(v, base *Variant) (figure, bool) {
	if v.Accuracy == nil {
		return figure{}, false
	}
	if v == base {
		return figure{exact: true}, true
	}
	d := v.Accuracy.Delta
	if d == nil {
		return figure{}, false
	}
	f := figure{value: 0 - d.Value, values: v.Accuracy.FewValues, n: cmp.Or(d.N, v.Accuracy.N), counted: "example"}
	if v.Accuracy.LowerIsBetter {
		f.value, f.ci = d.Value, d.CI95
	} else if d.CI95 != nil {
		f.ci = &Interval{0 - d.CI95[1], 0 - d.CI95[0]}
	}
	return f, true
}

func accuracyValue(v, _ *Variant) (figure, bool) {
	if v.Accuracy == nil {
		return figure{}, false
	}
	return figure{value: v.Accuracy.Value, ci: v.Accuracy.CI95, values: v.Accuracy.FewValues, n: v.Accuracy.N, counted: "example"}, true
}

func energyRatio(v, base *Variant) (figure, bool) {
	if v.Energy == nil {
		return figure{}, false
	}
	if v == base {
		return figure{value: 1, exact: true, modelled: modelled(v.Energy)}, true
	}
	q := v.Energy.Ratio
	if q == nil {
		return figure{}, false
	}
	f := q.figure(q.Value, q.CI95, q.N)
	f.modelled, f.coverage = q.Basis != BasisCounter, coverage(v, base)
	return f, true
}

// carbonRatio compares grams per inference. Grid factor and PUE are the same on both sides; a result that lacks the paired
// ratio has the energy's, or a point estimate where embodied grams are in it.
func carbonRatio(v, base *Variant) (figure, bool) {
	if v.Carbon == nil || base.Carbon == nil || v.Carbon.Total == nil || base.Carbon.Total == nil || *base.Carbon.Total <= 0 {
		return figure{}, false
	}
	f := figure{value: *v.Carbon.Total / *base.Carbon.Total, exact: v == base}
	q := v.Carbon.Ratio
	if q == nil && v.Carbon.Embodied == nil && base.Carbon.Embodied == nil {
		q = energyRatioOf(v)
	}
	if q != nil && v != base {
		f = q.figure(q.Value, q.CI95, q.N) // the ratio of the means may lie outside the paired interval
	}
	f.modelled, f.coverage = v.Energy == nil || modelled(v.Energy), coverage(v, base)
	return f, true
}

func latencyRatio(v, base *Variant) (figure, bool) {
	if v.Latency == nil {
		return figure{}, false
	}
	if v == base {
		return figure{value: 1, exact: true}, true
	}
	if v.Latency.Ratio == nil {
		return figure{}, false
	}
	q := v.Latency.Ratio
	return q.figure(q.Value, q.CI95, q.N), true
}

func latencyP95(v, _ *Variant) (figure, bool) {
	if v.Latency == nil {
		return figure{}, false
	}
	return figure{value: v.Latency.P95, ci: v.Latency.P95CI, n: v.Latency.N, counted: "run"}, true
}

func energyValue(v, _ *Variant) (figure, bool) {
	if v.Energy == nil || v.Energy.PerInference == nil {
		return figure{}, false
	}
	return figure{value: *v.Energy.PerInference, ci: v.Energy.CI95, modelled: modelled(v.Energy), coverage: v.Energy.Coverage, n: v.Energy.N, counted: "inference"}, true
}

func sizeRatio(v, base *Variant) (figure, bool) {
	if v.File == nil || base.File == nil || base.File.Bytes <= 0 {
		return figure{}, false
	}
	return figure{value: float64(v.File.Bytes) / float64(base.File.Bytes), exact: true}, true
}

// memoryRatio compares peak resident bytes, medians over processes with their intervals. A result of one process each has none: its ratio is
// judged as it stands.
func memoryRatio(v, base *Variant) (figure, bool) {
	if v.Memory == nil || base.Memory == nil || v.Memory.PeakRSS == nil || base.Memory.PeakRSS == nil || *base.Memory.PeakRSS <= 0 {
		return figure{}, false
	}
	f := figure{value: float64(*v.Memory.PeakRSS) / float64(*base.Memory.PeakRSS), exact: true}
	if a, b := v.Memory.Range, base.Memory.Range; a != nil && b != nil && b[0] > 0 { // from the least to the most that the readings allow
		f.ci, f.exact = &Interval{a[0] / b[1], a[1] / b[0]}, false
		f.n, f.counted = min(v.Memory.N, base.Memory.N), "reading"
	}
	return f, true
}

func breakeven(v, base *Variant) (figure, bool) {
	if v.Cost == nil || v.Cost.Breakeven == nil {
		return figure{}, false
	}
	return figure{value: v.Cost.Breakeven.Value, ci: v.Cost.Breakeven.CI95, modelled: v.Energy == nil || modelled(v.Energy), coverage: coverage(v, base), n: v.Cost.Breakeven.N, counted: "pair"}, true
}

func energyRatioOf(v *Variant) *EnergyRatio {
	if v.Energy == nil {
		return nil
	}
	return v.Energy.Ratio
}

// coverage is the least that the meter saw of the two; nil where neither says.
func coverage(v, base *Variant) *float64 {
	var least *float64
	for _, e := range []*Energy{v.Energy, base.Energy} {
		if e != nil && e.Coverage != nil && (least == nil || *e.Coverage < *least) {
			least = e.Coverage
		}
	}
	return least
}

// modelled tells whether any part of an energy figure comes from a model instead of a counter.
func modelled(e *Energy) bool { return e.Source != SourceMeasured }
