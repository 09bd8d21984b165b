package measure

import "math"

// logHalfWidth is half the width of an interval of ratios on the log scale.
func logHalfWidth(ci Interval) float64 {
	if !(ci.Lo > 0) || !(ci.Hi > 0) {
		return math.Inf(1)
	}
	return (math.Log(ci.Hi) - math.Log(ci.Lo)) / 2
}
