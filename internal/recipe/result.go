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

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// result fills the Result from everything the run gathered.
func (r *run) result(ctx context.Context, cmp measure.Comparison) (*reports.Result, error) {
	res := &reports.Result{Schema: reports.Schema, Tool: r.opt.Tool, RecipeSHA256: r.recipe.SHA256,
		Started: r.journal.started, Method: r.method(cmp)}
	res.Host = r.opt.Host
	info := r.sessions[0].Info()
	res.Target = &reports.Target{Runtime: info.Runtime, Provider: info.Provider, Version: info.Version, ISA: info.ISA,
		Threads: info.Threads, Batch: r.recipe.Target.Batch, Sequence: max(r.recipe.Target.Sequence, r.bound.sequence)}
	res.Model = &reports.Model{Name: r.src.name, Path: r.recipe.Model, Format: "onnx", Bytes: r.src.bytes, SHA256: r.src.sha256}
	var err error
	if res.Task, err = r.taskInfo(ctx); err != nil {
		return nil, err
	}
	factor, err := r.carbonFactor(ctx)
	if err != nil {
		return nil, err
	}
	sums := append([]measure.Summary{cmp.Baseline}, cmp.Variants...)
	for i, m := range r.made {
		v, err := r.variant(ctx, i, m, sums[i], factor)
		if err != nil {
			return nil, err
		}
		if err := r.perCorrect(i, v.Energy, cmp); err != nil {
			return nil, err
		}
		var base *reports.Variant
		if i > 0 {
			base = &res.Variants[0]
		}
		v.Carbon = r.carbon(v, sums[i], factor, base)
		v.Latency.CI95 = medianInterval(cmp.Blocks, m.Name, i == 0, v.Latency.P50)
		res.Variants = append(res.Variants, *v)
	}
	adjustCarbon(res)
	u := 0.0
	if e := cmp.Baseline.Energy; e != nil {
		u = e.UAbs
	}
	res.Blocks, res.Idle, res.Meter = rawBlocks(cmp), idleOf(cmp.Idle, u), r.meter(cmp)
	r.breakeven(res, cmp)
	if res.Roofline, err = r.roofline(ctx, res.Method); err != nil {
		return nil, err
	}
	res.Impact = r.impact(res, cmp, factor)
	for _, w := range cmp.Warnings {
		r.warn("%s", w)
	}
	if err := kernel.ISAError(); err != nil {
		r.warn("%v: it limits nothing", err)
	}
	if r.bound.length != "" {
		r.warn("%s: no other is given", r.bound.length)
	}
	if f, ok := r.bound.task.(*task.Fidelity); ok {
		if n := f.FewValues(r.sessions[0]); n > 0 {
			r.warn("the cosine to the baseline of outputs with so few values (%d) shows little but their signs: `task: {kind: agreement, threshold: T}` or labelled data show more", n)
		}
	}
	if r.bound.random {
		r.warn("random inputs: what is scored on them is fidelity to the baseline, not an accuracy")
	}
	res.Warnings = append(res.Warnings, r.warnings...)
	res.Gates = reports.Judge(res, r.recipe.Judged)
	res.Finished = time.Now().UTC().Truncate(time.Second)
	if f, ok := lookup[finished](r.journal, kindFinished, ""); ok {
		res.Finished = f.Finished
	}
	return res, nil
}

func (r *run) variant(ctx context.Context, i int, m *made, s measure.Summary, factor *carbonFactor) (*reports.Variant, error) {
	info := r.sessions[i].Info()
	v := &reports.Variant{Name: m.Name, Notes: notesOf(m), Ops: info.Ops}
	if r.recipe.Target.Runtime != "native" && info.Ops != nil {
		v.Notes = append(v.Notes, reports.Note{Stage: "target", Action: reports.Remark, Why: "operators after " + info.Runtime + "'s optimisation: " + Histogram(info.Ops)})
	}
	if r.recipe.Target.Runtime == "native" {
		for _, w := range info.Warnings {
			v.Notes = append(v.Notes, reports.Note{Stage: "target", Action: reports.Remark, Why: w})
		}
	}
	if r.expandsHalves(i) {
		v.Notes = append(v.Notes, reports.Note{Stage: "quantize", Action: reports.Remark, Why: expanded})
		r.warn("variant %q: %s", m.Name, expanded)
	}
	for _, remark := range m.Remarks {
		if said, ok := strings.CutPrefix(remark, warning); ok {
			r.warn("variant %q: %s", m.Name, said)
		}
	}
	path := m.Path
	if i == 0 && r.src.path != "" {
		path = r.recipe.Model // as the recipe names it, wherever it lies on this machine
	}
	v.File = &reports.File{Path: filepath.ToSlash(path), Format: "onnx", Bytes: m.Bytes, SHA256: m.SHA256}
	if i > 0 {
		for _, spec := range r.recipe.Variants[i-1].Stages {
			st, err := spec.stage()
			if err != nil {
				return nil, err
			}
			v.Stages = append(v.Stages, reports.Stage{Name: st.Name(), Options: st.Options()})
		}
		v.Cost = r.cost(m, factor, s.Energy)
	}
	var err error
	if v.Weights, err = r.weights(m); err != nil {
		return nil, err
	}
	v.Profile, err = remember(r.journal, kindProfile, m.Name, func() ([]reports.OpProfile, error) { return r.profile(ctx, i, m) })
	if err != nil {
		return nil, err
	}
	if n := macs(v.Profile); n > 0 {
		v.Weights.MACs = &n
	}
	if v.Accuracy, err = r.accuracy(i, m); err != nil {
		return nil, err
	}
	timed(v, s)
	v.Memory = r.memory(i, m)
	v.Energy = r.energy(s)
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
			note := reports.Note{Stage: st.Stage, Weight: n.Weight, Reader: n.Reader, BytesBefore: n.BytesBefore, BytesAfter: n.BytesAfter}
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

func (r *run) method(cmp measure.Comparison) *reports.Method {
	m := r.recipe.Measure
	out := &reports.Method{Pairs: m.Pairs, Order: "randomised ABBA blocks", Precision: &m.Precision,
		Statistic: statistic(cmp),
		Notes: []string{fmt.Sprintf("Every block runs the same %d inputs on baseline or variant in one process.", len(r.bound.timing)),
			"Percentiles are of single inferences; all samples are in result.json."}}
	if m.IdleSeconds > 0 {
		out.IdleSeconds = &m.IdleSeconds
	}
	if r.bound.task != nil {
		out.Notes = append(out.Notes, "Scored on "+r.bound.describe+", the same for every variant.")
	}
	out.Assumptions = r.opt.Assumptions
	if cmp.Overhead.Fraction > 0 {
		out.Notes = append(out.Notes, fmt.Sprintf("Reading the meter took %.2g %% of the blocks' time.", 100*cmp.Overhead.Fraction))
	}
	if runtime.GOOS != "linux" {
		out.Notes = append(out.Notes, "Peak memory is measured on Linux only.")
	}
	return out
}

func ratioOf(x *measure.Ratio, s measure.Summary) *reports.Ratio {
	if x == nil {
		return nil
	}
	return &reports.Ratio{Value: x.Value, CI95: intervalOf(x.CI95), N: x.N, Pairing: pairing(x, s)}
}

// pairing says how x was judged; the stopping rule and the equivalence test are those of s.
func pairing(x *measure.Ratio, s measure.Summary) reports.Pairing {
	p := reports.Pairing{Method: x.Method, NeededPairs: x.Needed, Stopped: s.Stopped}
	if ci := x.Deciding(); ci != x.CI95 {
		p.Decides = intervalOf(ci)
	}
	for _, c := range []struct {
		to **float64
		v  float64
	}{{&p.P, x.P}, {&p.SD, x.SD}, {&p.Lag1, x.Lag1}} {
		if finite(c.v) {
			*c.to = &c.v
		}
	}
	if x.PHolm > 0 {
		p.PHolm = &x.PHolm
	}
	if x == s.EnergyRatio || s.EnergyRatio == nil {
		p.MorePairs, p.NoRegression, p.Equivalent, p.Margin = s.MorePairs, s.NoRegression, s.Equivalent, s.Margin
	}
	return p
}

// statistic says how the intervals of this run were made, by how many ratios each.
func statistic(cmp measure.Comparison) string {
	words := map[string]string{
		measure.MethodT:         "Student's t interval",
		measure.MethodBootstrap: "symmetric studentised bootstrap, 10,000 draws",
		measure.MethodEffective: "t interval with the effective number of correlated pairs",
	}
	used := map[string][]string{}
	for _, v := range cmp.Variants {
		seen := map[string]bool{}
		for _, x := range []*measure.Ratio{v.LatencyRatio, v.EnergyRatio} {
			if x != nil && !seen[x.Method] {
				seen[x.Method] = true
				used[x.Method] = append(used[x.Method], v.Name)
			}
		}
	}
	s := "mean of paired log ratios"
	for _, m := range []string{measure.MethodT, measure.MethodBootstrap, measure.MethodEffective} {
		if len(used[m]) > 0 {
			s += "; " + words[m] + " (" + strings.Join(used[m], ", ") + ")"
		}
	}
	return s
}

// Histogram writes the numbers of nodes by operator, the largest first: "Conv 12, Add 3".
func Histogram(ops map[string]int) string {
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

// expanded is what half-size weights are for ONNX Runtime on a CPU.
const expanded = "ONNX Runtime's CPU provider expands half-size weights to float32 when it loads the model: only the file shrinks, latency and memory do not"

// expandsHalves reports whether variant i has half-size weights that the target expands.
func (r *run) expandsHalves(i int) bool {
	if i == 0 || r.recipe.Target.Runtime != "ort" || r.recipe.Target.Provider != "cpu" {
		return false
	}
	return slices.ContainsFunc(r.recipe.Variants[i-1].Stages, func(s StageSpec) bool {
		return s.Quantize != nil && s.Quantize.half() && s.Quantize.Storage == "weights"
	})
}
