package quantize

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// pack quantizes every weight of the plan: those without activations first, then after each pass over the feeds those
// whose activations have all been seen, so that the sums of one pass are in memory at a time. A weight that holds a value
// that is not finite is left. Weights that an interrupted job finished are taken from its checkpoints, and passes that
// only these need are not made again.
func (p *weightOnlyPlan) pack(ctx context.Context, g *model.Graph) error {
	keep, err := p.checkpoints(g)
	if err != nil {
		return err
	}
	var all []pass
	if p.NeedsFeeds() {
		all = p.passes(g)
	}
	turn, done := make([]int, len(p.weights)), make([]bool, len(p.weights))
	for i, w := range p.weights {
		turn[i] = w.lastPass(g, all)
		done[i] = w.why != "" || keep.load(p, i)
	}
	seen := &activations{by: map[string]*moments{}}
	for now := -1; now < len(all); now++ {
		if now >= 0 && slices.ContainsFunc(all[now].names, func(name string) bool { return p.wants(g, name, done) }) {
			if err := p.observe(ctx, g, all[now], seen); err != nil {
				return err
			}
		}
		for i, w := range p.weights {
			if done[i] || turn[i] != now {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := p.quantize(w, seen); err != nil {
				return fmt.Errorf("quantize: weight %q: %w", w.Name, err)
			}
			if err := keep.save(p, i); err != nil {
				return fmt.Errorf("quantize: weight %q: %w", w.Name, err)
			}
			done[i] = true
		}
		for name := range seen.by {
			if !p.wants(g, name, done) {
				delete(seen.by, name)
			}
		}
	}
	return nil
}

// wants reports whether a weight that is not done is multiplied by the activation.
func (p *weightOnlyPlan) wants(g *model.Graph, name string, done []bool) bool {
	for i, w := range p.weights {
		for _, s := range w.forms {
			if names, _ := w.sources(g, s.form); !done[i] && slices.Contains(names, name) {
				return true
			}
		}
	}
	return false
}

// quantize makes all forms of w, or leaves it.
func (p *weightOnlyPlan) quantize(w *weightPlan, seen *activations) error {
	x, err := w.Tensor.Float32()
	if err != nil {
		return err
	}
	for _, s := range w.forms {
		if err = p.store(w, s, x, seen); err != nil {
			break
		}
	}
	if errors.Is(err, errNotFinite) {
		w.why, err = err.Error(), nil
	}
	return err
}

// store quantizes x, the values of w, in one form.
func (p *weightOnlyPlan) store(w *weightPlan, s *stored, x []float32, seen *activations) error {
	if s.rows8 != nil {
		return s.rows8.table(x, w.Tensor.Shape())
	}
	m, err := p.solve(w, s, x, seen)
	if err != nil {
		return err
	}
	s.made = m
	return p.put(s, m)
}

// put makes the tensors of a form.
func (p *weightOnlyPlan) put(s *stored, m *blocks) (err error) {
	switch {
	case p.Format == QDQ:
		s.q, s.scale, s.zero, err = m.linear()
		if err == nil && s.form == transposed {
			err = s.flip()
		}
	case s.form == table:
		s.q, s.scale, s.zero = m.table()
	default:
		s.q, s.scale, s.zero = m.product()
	}
	return err
}
