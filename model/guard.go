package model

import (
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
)

// Guard runs fn, which may read bytes of mapped files, and returns its error, or one that wraps ErrTruncated and names the file when a byte
// that fn touched is no longer there, or when fn failed in another way after one of the files had become shorter: the system
// refuses to write from such memory. files is called then, and only then. Guarded are the calling goroutine and
// those that hand their panics over to it, as the threads of the engine do; a fault of any other memory goes on as a panic.
func Guard(files func() []*Mapping, fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			if err = Fault(r, files()); err == nil {
				panic(r)
			}
			return
		}
		if err != nil && !errors.Is(err, ErrTruncated) {
			if cut := Whole(files()); cut != nil {
				err = fmt.Errorf("%w: %w", cut, err)
			}
		}
	}()
	return fn()
}

// Fault returns the error, which wraps ErrTruncated, of a recovered panic r that is a fault of memory of one of the files, and nil for
// any other panic. Faults are panics on goroutines that debug.SetPanicOnFault was called on.
func Fault(r any, files []*Mapping) error {
	f, ok := r.(interface{ Addr() uintptr })
	if !ok {
		return nil
	}
	for _, m := range files {
		if m.holds(f.Addr()) {
			if err := m.whole(); err != nil {
				return err
			}
			return fmt.Errorf("model: %s: %w: it had %d bytes when it was opened", m.path, ErrTruncated, len(m.data))
		}
	}
	return nil
}

// Whole returns an error that wraps ErrTruncated when one of the files, which may be closed, is shorter than when it was opened. What is
// left of the last page reads as zeros then, without a fault, so what was made of the files is only good when they are
// whole afterwards.
func Whole(files []*Mapping) error {
	for _, m := range files {
		if err := m.whole(); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mapping) whole() error {
	if !m.mapped || m.closed.Load() {
		return nil
	}
	if st, err := m.file.Stat(); err == nil && st.Size() < int64(len(m.data)) {
		return fmt.Errorf("model: %s: %w from %d to %d bytes", m.path, ErrTruncated, len(m.data), st.Size())
	}
	return nil
}

// Mappings returns the files that tensors of g lie in, those of bodies, attributes and functions among them, in the order in which
// they are met.
func (g *Graph) Mappings() []*Mapping {
	var files []*Mapping
	add := func(t *Tensor) {
		if t != nil && t.mem != nil && !slices.Contains(files, t.mem) {
			files = append(files, t.mem)
		}
	}
	var nodes func([]*Node)
	var graph func(*Graph)
	nodes = func(list []*Node) {
		for _, n := range list {
			for i := range n.Attrs {
				add(n.Attrs[i].T)
				for _, t := range n.Attrs[i].Tensors {
					add(t)
				}
			}
			for _, sub := range n.Subgraphs() {
				graph(sub)
			}
		}
	}
	graph = func(g *Graph) {
		if g == nil {
			return
		}
		for _, name := range g.names {
			add(g.tensors[name])
		}
		nodes(g.Nodes)
		if g.Model != nil {
			for _, f := range g.Model.Functions {
				nodes(f.Nodes)
			}
		}
	}
	graph(g)
	return files
}
