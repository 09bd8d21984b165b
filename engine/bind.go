package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/wattshed/wattshed/model"
)

var (
	_ Binder = (*session)(nil)
	_ Bound  = (*bound)(nil)

	errBoundClosed   = errors.New("engine: the bound inputs are closed")
	errSessionClosed = errors.New("engine: the session is closed")
	errNotRun        = errors.New("engine: the bound inputs have no outputs: no run of them has succeeded, or the last one failed")
)

// bound is a session with inputs in place. What its runs share with those of the session is the memory of inner values; that of the outputs is its own
// and is written again by its next run. Beside Options.Memory, which bounds the values of a run with its outputs, what other bounds keep is not counted.
type bound struct {
	s   *session
	fed fed

	mu   sync.Mutex // Close of the session may come from another goroutine
	kept kept
	out  []slot // of the last run, in memory of kept, of an input or of the model; nil for none
	gone error  // why it is closed; nil while it is open
}

// Bind implements Binder.
func (s *session) Bind(in Feed) (Bound, error) {
	vals, err := valuesOf(in)
	if err != nil {
		return nil, err
	}
	b := &bound{s: s, fed: fed{in: vals}}
	if err := b.fed.fix(s.plan, s.pool.Threads()); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errSessionClosed
	}
	if s.bounds == nil {
		s.bounds = map[*bound]bool{}
	}
	s.bounds[b] = true
	return b, nil
}

// Run implements Bound.
func (b *bound) Run(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone != nil {
		return b.gone
	}
	b.out = nil
	out, err := b.s.plan.run(ctx, b.s.pool, &b.fed, &b.kept)
	for i := 0; err == nil && i < len(out); i++ {
		_, err = b.s.plan.tensorOf(i, out[i])
	}
	if err != nil {
		b.kept = kept{}
		return err
	}
	b.out = out
	return nil
}

// Outputs implements Bound.
func (b *bound) Outputs() (out Feed, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.gone != nil:
		return nil, b.gone
	case b.out == nil:
		return nil, errNotRun
	}
	old := debug.SetPanicOnFault(true) // an output may be a constant in a file
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			out, err = nil, faultOf(r, b.s.plan.files)
		}
	}()
	out = make(Feed, len(b.out))
	for i, o := range b.out {
		name := b.s.plan.outputs[i].value.Name
		if out[name], err = copyOf(o.t); err != nil {
			return nil, fmt.Errorf("engine: output %q: %w", name, err)
		}
	}
	return out, nil
}

// Close implements Bound.
func (b *bound) Close() error {
	b.release(errBoundClosed)
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.bounds, b)
	return nil
}

// release lets go of all memory; from now on calls end with the error.
func (b *bound) release(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone == nil {
		b.fed, b.kept, b.out, b.gone = fed{}, kept{}, nil, why
	}
}

// closeBounds closes all bounds, and keeps Bind from making others.
func (s *session) closeBounds() {
	s.mu.Lock()
	open := s.bounds
	s.bounds, s.closed = nil, true
	s.mu.Unlock()
	for b := range open {
		b.release(errSessionClosed)
	}
}

// kept is the memory of the outputs of one run, which the next one writes its outputs to. The nil one keeps nothing.
type kept struct {
	buffers []*buffer       // of an arena, given away by it
	sliced  []*model.Tensor // the outputs of a batch that was run in slices
}

// keep adds the memory of an output that has left its arena.
func (k *kept) keep(b *buffer) {
	if k == nil {
		return
	}
	if b.block != nil {
		b = b.block
	}
	if !slices.Contains(k.buffers, b) {
		k.buffers = append(k.buffers, b)
	}
}

// take returns the outputs of a batch that was run in slices, which are to be written over, and lets go of everything.
func (k *kept) take() []*model.Tensor {
	if k == nil {
		return nil
	}
	old := k.sliced
	*k = kept{}
	return old
}

// lend gives the arena the memory that k keeps. A run that follows a placement takes it for what leaves the arena, and no more of it than
// that: the rest is let go of at the end. In any other run it is free for all values, as far as the bound on memory allows.
func (a *arena) lend(k *kept) {
	if k == nil {
		return
	}
	for _, b := range k.buffers {
		a.made++
		*b = buffer{mem: b.mem, class: b.class, serial: a.made}
		switch size := int64(len(b.mem)); {
		case a.plan != nil:
			a.spare = append(a.spare, b)
		case a.most == 0 || size <= a.most-a.held:
			a.held += size
			a.rest(b)
		}
	}
	clear(k.buffers)
	*k = kept{buffers: k.buffers[:0]}
}

// spared takes a buffer for n bytes out of the spare ones; nil for none.
func (a *arena) spared(n int) *buffer {
	class, size := sizeClass(n)
	i := slices.IndexFunc(a.spare, func(b *buffer) bool { return b.class == class })
	if i < 0 || a.room(size) != nil {
		return nil
	}
	b := a.spare[i]
	a.spare = slices.Delete(a.spare, i, i+1)
	a.held += int64(size)
	b.refs = 1
	return b
}
