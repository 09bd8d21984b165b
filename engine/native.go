package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// defaultSpin is how long idle threads of a session spin by default after an inference: far shorter than the gaps between inferences
// that are not back to back. During one they spin for up to a millisecond.
const defaultSpin = 100 * time.Microsecond

// Version names the revision of the native runtime in reports.
const Version = "0.1"

// Native is the runtime of this module: it runs on the CPU, in this process.
type Native struct{}

// Name returns "native".
func (Native) Name() string { return "native" }

// Load compiles the artifact's Graph, or the ONNX file at its Path. See Runtime.
func (Native) Load(ctx context.Context, a Artifact, o Options) (Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.Provider != "" && o.Provider != "cpu" {
		return nil, fmt.Errorf("engine: provider %q of the native runtime: %w (it has cpu)", o.Provider, model.ErrUnsupported)
	}
	s := &session{}
	g := a.Graph
	if g == nil {
		if a.Path == "" {
			return nil, errors.New("engine: the artifact has neither graph nor path")
		}
		var err error
		if g, s.close, err = openGraph(a.Path); err != nil {
			return nil, err
		}
	}
	s.pool = newPool(o)
	var err error
	if s.plan, err = compile(g, o, s.pool); err != nil {
		s.pool.Close()
		if s.close != nil {
			err = errors.Join(err, s.close())
		}
		return nil, err
	}
	return s, nil
}

// session is a plan with its threads.
type session struct {
	plan  *Plan
	pool  *kernel.Pool
	close func() error

	mu     sync.Mutex
	bounds map[*bound]bool // those that are open
	closed bool
}

// Inputs implements Session. Inputs that an initializer supplies are left out.
func (s *session) Inputs() []*model.Value {
	var vs []*model.Value
	for _, in := range s.plan.inputs {
		if !in.optional {
			vs = append(vs, in.value)
		}
	}
	return vs
}

// Outputs implements Session.
func (s *session) Outputs() []*model.Value {
	vs := make([]*model.Value, len(s.plan.outputs))
	for i, o := range s.plan.outputs {
		vs[i] = o.value
	}
	return vs
}

// Run implements Session.
func (s *session) Run(ctx context.Context, in Feed, outputs ...string) (Feed, error) {
	for _, name := range outputs {
		if !s.hasOutput(name) {
			return nil, fmt.Errorf("engine: the model has no output %q", name)
		}
	}
	vals, err := valuesOf(in)
	if err != nil {
		return nil, err
	}
	outs, err := s.plan.run(ctx, s.pool, &fed{in: vals}, nil)
	if err != nil {
		return nil, err
	}
	res := make(Feed, len(outs))
	for i, o := range outs {
		name := s.plan.outputs[i].value.Name
		if len(outputs) > 0 && !slices.Contains(outputs, name) {
			continue
		}
		if res[name], err = s.plan.tensorOf(i, o); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// valuesOf returns the inputs of a run as Plan.Exec takes them.
func valuesOf(in Feed) (map[string]any, error) {
	vals := make(map[string]any, len(in))
	for name, t := range in {
		if t == nil {
			return nil, fmt.Errorf("engine: input %q is nil", name)
		}
		vals[name] = t
	}
	return vals, nil
}

func (s *session) hasOutput(name string) bool {
	for _, o := range s.plan.outputs {
		if o.value.Name == name {
			return true
		}
	}
	return false
}

// Profile implements Session: the times of the nodes, bodies included, summed by operator and kernel, longest first.
// The time of If, Loop and Scan contains that of their bodies.
func (s *session) Profile() []OpTime {
	if !s.plan.opts.Profile {
		return nil
	}
	type key struct{ op, kernel string }
	sums := map[key]*OpTime{}
	s.plan.each(func(st *step) {
		var n note
		if p := st.stats.note.Load(); p != nil {
			n = *p
		}
		k := key{opName(st.node), n.kernel}
		t := sums[k]
		if t == nil {
			t = &OpTime{Op: k.op, Kernel: k.kernel}
			sums[k] = t
		}
		t.Count++
		t.Calls += int(st.stats.calls.Load())
		t.Time += time.Duration(st.stats.nanos.Load())
		t.MACs += n.macs
		t.Bytes += n.bytes
	})
	out := make([]OpTime, 0, len(sums))
	for _, t := range sums {
		out = append(out, *t)
	}
	sort.Slice(out, func(i, j int) bool {
		a, b := out[i], out[j]
		if a.Time != b.Time {
			return a.Time > b.Time
		}
		if a.Op != b.Op {
			return a.Op < b.Op
		}
		return a.Kernel < b.Kernel
	})
	return out
}

// each calls f for every step, those of bodies included.
func (p *Plan) each(f func(*step)) {
	for _, s := range p.steps {
		f(s)
		for _, b := range s.bodies {
			b.each(f)
		}
	}
}

func opName(n *model.Node) string {
	if n.Domain == "" || n.Domain == "ai.onnx" {
		return n.Op
	}
	return n.Domain + "." + n.Op
}

// Info implements Session.
func (s *session) Info() Info {
	ops := map[string]int{}
	s.plan.each(func(st *step) { ops[opName(st.node)]++ })
	return Info{
		Runtime: "native", Version: Version, Provider: "cpu", ISA: kernel.Active().String(),
		Threads: s.pool.Threads(), Ops: ops, WeightBytes: s.plan.weightBytes(), ArenaBytes: s.plan.arenaBytes(),
		Warnings: s.plan.warnings, Fallbacks: s.Fallbacks(),
	}
}

// Fallbacks implements FallbackCounter.
func (s *session) Fallbacks() []Fallback { return s.plan.fell.list() }

// Mappings implements Mapped.
func (s *session) Mappings() []*model.Mapping { return s.plan.files }

// Close implements Session.
func (s *session) Close() error {
	s.closeBounds()
	s.pool.Close()
	if s.close != nil {
		f := s.close
		s.close = nil
		return f()
	}
	return nil
}
