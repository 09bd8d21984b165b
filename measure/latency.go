package measure

import (
	"slices"
	"time"
)

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

// steadyWindow is the number of calls that the warm-up rule compares.
const steadyWindow = 5

// steady is the stated warm-up rule: the median of the last five call times lies within 2 % of the median of the five before
// them.
func steady(calls []time.Duration) bool {
	n := len(calls)
	if n < 2*steadyWindow {
		return false
	}
	m := func(x []time.Duration) float64 {
		return float64(slices.Sorted(slices.Values(x))[steadyWindow/2])
	}
	a, b := m(calls[n-2*steadyWindow:n-steadyWindow]), m(calls[n-steadyWindow:])
	return b >= 0.98*a && b <= 1.02*a
}
