package recipe

import (
	"fmt"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// Difference is what changed in a variant from result A to result B, in words and as figures.
type Difference struct {
	Variant  string         `json:"variant"`
	Size     string         `json:"size"`
	Accuracy string         `json:"accuracy"`
	Latency  string         `json:"latency"`
	Energy   string         `json:"energy"`
	Ratio    *reports.Ratio `json:"latency_ratio,omitempty"` // of the medians, B over A
}

// compareDraws is the number of bootstrap draws of a ratio of medians.
const compareDraws = 2000

// CompareResults compares the variants that both results have, in the order of a. The latency ratio is one
// of medians with a bootstrap interval over the samples of both; it fails when no variant is in both.
func CompareResults(a, b *reports.Result) ([]Difference, error) {
	var out []Difference
	for i := range a.Variants {
		va := &a.Variants[i]
		for j := range b.Variants {
			if vb := &b.Variants[j]; vb.Name == va.Name {
				out = append(out, differ(va, vb))
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("recipe: the results have no variant in common")
	}
	return out, nil
}

func differ(a, b *reports.Variant) Difference {
	d := Difference{Variant: a.Name, Size: "-", Accuracy: "-", Latency: "-", Energy: "-"}
	if a.File != nil && b.File != nil && a.File.Bytes > 0 {
		d.Size = fmt.Sprintf("%.4f", float64(b.File.Bytes)/float64(a.File.Bytes))
	}
	if a.Accuracy != nil && b.Accuracy != nil {
		d.Accuracy = fmt.Sprintf("%.4f -> %.4f", a.Accuracy.Value, b.Accuracy.Value)
	}
	if a.Energy != nil && b.Energy != nil && a.Energy.PerInference != nil && b.Energy.PerInference != nil {
		d.Energy = fmt.Sprintf("%.3g J -> %.3g J (%s, %s)", *a.Energy.PerInference, *b.Energy.PerInference, a.Energy.Source, b.Energy.Source)
	}
	if a.Latency != nil && b.Latency != nil && len(a.Latency.Samples) > 1 && len(b.Latency.Samples) > 1 {
		d.Ratio = medianRatio(a.Latency.Samples, b.Latency.Samples)
		d.Latency = fmt.Sprintf("%.3f [%.3f, %.3f]", d.Ratio.Value, d.Ratio.CI95[0], d.Ratio.CI95[1])
	}
	return d
}

// medianRatio is median(b)/median(a) with the percentile interval of independent bootstraps.
func medianRatio(a, b []float64) *reports.Ratio {
	median := func(x []float64) func([]int) float64 {
		pick := make([]float64, len(x))
		return func(idx []int) float64 {
			for i, k := range idx {
				pick[i] = x[k]
			}
			return measure.Percentile(pick, 0.5)
		}
	}
	all := func(x []float64) []int {
		idx := make([]int, len(x))
		for i := range idx {
			idx[i] = i
		}
		return idx
	}
	da := measure.Bootstrap(len(a), compareDraws, 1, median(a))
	db := measure.Bootstrap(len(b), compareDraws, 2, median(b))
	lo := measure.Percentile(db, 0.025) / measure.Percentile(da, 0.975)
	hi := measure.Percentile(db, 0.975) / measure.Percentile(da, 0.025)
	return &reports.Ratio{Value: median(b)(all(b)) / median(a)(all(a)), CI95: &reports.Interval{lo, hi}, N: min(len(a), len(b))}
}
