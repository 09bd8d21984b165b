package reports

// Impact is what one inference does: energy intensity in J/MAC and carbon intensity in gCO2e/kWh of the best
// variant, and for every variant the raw vector with a composite index beside it. The index is Σ w·x/reference with
// weights that sum to 1 and the baseline's own figures as references, so the baseline has 1. Missing names the components that
// are not in it, and why; nothing is filled with 0. Ranking tells whether the order of the variants depends on what was assumed.
type Impact struct {
	Variant         string             `json:"variant,omitempty"`
	EnergyIntensity *float64           `json:"energy_j_per_mac,omitempty"`
	CarbonIntensity *float64           `json:"carbon_g_per_kwh,omitempty"`
	Index           *float64           `json:"index,omitempty"` // of Variant
	IntensityCI     *Interval          `json:"energy_j_per_mac_ci95,omitempty"`
	CarbonCI        *Interval          `json:"carbon_g_per_kwh_ci95,omitempty"`
	IndexCI         *Interval          `json:"index_ci95,omitempty"`
	N               int                `json:"n,omitempty"`       // inferences under energy_j_per_mac
	IndexN          int                `json:"index_n,omitempty"` // pairs under index
	Weights         map[string]float64 `json:"weights,omitempty"`
	References      map[string]float64 `json:"references,omitempty"`
	Source          string             `json:"source,omitempty"` // of the energy under it
	Vectors         []ImpactVector     `json:"vectors,omitempty"`
	Missing         []string           `json:"missing,omitempty"`
	Ranking         *Ranking           `json:"ranking,omitempty"`
}

// ImpactVector is the impact of one inference of one variant, and its index with the paired interval over N pairs. Decides
// is the interval that claims look at below 30 pairs.
type ImpactVector struct {
	Variant   string    `json:"variant"`
	EnergyJ   *float64  `json:"energy_j,omitempty"`
	CarbonG   *float64  `json:"carbon_g,omitempty"`
	MachineS  *float64  `json:"machine_s,omitempty"` // time that the machine is occupied
	WaterL    *float64  `json:"water_l,omitempty"`
	EnergyCI  *Interval `json:"energy_j_ci95,omitempty"`
	CarbonCI  *Interval `json:"carbon_g_ci95,omitempty"`
	MachineCI *Interval `json:"machine_s_ci95,omitempty"`
	WaterCI   *Interval `json:"water_l_ci95,omitempty"`
	Index     *float64  `json:"index,omitempty"`
	CI95      *Interval `json:"index_ci95,omitempty"`
	N         int       `json:"n,omitempty"`
}

// Ranking is the order of the variants, the least impact first, and whether it flips: by carbon on other grids, PUEs and
// lives of the hardware (Cases), or by index when any one weight is raised or lowered by half, or on those grids, PUEs and lives
// (FlipsByIndex).
type Ranking struct {
	Order          []string      `json:"order"`
	Flips          bool          `json:"flips"`
	FlipsByWeights bool          `json:"flips_by_weights"`
	FlipsByIndex   bool          `json:"flips_by_index"`
	Cases          []RankingCase `json:"cases,omitempty"`
	Statement      string        `json:"statement"`
}

// RankingCase is the order by carbon under one set of assumptions.
type RankingCase struct {
	GPerKWh   float64  `json:"g_per_kwh"`
	PUE       float64  `json:"pue"`
	LifeYears float64  `json:"life_years"`
	Order     []string `json:"order"`
	ByIndex   []string `json:"order_by_index,omitempty"`
}

// Meter is what the energy was read with: what it says of itself, the process that counted this machine where it was another one, and
// what reading cost in the blocks (Overhead is a share of their time; PerRead in seconds).
type Meter struct {
	Describe  string  `json:"describe,omitempty"`
	CountedBy string  `json:"counted_by,omitempty"`
	Reads     int     `json:"reads,omitempty"`
	PerRead   float64 `json:"per_read_s,omitempty"`
	Overhead  float64 `json:"overhead"`
}

// Idle is the power without work before and after the blocks, in watts; Source is measured or modelled. Each is one window of so many
// seconds, its interval that of the source's gain.
type Idle struct {
	BeforeW *float64 `json:"before_w,omitempty"`
	AfterW  *float64 `json:"after_w,omitempty"`
	Source  string   `json:"source,omitempty"`

	BeforeCI *Interval `json:"before_ci95,omitempty"`
	AfterCI  *Interval `json:"after_ci95,omitempty"`
	BeforeS  float64   `json:"before_s,omitempty"`
	AfterS   float64   `json:"after_s,omitempty"`
	N        int       `json:"n,omitempty"` // windows
}

// GapUnlike is the gap of a block whose joules are of another meter than those of the figures, or without the machine's idle power where those
// are with it, or the other way about.
const GapUnlike = "unlike"

// Block is one run of a block as it was measured: Variant names the pair's variant, Baseline tells whether this block ran the
// baseline. Start counts seconds of measuring, without what lay between two sessions of an interrupted run. Joules is absent
// where the block has a gap, and where they would mean something else than those that the result's figures are of: gap "unlike". CountedBy
// is the process that counted this machine meanwhile. Foreign is in CPUs that other processes used, MHz and Celsius are those at its end.
type Block struct {
	Round      int      `json:"round"`
	Position   int      `json:"position"`
	Variant    string   `json:"variant"`
	Baseline   bool     `json:"baseline"`
	Session    int      `json:"session,omitempty"`
	Start      float64  `json:"start_s"`
	Seconds    float64  `json:"seconds"`
	CPU        float64  `json:"cpu_s"`
	Inferences int      `json:"inferences"`
	Joules     *float64 `json:"joules,omitempty"`
	Source     string   `json:"source,omitempty"`
	Gap        string   `json:"gap,omitempty"` // why there are no joules
	CountedBy  string   `json:"counted_by,omitempty"`
	Foreign    float64  `json:"foreign_cpus,omitempty"`
	MHz        *float64 `json:"mhz,omitempty"`
	Celsius    *float64 `json:"celsius,omitempty"`
	Throttles  *int64   `json:"throttles,omitempty"`
	Void       string   `json:"void,omitempty"`
}
