package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Variant is one model of the run: the baseline or what a list of stages made of it.
type Variant struct {
	Name       string      `json:"name"`
	Stages     []Stage     `json:"stages,omitempty"`
	Notes      []Note      `json:"notes,omitempty"`
	File       *File       `json:"file,omitempty"`
	Weights    *Weights    `json:"weights,omitempty"`
	Accuracy   *Accuracy   `json:"accuracy,omitempty"`
	Latency    *Latency    `json:"latency_s,omitempty"`
	Throughput *float64    `json:"throughput_per_s,omitempty"`
	Memory     *Memory     `json:"memory_bytes,omitempty"`
	Energy     *Energy     `json:"energy_j,omitempty"`
	Carbon     *Carbon     `json:"carbon_g,omitempty"`
	Cost       *Cost       `json:"cost,omitempty"`
	Profile    []OpProfile `json:"profile,omitempty"`
}

// Stage is one step of a variant as in the recipe, every default made explicit. In JSON it is the
// recipe's own form, an object with one key: {"quantize": {"scheme": "int8"}}.
type Stage struct {
	Name    string
	Options map[string]any
}

// MarshalJSON writes the recipe form, option keys sorted.
func (s Stage) MarshalJSON() ([]byte, error) {
	o := s.Options
	if o == nil {
		o = map[string]any{}
	}
	return json.Marshal(map[string]map[string]any{s.Name: o})
}

// UnmarshalJSON reads the recipe form; anything but one key with an object is an error.
func (s *Stage) UnmarshalJSON(b []byte) error {
	var m map[string]map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&m); err != nil {
		return fmt.Errorf("stage: %w", err)
	}
	if len(m) != 1 {
		return fmt.Errorf("stage: %d keys, want one stage name", len(m))
	}
	for k, v := range m {
		s.Name, s.Options = k, v
	}
	if s.Options == nil {
		s.Options = map[string]any{}
	}
	return nil
}

// Action says what a stage did to a weight.
type Action string

// The actions: the weight was changed (How says to what), left alone (Why says the reason), or the
// note is a remark on the whole stage and names no weight.
const (
	Touched Action = "touched"
	Left    Action = "left"
	Remark  Action = "remark"
)

// Note is the record of one stage on one weight. Touched needs How, Left needs Why, Remark puts its
// sentence in Why. Op is the operator that reads the weight; the byte counts are before and after the stage.
type Note struct {
	Stage       string   `json:"stage"`
	Weight      string   `json:"weight,omitempty"`
	Op          string   `json:"op,omitempty"`
	Action      Action   `json:"action"`
	How         string   `json:"how,omitempty"`
	Why         string   `json:"why,omitempty"`
	Elements    int64    `json:"elements,omitempty"`
	BytesBefore int64    `json:"bytes_before,omitempty"`
	BytesAfter  int64    `json:"bytes_after,omitempty"`
	Sparsity    *float64 `json:"sparsity,omitempty"`
}

// File is the written model that was measured.
type File struct {
	Path   string `json:"path"`
	Format string `json:"format,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
}

// Weights counts the weights of a variant; Sparsity is the fraction of zeros, 0 to 1; Bytes is their
// size in the file. MACs are multiply-accumulates of one inference at the target's shape.
type Weights struct {
	Parameters int64    `json:"parameters"`
	Nonzero    int64    `json:"nonzero"`
	Sparsity   *float64 `json:"sparsity,omitempty"`
	Bytes      int64    `json:"bytes"`
	MACs       *int64   `json:"macs_per_inference,omitempty"`
}

// Accuracy is the score on N examples. LowerIsBetter marks a metric such as perplexity or error rate.
type Accuracy struct {
	Metric        string    `json:"metric"`
	Value         float64   `json:"value"`
	N             int       `json:"n"`
	CI95          *Interval `json:"ci95,omitempty"`
	Delta         *Delta    `json:"delta,omitempty"`
	P01           *float64  `json:"p01,omitempty"` // 1st percentile of the outcomes, where they are graded
	LowerIsBetter bool      `json:"lower_is_better,omitempty"`
}

// Latency is the distribution of single-run times in seconds; Samples holds all N of them in the
// order in which they were taken. CI95 is the interval of P50.
type Latency struct {
	P50     float64   `json:"p50"`
	P95     float64   `json:"p95"`
	P99     float64   `json:"p99"`
	Mean    float64   `json:"mean"`
	N       int       `json:"n"`
	CI95    *Interval `json:"ci95,omitempty"`
	Samples []float64 `json:"samples,omitempty"`
	Ratio   *Ratio    `json:"ratio,omitempty"`
}

// Memory is in bytes. PeakRSS is that of a process of its own with EmptyProcess already subtracted.
type Memory struct {
	PeakRSS      *int64 `json:"peak_rss,omitempty"`
	Weights      *int64 `json:"weights,omitempty"`
	Arena        *int64 `json:"arena,omitempty"`
	EmptyProcess *int64 `json:"empty_process,omitempty"`
}

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

// Energy is in joules per inference over N inferences. Net is without the idle power IdleW (watts);
// PerCorrect is joules per correctly answered example, its interval and ratio joint over blocks and the PerCorrectN examples.
type Energy struct {
	PerInference    *float64     `json:"per_inference,omitempty"`
	CI95            *Interval    `json:"ci95,omitempty"`
	N               int          `json:"n,omitempty"`
	Source          string       `json:"source,omitempty"`
	Domains         []Domain     `json:"domains,omitempty"`
	IdleW           *float64     `json:"idle_w,omitempty"`
	NetPerInference *float64     `json:"net_per_inference,omitempty"`
	Ratio           *EnergyRatio `json:"ratio,omitempty"`
	PerCorrect      *float64     `json:"per_correct,omitempty"`
	PerCorrectCI95  *Interval    `json:"per_correct_ci95,omitempty"`
	PerCorrectN     int          `json:"per_correct_n,omitempty"`
	PerCorrectRatio *EnergyRatio `json:"per_correct_ratio,omitempty"`
}

// Domain is one part of the machine ("cpu", "dram", "gpu0"): joules per inference and their
// absolute uncertainty UAbs in joules.
type Domain struct {
	Domain string   `json:"domain"`
	Source string   `json:"source"`
	Joules float64  `json:"joules"`
	UAbs   *float64 `json:"u_abs,omitempty"`
}

// EnergyRatio is variant over baseline; Basis says whether counters or CPU times were compared.
type EnergyRatio struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
	N     int       `json:"n,omitempty"`
	Basis string    `json:"basis"`
	Pairing
}

// Carbon is in grams of CO2 equivalent per inference. CI95 is that of Total, from N draws of all inputs together; Tornado
// is what each input alone does to Total, the largest first. Source is that of the energy under it. Ratio is paired
// like the energy's. WaterL is in litres.
type Carbon struct {
	Operational    *float64     `json:"operational,omitempty"`
	Embodied       *float64     `json:"embodied,omitempty"`
	Total          *float64     `json:"total,omitempty"`
	Intensity      *Intensity   `json:"intensity,omitempty"`
	PUE            *float64     `json:"pue,omitempty"`
	CI95           *Interval    `json:"ci95,omitempty"`
	N              int          `json:"n,omitempty"`
	Source         string       `json:"source,omitempty"`
	EmbodiedSource string       `json:"embodied_source,omitempty"`
	Ratio          *EnergyRatio `json:"ratio,omitempty"`
	Tornado        []Swing      `json:"tornado,omitempty"`
	SCI            *SCI         `json:"sci,omitempty"`
	WaterL         *float64     `json:"water_l,omitempty"`
}

// Swing is the total with one input at the ends of its 95 % interval and all others at their value.
type Swing struct {
	Input string  `json:"input"` // energy, intensity, pue, embodied or lifetime
	Lo    float64 `json:"lo"`
	Hi    float64 `json:"hi"`
}

// SCI is the software carbon intensity (ISO/IEC 21031:2024) in grams per unit: 1,000 inferences, 1,000 tokens of input, one
// correct answer. Boundary says what is in it.
type SCI struct {
	Per1000Inferences *Figure `json:"per_1000_inferences,omitempty"`
	Per1000Tokens     *Figure `json:"per_1000_tokens,omitempty"`
	PerCorrect        *Figure `json:"per_correct,omitempty"`
	Boundary          string  `json:"boundary,omitempty"`
}

// Figure is a value with its 95 % interval.
type Figure struct {
	Value float64   `json:"value"`
	CI95  *Interval `json:"ci95,omitempty"`
}

// Intensity is the grid factor that was used, with its origin. SD is its standard deviation in g/kWh: that of the last five
// years, or 5 % where Assumed. Stale marks a factor older than three years.
type Intensity struct {
	GPerKWh float64 `json:"g_per_kwh"`
	SD      float64 `json:"sd_g_per_kwh,omitempty"`
	Assumed bool    `json:"sd_assumed,omitempty"`
	Stale   bool    `json:"stale,omitempty"`
	Zone    string  `json:"zone,omitempty"`
	Year    int     `json:"year,omitempty"`
	Source  string  `json:"source,omitempty"`
	Licence string  `json:"licence,omitempty"`
	Basis   string  `json:"basis,omitempty"`
}

// Cost is what making the variant took, measured once while it was made; the intervals are those of the energy source and the
// factors. Either Breakeven tells after how many inferences the joules are saved again, or NoneDemonstrated says that no
// saving was shown; the same for the grams.
type Cost struct {
	Seconds                *float64   `json:"seconds,omitempty"`
	Joules                 *float64   `json:"joules,omitempty"`
	JoulesCI95             *Interval  `json:"joules_ci95,omitempty"`
	GCO2e                  *float64   `json:"gco2e,omitempty"`
	GCO2eCI95              *Interval  `json:"gco2e_ci95,omitempty"`
	Source                 string     `json:"source,omitempty"`
	Breakeven              *Breakeven `json:"breakeven_inferences,omitempty"`
	NoneDemonstrated       bool       `json:"none_demonstrated,omitempty"`
	BreakevenCarbon        *Breakeven `json:"breakeven_inferences_carbon,omitempty"`
	NoneDemonstratedCarbon bool       `json:"none_demonstrated_carbon,omitempty"`
}

// Breakeven counts inferences; the interval is Fieller's (method "fieller") over N pairs.
type Breakeven struct {
	Value  float64   `json:"value"`
	CI95   *Interval `json:"ci95,omitempty"`
	N      int       `json:"n,omitempty"`
	Method string    `json:"method,omitempty"`
	Source string    `json:"source,omitempty"`
}

// OpProfile is the time of one operator and kernel over one inference: Count nodes, Seconds in all,
// Share of the total (0 to 1). Kernel, MACs and Bytes (of weights read) stand where an operator multiplies; the others only move or
// combine elements and have none. Joules, where present, are attributed by time, not measured.
type OpProfile struct {
	Op      string   `json:"op"`
	Kernel  string   `json:"kernel,omitempty"`
	Count   int      `json:"count"`
	Seconds float64  `json:"seconds"`
	Share   float64  `json:"share"`
	MACs    *int64   `json:"macs,omitempty"`
	Bytes   *int64   `json:"bytes,omitempty"`
	Joules  *float64 `json:"joules,omitempty"`
}
