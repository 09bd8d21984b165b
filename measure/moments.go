package measure

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mathext"
)

// tQuantile is the quantile of Student's t with nu degrees of freedom, by the inverse of the regularised incomplete beta
// function (Abramowitz and Stegun 26.7.1).
func tQuantile(p, nu float64) float64 {
	if p > 0.5 {
		return -tQuantile(1-p, nu)
	}
	y := mathext.InvRegIncBeta(nu/2, 0.5, 2*p)
	return -math.Sqrt(nu * (1 - y) / y)
}

// tTwoSided is P(|T| >= |t|) with nu degrees of freedom.
func tTwoSided(t, nu float64) float64 {
	if math.IsInf(t, 0) {
		return 0
	}
	return mathext.RegIncBeta(nu/2, 0.5, nu/(nu+t*t))
}

// zQuantile is the quantile of the standard normal distribution.
func zQuantile(p float64) float64 { return mathext.NormalQuantile(p) }

// binomialCDF is P(X <= k) of n trials with probability p (Abramowitz and Stegun 26.5.24).
func binomialCDF(k, n int, p float64) float64 {
	switch {
	case k < 0:
		return 0
	case k >= n:
		return 1
	}
	return mathext.RegIncBeta(float64(n-k), float64(k+1), 1-p)
}

// average is the arithmetic mean, NaN of nothing.
func average(x []float64) float64 {
	s := 0.0
	for _, v := range x {
		s += v
	}
	return s / float64(len(x))
}

// meanSD returns the mean and the sample standard deviation (n-1); SD is 0 below two values.
func meanSD(x []float64) (m, sd float64) {
	if m = average(x); len(x) < 2 {
		return m, 0
	}
	// The second sum corrects what rounding of the mean leaves (Chan, Golub and LeVeque 1983).
	var sum, rest float64
	for _, v := range x {
		sum += (v - m) * (v - m)
		rest += v - m
	}
	n := float64(len(x))
	return m, math.Sqrt((sum - rest*rest/n) / (n - 1))
}

// skewness is g1 = m3/m2^1.5, 0 for constant data.
func skewness(x []float64) float64 {
	m := average(x)
	var m2, m3 float64
	for _, v := range x {
		d := v - m
		m2 += d * d
		m3 += d * d * d
	}
	n := float64(len(x))
	if m2 == 0 {
		return 0
	}
	return m3 / n / math.Pow(m2/n, 1.5)
}

// lag1 is the autocorrelation at lag 1: Σ(x_i-m)(x_{i+1}-m) / Σ(x_i-m)².
func lag1(x []float64) float64 {
	m := average(x)
	var num, den float64
	for i, v := range x {
		den += (v - m) * (v - m)
		if i > 0 {
			num += (v - m) * (x[i-1] - m)
		}
	}
	if den == 0 {
		return 0
	}
	return num / den
}

// slopeP is the two-sided p of the least-squares slope of x over its index; 1 below three values.
func slopeP(x []float64) float64 {
	n := float64(len(x))
	if n < 3 {
		return 1
	}
	m := average(x)
	var sxx, sxy, syy float64
	for i, v := range x {
		d := float64(i) - (n-1)/2
		sxx += d * d
		sxy += d * (v - m)
		syy += (v - m) * (v - m)
	}
	rest := syy - sxy*sxy/sxx
	if rest <= 0 {
		if sxy == 0 {
			return 1
		}
		return 0
	}
	return tTwoSided(sxy/sxx/math.Sqrt(rest/(n-2)/sxx), n-2)
}

// outliers are the indices of values further than k MAD from the median, ascending. MAD is the median absolute deviation times 1.4826, which makes it the
// standard deviation of normal values; where it is 0, or of fewer than three values, there are none.
func outliers(x []float64, k float64) []int {
	if len(x) < 3 {
		return nil
	}
	med := Percentile(x, 0.5)
	dev := make([]float64, len(x))
	for i, v := range x {
		dev[i] = math.Abs(v - med)
	}
	mad := 1.4826 * Percentile(dev, 0.5)
	var far []int
	for i, d := range dev {
		if mad > 0 && d > k*mad {
			far = append(far, i)
		}
	}
	return far
}

// quantileSorted is the quantile by linear interpolation between order statistics at h = (n-1)p, the
// definition 7 of Hyndman and Fan 1996 (the default of R and of NumPy). NaN when s is empty.
func quantileSorted(s []float64, p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	h := float64(len(s)-1) * min(max(p, 0), 1)
	i := int(h)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (h-float64(i))*(s[i+1]-s[i])
}

// Percentile returns the p-th quantile (0..1) of x: linear interpolation between order statistics at (n-1)p
// (Hyndman and Fan 1996, definition 7). NaN when x is empty.
func Percentile(x []float64, p float64) float64 {
	return quantileSorted(slices.Sorted(slices.Values(x)), p)
}
