package recipe

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// result fills the Result from everything the run gathered.
func (r *run) result(ctx context.Context, cmp measure.Comparison) (*reports.Result, error) {
	res := &reports.Result{Schema: reports.Schema, Tool: r.opt.Tool, RecipeSHA256: r.recipe.SHA256,
		Started: r.started.UTC().Truncate(time.Second), Method: r.method(cmp)}
	res.Host = r.opt.Host
	info := r.sessions[0].Info()
	res.Target = &reports.Target{Runtime: info.Runtime, Provider: info.Provider, Version: info.Version, ISA: info.ISA,
		Threads: info.Threads, Batch: r.recipe.Target.Batch, Sequence: r.recipe.Target.Sequence}
	res.Model = &reports.Model{Name: r.src.name, Path: r.recipe.Model, Format: "onnx", Bytes: r.src.bytes, SHA256: r.src.sha256}
	var err error
	if res.Task, err = r.taskInfo(); err != nil {
		return nil, err
	}
	factor, err := r.carbonFactor()
	if err != nil {
		return nil, err
	}
	sums := append([]measure.Summary{cmp.Baseline}, cmp.Variants...)
	for i, m := range r.made {
		v, err := r.variant(ctx, i, m, sums[i], factor)
		if err != nil {
			return nil, err
		}
		res.Variants = append(res.Variants, *v)
	}
	r.breakeven(res, cmp)
	for _, w := range cmp.Warnings {
		r.warn("%s", w)
	}
	if r.bound.random {
		r.warn("random inputs: what is scored on them is fidelity to the baseline, not an accuracy")
	}
	res.Warnings = append(res.Warnings, r.warnings...)
	res.Gates = reports.Judge(res, r.recipe.Judged)
	res.Finished = time.Now().UTC().Truncate(time.Second)
	return res, nil
}

func (r *run) variant(ctx context.Context, i int, m *made, s measure.Summary, factor *carbonFactor) (*reports.Variant, error) {
	v := &reports.Variant{Name: m.Name, Notes: notesOf(m)}
	if info := r.sessions[i].Info(); r.recipe.Target.Runtime != "native" && info.Ops != nil {
		v.Notes = append(v.Notes, reports.Note{Stage: "target", Action: reports.Remark, Why: "operators after " + info.Runtime + "'s optimisation: " + histogram(info.Ops)})
	}
	v.File = &reports.File{Path: filepath.ToSlash(m.Path), Format: "onnx", Bytes: m.Bytes, SHA256: m.SHA256}
	if i > 0 {
		for _, spec := range r.recipe.Variants[i-1].Stages {
			st, err := spec.stage()
			if err != nil {
				return nil, err
			}
			v.Stages = append(v.Stages, reports.Stage{Name: st.Name(), Options: st.Options()})
		}
		v.Cost = r.cost(m, factor)
	}
	var err error
	if v.Weights, err = r.weights(m); err != nil {
		return nil, err
	}
	v.Profile, err = r.profile(ctx, i, m)
	if err != nil {
		return nil, err
	}
	if n := macs(v.Profile); n > 0 {
		v.Weights.MACs = &n
	}
	if v.Accuracy, err = r.accuracy(i, m); err != nil {
		return nil, err
	}
	v.Latency = &reports.Latency{P50: s.Latency.P50, P95: s.Latency.P95, P99: s.Latency.P99, Mean: s.Latency.Mean, N: s.Latency.N,
		Samples: s.Latency.Samples, Ratio: ratioOf(s.LatencyRatio)}
	if s.ThroughputPerS > 0 {
		v.Throughput = &s.ThroughputPerS
	}
	v.Memory = r.memory(i, m)
	v.Energy = r.energy(s, v.Accuracy)
	v.Carbon = r.carbon(v.Energy, s, factor)
	return v, nil
}

// notesOf turns the stages' notes into those of the report.
func notesOf(m *made) []reports.Note {
	var out []reports.Note
	for _, remark := range m.Remarks {
		out = append(out, reports.Note{Stage: "quantize", Action: reports.Remark, Why: remark})
	}
	for _, st := range m.Notes {
		for _, n := range st.Notes {
			note := reports.Note{Stage: st.Stage, Weight: n.Weight, BytesBefore: n.BytesBefore, BytesAfter: n.BytesAfter}
			if len(n.Ops) > 0 {
				note.Op = n.Ops[0]
			}
			switch {
			case n.Weight == "":
				note.Action, note.Why = reports.Remark, n.Reason
			case n.Action == model.Left:
				note.Action, note.Why = reports.Left, n.Reason
			default:
				note.Action, note.How = reports.Touched, n.Action
				if n.Reason != "" {
					note.How += ", " + n.Reason
				}
			}
			out = append(out, note)
		}
	}
	return out
}

// weights counts the parameters of the written file.
func (r *run) weights(m *made) (*reports.Weights, error) {
	f, err := onnx.Open(r.path(m))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := CountWeights(f.Graph())
	if err != nil {
		return nil, err
	}
	w := &reports.Weights{Parameters: c.Parameters, Nonzero: c.Nonzero, Bytes: c.Bytes}
	if c.Parameters > 0 {
		s := 1 - float64(c.Nonzero)/float64(c.Parameters)
		w.Sparsity = &s
	}
	return w, nil
}

// WeightCount is the size of a model's weights; scales, zero points and shapes count as they are.
type WeightCount struct {
	Parameters, Nonzero, Bytes int64
}

// CountWeights counts the elements of all constant tensors of g, those that are not zero, and their bytes.
func CountWeights(g *model.Graph) (WeightCount, error) {
	var c WeightCount
	for _, w := range g.Weights() {
		c.Bytes += int64(w.Tensor.ByteSize())
		if w.Tensor.DType() == model.String {
			continue
		}
		x, err := w.Tensor.Float32()
		if err != nil {
			continue // an 8-bit float or the like: bytes only
		}
		c.Parameters += int64(len(x))
		for _, v := range x {
			if v != 0 {
				c.Nonzero++
			}
		}
	}
	return c, nil
}

// profileRuns is the number of inferences that the time per operator is averaged over.
const profileRuns = 5

// profile measures the time per operator in a session of its own, since measuring costs time; only the
// native runtime has one.
func (r *run) profile(ctx context.Context, i int, m *made) ([]reports.OpProfile, error) {
	if r.recipe.Target.Runtime != "native" {
		return nil, nil
	}
	o := r.options()
	o.Profile = true
	s, err := r.runtime.Load(ctx, engine.Artifact{Path: r.path(m)}, o)
	if err != nil {
		return nil, fmt.Errorf("variant %q: %w", m.Name, err)
	}
	defer s.Close()
	r.progress("time by operator of "+m.Name, i, len(r.made))
	for k := range profileRuns {
		if _, err := s.Run(ctx, r.bound.timing[k%len(r.bound.timing)]); err != nil {
			return nil, fmt.Errorf("variant %q: %w", m.Name, err)
		}
	}
	var total time.Duration
	for _, t := range s.Profile() {
		total += t.Time
	}
	var out []reports.OpProfile
	for _, t := range s.Profile() {
		p := reports.OpProfile{Op: t.Op, Kernel: t.Kernel, Count: t.Count, Seconds: t.Time.Seconds() / profileRuns}
		if total > 0 {
			p.Share = float64(t.Time) / float64(total)
		}
		if t.MACs > 0 {
			p.MACs = &t.MACs
		}
		if t.Bytes > 0 {
			p.Bytes = &t.Bytes
		}
		out = append(out, p)
	}
	return out, nil
}

func macs(p []reports.OpProfile) int64 {
	var n int64
	for _, o := range p {
		if o.MACs != nil {
			n += *o.MACs
		}
	}
	return n
}

func (r *run) memory(i int, m *made) *reports.Memory {
	out := &reports.Memory{}
	info := r.sessions[i].Info()
	if info.WeightBytes > 0 {
		out.Weights = &info.WeightBytes
	}
	var empty, peak MemoryAnswer
	if r.journal.get(kindMemory, "", &empty) && r.journal.get(kindMemory, m.Name, &peak) {
		if peak.Arena > 0 { // of the same inputs in every run; this session's depends on what it has seen
			out.Arena = &peak.Arena
		}
		if rss := peak.PeakRSS - empty.PeakRSS; rss > 0 { // a small model may be within the noise of the empty process
			out.PeakRSS, out.EmptyProcess = &rss, &empty.PeakRSS
		}
	}
	if out.PeakRSS == nil && out.Weights == nil && out.Arena == nil {
		return nil
	}
	return out
}

func (r *run) method(cmp measure.Comparison) *reports.Method {
	m := r.recipe.Measure
	out := &reports.Method{Pairs: m.Pairs, Order: "randomised ABBA blocks", Precision: &m.Precision,
		Statistic: "mean of paired log ratios with a t interval below 20 pairs, bootstrap from there",
		Notes: []string{fmt.Sprintf("Every block runs the same %d inputs on baseline or variant in one process.", len(r.bound.timing)),
			"Percentiles are of single inferences; all samples are in result.json."}}
	if m.IdleSeconds > 0 {
		out.IdleSeconds = &m.IdleSeconds
	}
	if r.bound.task != nil {
		out.Notes = append(out.Notes, "Scored on "+r.bound.describe+", the same for every variant.")
	}
	out.Assumptions = r.opt.Assumptions
	if cmp.Overhead.Reads > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("The meter was read %d times, %.2g %% of the blocks' time.", cmp.Overhead.Reads, 100*cmp.Overhead.Fraction))
	}
	if runtime.GOOS != "linux" {
		out.Notes = append(out.Notes, "Peak memory is measured on Linux only.")
	}
	return out
}

func ratioOf(x *measure.Ratio) *reports.Ratio {
	if x == nil {
		return nil
	}
	return &reports.Ratio{Value: x.Value, CI95: intervalOf(x.CI95), N: x.N}
}

// histogram lists operators by count.
func histogram(ops map[string]int) string {
	names := slices.Collect(maps.Keys(ops))
	slices.SortFunc(names, func(a, b string) int {
		if d := ops[b] - ops[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, ops[n])
	}
	return strings.Join(names, ", ")
}
