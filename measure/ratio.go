package measure

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Numbers of pairs that the rules name.
const (
	minPairsDefault  = 10 // fewer pairs decide nothing
	minPairsTroubled = 30 // asked for when pairs are correlated or heavy-tailed
	bootstrapFrom    = 20 // Student's t below, bootstrap from here on
	bootstrapDraws   = 10_000
)

// ErrTooFew is returned where fewer than two pairs are given.
var ErrTooFew = errors.New("measure: fewer than two pairs")

// logHalfWidth is half the width of an interval of ratios on the log scale.
func logHalfWidth(ci Interval) float64 {
	if !(ci.Lo > 0) || !(ci.Hi > 0) {
		return math.Inf(1)
	}
	return (math.Log(ci.Hi) - math.Log(ci.Lo)) / 2
}

// PairedRatio estimates b/a from paired positive figures per inference: with d_i = ln(b_i/a_i), the ratio is
// exp(mean d) and its interval exp of the interval of the mean:
//
//	below 20 pairs      mean ± t(n-1)·s/√n
//	from 20 pairs       symmetric studentised bootstrap over pairs, 10,000 draws (the percentile and
//	                    BCa intervals cover less than 95 % at these n)
//	correlated pairs    |r1| > 0.2 and > 2/√n: batch means, t with (batches - 1) degrees of freedom
//
// Needed says how many pairs the rule asks for before the interval may decide anything: 10, or 30 where pairs
// are correlated or have outliers. seed fixes the bootstrap. Errors: ErrTooFew, lengths that differ, figures
// that are not positive and finite.
func PairedRatio(a, b []float64, basis Basis, seed uint64) (Ratio, error) {
	if len(a) != len(b) {
		return Ratio{}, fmt.Errorf("measure: %d figures of the baseline against %d of the variant", len(a), len(b))
	}
	d := make([]float64, len(a))
	for i := range a {
		if !(a[i] > 0) || !(b[i] > 0) || math.IsInf(a[i], 0) || math.IsInf(b[i], 0) {
			return Ratio{}, fmt.Errorf("measure: pair %d: %g and %g have no ratio", i, a[i], b[i])
		}
		d[i] = math.Log(b[i] / a[i])
	}
	return ratioOfLogs(d, basis, seed)
}

// ratioOfLogs is PairedRatio of given log ratios.
func ratioOfLogs(d []float64, basis Basis, seed uint64) (Ratio, error) {
	n := len(d)
	if n < 2 {
		return Ratio{}, ErrTooFew
	}
	mean, sd := meanSD(d)
	r := Ratio{Value: math.Exp(mean), N: n, Basis: basis, SD: sd, LogsPer: d, Lag1: lag1(d), SlopeP: slopeP(d)}
	r.Correl = math.Abs(r.Lag1) > 0.2 && math.Abs(r.Lag1) > 2/math.Sqrt(float64(n))
	r.Needed = minPairsDefault
	if r.Correl || outliers(d) > 0 || math.Abs(skewness(d)) > 1.5 {
		r.Needed = minPairsTroubled
	}
	var lo, hi, lo90, hi90 float64
	switch {
	case sd == 0:
		r.Method, r.P = "t", 0
		if mean == 0 {
			r.P = 1
		}
		lo, hi, lo90, hi90 = mean, mean, mean, mean
	case n >= minPairsTroubled && r.Correl:
		r.Method = "batch_means"
		bm, batches := batchMeans(d)
		lo, hi, lo90, hi90, r.P = tInterval(mean, bm, float64(batches-1))
	case n >= bootstrapFrom:
		r.Method = "bootstrap_t"
		lo, hi, lo90, hi90, r.P = bootstrapT(d, mean, sd, seed)
	default:
		r.Method = "t"
		lo, hi, lo90, hi90, r.P = tInterval(mean, sd/math.Sqrt(float64(n)), float64(n-1))
	}
	r.CI95 = Interval{math.Exp(lo), math.Exp(hi)}
	r.CI90 = Interval{math.Exp(lo90), math.Exp(hi90)}
	return r, nil
}

// tInterval returns the 95 % and 90 % intervals of a mean with standard error se, and p of mean = 0.
func tInterval(mean, se, nu float64) (lo, hi, lo90, hi90, p float64) {
	t95, t90 := tQuantile(0.975, nu), tQuantile(0.95, nu)
	return mean - t95*se, mean + t95*se, mean - t90*se, mean + t90*se, tTwoSided(mean/se, nu)
}

// batchMeans returns the standard error of the mean from six or so batches of neighbouring values: what is
// correlated inside a batch is counted in its mean.
func batchMeans(d []float64) (se float64, batches int) {
	batches = 6
	means := make([]float64, batches)
	for i := range means {
		lo, hi := i*len(d)/batches, (i+1)*len(d)/batches
		means[i], _ = meanSD(d[lo:hi])
	}
	_, sd := meanSD(means)
	return sd / math.Sqrt(float64(batches)), batches
}

// bootstrapT is the symmetric studentised bootstrap of a mean (Hall 1992, section 3.6): the quantiles of
// |t*| = |mean* - mean|/se* replace those of Student's |t|. The two-tailed form is symmetric because with one
// or two outliers the equal-tailed form calls noise a difference (8.5 % instead of 5 % in the calibration).
// Resamples without spread are drawn again, at most as often as there are draws.
func bootstrapT(d []float64, mean, sd float64, seed uint64) (lo, hi, lo90, hi90, p float64) {
	rng := rand.New(rand.NewPCG(seed, 0x626f6f74)) // stream "boot"
	n := len(d)
	root := math.Sqrt(float64(n))
	se := sd / root
	t := make([]float64, 0, bootstrapDraws)
	for try := 0; len(t) < bootstrapDraws && try < 2*bootstrapDraws; try++ {
		var s, s2 float64
		for range n {
			v := d[rng.IntN(n)] - mean
			s += v
			s2 += v * v
		}
		m := s / float64(n)
		if v := (s2 - s*m) / float64(n-1); v > 1e-6*sd*sd {
			t = append(t, math.Abs(m)/math.Sqrt(v)*root)
		}
	}
	if len(t) < bootstrapDraws/2 {
		return tInterval(mean, se, float64(n-1))
	}
	slices.Sort(t)
	q95, q90 := quantileSorted(t, 0.95), quantileSorted(t, 0.90)
	at, _ := slices.BinarySearch(t, math.Abs(mean/se))
	return mean - q95*se, mean + q95*se, mean - q90*se, mean + q90*se, float64(len(t)-at+1) / float64(len(t)+1)
}

// MorePairs returns about how many more pairs would bring the half-width of r's interval to target:
// n·((h/target)² − 1), and at least what Needed asks for. 0 when it is reached.
func (r Ratio) MorePairs(target float64) int {
	h := r.HalfWidth()
	short := r.Needed - r.N
	if h <= target || target <= 0 || math.IsInf(h, 0) {
		return max(0, short)
	}
	m := float64(r.N) * (h*h/(target*target) - 1)
	return max(int(min(math.Ceil(m), 1e6)), short)
}

// AtMost judges "ratio <= limit": pass when the one-sided 95 % bound is at or below the limit, fail when
// the opposite is as certain, else inconclusive; inconclusive too while N < Needed.
func (r Ratio) AtMost(limit float64) Verdict {
	switch {
	case r.N < r.Needed:
		return Inconclusive
	case r.CI90.Hi <= limit:
		return Pass
	case r.CI90.Lo > limit:
		return Fail
	}
	return Inconclusive
}

// NoRegression is one-sided TOST (non-inferiority): pass when the ratio is below 1+margin with 95 % confidence.
func (r Ratio) NoRegression(margin float64) Verdict { return r.AtMost(1 + margin) }

// Equivalent is TOST at α = 0.05: pass when the 90 % interval lies inside (1/(1+margin), 1+margin), fail when it
// lies outside. Absence of significance is never equivalence.
func (r Ratio) Equivalent(margin float64) Verdict {
	lo, hi := 1/(1+margin), 1+margin
	switch {
	case r.N < r.Needed:
		return Inconclusive
	case r.CI90.Lo > lo && r.CI90.Hi < hi:
		return Pass
	case r.CI90.Lo > hi || r.CI90.Hi < lo:
		return Fail
	}
	return Inconclusive
}

// Holm returns the p values adjusted for comparing all of them (Holm 1979): sorted ascending,
// p'_(i) = max over j <= i of min(1, (m-j+1)·p_(j)). NaN stays NaN and does not count.
func Holm(p []float64) []float64 {
	idx := make([]int, 0, len(p))
	out := slices.Clone(p)
	for i, v := range p {
		if !math.IsNaN(v) {
			idx = append(idx, i)
		}
	}
	slices.SortStableFunc(idx, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	run := 0.0
	for k, i := range idx {
		run = max(run, min(1, float64(len(idx)-k)*p[i]))
		out[i] = run
	}
	return out
}
