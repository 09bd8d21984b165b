package recipe

import (
	"fmt"
	"math"
	"slices"

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

// CompareResults compares the variants that both results have, in the order of a. The latency ratio is one
// of medians with an interval over the samples of both; it fails when no variant is in both.
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
		if d.Ratio = medianRatio(a.Latency.Samples, b.Latency.Samples); d.Ratio != nil {
			d.Latency = fmt.Sprintf("%.3f", d.Ratio.Value)
		}
		if d.Ratio != nil && d.Ratio.CI95 != nil {
			d.Latency += fmt.Sprintf(" [%.3f, %.3f]", d.Ratio.CI95[0], d.Ratio.CI95[1])
		}
	}
	return d
}

// medianRatio is median(b)/median(a). The interval takes the logarithms of the two medians as independent and normal,
// with the widths of their distribution-free intervals: order statistics n/2 ± 0.98·√n (Hahn and Meeker, Statistical
// Intervals, 5.2). It is nil where a median is not above 0. Samples that follow each other are alike, so it is narrow.
func medianRatio(a, b []float64) *reports.Ratio {
	ma, wa := logMedian(a)
	mb, wb := logMedian(b)
	if !finite(ma) || !finite(mb) {
		return nil
	}
	r := &reports.Ratio{Value: math.Exp(mb - ma), N: min(len(a), len(b))}
	if w := math.Hypot(wa, wb); finite(w) {
		r.CI95 = &reports.Interval{math.Exp(mb - ma - w), math.Exp(mb - ma + w)}
	}
	return r
}

// logMedian returns the logarithm of the median and half the width of its 95 % interval on that scale.
func logMedian(x []float64) (mid, half float64) {
	s := slices.Sorted(slices.Values(x))
	n := float64(len(s))
	at := func(rank float64) float64 { return math.Log(s[int(min(max(rank, 0), n-1))]) }
	d := 0.98 * math.Sqrt(n)
	return math.Log(measure.Percentile(s, 0.5)), (at(math.Ceil(n/2+d)) - at(math.Floor(n/2-d-1))) / 2
}
