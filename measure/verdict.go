package measure

import "math"

// Verdict is the answer of a check with an uncertainty.
type Verdict string

// The verdicts.
const (
	Pass         Verdict = "pass"
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
)

// Interval is a closed interval, 95 % unless said otherwise.
type Interval struct {
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
}

// Contains reports whether Lo <= x <= Hi.
func (i Interval) Contains(x float64) bool { return i.Lo <= x && x <= i.Hi }

// Basis tells what a ratio was computed from.
type Basis string

// The bases of a ratio.
const (
	BasisCounter Basis = "counter"  // energy counters, both arms
	BasisCPUTime Basis = "cpu_time" // CPU time of the process: a modelled energy ratio is this and nothing more
	BasisWall    Basis = "wall"     // elapsed time: a latency ratio
)

// How the interval of a ratio was made.
const (
	MethodT         = "t"               // Student's t of the paired log ratios
	MethodBootstrap = "bootstrap_t"     // symmetric studentised bootstrap over pairs
	MethodEffective = "t_effective_n"   // Student's t with the pairs that correlated ones are worth
	MethodJoint     = "bootstrap_joint" // joint bootstrap of pairs and examples
)

// Ratio is variant/baseline per inference from paired blocks, with its 95 % interval.
type Ratio struct {
	Value    float64   `json:"value"`
	CI95     Interval  `json:"ci95"`
	CI90     Interval  `json:"ci90"`  // what TOST looks at from 30 pairs on
	Early    Interval  `json:"early"` // what decides on 10 to 29 pairs; 0 to infinity where they decide nothing
	N        int       `json:"n"`     // pairs
	Basis    Basis     `json:"basis"`
	Method   string    `json:"method"`           // one of the Method constants
	SD       float64   `json:"sd"`               // of the paired log ratios
	P        float64   `json:"p"`                // two-sided, ratio = 1
	PHolm    float64   `json:"p_holm,omitempty"` // adjusted over the variants compared together
	Lag1     float64   `json:"lag1"`             // autocorrelation of the paired log ratios
	Correl   bool      `json:"correlated"`       // |Lag1| > 0.2 and > 2/√n: plain to see
	SlopeP   float64   `json:"slope_p"`          // p of a linear drift over the pairs
	Outliers int       `json:"outliers"`         // pairs more than 5 MAD (times 1.4826) from the median, kept
	Needed   int       `json:"needed"`           // least number of pairs before a difference from 1 is decided: 30, or 10 where those are unmistakable
	LogsPer  []float64 `json:"logs"`             // ln(variant/baseline) per pair, in order
}

// HalfWidth is half the width of the 95 % interval of ln(ratio): about the relative precision.
func (r Ratio) HalfWidth() float64 { return logHalfWidth(r.CI95) }

// Deciding is the interval that a two-sided claim looks at: the 95 % one from 30 pairs on, Early on 10 to 29, and
// 0 to infinity below.
func (r Ratio) Deciding() Interval {
	if r.N >= minPairsSure {
		return r.CI95
	}
	return r.Early
}

// Different reports whether the ratio is shown to differ from 1: Deciding excludes it. This is what the calibration
// counts.
func (r Ratio) Different() bool { return !r.Deciding().Contains(1) }

// oneSided is the interval whose ends are 95 % bounds each, or Early below 30 pairs.
func (r Ratio) oneSided() Interval {
	if r.N >= minPairsSure {
		return r.CI90
	}
	return r.Early
}

// MorePairs returns about how many more pairs would bring the half-width of r's interval to target:
// n·((h/target)² − 1), and at least what Needed asks for. 0 when it is reached.
func (r Ratio) MorePairs(target float64) int {
	h := r.HalfWidth()
	short := max(0, r.Needed-r.N)
	if h <= target || target <= 0 || math.IsInf(h, 0) {
		return short
	}
	return max(more(r.N, h/target), short)
}

// PairsToDecide returns about how many more pairs would decide "ratio <= limit" either way if the ratio is what it
// seems: n·((h/|ln(value/limit)|)² − 1) with the one-sided half-width h, and at least up to 30 pairs. 0 when it
// is decided; at most a million, which means never.
func (r Ratio) PairsToDecide(limit float64) int {
	if r.AtMost(limit) != Inconclusive {
		return 0
	}
	return max(more(r.N, logHalfWidth(r.CI90)/math.Abs(math.Log(r.Value/limit))), minPairsSure-r.N, 1)
}

// more is n·(q²-1), rounded up, between 0 and a million.
func more(n int, q float64) int {
	m := float64(n) * (q*q - 1)
	if math.IsNaN(m) {
		return 1e6
	}
	return int(min(max(math.Ceil(m), 0), 1e6))
}

// AtMost judges "ratio <= limit": pass when the one-sided 95 % bound is at or below the limit, fail when
// the opposite is as certain, else inconclusive. On 10 to 29 pairs Early takes the place of the bounds; fewer
// decide nothing.
func (r Ratio) AtMost(limit float64) Verdict {
	switch ci := r.oneSided(); {
	case ci.Hi <= limit:
		return Pass
	case ci.Lo > limit:
		return Fail
	}
	return Inconclusive
}

// NoRegression is one-sided TOST (non-inferiority): pass when the ratio is below 1+margin with 95 % confidence.
func (r Ratio) NoRegression(margin float64) Verdict { return r.AtMost(1 + margin) }

// Equivalent is TOST at α = 0.05: pass when the 90 % interval (Early below 30 pairs) lies inside (1/(1+margin), 1+margin),
// fail when it lies outside. Absence of significance is never equivalence.
func (r Ratio) Equivalent(margin float64) Verdict {
	lo, hi := 1/(1+margin), 1+margin
	switch ci := r.oneSided(); {
	case ci.Lo > lo && ci.Hi < hi:
		return Pass
	case ci.Lo > hi || ci.Hi < lo:
		return Fail
	}
	return Inconclusive
}
