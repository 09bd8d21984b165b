package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

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
	PeakRSS int64 `json:"peak_rss"` // the median over N processes, in the journal
	Arena   int64 `json:"arena,omitempty"`

	Low  int64 `json:"low,omitempty"` // the interval of the median over the processes, see medianRank
	High int64 `json:"high,omitempty"`
	N    int   `json:"n,omitempty"`
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
	var list []*peaks
	for i, req := range requests {
		p := &peaks{request: req} // the empty process
		if i > 0 {
			p.key = r.made[i-1].Name
		}
		if _, known := lookup[MemoryAnswer](r.journal, kindMemory, p.key); !known || i == 0 {
			list = append(list, p)
		}
	}
	if len(list) == 1 {
		return nil // what was interrupted knew all
	}
	r.progress("peak memory", 0, len(r.made))
	err := r.memoryRounds(ctx, list)
	if ctx.Err() != nil {
		return fmt.Errorf("peak memory: %w", ctx.Err())
	}
	if err != nil {
		r.warn("peak memory was not measured: %v", err)
		return nil
	}
	for _, p := range list {
		if err := r.journal.put(kindMemory, p.key, p.answer()); err != nil {
			return err
		}
	}
	return nil
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
	if ok1 && ok2 {
		readings(out, peak, empty)
	}
	if out.PeakRSS == nil && out.Weights == nil && out.Arena == nil {
		return nil
	}
	return out
}
