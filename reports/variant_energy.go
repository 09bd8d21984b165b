package reports

// The kinds of an energy figure: read from a counter, computed from a model, or some of each.
const (
	SourceMeasured = "measured"
	SourceModelled = "modelled"
	SourceMixed    = "mixed"
)

// The bases of an energy ratio: paired counter readings, or paired CPU times where there is no counter.
const (
	BasisCounter = "counter"
	BasisCPUTime = "cpu_time"
)

// Energy is in joules per inference over N inferences. Net is without the idle power IdleW (watts, over IdleN windows), and where it is
// absent NetAbsent says why. Coverage is the share of counted domains times time without a gap. CountedBy is the process that counts
// this machine, where it is another one: what is measured is then absent, what is modelled without the machine's idle power.
// PerCorrect is joules per correctly answered example, its interval and ratio joint over blocks and the PerCorrectN examples.
type Energy struct {
	PerInference    *float64     `json:"per_inference,omitempty"`
	CI95            *Interval    `json:"ci95,omitempty"`
	N               int          `json:"n,omitempty"`
	Source          string       `json:"source,omitempty"`
	Domains         []Domain     `json:"domains,omitempty"`
	Coverage        *float64     `json:"coverage,omitempty"`
	CountedBy       string       `json:"counted_by,omitempty"`
	IdleW           *float64     `json:"idle_w,omitempty"`
	IdleCI95        *Interval    `json:"idle_ci95,omitempty"`
	IdleN           int          `json:"idle_n,omitempty"`
	NetPerInference *float64     `json:"net_per_inference,omitempty"`
	NetCI95         *Interval    `json:"net_ci95,omitempty"`
	NetAbsent       string       `json:"net_absent,omitempty"`
	Ratio           *EnergyRatio `json:"ratio,omitempty"`
	PerCorrect      *float64     `json:"per_correct,omitempty"`
	PerCorrectCI95  *Interval    `json:"per_correct_ci95,omitempty"`
	PerCorrectN     int          `json:"per_correct_n,omitempty"`
	PerCorrectRatio *EnergyRatio `json:"per_correct_ratio,omitempty"`
}

// Domain is one part of the machine ("cpu", "dram", "gpu0"): joules per inference over N of them and their
// absolute uncertainty UAbs in joules. Zone is the meter's name for it, Scope what it covers (package, dram, core, uncore, platform, gpu,
// other), Headline whether it is part of per_inference: what is not is a breakdown or another view of the same joules. Kind is measured or
// modelled, Status ok or partial (with gaps), PeriodS the update period of its counter, Note what the source says of itself.
type Domain struct {
	Domain string   `json:"domain"`
	Source string   `json:"source"`
	Joules float64  `json:"joules"`
	UAbs   *float64 `json:"u_abs,omitempty"`

	Zone      string   `json:"zone,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	Headline  bool     `json:"headline"`
	Kind      string   `json:"kind,omitempty"`
	Status    string   `json:"status,omitempty"`
	N         int      `json:"n,omitempty"`
	URatio    *float64 `json:"u_ratio,omitempty"` // in joules: what survives in a ratio
	PeriodS   float64  `json:"period_s,omitempty"`
	Note      string   `json:"note,omitempty"`
	CountedBy string   `json:"counted_by,omitempty"`
}

// EnergyRatio is variant over baseline; Basis says whether counters or CPU times were compared.
type EnergyRatio struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
	N     int       `json:"n,omitempty"`
	Basis string    `json:"basis"`
	Pairing
}
