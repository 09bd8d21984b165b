package measure

import "slices"

// Summarise returns the latency summary of all samples: percentiles by linear interpolation between order
// statistics at (n-1)p, and the mean. The samples are kept in their order.
func Summarise(samples []float64) Latency {
	if len(samples) == 0 {
		return Latency{}
	}
	s := slices.Sorted(slices.Values(samples))
	mean, _ := meanSD(samples)
	return Latency{P50: quantileSorted(s, 0.50), P95: quantileSorted(s, 0.95), P99: quantileSorted(s, 0.99),
		Mean: mean, N: len(samples), Samples: samples}
}
