package recipe

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/task"
	"github.com/wattshed/wattshed/model"
)

// scores are the outcomes of a variant, one per example.
type scores struct {
	Outcomes []float64 `json:"outcomes"`
}

// scoreAll scores every variant on the same examples; finished ones come from the journal.
func (r *run) scoreAll(ctx context.Context) error {
	if r.bound.task == nil {
		return nil
	}
	fid, isFidelity := r.bound.task.(*task.Fidelity)
	ready := false
	for i, m := range r.made {
		if isFidelity && i == 0 {
			continue // the baseline agrees with itself
		}
		var s scores
		if r.journal.get(kindScore, m.Name, &s) && len(s.Outcomes) == r.bound.task.Len() {
			continue
		}
		tick := func(done int) { r.progress("scoring "+m.Name, done, r.bound.task.Len()) }
		if isFidelity && !ready {
			if err := fid.SetBaseline(ctx, r.sessions[0], func(done int) { r.progress("scoring baseline", done, fid.Len()) }); err != nil {
				return fmt.Errorf("baseline: %w", err)
			}
			ready = true
		}
		out, err := r.bound.task.Score(ctx, r.sessions[i], tick)
		if err != nil {
			return fmt.Errorf("variant %q: %w", m.Name, err)
		}
		if err := r.journal.put(kindScore, m.Name, scores{out}); err != nil {
			return err
		}
	}
	return nil
}

// feedsOf makes Feeds of a list.
func feedsOf(list []engine.Feed) engine.Feeds {
	return engine.Feeds{N: len(list), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range list {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

// MemoryRequest asks a process of its own for the peak resident set of loading a model and running it.
// An empty Path asks for that of the empty process.
type MemoryRequest struct {
	Path     string       `json:"path"`
	Runtime  string       `json:"runtime"`
	Provider string       `json:"provider"`
	Threads  int          `json:"threads"`
	Inputs   []wireTensor `json:"inputs"`
}

// MemoryAnswer is the answer: the high-water mark of the resident set and the arena of the session, in bytes.
type MemoryAnswer struct {
	PeakRSS int64 `json:"peak_rss"`
	Arena   int64 `json:"arena,omitempty"`
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
	var empty MemoryAnswer
	if !r.journal.get(kindMemory, "", &empty) {
		if err := r.child(ctx, &MemoryRequest{}, "", &empty); err != nil {
			return r.noMemory(ctx, err)
		}
	}
	for i, m := range r.made {
		var a MemoryAnswer
		if r.journal.get(kindMemory, m.Name, &a) {
			continue
		}
		r.progress("peak memory of "+m.Name, i, len(r.made))
		req := &MemoryRequest{Path: r.path(m), Runtime: r.recipe.Target.Runtime, Provider: r.recipe.Target.Provider, Threads: r.threads}
		for name, t := range r.bound.timing[0] {
			b, err := t.Bytes()
			if err != nil {
				return err
			}
			req.Inputs = append(req.Inputs, wireTensor{name, t.DType(), t.Shape(), b})
		}
		if err := r.child(ctx, req, m.Name, &a); err != nil {
			return r.noMemory(ctx, err)
		}
	}
	return nil
}

func (r *run) noMemory(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("peak memory: %w", ctx.Err())
	}
	r.warn("peak memory was not measured: %v", err)
	return nil
}

func (r *run) child(ctx context.Context, req *MemoryRequest, key string, a *MemoryAnswer) error {
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	out, err := r.opt.Child(ctx, b)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, a); err != nil || a.PeakRSS <= 0 {
		return fmt.Errorf("child process answered %.80q", out)
	}
	return r.journal.put(kindMemory, key, a)
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
	s, err := rt.Load(ctx, engine.Artifact{Path: req.Path}, engine.Options{Threads: req.Threads, Provider: req.Provider})
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
