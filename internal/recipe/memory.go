package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// MemoryRequest asks a process of its own for the peak resident set of loading a model and running it.
// An empty Path asks for that of the empty process.
type MemoryRequest struct {
	Path     string       `json:"path"`
	Runtime  string       `json:"runtime"`
	Provider string       `json:"provider"`
	Threads  int          `json:"threads"`
	Inputs   []wireTensor `json:"inputs"`

	Exact        bool   `json:"exact,omitempty"`
	Spinning     string `json:"spinning,omitempty"`
	Optimization string `json:"optimization,omitempty"`

	ProviderOptions map[string]string `json:"provider_options,omitempty"`
}

// MemoryAnswer is the answer in bytes: the high-water mark of the resident set, and the planned arena, 0 when not known.
type MemoryAnswer struct {
	PeakRSS int64 `json:"peak_rss"` // the median over MemoryProcesses, in the journal
	Arena   int64 `json:"arena,omitempty"`

	Low  int64 `json:"low,omitempty"` // the range over the processes
	High int64 `json:"high,omitempty"`
}

type wireTensor struct {
	Name  string      `json:"name"`
	DType model.DType `json:"dtype"`
	Shape []int       `json:"shape"`
	Data  []byte      `json:"data"`
}

// MemoryRuns is the number of inferences of a memory measurement.
const MemoryRuns = 3

// memoryAll measures the peak memory of every variant in a process of its own.
func (r *run) memoryAll(ctx context.Context) error {
	if r.opt.Child == nil {
		r.warn("peak memory was not measured: no child process")
		return nil
	}
	requests := []*MemoryRequest{{}}
	for _, m := range r.made {
		t := r.recipe.Target
		req := &MemoryRequest{Path: r.path(m), Runtime: t.Runtime, Provider: t.Provider, Threads: r.threads,
			Exact: t.Exact, Spinning: t.Spinning, Optimization: t.Optimization, ProviderOptions: t.ProviderOptions}
		for _, name := range slices.Sorted(maps.Keys(r.bound.timing[0])) {
			t := r.bound.timing[0][name]
			b, err := t.Bytes()
			if err != nil {
				return err
			}
			req.Inputs = append(req.Inputs, wireTensor{name, t.DType(), t.Shape(), b})
		}
		requests = append(requests, req)
	}
	for i, req := range requests {
		key := "" // the empty process
		if i > 0 {
			key = r.made[i-1].Name
		}
		r.progress("peak memory", i, len(requests))
		_, err := remember(r.journal, kindMemory, key, func() (MemoryAnswer, error) { return r.children(ctx, req) })
		if ctx.Err() != nil {
			return fmt.Errorf("peak memory: %w", ctx.Err())
		}
		if err != nil {
			r.warn("peak memory was not measured: %v", err)
			return nil
		}
	}
	return nil
}

// MemoryProcesses is the number of processes that a peak is the median of: two that do the same differ by some MiB.
const MemoryProcesses = 3

// children asks MemoryProcesses processes and returns their median and range.
func (r *run) children(ctx context.Context, req *MemoryRequest) (MemoryAnswer, error) {
	var all []MemoryAnswer
	for range MemoryProcesses {
		a, err := r.child(ctx, req)
		if err != nil {
			return a, err
		}
		all = append(all, a)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].PeakRSS < all[j].PeakRSS })
	a := all[len(all)/2]
	a.Low, a.High = all[0].PeakRSS, all[len(all)-1].PeakRSS
	return a, nil
}

func (r *run) child(ctx context.Context, req *MemoryRequest) (MemoryAnswer, error) {
	var a MemoryAnswer
	b, err := json.Marshal(req)
	if err != nil {
		return a, err
	}
	out, err := r.opt.Child(ctx, b)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(out, &a); err != nil || a.PeakRSS <= 0 {
		return a, fmt.Errorf("child process answered %.80q", out)
	}
	return a, nil
}

// AnswerMemory carries out a request in this process: it loads the model, runs it MemoryRuns times and
// returns the peak resident set that peak reports.
func AnswerMemory(ctx context.Context, request []byte, runtimes map[string]engine.Runtime, peak func() (int64, error)) ([]byte, error) {
	var req MemoryRequest
	if err := json.Unmarshal(request, &req); err != nil {
		return nil, fmt.Errorf("recipe: memory request: %w", err)
	}
	var a MemoryAnswer
	var err error
	if req.Path != "" {
		if a.Arena, err = loadAndRun(ctx, &req, runtimes); err != nil {
			return nil, err
		}
	}
	if a.PeakRSS, err = peak(); err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

func loadAndRun(ctx context.Context, req *MemoryRequest, runtimes map[string]engine.Runtime) (arena int64, err error) {
	rt := runtimes[req.Runtime]
	if rt == nil {
		return 0, fmt.Errorf("recipe: runtime %q is not in this build", req.Runtime)
	}
	s, err := rt.Load(ctx, engine.Artifact{Path: req.Path}, TargetSpec{Provider: req.Provider, Exact: req.Exact, Spinning: req.Spinning,
		Optimization: req.Optimization, ProviderOptions: req.ProviderOptions}.Options(req.Threads))
	if err != nil {
		return 0, err
	}
	defer s.Close()
	feed := engine.Feed{}
	for _, w := range req.Inputs {
		t, err := model.NewTensor(w.DType, w.Shape, w.Data)
		if err != nil {
			return 0, err
		}
		feed[w.Name] = t
	}
	for range MemoryRuns {
		if _, err := s.Run(ctx, feed); err != nil {
			return 0, err
		}
	}
	return s.Info().ArenaBytes, nil
}

// memory is what variant i takes; nil when nothing is known.
func (r *run) memory(i int, m *made) *reports.Memory {
	out := &reports.Memory{}
	info := r.sessions[i].Info()
	if info.WeightBytes > 0 {
		out.Weights = &info.WeightBytes
	}
	empty, ok1 := lookup[MemoryAnswer](r.journal, kindMemory, "")
	peak, ok2 := lookup[MemoryAnswer](r.journal, kindMemory, m.Name)
	if ok2 && peak.Arena > 0 { // of the same inputs in every run; this session's depends on what it has seen
		out.Arena = &peak.Arena
	}
	if rss := peak.PeakRSS - empty.PeakRSS; ok1 && ok2 && rss > 0 { // a small model may be within the noise of the empty process
		out.PeakRSS, out.EmptyProcess = &rss, &empty.PeakRSS
		out.N, out.Range = MemoryProcesses, &reports.Interval{float64(max(0, peak.Low-empty.High)), float64(peak.High - empty.Low)}
		out.Source = fmt.Sprintf("high-water mark (VmHWM) of processes of its own: load and %d inferences, the median", MemoryRuns)
	}
	if out.PeakRSS == nil && out.Weights == nil && out.Arena == nil {
		return nil
	}
	return out
}
