package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Variant is one model of the run: the baseline or what a list of stages made of it. Ops is the histogram of operators that the runtime ran, after its
// optimisation; absent in results of older versions and where the runtime cannot tell.
type Variant struct {
	Name       string         `json:"name"`
	Stages     []Stage        `json:"stages,omitempty"`
	Notes      []Note         `json:"notes,omitempty"`
	File       *File          `json:"file,omitempty"`
	Weights    *Weights       `json:"weights,omitempty"`
	Accuracy   *Accuracy      `json:"accuracy,omitempty"`
	Latency    *Latency       `json:"latency_s,omitempty"`
	Throughput *float64       `json:"throughput_per_s,omitempty"`
	Rate       *Rate          `json:"throughput,omitempty"` // how sure Throughput is
	Memory     *Memory        `json:"memory_bytes,omitempty"`
	Energy     *Energy        `json:"energy_j,omitempty"`
	Carbon     *Carbon        `json:"carbon_g,omitempty"`
	Cost       *Cost          `json:"cost,omitempty"`
	Ops        map[string]int `json:"ops,omitempty"`
	Profile    []OpProfile    `json:"profile,omitempty"`
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
	Reader      string   `json:"reader,omitempty"` // the node that reads it, of a weight whose name is a number
	Op          string   `json:"op,omitempty"`
	Action      Action   `json:"action"`
	How         string   `json:"how,omitempty"`
	Why         string   `json:"why,omitempty"`
	Elements    int64    `json:"elements,omitempty"`
	BytesBefore int64    `json:"bytes_before,omitempty"`
	BytesAfter  int64    `json:"bytes_after,omitempty"`
	Sparsity    *float64 `json:"sparsity,omitempty"`
}

// named is the weight's name, with the node that reads it where that is only a number.
func (n *Note) named() string {
	if n.Reader == "" {
		return n.Weight
	}
	return n.Weight + " (" + n.Reader + ")"
}

// File is the written model that was measured: Bytes and SHA256 are of the file with its external data behind it.
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

// Accuracy is the score on N examples. LowerIsBetter marks a metric such as perplexity or error rate. FewValues is, of a cosine to the
// baseline, how many values an output has, where they are so few (below 8) that it shows little but their signs: no gate passes by it.
type Accuracy struct {
	Metric        string    `json:"metric"`
	Value         float64   `json:"value"`
	N             int       `json:"n"`
	CI95          *Interval `json:"ci95,omitempty"`
	Delta         *Delta    `json:"delta,omitempty"`
	P01           *float64  `json:"p01,omitempty"` // 1st percentile of the outcomes, where they are graded
	LowerIsBetter bool      `json:"lower_is_better,omitempty"`
	P01CI         *Interval `json:"p01_ci95,omitempty"`
	FewValues     int       `json:"few_values,omitempty"`
}

// Rate says of a throughput how it was measured: its interval over N blocks.
type Rate struct {
	CI95   *Interval `json:"ci95,omitempty"`
	N      int       `json:"n,omitempty"`
	Source string    `json:"source,omitempty"`
}

// Latency is the distribution of single-run times in seconds; Samples holds all N of them in the
// order in which they were taken. CI95 is the interval of P50, by the medians of the blocks; the other intervals are from a bootstrap
// over the Blocks blocks. Source is the clock.
type Latency struct {
	P50     float64   `json:"p50"`
	P95     float64   `json:"p95"`
	P99     float64   `json:"p99"`
	Mean    float64   `json:"mean"`
	N       int       `json:"n"`
	CI95    *Interval `json:"ci95,omitempty"`
	P95CI   *Interval `json:"p95_ci95,omitempty"`
	P99CI   *Interval `json:"p99_ci95,omitempty"`
	MeanCI  *Interval `json:"mean_ci95,omitempty"`
	Blocks  int       `json:"blocks,omitempty"`
	Source  string    `json:"source,omitempty"`
	Samples []float64 `json:"samples,omitempty"`
	Ratio   *Ratio    `json:"ratio,omitempty"`
}

// Memory is in bytes. PeakRSS is the median over N processes of their own with EmptyProcess already subtracted. Source says how.
type Memory struct {
	PeakRSS      *int64 `json:"peak_rss,omitempty"`
	Weights      *int64 `json:"weights,omitempty"`
	Arena        *int64 `json:"arena,omitempty"`
	EmptyProcess *int64 `json:"empty_process,omitempty"`
	N            int    `json:"n,omitempty"`
	Source       string `json:"source,omitempty"`

	Range *Interval `json:"peak_rss_range,omitempty"` // of PeakRSS: the 95 % interval of the median of N processes, their whole range where they are fewer than nine
}

// OpProfile is the time of one operator and kernel over one inference: Count nodes, Seconds in all,
// Share of the total (0 to 1). Kernel, MACs and Bytes (of weights read) stand where an operator multiplies; the others only move or
// combine elements and have none. Joules, where present, are attributed by time, not measured. CI95 is of Seconds, over N inferences.
type OpProfile struct {
	Op      string   `json:"op"`
	Kernel  string   `json:"kernel,omitempty"`
	Count   int      `json:"count"`
	Seconds float64  `json:"seconds"`
	Share   float64  `json:"share"`
	MACs    *int64   `json:"macs,omitempty"`
	Bytes   *int64   `json:"bytes,omitempty"`
	Joules  *float64 `json:"joules,omitempty"`

	CI95 *Interval `json:"ci95,omitempty"`
	N    int       `json:"n,omitempty"`
}
