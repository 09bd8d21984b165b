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
	minPairsDefault = 10   // fewer pairs decide nothing
	minPairsSure    = 30   // asked for unless the first 10 pairs are unmistakable
	earlyAlpha      = 0.01 // of the interval that decides where a cap ends a run on 10 to 29 pairs: two-sided
	plainAlpha      = 1e-6 // of the interval that lets a run stop before 30 pairs: two-sided
	plainLeast      = 0.1  // half-width below which no such interval is believed
	bootstrapFrom   = 20   // Student's t below, bootstrap from here on
	bootstrapDraws  = 10_000
	suspectLag      = 0.2 // autocorrelation, bias removed, from which pairs count for fewer
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
//	below 20 pairs      t: mean ± t(n-1)·s/√n
//	from 20 pairs       bootstrap_t: symmetric studentised bootstrap over pairs, 10,000 draws
//	correlated, from 30 t_effective_n: r = r1 + (1+4·r1)/n above 0.2 leaves m = n·(1-r)/(1+r) pairs' worth;
//	                    mean ± t(m/2-1)·s/√m
//
// Ten pairs cannot tell an autocorrelation of 0.3 from none. So Needed is 30, and a run goes on to it, unless the first 10 pairs
// are unmistakable: the 99.9999 % t interval of them and that of all pairs, each ±10 % wide at least, exclude 1. Pairs of the same thing that are
// correlated by 0.3 look like that less than 3 times in 100,000, and 8 standard deviations away at an SD of 3 %. Where a cap ends a
// run before 30 pairs, Early decides: the hull of the 99 % t intervals of the first 10 pairs and of all of them. An outlier (8 MAD, see outliers) or a positive correlation that is plain to see lets nothing be decided before 30 pairs. The choices are those of
// the calibration in PROTOCOL.md. seed fixes the bootstrap. Errors: ErrTooFew, lengths that differ, figures that are not
// positive and finite.
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
	r := Ratio{Value: math.Exp(mean), N: n, Basis: basis, SD: sd, LogsPer: d, Lag1: lag1(d), SlopeP: slopeP(d), Outliers: len(outliers(d, 5))}
	r.Correl = math.Abs(r.Lag1) > 0.2 && math.Abs(r.Lag1) > 2/math.Sqrt(float64(n))
	r.early(d)
	var lo, hi, lo90, hi90 float64
	unbiased := min(r.Lag1+(1+4*r.Lag1)/float64(n), 0.9)
	switch {
	case sd == 0:
		r.Method, r.P = MethodT, 0
		if mean == 0 {
			r.P = 1
		}
		lo, hi, lo90, hi90 = mean, mean, mean, mean
	case n >= minPairsSure && unbiased > suspectLag:
		r.Method = MethodEffective
		m := float64(n) * (1 - unbiased) / (1 + unbiased)
		lo, hi, lo90, hi90, r.P = tInterval(mean, sd/math.Sqrt(m), max(1, m/2-1))
	case n >= bootstrapFrom:
		r.Method = MethodBootstrap
		lo, hi, lo90, hi90, r.P = bootstrapT(d, mean, sd, seed)
	default:
		r.Method = MethodT
		lo, hi, lo90, hi90, r.P = tInterval(mean, sd/math.Sqrt(float64(n)), float64(n-1))
	}
	r.CI95 = Interval{math.Exp(lo), math.Exp(hi)}
	r.CI90 = Interval{math.Exp(lo90), math.Exp(hi90)}
	return r, nil
}

// early sets Early and Needed.
func (r *Ratio) early(d []float64) {
	r.Early, r.Needed = Interval{0, math.Inf(1)}, minPairsSure
	if len(d) < minPairsDefault {
		return
	}
	if r.Correl && r.Lag1 > 0 || outliers(d, 8) != nil {
		return // a negative correlation only makes the interval too wide
	}
	r.Early = hull(d, earlyAlpha, 0)
	if !hull(d, plainAlpha, plainLeast).Contains(1) {
		r.Needed = minPairsDefault
	}
}

// hull is the smallest interval of ratios that holds the t intervals at level 1 - alpha of the first 10 log ratios and of all of
// them, each at least ±least wide.
func hull(d []float64, alpha, least float64) Interval {
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, n := range []int{minPairsDefault, len(d)} {
		mean, sd := meanSD(d[:n])
		h := max(least, tQuantile(1-alpha/2, float64(n-1))*sd/math.Sqrt(float64(n)))
		lo, hi = min(lo, mean-h), max(hi, mean+h)
	}
	return Interval{math.Exp(lo), math.Exp(hi)}
}

// tInterval returns the 95 % and 90 % intervals of a mean with standard error se, and p of mean = 0.
func tInterval(mean, se, nu float64) (lo, hi, lo90, hi90, p float64) {
	t95, t90 := tQuantile(0.975, nu), tQuantile(0.95, nu)
	return mean - t95*se, mean + t95*se, mean - t90*se, mean + t90*se, tTwoSided(mean/se, nu)
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
