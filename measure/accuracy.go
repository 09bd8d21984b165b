package measure

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
)

// Wilson returns the score interval of a proportion k/n at 95 % (Wilson 1927):
//
//	(p + z²/2n ± z·√(p(1-p)/n + z²/4n²)) / (1 + z²/n)
//
// The interval of nothing (n = 0) is [0, 1].
func Wilson(k, n int) Interval {
	if n <= 0 {
		return Interval{0, 1}
	}
	z := zQuantile(0.975)
	p, m := float64(k)/float64(n), float64(n)
	mid := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m)) / (1 + z*z/m)
	ci := Interval{max(0, mid-half), min(1, mid+half)}
	if k == 0 {
		ci.Lo = 0
	}
	if k == n {
		ci.Hi = 1
	}
	return ci
}

// Difference is a paired difference variant - baseline of a mean score on the same examples.
type Difference struct {
	Value float64
	CI95  Interval
	N     int
	Test  string  // mcnemar_exact, bootstrap
	P     float64 // two-sided, no difference
	MidP  float64 // McNemar's mid-p; 0 for other tests
	Lost  int     // baseline right, variant wrong
	Won   int     // baseline wrong, variant right
}

// AccuracyDelta compares right and wrong answers on the same examples: b = baseline right and variant wrong, c = the
// reverse. Value = (c-b)/n; P is the exact McNemar test min(1, 2·P(X <= min(b,c))), X ~ Bin(b+c, 1/2), MidP subtracts
// P(X = min(b,c)); the interval is the square-and-add hybrid of two Wilson intervals with their correlation (Newcombe
// 1998, method 10), which holds for small n and near 0 and 1. Errors: lengths that differ, no example.
func AccuracyDelta(baseline, variant []bool) (Difference, error) {
	if len(baseline) != len(variant) || len(baseline) == 0 {
		return Difference{}, fmt.Errorf("measure: %d outcomes of the baseline against %d of the variant", len(baseline), len(variant))
	}
	d := Difference{N: len(baseline), Test: "mcnemar_exact"}
	both, neither := 0, 0
	for i, b := range baseline {
		switch v := variant[i]; {
		case b && v:
			both++
		case b:
			d.Lost++
		case v:
			d.Won++
		default:
			neither++
		}
	}
	d.Value = float64(d.Won-d.Lost) / float64(d.N)
	d.P, d.MidP = mcNemar(d.Lost, d.Won)
	d.CI95 = newcombe(both, d.Lost, d.Won, neither)
	return d, nil
}

// mcNemar returns the exact and the mid-p value.
func mcNemar(b, c int) (exact, mid float64) {
	if b+c == 0 {
		return 1, 1
	}
	k := min(b, c)
	cdf := binomialCDF(k, b+c, 0.5)
	return min(1, 2*cdf), min(1, cdf+binomialCDF(k-1, b+c, 0.5))
}

// newcombe returns the interval of (variant - baseline) from the table of pairs: both right, only the baseline,
// only the variant, neither.
func newcombe(both, lost, won, neither int) Interval {
	n := both + lost + won + neither
	p1, p2 := float64(both+won)/float64(n), float64(both+lost)/float64(n)
	w1, w2 := Wilson(both+won, n), Wilson(both+lost, n)
	d := p1 - p2
	// φ with the continuity correction of method 10: only a positive ad-bc is reduced, by n/2.
	a, e := float64(both)*float64(neither), float64(lost)*float64(won)
	phi := 0.0
	if den := float64(both+lost) * float64(won+neither) * float64(both+won) * float64(lost+neither); den > 0 {
		num := a - e
		if num > 0 {
			num = max(num-float64(n)/2, 0)
		}
		phi = num / math.Sqrt(den)
	}
	half := func(x, y float64) float64 { return math.Sqrt(max(0, x*x-2*phi*x*y+y*y)) }
	return Interval{d - half(p1-w1.Lo, w2.Hi-p2), d + half(w1.Hi-p1, p2-w2.Lo)}
}

// MeanDelta compares a score per example (a similarity, a loss) on the same examples by the paired bootstrap: the mean
// of variant - baseline, its percentile interval from 10,000 draws and the two-sided p. Errors: lengths that
// differ, fewer than two examples, scores that are not finite.
func MeanDelta(baseline, variant []float64, seed uint64) (Difference, error) {
	if len(baseline) != len(variant) || len(baseline) < 2 {
		return Difference{}, fmt.Errorf("measure: %d scores of the baseline against %d of the variant", len(baseline), len(variant))
	}
	x := make([]float64, len(baseline))
	for i := range x {
		x[i] = variant[i] - baseline[i]
		if math.IsNaN(x[i]) || math.IsInf(x[i], 0) {
			return Difference{}, fmt.Errorf("measure: example %d: scores %g and %g", i, baseline[i], variant[i])
		}
	}
	mean, _ := meanSD(x)
	d := Difference{Value: mean, N: len(x), Test: "bootstrap"}
	means := Bootstrap(len(x), bootstrapDraws, seed, func(idx []int) float64 {
		s := 0.0
		for _, i := range idx {
			s += x[i]
		}
		return s / float64(len(x))
	})
	d.CI95 = Interval{quantileSorted(means, 0.025), quantileSorted(means, 0.975)}
	below, above := 1, 1
	for _, m := range means {
		if m <= 0 {
			below++
		}
		if m >= 0 {
			above++
		}
	}
	d.P = min(1, 2*float64(min(below, above))/float64(len(means)+1))
	return d, nil
}

// Bootstrap draws n indices with replacement, calls stat with them, and returns the values of all draws, sorted. For a
// metric that is not a mean over examples (F1, mAP, perplexity), with a stat that computes the difference of both
// arms from the same indices.
func Bootstrap(n, draws int, seed uint64, stat func(idx []int) float64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0x706169726564))
	idx := make([]int, n)
	out := make([]float64, draws)
	for k := range out {
		for i := range idx {
			idx[i] = rng.IntN(n)
		}
		out[k] = stat(idx)
	}
	slices.Sort(out)
	return out
}

// PerCorrect is energy per correct answer.
type PerCorrect struct {
	Joules Joules
	CI95   Interval
}

// ErrNoneCorrect is returned where no answer is right: there is no energy per correct answer.
var ErrNoneCorrect = errors.New("measure: no answer is correct")

// EnergyPerCorrect returns mean(joules)/accuracy with the interval of a joint bootstrap: blocks for the energy
// per inference, examples for the accuracy. joules are per inference and block.
func EnergyPerCorrect(joules []Joules, right []bool, seed uint64) (PerCorrect, error) {
	if len(joules) < 2 || len(right) == 0 {
		return PerCorrect{}, fmt.Errorf("measure: %d blocks and %d examples", len(joules), len(right))
	}
	k := 0
	for _, r := range right {
		if r {
			k++
		}
	}
	if k == 0 {
		return PerCorrect{}, ErrNoneCorrect
	}
	var all Joules
	for _, j := range joules {
		all += j
	}
	p := PerCorrect{Joules: all / Joules(len(joules)) * Joules(len(right)) / Joules(k)}
	rng := rand.New(rand.NewPCG(seed, 0x636f7272656374))
	cdf := make([]float64, len(right)) // of the number of right answers in a sample of as many examples
	for i := range cdf {
		cdf[i] = binomialCDF(i, len(right), float64(k)/float64(len(right)))
	}
	out := make([]float64, 0, bootstrapDraws)
	for range bootstrapDraws {
		var s Joules
		for range joules {
			s += joules[rng.IntN(len(joules))]
		}
		if c := sort.SearchFloat64s(cdf, rng.Float64()); c > 0 {
			out = append(out, float64(s/Joules(len(joules))*Joules(len(right))/Joules(c)))
		}
	}
	slices.Sort(out)
	p.CI95 = Interval{quantileSorted(out, 0.025), quantileSorted(out, 0.975)}
	return p, nil
}

// PerCorrectRatio returns the ratio of energy per correct answer, variant over baseline: ln = mean d - ln(c_B/c_A) with
// d the paired log ratios of energy and c the numbers of correct answers on the same examples; the interval is a joint
// bootstrap of pairs and examples.
func PerCorrectRatio(energy Ratio, baseline, variant []bool, seed uint64) (Ratio, error) {
	n := len(baseline)
	if n == 0 || n != len(variant) || len(energy.LogsPer) < 2 {
		return Ratio{}, fmt.Errorf("measure: %d and %d outcomes, %d pairs", n, len(variant), len(energy.LogsPer))
	}
	count := func(x []bool, idx []int) (k float64) {
		for _, i := range idx {
			if x[i] {
				k++
			}
		}
		return k
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	a, b := count(baseline, all), count(variant, all)
	if a == 0 || b == 0 {
		return Ratio{}, ErrNoneCorrect
	}
	r := energy
	r.Method, r.P, r.PHolm = "bootstrap_joint", 0, 0
	r.Value = energy.Value * a / b
	rng := rand.New(rand.NewPCG(seed, 0x6a6f696e74))
	d := energy.LogsPer
	// The spread of the resampled means of d is scaled to that of the ratio's own interval: a plain bootstrap is too narrow
	// at few pairs, and where they are correlated.
	wide := 1.0
	if _, sd := meanSD(d); sd > 0 && !math.IsInf(energy.HalfWidth(), 0) {
		m := float64(len(d))
		wide = energy.HalfWidth() / (zQuantile(0.975) * sd * math.Sqrt((m-1)/m) / math.Sqrt(m))
	}
	centre := math.Log(energy.Value)
	logs := Bootstrap(n, bootstrapDraws, seed, func(idx []int) float64 {
		s := 0.0
		for range d {
			s += d[rng.IntN(len(d))]
		}
		ka, kb := count(baseline, idx), count(variant, idx)
		return centre + wide*(s/float64(len(d))-centre) - math.Log(max(kb, 0.5)/max(ka, 0.5))
	})
	q := func(p float64) float64 { return math.Exp(quantileSorted(logs, p)) }
	r.CI95, r.CI90 = Interval{q(0.025), q(0.975)}, Interval{q(0.05), q(0.95)}
	r.Early = earlyJoint(energy, r)
	return r, nil
}

// earlyJoint is Early of a ratio whose interval is wider than that of the pairs alone: on the log scale, what was added at
// 95 % is added at 99 % too (normal quantiles), around the new value.
func earlyJoint(pairs, joint Ratio) Interval {
	if pairs.Early.Lo <= 0 || math.IsInf(pairs.Early.Hi, 0) {
		return pairs.Early
	}
	hj, hp := joint.HalfWidth(), pairs.HalfWidth()
	extra := math.Sqrt(max(0, hj*hj-hp*hp)) * zQuantile(1-earlyAlpha/2) / zQuantile(0.975)
	lo := math.Hypot(math.Log(pairs.Value/pairs.Early.Lo), extra)
	hi := math.Hypot(math.Log(pairs.Early.Hi/pairs.Value), extra)
	return Interval{joint.Value * math.Exp(-lo), joint.Value * math.Exp(hi)}
}
