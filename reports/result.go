package reports

import (
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Schema is the value of the "schema" key of every result.json that this package writes and reads.
const Schema = "wattshed.result/1"

// Result is the content of result.json. All figures are SI units, named in the key. A pointer or
// an empty value means that the figure is absent: it was not measured or does not apply.
// Variants[0] is the baseline that every ratio and delta refers to.
type Result struct {
	Schema       string       `json:"schema"`
	Tool         Tool         `json:"tool"`
	Host         *Host        `json:"host,omitempty"`
	Target       *Target      `json:"target,omitempty"`
	Model        *Model       `json:"model,omitempty"`
	Task         *Task        `json:"task,omitempty"`
	RecipeSHA256 string       `json:"recipe_sha256,omitempty"`
	Started      time.Time    `json:"started,omitzero"`
	Finished     time.Time    `json:"finished,omitzero"`
	Method       *Method      `json:"method,omitempty"`
	Roofline     *Roofline    `json:"roofline,omitempty"`
	Impact       *Impact      `json:"impact,omitempty"`
	Variants     []Variant    `json:"variants"`
	Meter        *Meter       `json:"meter,omitempty"`
	Idle         *Idle        `json:"idle,omitempty"`
	Blocks       []Block      `json:"blocks,omitempty"`
	Gates        []GateResult `json:"gates,omitempty"`
	Warnings     []string     `json:"warnings,omitempty"`
}

// Tool names the program that made the result.
type Tool struct {
	Name    string `json:"name,omitempty"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go,omitempty"`
}

// Host describes the machine; Memory is in bytes. ISA lists the instruction sets that the kernels
// could use ("avx2", "avx512", "vnni"). Virtualized is absent when it could not be found out.
type Host struct {
	CPU         string   `json:"cpu,omitempty"`
	ISA         []string `json:"isa,omitempty"`
	Cores       int      `json:"cores,omitempty"`
	Memory      int64    `json:"memory,omitempty"`
	OS          string   `json:"os,omitempty"`
	Virtualized *bool    `json:"virtualized,omitempty"`
}

// Target is what the measurements ran on: runtime "native" or "ort", its provider and version, the
// instruction set in use, and the shape of one run (Batch examples of Sequence tokens).
type Target struct {
	Runtime  string `json:"runtime"`
	Provider string `json:"provider,omitempty"`
	Version  string `json:"version,omitempty"`
	ISA      string `json:"isa,omitempty"`
	Threads  int    `json:"threads,omitempty"`
	Batch    int    `json:"batch,omitempty"`
	Sequence int    `json:"sequence,omitempty"`
}

// Model is the model that the run started from, as it lay on disk: Bytes and SHA256 are of its file with its external data behind it.
type Model struct {
	Name   string `json:"name,omitempty"`
	Path   string `json:"path,omitempty"`
	Format string `json:"format,omitempty"`
	Bytes  int64  `json:"bytes,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Task is what accuracy means in this result: the kind ("classification", "fidelity"), the metric,
// the data and the number of scored examples. Baselines are simple methods on the same split,
// shown so that a reader can tell a good accuracy from an easy task.
type Task struct {
	Kind       string         `json:"kind"`
	Metric     string         `json:"metric,omitempty"`
	Data       string         `json:"data,omitempty"`
	DataSHA256 string         `json:"data_sha256,omitempty"`
	Split      string         `json:"split,omitempty"`
	N          int            `json:"n,omitempty"`
	Baselines  []TaskBaseline `json:"baselines,omitempty"`
}

// TaskBaseline is the score of a simple method ("majority class", "naive Bayes", "logistic
// regression") on the examples that the variants were scored on.
type TaskBaseline struct {
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	N     int       `json:"n,omitempty"`
	CI95  *Interval `json:"ci95,omitempty"`
}

// Method says how the figures were obtained, in numbers and in sentences (Notes, Assumptions).
// Assumptions are those of modelled figures: watts per busy core, their source and uncertainty.
type Method struct {
	Pairs       int      `json:"pairs,omitempty"`
	Warmup      int      `json:"warmup,omitempty"`
	Order       string   `json:"order,omitempty"`
	IdleSeconds *float64 `json:"idle_seconds,omitempty"`
	Precision   *float64 `json:"precision,omitempty"`
	Statistic   string   `json:"statistic,omitempty"`
	Notes       []string `json:"notes,omitempty"`
	Assumptions []string `json:"assumptions,omitempty"`
}

// Roofline holds the measured ceilings of this machine: 1e9 floating point operations per second
// and 1e9 bytes per second.
type Roofline struct {
	GFLOPS  float64 `json:"gflops"`
	GBytesS float64 `json:"gbytes_per_s"`
	N       int     `json:"n,omitempty"`      // threads that were measured at once
	Source  string  `json:"source,omitempty"` // how: a lower bound of what the machine can

	Rounds    int       `json:"rounds,omitempty"` // whose median the figures are; the intervals hold it with 95 %
	GFLOPSCI  *Interval `json:"gflops_ci95,omitempty"`
	GBytesSCI *Interval `json:"gbytes_per_s_ci95,omitempty"`
}

// Interval is a 95 % confidence interval, low before high, in the unit of its figure. Both ends are
// finite: where one is unbounded the interval is left out and the figure says that nothing is shown.
type Interval [2]float64

// IntervalOf converts an interval of measure; nil where an end is unbounded or not a number.
func IntervalOf(i measure.Interval) *Interval {
	if !finite(i.Lo) || !finite(i.Hi) {
		return nil
	}
	return &Interval{i.Lo, i.Hi}
}

// Ratio is variant over baseline from paired measurements. N is the number of pairs.
type Ratio struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
	N     int       `json:"n,omitempty"`
	Pairing
}

// Pairing says how a paired ratio was judged. Method is how its interval was made ("t", "bootstrap_t", "t_effective_n",
// "bootstrap_joint"); P is that of no difference and PHolm the same, adjusted over all variants. Decides is the interval that
// claims and gates look at where it is not CI95: a wider one below 30 pairs, absent where so few pairs (or a first look
// with outliers) decide nothing. NeededPairs is the least number before a difference is claimed (0: not known, CI95 decides); MorePairs
// is about how many more would reach the wanted precision. NoRegression is the one-sided equivalence test (not worse than 1 + Margin),
// Equivalent that of both sides.
type Pairing struct {
	Method       string    `json:"method,omitempty"`
	P            *float64  `json:"p,omitempty"`
	PHolm        *float64  `json:"p_holm,omitempty"`
	SD           *float64  `json:"sd_log,omitempty"` // of the paired log ratios
	Lag1         *float64  `json:"lag1,omitempty"`   // their autocorrelation
	Decides      *Interval `json:"decides,omitempty"`
	NeededPairs  int       `json:"needed_pairs,omitempty"`
	MorePairs    int       `json:"more_pairs,omitempty"`
	NoRegression Verdict   `json:"no_regression,omitempty"`
	Equivalent   Verdict   `json:"equivalent,omitempty"`
	Margin       float64   `json:"margin,omitempty"`  // of the two tests
	Stopped      string    `json:"stopped,omitempty"` // precision, max_pairs or max_time
}

// sure is the number of pairs from which the 95 % interval decides.
const sure = 30

// figure gives the ratio with the interval that decides.
func (p Pairing) figure(value float64, ci *Interval, n int) figure {
	f := figure{value: value, ci: ci, n: n, decides: ci, pairs: true, counted: "pair", holm: p.PHolm}
	if p.NeededPairs > 0 && n < sure {
		f.decides, f.few = p.Decides, p.Decides == nil
	}
	return f
}

// Undecided reports whether the 95 % interval ci of n pairs does not hold 1 and yet nothing is claimed: the interval that decides
// below 30 pairs is wider and holds it, or so few pairs decide nothing.
func (p Pairing) Undecided(ci *Interval, n int) bool {
	f := p.figure(1, ci, n)
	d := f.deciding()
	return ci != nil && (ci[0] > 1 || ci[1] < 1) && (d == nil || d[0] <= 1 && d[1] >= 1)
}

// Delta is variant minus baseline on the same examples; Test names the paired test and P its p value.
type Delta struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
	Test  string    `json:"test,omitempty"`
	P     *float64  `json:"p,omitempty"`
	N     int       `json:"n,omitempty"`
}
