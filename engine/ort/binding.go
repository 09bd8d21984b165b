//go:build !static

package ort

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/wattshed/wattshed/engine"
)

var (
	_ engine.Binder = (*session)(nil)
	_ engine.Bound  = (*binding)(nil)
)

// binding is an OrtIoBinding: inputs lie where the execution provider wants them and outputs stay where it puts them, so
// that a run copies nothing.
type binding struct {
	s      *session
	c      caller // keeps the memory of the inputs pinned
	handle uintptr
	memory uintptr // where outputs stay, if that is not host memory
	values []uintptr
	once   sync.Once
}

// Bind implements engine.Binder. The tensors of in must not change while the binding is open.
func (s *session) Bind(in engine.Feed) (engine.Bound, error) {
	if err := s.checkInputs(in); err != nil {
		return nil, err
	}
	b := &binding{s: s, c: caller{lib: s.rt.lib}}
	c := &b.c
	c.do(fnCreateIoBinding, s.handle, c.out(&b.handle))
	for _, v := range s.inputs {
		t, ok := in[v.Name]
		if !ok {
			continue
		}
		value, err := c.tensor(t)
		if value != 0 {
			b.values = append(b.values, value)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("ort: input %q: %w", v.Name, err), b.Close())
		}
		c.do(fnBindInput, b.handle, c.str(v.Name), value)
	}
	if name := providers[s.options.Provider].memory; name != "" {
		const deviceAllocator, defaultMemory = 0, 0
		device, err := s.device()
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		c.do(fnCreateMemoryInfo, c.str(name), deviceAllocator, device, defaultMemory, c.out(&b.memory))
	}
	b.place(c, b.memory)
	if s.accelerated() {
		c.do(fnSynchronizeBoundInputs, b.handle)
	}
	if c.err != nil {
		return nil, errors.Join(c.err, b.Close())
	}
	s.track(b)
	return b, nil
}

// place says in which memory outputs are to stay, 0 for the host's.
func (b *binding) place(c *caller, memory uintptr) {
	if memory == 0 {
		memory = b.s.rt.lib.memory
	}
	for _, v := range b.s.outputs {
		c.do(fnBindOutputToDevice, b.handle, c.str(v.Name), memory)
	}
}

// accelerated reports whether the session computes elsewhere than on the CPU.
func (s *session) accelerated() bool { return s.options.Provider != "" && s.options.Provider != "cpu" }

// device is the number of the device that the provider was asked for.
func (s *session) device() (uintptr, error) {
	id, ok := s.options.ProviderOptions["device_id"]
	if !ok {
		return 0, nil
	}
	n, err := strconv.ParseUint(id, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("ort: execution provider %s: device_id %q is no number", s.options.Provider, id)
	}
	return uintptr(n), nil
}

// Run implements engine.Bound; it returns when the device has finished.
func (b *binding) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := caller{lib: b.s.rt.lib}
	defer c.done()
	c.do(fnRunWithBinding, b.s.handle, 0, b.handle)
	if b.s.accelerated() {
		c.do(fnSynchronizeBoundOutputs, b.handle)
	}
	return c.err
}

// Outputs implements engine.Bound. Outputs that stay on a device are computed once more into host memory, from the same inputs.
func (b *binding) Outputs() (out engine.Feed, err error) {
	c := caller{lib: b.s.rt.lib}
	defer c.done()
	if b.memory != 0 {
		b.place(&c, 0)
		c.do(fnRunWithBinding, b.s.handle, 0, b.handle)
		c.do(fnSynchronizeBoundOutputs, b.handle)
		defer func() {
			back := caller{lib: c.lib}
			b.place(&back, b.memory)
			back.done()
			err = errors.Join(err, back.err)
		}()
	}
	var list, n uintptr
	c.do(fnGetBoundOutputValues, b.handle, c.lib.allocator, c.out(&list), c.out(&n))
	if c.err != nil {
		return nil, c.err
	}
	values := append([]uintptr(nil), words(list, n)...)
	defer func() {
		for _, v := range values {
			c.release(fnReleaseValue, v)
		}
		free := caller{lib: c.lib}
		free.do(fnAllocatorFree, c.lib.allocator, list)
	}()
	if len(values) != len(b.s.outputs) {
		return nil, fmt.Errorf("ort: %d outputs are bound, want %d", len(values), len(b.s.outputs))
	}
	out = engine.Feed{}
	for i, v := range b.s.outputs {
		t, err := c.fetch(values[i])
		if err != nil {
			return nil, fmt.Errorf("ort: output %q: %w", v.Name, err)
		}
		out[v.Name] = t
	}
	return out, nil
}

// Close implements engine.Bound.
func (b *binding) Close() error {
	b.once.Do(func() {
		c := caller{lib: b.s.rt.lib}
		c.release(fnReleaseIoBinding, b.handle)
		for _, v := range b.values {
			c.release(fnReleaseValue, v)
		}
		c.release(fnReleaseMemoryInfo, b.memory)
		b.c.done()
	})
	return nil
}

// track remembers a binding, which Close of the session closes too.
func (s *session) track(b *binding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bindings = append(s.bindings, b)
}
