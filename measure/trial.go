package measure

import (
	"context"
	"time"
)

// Trial is one variant to be measured: a function that does fixed work.
type Trial struct {
	Name string
	// Run does work item i, 0 <= i < Items, and returns when all of it is done (a device is synchronised). A
	// block is a whole number of passes over the items, in order, so that both arms do the same work. Every
	// call is one latency sample.
	Run func(ctx context.Context, i int) error
	// Items is the number of work items of one pass; 0 means 1.
	Items int
	// PerItem is the number of inferences that one Run does (the batch size); 0 means 1.
	PerItem int
}

// Clock is the time source. Now is monotonic. Sleep returns early with the context's error.
type Clock interface {
	Now() time.Duration
	Sleep(ctx context.Context, d time.Duration) error
}

// Protocol is how Compare measures. The zero value is usable; fields at 0 take the default named.
type Protocol struct {
	Meter     Meter                         // nil: no energy, latency and CPU time only
	Seed      uint64                        // of the block order, the pauses and the bootstrap
	Block     time.Duration                 // target length of a block; default: the larger of 1 s and 50 counter periods
	MinPairs  int                           // pairs before the stopping rule looks at the precision; default 10
	MaxPairs  int                           // cap per variant; default 60
	Precision float64                       // wanted half-width of the 95 % interval of ln(ratio); default 0.02
	MaxTime   time.Duration                 // cap of the blocks' time, those of Done included; default none
	Warmup    time.Duration                 // cap of the warm-up per variant; default 10 blocks
	Idle      time.Duration                 // idle measured before and after; default none
	Margin    float64                       // equivalence margin of TOST as a fraction; default 0.05
	NoGC      bool                          // do not collect garbage before each block
	Clock     Clock                         // default: the system's
	CPUTime   func() (time.Duration, error) // default: of this process
	// HostCPU returns the CPU time used by all processes since boot (HostCPUTime reads it), to tell the load of
	// others during blocks; nil: not looked at.
	HostCPU func() (time.Duration, error)
	// Covariates returns clock, temperature and throttling of the machine (HostCovariates reads them), looked at beside
	// each block; nil: not looked at.
	Covariates func() Covariates
	Done       []Block           // blocks finished earlier, in their order: they are not run again
	DoneIdle   *Idle             // idle of the earlier session, where it was measured
	OnBlock    func(Block) error // called after each block, before the next; an error stops Compare
	OnIdle     func(Idle) error  // called after each idle, with what is known so far
	OnProgress func(Progress)    // called before each block
}

// Progress tells how far Compare is.
type Progress struct {
	Variant string
	Phase   string // idle, warmup, block
	Pairs   int    // finished pairs of this variant
	Blocks  int    // finished blocks of all
	Elapsed time.Duration
	Left    time.Duration // estimate up to MinPairs for all variants
}

// Block is one run of blocks of one arm: the unit of measurement, and what a journal stores.
type Block struct {
	Round      int             `json:"round"`    // two pairs per variant and round
	Variant    string          `json:"variant"`  // the variant of the pair
	Position   int             `json:"position"` // 0..3 in ABBA or BAAB
	Baseline   bool            `json:"baseline"` // this arm is the baseline of the pair
	Passes     int             `json:"passes"`
	Inferences int             `json:"inferences"`
	Start      time.Duration   `json:"start_ns"` // on the session's clock
	Wall       time.Duration   `json:"wall_ns"`
	CPU        time.Duration   `json:"cpu_ns"`
	Samples    []time.Duration `json:"samples_ns"` // one per Run call
	Energy     []DomainEnergy  `json:"energy,omitempty"`
	Foreign    float64         `json:"foreign_cpu,omitempty"` // CPUs used by other processes, where known
	Covariates *Covariates     `json:"covariates,omitempty"`  // clock and temperature at its end, throttling within it
	Void       string          `json:"void,omitempty"`        // why the block does not count
	Session    int             `json:"session"`               // 0 first process, +1 per resume
	Unsteady   time.Duration   `json:"unsteady_ns,omitempty"` // the warm-up of its arm that the cap ended before the rule was met
}

// Idle is the power without work, measured with everything loaded.
type Idle struct {
	Before *IdleWindow `json:"before,omitempty"`
	After  *IdleWindow `json:"after,omitempty"`
}

// IdleWindow is one window of idle.
type IdleWindow struct {
	Duration time.Duration `json:"duration_ns"`
	Watts    Watts         `json:"watts"` // headline domains
	CPU      time.Duration `json:"cpu_ns"`
	Kind     Kind          `json:"kind"`
	// CountedBy is the process that counted the machine meanwhile, where it was another one.
	CountedBy string `json:"counted_by,omitempty"`
}

// Comparison is what Compare found.
type Comparison struct {
	Baseline Summary
	Variants []Summary // in the order given
	Blocks   []Block   // all of them, in the order run, void ones included
	Idle     Idle
	Warnings []string
	Overhead Overhead
	meaning  meaning // of all energies: see Counts
}

// Overhead is what measuring itself cost inside the windows.
type Overhead struct {
	Reads    int           // of the meter
	PerRead  time.Duration // median
	Fraction float64       // of the blocks' wall time
}

// Summary is one arm of a comparison.
type Summary struct {
	Name            string
	Inferences      int
	Latency         Latency
	ThroughputPerS  float64       // inferences per second inside blocks
	CPUPerInference time.Duration // CPU time of the process
	Energy          *Energy       // absent when no meter gave a headline figure
	LatencyRatio    *Ratio        // against the baseline; absent for the baseline
	CPURatio        *Ratio        // likewise, of CPU time
	EnergyRatio     *Ratio        // likewise; Basis says whether it is one of energy or of CPU time
	NoRegression    Verdict       // one-sided TOST of EnergyRatio (LatencyRatio where there is none) within Margin
	Equivalent      Verdict       // both sides: as good as the baseline within Margin
	Margin          float64       // of the two
	Intervals       *ArmIntervals // of latency and throughput; nil below six blocks
	Stopped         string        // precision, max_pairs, max_time
	MorePairs       int           // about how many more pairs would reach the precision; 0 = reached
}

// Energy is the energy of one arm per inference.
type Energy struct {
	PerInference Joules // gross, headline domains
	Kind         Kind
	UAbs         float64 // relative half-width of the 95 % interval of PerInference
	Coverage     float64 // share of headline domains × time without gaps
	Domains      []DomainJoules
	URatio       float64 // relative half-width of what survives in a ratio of two energies of this meter
	IdleWatts    *Watts  // absent when idle was not measured
	IdleU        Watts   // half-width of its 95 % interval: the source's gain, and the change from before to after
	IdleN        int     // windows of idle
	Net          *Joules // gross less idle power × time, per inference; absent without idle
	NetU         Joules  // half-width of its 95 % interval
	NetBelow     bool    // Net is below three times its uncertainty: below resolution
	NetAbsent    string  // why there is no Net, or none to show
	CountedBy    string  // the process that counts this machine, where it is another one: see Source
}

// DomainJoules is the energy of one domain per inference.
type DomainJoules struct {
	Domain Domain
	Source Source
	Joules Joules
	Status string
}

// Latency holds all samples of one arm, in seconds per Run call, and their summary.
type Latency struct {
	P50, P95, P99, Mean float64
	N                   int
	Samples             []float64 // in the order taken
}
