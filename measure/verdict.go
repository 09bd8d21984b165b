package measure

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

// Ratio is variant/baseline per inference from paired blocks, with its 95 % interval.
type Ratio struct {
	Value   float64   `json:"value"`
	CI95    Interval  `json:"ci95"`
	CI90    Interval  `json:"ci90"` // what TOST looks at
	N       int       `json:"n"`    // pairs
	Basis   Basis     `json:"basis"`
	Method  string    `json:"method"`           // t, bootstrap_bca, moving_block
	SD      float64   `json:"sd"`               // of the paired log ratios
	P       float64   `json:"p"`                // two-sided, ratio = 1
	PHolm   float64   `json:"p_holm,omitempty"` // adjusted over the variants compared together
	Lag1    float64   `json:"lag1"`             // autocorrelation of the paired log ratios
	Correl  bool      `json:"correlated"`       // |Lag1| > 0.2 and > 2/√n
	SlopeP  float64   `json:"slope_p"`          // p of a linear drift over the pairs
	Needed  int       `json:"needed"`           // least number of pairs that the rule asks for: 10, or 30 when correlated or heavy-tailed
	LogsPer []float64 `json:"logs"`             // ln(variant/baseline) per pair, in order
}

// HalfWidth is half the width of the 95 % interval of ln(ratio): about the relative precision.
func (r Ratio) HalfWidth() float64 { return logHalfWidth(r.CI95) }
