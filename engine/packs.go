package engine

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Packs holds weights in the layout of their kernels for all sessions that are loaded with it (Options.Packs), so that
// sessions of one model, or of models that have weights in common, hold them once. It finds them by the digest of their
// values, wherever these were read from. It keeps what it has for as long as it is reachable. The zero value is empty and
// ready; it may be used by several goroutines at once.
type Packs struct {
	mu     sync.Mutex
	packed map[[sha256.Size]byte]*packEntry
}

// Bytes returns the size of what is held.
func (p *Packs) Bytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := int64(0)
	for _, e := range p.packed {
		if n += e.size.Load(); e.done.Load() {
			if g, ok := e.v.(grower); ok {
				n += g.grown()
			}
		}
	}
	return n
}

// grower is implemented by packed forms that sessions add to while they run.
type grower interface{ grown() int64 }

// weightBytes is the size of the weights of the plan as it holds them.
func (p *Plan) weightBytes() int64 {
	n := p.packed
	for _, c := range p.consts {
		if !c.released {
			n += int64(c.t.ByteSize())
		}
	}
	seen := map[*tiledConv]bool{}
	p.each(func(s *step) {
		if st, ok := s.state.(*blockedConv); ok && !seen[st.tiledConv] {
			seen[st.tiledConv] = true
			n += st.grown()
		}
	})
	return n
}

// packEntry is one packed form, made by whoever asks for it first.
type packEntry struct {
	once sync.Once
	v    any
	done atomic.Bool // v is there
	size atomic.Int64
	err  error
}

// entry returns the entry of a digest.
func (p *Packs) entry(key [sha256.Size]byte) *packEntry {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.packed == nil {
		p.packed = map[[sha256.Size]byte]*packEntry{}
	}
	e := p.packed[key]
	if e == nil {
		e = new(packEntry)
		p.packed[key] = e
	}
	return e
}

// drop forgets an entry that could not be made.
func (p *Packs) drop(key [sha256.Size]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.packed, key)
}

// packKey names one packed form of one weight of a model: what it is, and the other tensors that it is made of, whose names may be those of
// others in another body.
type packKey struct {
	t    *model.Tensor
	kind string
	with [mostWith]*model.Tensor
}

// mostWith is the number of tensors beside a weight that a packed form is made of.
const mostWith = 4

// digest is that of a packed form: what it is, the instruction set that it is for, and the tensors that it is made of.
func (k packKey) digest() (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n", k.kind, kernel.Active())
	for _, t := range append([]*model.Tensor{k.t}, k.with[:]...) {
		if t == nil {
			fmt.Fprintln(h, "none")
			continue
		}
		b, err := t.Bytes()
		if err != nil {
			return sum, err
		}
		fmt.Fprintln(h, t.DType(), t.Shape())
		_ = binary.Write(h, binary.LittleEndian, int64(len(b)))
		h.Write(b)
	}
	h.Sum(sum[:0])
	return sum, nil
}

// errUnpacked is what those get who wait for a packed form of their own session whose maker panics: the session fails with what it panics.
var errUnpacked = errors.New("the weights could not be packed")

// fill makes the packed form of an entry, once; drop is called where it cannot be made. It reports whether this call was the one that made it.
func (e *packEntry) fill(make func() (any, int64, error), drop func()) (mine bool) {
	e.once.Do(func() {
		mine, e.err = true, errUnpacked
		defer func() {
			if e.err != nil {
				drop()
			}
		}()
		v, size, err := make()
		if e.v, e.err = v, err; err == nil {
			e.size.Store(size)
			e.done.Store(true)
		}
	})
	return mine
}

// pack returns the packed form kind of t, made once per model, or once for all sessions that share Options.Packs. with are
// the other tensors that it is made of. The memory of a weight in a mapped file is given back.
// What cannot be made stays in no Packs: who waits for another session that fails makes it anew, from tensors of its own.
func pack[T any](p *prep, t *model.Tensor, kind string, make func() (T, int64, error), with ...*model.Tensor) (T, error) {
	k := packKey{t: t, kind: kind}
	if copy(k.with[:], with) < len(with) {
		panic("a packed form is made of more tensors than its key has")
	}
	e := p.c.packEntry(k)
	e.fill(func() (any, int64, error) {
		defer t.Forget()
		made := func() (any, int64, error) { return make() }
		s := p.c.opts.Packs
		if s == nil {
			v, size, err := made()
			p.c.packed.Add(size)
			return v, size, err
		}
		// what is packed may depend on these options
		k.kind = fmt.Sprint(kind, " ", p.c.opts.Exact, p.c.opts.NoFusion)
		key, err := k.digest()
		if err != nil {
			return nil, 0, err
		}
		for {
			f := s.entry(key)
			if mine := f.fill(made, func() { s.drop(key) }); mine || f.err == nil {
				p.c.packed.Add(f.size.Load())
				return f.v, f.size.Load(), f.err
			}
		}
	}, func() {})
	var none T
	if e.err != nil {
		return none, e.err
	}
	v, ok := e.v.(T)
	if !ok {
		return none, fmt.Errorf("the weights are packed as %T, want %T", e.v, none)
	}
	return v, nil
}

func (c *compiler) packEntry(k packKey) *packEntry {
	c.packMu.Lock()
	defer c.packMu.Unlock()
	if c.packs == nil {
		c.packs = map[packKey]*packEntry{}
	}
	e := c.packs[k]
	if e == nil {
		e = new(packEntry)
		c.packs[k] = e
	}
	return e
}
