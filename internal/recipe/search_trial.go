package recipe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/reports"
)

// trialOf returns trial n: from the journal, or made, scored and measured now.
func (s *searcher) trialOf(ctx context.Context, n int, v VariantSpec, m mix, text string) (*Trial, error) {
	if n < len(s.state.Trials) {
		if t := s.state.Trials[n]; t.Name == v.Name && slices.Equal(t.Mix, m) {
			return t, nil
		}
		return nil, fmt.Errorf("recipe: %w: trial %d is %q, not %q", ErrJournal, n, s.state.Trials[n].Name, v.Name)
	}
	if err := canceled(ctx, "search"); err != nil {
		return nil, err
	}
	s.progress("trial "+v.Name+": "+text, n, s.spec.MaxTrials)
	t := &Trial{Name: v.Name, Mix: m, Text: text}
	begin := time.Now()
	err := s.carryOut(ctx, t, v)
	t.Seconds = time.Since(begin).Seconds()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("search: %w", ctx.Err())
	}
	var file *fs.PathError
	switch {
	case errors.As(err, &file): // of the disk, not of the mix: another time it may go well
		return nil, fmt.Errorf("search: trial %q: %w", v.Name, err)
	case errors.Is(err, errUnlike):
		return nil, fmt.Errorf("search: trial %q: %w: go on with --resume when that is over", v.Name, err)
	case err != nil:
		t.Failed = err.Error()
	case t.Energy == nil:
		t.Failed = "too few pairs of blocks for a ratio"
	}
	if err := s.journal.put(kindTrial, fmt.Sprint(n), t); err != nil {
		return nil, err
	}
	s.state.Trials = append(s.state.Trials, t)
	return t, s.save()
}

// carryOut makes, scores and measures the variant of a trial.
func (s *searcher) carryOut(ctx context.Context, t *Trial, v VariantSpec) error {
	m, err := s.makeVariant(ctx, v)
	if err != nil {
		return err
	}
	t.Made = m
	session, err := s.runtime.Load(ctx, engine.Artifact{Path: s.path(m)}, s.options())
	if err != nil {
		return err
	}
	defer session.Close()
	base := &made{Name: "baseline", Bytes: s.src.bytes, SHA256: s.src.sha256, Path: s.src.path}
	s.made, s.sessions = []*made{base, m}, []engine.Session{s.baseline, session}
	defer func() { s.made, s.sessions = nil, []engine.Session{s.baseline} }()
	if err := s.scoreAll(ctx); err != nil {
		return err
	}
	spec := s.recipe.Measure
	trials, release := s.trials(ctx)
	defer release()
	cmp, err := measure.Compare(ctx, trials[0], trials[1:], measure.Protocol{
		Meter: s.opt.Meter, HostCPU: measure.HostCPUTime, Seed: seedOf(spec.Seed), MinPairs: 10, MaxPairs: 10, Precision: spec.Precision,
		Block: time.Duration(min(spec.BlockSeconds, 0.1) * float64(time.Second))})
	if err != nil {
		return err
	}
	return s.judge(t, cmp)
}

// judge fills in what the trial showed.
func (s *searcher) judge(t *Trial, cmp measure.Comparison) error {
	sum := cmp.Variants[0]
	base := reports.Variant{Name: "baseline", File: &reports.File{Bytes: s.src.bytes}}
	v := reports.Variant{Name: t.Name, File: &reports.File{Bytes: t.Made.Bytes}, Energy: s.energy(sum),
		Latency: &reports.Latency{P50: sum.Latency.P50, P95: sum.Latency.P95, N: sum.Latency.N, Ratio: ratioOf(sum.LatencyRatio, sum)}}
	var err error
	if v.Accuracy, err = s.accuracy(1, t.Made); err != nil {
		return err
	}
	if base.Accuracy, err = s.accuracy(0, s.made[0]); err != nil {
		return err
	}
	t.Accuracy, t.Latency, t.Size = v.Accuracy, v.Latency.Ratio, float64(t.Made.Bytes)/float64(max(1, s.src.bytes))
	if err := s.rank(t, sum, cmp.Blocks); err != nil {
		return err
	}
	t.Budget = reports.Judge(&reports.Result{Variants: []reports.Variant{base, v}}, s.gates)
	t.Accurate, t.Meets = true, true
	for i, g := range t.Budget {
		rule := s.gates.Rules[i]
		ok := g.Verdict == reports.Pass
		if !ok && rule.Key != "accuracy" && rule.Key != "accuracy_drop" { // ten short pairs decide little: what they seem to show counts
			ok = g.Verdict == reports.Inconclusive && (g.Value == nil || rule.Holds(*g.Value))
		} else if ok = ok || g.Reason == reports.ReasonFewValues; !ok { // what little it shows ranks trials; the last word is that of the gate
			t.Accurate = false
		}
		t.Meets = t.Meets && ok
	}
	return nil
}

// basisLatency is the basis of trials without a meter.
const basisLatency = "latency"

// errUnlike is wrapped where a trial cannot be ranked among the earlier ones.
var errUnlike = errors.New("trials are compared by figures of one kind only")

// rank sets the ratio that a trial is compared with others by, on the basis that the first trial had: ratios of joules, of CPU times and of run times
// are never ranked among each other. Where the trial lacks that one the search ends, and goes on when it can be had again.
func (s *searcher) rank(t *Trial, sum measure.Summary, blocks []measure.Block) error {
	byBasis := map[string]*reports.Ratio{basisLatency: ratioOf(sum.LatencyRatio, sum), string(measure.BasisCPUTime): ratioOf(sum.CPURatio, sum)}
	t.Basis = basisLatency
	if q := sum.EnergyRatio; q != nil {
		t.Basis = string(q.Basis)
		byBasis[t.Basis] = ratioOf(q, sum)
	}
	for _, first := range s.state.Trials {
		if first.Energy == nil {
			continue
		}
		if byBasis[first.Basis] == nil {
			why := "this one has none"
			for _, b := range blocks {
				if by := b.CountedBy(); by != "" {
					why = by + " counts this machine now"
				}
			}
			return fmt.Errorf("%w: those before have an energy ratio by %s, and %s", errUnlike, first.Basis, why)
		}
		t.Basis = first.Basis
		break
	}
	t.Energy = byBasis[t.Basis]
	return nil
}

func (t *Trial) outcome() outcome {
	if t.Failed != "" || t.Energy == nil {
		return outcome{energy: math.Inf(1)}
	}
	return outcome{accurate: t.Accurate, meets: t.Meets, energy: t.Energy.Value}
}

// save writes search.json, and removes the models of trials that others beat: their mix can be made again.
func (s *searcher) save() error {
	front, best := pareto(s.state.Trials)
	s.state.Best, s.state.Pareto = "", []string{}
	keep := map[string]bool{}
	for _, t := range front {
		s.state.Pareto = append(s.state.Pareto, t.Name)
		keep[t.Name] = true
	}
	if best != nil {
		s.state.Best = best.Name
		keep[best.Name] = true
	}
	for _, t := range s.state.Trials {
		if t.Made != nil && !keep[t.Name] {
			path := s.path(t.Made)
			if err := errors.Join(removeFile(path), removeFile(path+".data")); err != nil {
				return err
			}
		}
	}
	s.state.Tried = s.count()
	b, err := json.MarshalIndent(s.state, "", " ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(s.out, searchName), append(b, '\n'))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
}
