package measure

import (
	"fmt"
	"math"
)

// Estimate is a figure with the variance of its mean.
type Estimate struct {
	Value float64
	Var   float64
}

// EstimateOf returns the mean of x and the variance of that mean.
func EstimateOf(x []float64) (Estimate, error) {
	if len(x) < 2 {
		return Estimate{}, ErrTooFew
	}
	m, sd := meanSD(x)
	return Estimate{m, sd * sd / float64(len(x))}, nil
}

// BreakEvenResult is the number of inferences after which a saving has paid for its cost.
type BreakEvenResult struct {
	None   bool     // no payback demonstrated: the saving is not above 0 with 95 % confidence
	Value  float64  // cost / saving; 0 with None
	CI95   Interval // Fieller
	Reason string   // with None
}

// BreakEven returns N* = C/s for a cost C of making a variant (all candidates tried, calibration, training,
// evaluation) and a saving s per inference, both in joules or both in grams, with the Fieller interval at
// quantile t (1.96, or Student's for few pairs): with g = t²·v_ss/s², g >= 1 or s <= 0 means that no payback is
// demonstrated, else
//
//	N = [C·s − t²·v_Cs ± t·√(s²·v_CC − 2·C·s·v_Cs + C²·v_ss − t²(v_CC·v_ss − v_Cs²))] / (s² − t²·v_ss).
//
// A cost of 0 breaks even at once. Errors: variances or quantiles that have no meaning.
func BreakEven(cost, saving Estimate, cov, t float64) (BreakEvenResult, error) {
	c, s := cost.Value, saving.Value
	if !(cost.Var >= 0) || !(saving.Var >= 0) || !(t > 0) || !(c >= 0) || math.IsNaN(s+cov) ||
		cov*cov > cost.Var*saving.Var*(1+1e-9) {
		return BreakEvenResult{}, fmt.Errorf("measure: break-even of %g (variance %g) over %g (variance %g), covariance %g, t %g",
			c, cost.Var, s, saving.Var, cov, t)
	}
	switch {
	case s <= 0:
		return BreakEvenResult{None: true, Reason: "the variant saves nothing per inference"}, nil
	case t*t*saving.Var >= s*s:
		return BreakEvenResult{None: true, Reason: "the saving per inference is not above zero with 95 % confidence"}, nil
	}
	mid := c*s - t*t*cov
	root := t * math.Sqrt(max(0, s*s*cost.Var-2*c*s*cov+c*c*saving.Var-t*t*(cost.Var*saving.Var-cov*cov)))
	den := s*s - t*t*saving.Var
	return BreakEvenResult{Value: c / s, CI95: Interval{max(0, (mid-root)/den), (mid + root) / den}}, nil
}

// TQuantile is the two-sided 95 % quantile of Student's t for n paired figures (n-1 degrees of freedom), to hand to
// BreakEven; the normal 1.96 for fewer than two, where no interval exists anyway.
func TQuantile(n int) float64 {
	if n < 2 {
		return zQuantile(0.975)
	}
	return tQuantile(0.975, float64(n-1))
}
