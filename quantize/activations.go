package quantize

import (
	"context"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

const (
	observeRows  = 512     // activations that are multiplied at a time
	observeBytes = 1 << 30 // of all sums that are gathered in one pass over the feeds
)

// moments are sums over the rows of an activation: of x x^T and of |x|.
type moments struct {
	k, rows int
	h       []float64 // [k][k]
	abs     []float64
	buf     []float32
	sum     []float32
}

func newMoments(k int) *moments {
	return &moments{k: k, h: make([]float64, k*k), abs: make([]float64, k), buf: make([]float32, 0, observeRows*k)}
}

// add takes in rows of x, which is [rows][k].
func (m *moments) add(x []float32, pool *kernel.Pool) {
	for len(x) > 0 {
		n := min(len(x), cap(m.buf)-len(m.buf))
		m.buf, x = append(m.buf, x[:n]...), x[n:]
		if len(m.buf) == cap(m.buf) {
			m.flush(pool)
		}
	}
}

// flush multiplies what is in the buffer, in float32, and adds it to the sums in float64.
func (m *moments) flush(pool *kernel.Pool) {
	rows, k := len(m.buf)/m.k, m.k
	if rows == 0 {
		return
	}
	if m.sum == nil {
		m.sum = make([]float32, k*k)
	}
	kernel.MatMulF32(pool, k, k, rows, m.buf, k, true, m.buf, k, false, m.sum, k, kernel.Epilogue{})
	for i, v := range m.sum {
		m.h[i] += float64(v)
	}
	for i, v := range m.buf {
		m.abs[i%k] += float64(max(v, -v))
	}
	m.rows += rows
	m.buf = m.buf[:0]
}

// finite reports whether no activation was infinite, too large for the sums, or a NaN.
func (m *moments) finite() bool {
	for i := range m.k {
		if v := m.h[i*m.k+i]; v-v != 0 {
			return false
		}
	}
	return true
}

// activations are the moments of the values that products multiply by quantized weights, by name.
type activations struct {
	by map[string]*moments
}

// sources returns the names of the activations that w is multiplied by in one of its forms in the graph itself, and whether these
// are all.
func (w *weightPlan) sources(g *model.Graph, f form) (names []string, all bool) {
	all = true
	for _, u := range w.Uses {
		switch {
		case u.Node.Op == "Gather" || formOf(u) != f:
		case u.Graph != g:
			all = false
		case !slices.Contains(names, u.Node.Inputs[0]):
			names = append(names, u.Node.Inputs[0])
		}
	}
	return names, all
}

// pass is a set of activations whose sums fit in memory together, gathered in one pass over the feeds.
type pass struct {
	names []string
	k     map[string]int // inputs by name
}

// passes divides the activations of all weights that are to be quantized; those with too many inputs are in none.
func (p *weightOnlyPlan) passes(g *model.Graph) []pass {
	var all []pass
	size, placed := observeBytes+1, map[string]bool{}
	for _, w := range p.weights {
		for _, s := range w.forms {
			names, _ := w.sources(g, s.form)
			for _, name := range names {
				k := s.nbits.k
				if w.why != "" || placed[name] || k*k*8 > observeBytes {
					continue
				}
				if size += k * k * 8; size > observeBytes {
					all, size = append(all, pass{k: map[string]int{}}), k*k*8
				}
				last := &all[len(all)-1]
				last.names, last.k[name], placed[name] = append(last.names, name), k, true
			}
		}
	}
	return all
}

// lastPass returns the number of the last pass that gathers an activation of w, -1 for none.
func (w *weightPlan) lastPass(g *model.Graph, all []pass) int {
	for i := len(all) - 1; i >= 0; i-- {
		for _, s := range w.forms {
			names, _ := w.sources(g, s.form)
			if slices.ContainsFunc(names, func(name string) bool { return all[i].k[name] != 0 }) {
				return i
			}
		}
	}
	return -1
}

// observe runs the graph on all feeds and gathers the moments of the values of one pass.
func (p *weightOnlyPlan) observe(ctx context.Context, g *model.Graph, these pass, seen *activations) error {
	pool := kernel.NewPool(p.Threads, -1)
	defer pool.Close()
	wanted := these.names
	for _, name := range wanted {
		seen.by[name] = newMoments(these.k[name])
	}
	h := g.Clone()
	h.Outputs = nil
	var computed []string
	for _, name := range wanted {
		if !slices.ContainsFunc(g.Inputs, func(v *model.Value) bool { return v.Name == name }) {
			computed = append(computed, name)
			h.Outputs = append(h.Outputs, &model.Value{Name: name, Type: model.Type{DType: model.Float32}})
		}
	}
	var s engine.Session
	if len(computed) > 0 {
		var err error
		if s, err = (engine.Native{}).Load(ctx, engine.Artifact{Graph: h}, engine.Options{Threads: p.Threads}); err != nil {
			return fmt.Errorf("quantize: activations: %w", err)
		}
		defer s.Close()
	}
	runs := 0
	for feed, err := range p.Feeds.All() {
		if err != nil {
			return fmt.Errorf("quantize: inputs of %s: %w", p.Algorithm, err)
		}
		out := engine.Feed{}
		if s != nil {
			if out, err = s.Run(ctx, feed); err != nil {
				return fmt.Errorf("quantize: activations: %w", err)
			}
		}
		for _, name := range wanted {
			t := out[name]
			if t == nil {
				t = feed[name]
			}
			if t == nil {
				return fmt.Errorf("quantize: activations: %q is missing", name)
			}
			x, err := model.Data[float32](t)
			if err != nil {
				return fmt.Errorf("quantize: activation %q: %w", name, err)
			}
			m := seen.by[name]
			if len(x)%m.k != 0 {
				return fmt.Errorf("quantize: activation %q: shape %v for a matrix of %d rows", name, t.Shape(), m.k)
			}
			m.add(x, pool)
		}
		runs++
	}
	if runs == 0 {
		return fmt.Errorf("quantize: algorithm %s: there are no inputs to see activations of", p.Algorithm)
	}
	for _, name := range wanted {
		seen.by[name].flush(pool)
		seen.by[name].buf, seen.by[name].sum = nil, nil
	}
	return nil
}

// of returns the moments of all activations of a form of w together, or why there are none.
func (a *activations) of(g *model.Graph, w *weightPlan, s *stored) (*moments, string) {
	names, all := w.sources(g, s.form)
	if len(names) == 0 || !all {
		return nil, "its activations, in a body, are not seen"
	}
	var sum *moments
	for i, name := range names {
		m := a.by[name]
		switch {
		case m == nil:
			return nil, fmt.Sprintf("too many inputs, %d, for the sums of its activations", s.nbits.k)
		case m.rows == 0:
			return nil, "its activations have no elements"
		case !m.finite():
			return nil, "its activations are not finite"
		case i == 0:
			sum = m
			continue
		}
		if i == 1 {
			sum = &moments{k: sum.k, rows: sum.rows, h: slices.Clone(sum.h), abs: slices.Clone(sum.abs)}
		}
		sum.rows += m.rows
		for j, v := range m.h {
			sum.h[j] += v
		}
		for j, v := range m.abs {
			sum.abs[j] += v
		}
	}
	return sum, ""
}
