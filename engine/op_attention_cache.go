package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/wattshed/wattshed/model"
)

// kvBuffer is the memory of a cache of keys or values with room to grow. A position is written once, by the run that takes
// it; what earlier tensors show of the buffer never changes. A cache of keys and values together has twice the entries.
type kvBuffer struct {
	v             []float32 // [b, h, room, d]
	b, h, room, d int
	lead          []int // the dimensions of tensors that are the entries: [b], or [2, b/2] of keys and values together

	mu   sync.Mutex
	used []int // positions of every entry that are taken
}

// kvView owns a tensor [lead, h, length, d]: of entry i it shows lens[i] positions of the buffer, and zeros behind them. A run
// that gets such a tensor appends to the buffer instead of copying it, when it is the first that does and there is room.
type kvView struct {
	buf    *kvBuffer
	lens   []int // never changes
	length int
}

// take gives n positions behind lens to the caller, unless somebody has them or there is no room.
func (v *kvView) take(lens []int, n int) bool {
	b := v.buf
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, l := range lens {
		if l != b.used[i] || l != v.lens[i] || l+n > b.room {
			return false
		}
	}
	for i := range b.used {
		b.used[i] += n
	}
	return true
}

// rows returns the positions of one head from 0 on.
func (b *kvBuffer) rows(entry, head int) []float32 {
	return b.v[(entry*b.h+head)*b.room*b.d:][:b.room*b.d]
}

// tensor is what the view shows; it is copied out of the buffer when it is read.
func (v *kvView) tensor() (*model.Tensor, error) {
	shape := append(slices.Clone(v.buf.lead), v.buf.h, v.length, v.buf.d)
	return model.NewOwned(model.Float32, shape, v, func() ([]byte, []string, error) {
		out := make([]float32, product(shape))
		for i, n := range v.lens {
			for h := range v.buf.h {
				copy(out[(i*v.buf.h+h)*v.length*v.buf.d:][:min(n, v.length)*v.buf.d], v.buf.rows(i, h))
			}
		}
		b, err := model.FromSlice(shape, out).Bytes()
		return b, nil, err
	})
}

// extend makes output out, [lead, H, length, D] with a lead of B entries: of entry b, lens[b] positions of the cache in input in
// (none when it is omitted), all positions of t behind them, and zeros. It returns the heads of all positions; only those that an entry has
// may be read. The output may be fed back to a later run without being read or copied.
func (c *Call) extend(t *headsTensor, lead []int, in, out int, lens []int, length int) (headsTensor, error) {
	p := c.Arg(in)
	before := 0
	if p != nil {
		n, k := p.Shape(), len(lead)
		if len(n) != k+3 || !sameShape(n[:k], lead) || n[k] != t.h || n[k+2] != t.d {
			return *t, errShape("the cache", p, fmt.Sprintf("%v, then [%d length %d]", lead, t.h, t.d))
		}
		before = n[k+1]
	}
	after := make([]int, len(lens))
	most := 0
	for b, n := range lens {
		if n < 0 || n > before || n+t.s > length {
			return *t, fmt.Errorf("%d positions of entry %d in a cache of %d", n, b, before)
		}
		after[b] = n + t.s
		most = max(most, after[b])
	}
	if !c.Wants(out) || c.eval == nil || c.narrow {
		return c.copied(t, lead, p, out, lens, length)
	}
	var old *kvView
	if p != nil {
		old, _ = p.Owner().(*kvView)
	}
	var buf *kvBuffer
	if old != nil && old.take(lens, t.s) {
		buf = old.buf
	} else {
		buf = &kvBuffer{b: t.b, h: t.h, room: most + max(most/2, 16), d: t.d, lead: lead, used: slices.Clone(after)}
		n, err := model.NumElements([]int{t.b, t.h, buf.room, t.d})
		if err != nil {
			return *t, err
		}
		if err := c.arena.room(4 * n); err != nil {
			return *t, fmt.Errorf("the cache: %w", err)
		}
		c.arena.away += int64(4 * n)
		buf.v = make([]float32, n)
		if err := buf.fill(p, old, lens, before); err != nil {
			return *t, err
		}
	}
	t.appendTo(buf.v, lens, buf.room)
	view := &kvView{buf, after, length}
	y, err := view.tensor()
	if err != nil {
		return *t, err
	}
	c.put(out, slot{t: y})
	return headsTensor{v: buf.v, b: t.b, h: t.h, s: length, d: t.d, batch: t.h * buf.room * t.d, head: buf.room * t.d, pos: t.d}, nil
}

// fill copies the first lens[b] positions of every entry from a cache [b, h, before, d], which may be nil.
func (b *kvBuffer) fill(p *model.Tensor, view *kvView, lens []int, before int) error {
	var x []float32
	if p != nil && view == nil {
		var err error
		if x, err = model.Data[float32](p); err != nil {
			return err
		}
	}
	for i, n := range lens {
		for h := range b.h {
			switch dst := b.rows(i, h); {
			case view != nil:
				copy(dst[:min(n, view.lens[i])*b.d], view.buf.rows(i, h))
			case n > 0:
				copy(dst[:n*b.d], x[(i*b.h+h)*before*b.d:])
			}
		}
	}
	return nil
}

// appendTo writes all positions of t behind lens of a cache [B, H, room, D].
func (t *headsTensor) appendTo(dst []float32, lens []int, room int) {
	for b, n := range lens {
		for h := range t.h {
			src := t.at(b, h)
			d := dst[((b*t.h+h)*room+n)*t.d:]
			for s := range t.s {
				copy(d[s*t.d:][:t.d], src[s*t.pos:])
			}
		}
	}
}

// copied is extend into memory of its own: of a cache that nobody wants, of constants and of half types.
func (c *Call) copied(t *headsTensor, lead []int, p *model.Tensor, out int, lens []int, length int) (headsTensor, error) {
	shape := append(slices.Clone(lead), t.h, length, t.d)
	before := 0
	var old []float32
	if p != nil {
		before = p.Shape()[len(lead)+1]
		var err error
		if old, err = model.Data[float32](p); err != nil {
			return *t, err
		}
	}
	var dst []float32
	if c.Wants(out) {
		var err error
		if dst, err = Out[float32](c, out, shape); err != nil {
			return *t, err
		}
	} else {
		dst = Scratch[float32](c, product(shape))
	}
	clear(dst)
	for b, n := range lens {
		for h := range t.h {
			at := b*t.h + h
			if n > 0 {
				copy(dst[at*length*t.d:][:n*t.d], old[at*before*t.d:])
			}
		}
	}
	t.appendTo(dst, lens, length)
	return headsTensor{v: dst, b: t.b, h: t.h, s: length, d: t.d, batch: t.h * length * t.d, head: length * t.d, pos: t.d}, nil
}

// present makes output i: past joined with t, as [B, H, S, D]; t then views it.
func (t *headsTensor) present(c *Call, past, i int) error {
	p := c.Arg(past)
	if p == nil && !c.Wants(i) {
		return nil
	}
	lens := make([]int, t.b)
	before := 0
	if p != nil && p.Rank() == 4 {
		before = p.Shape()[2]
	}
	for b := range lens {
		lens[b] = before
	}
	h, err := c.extend(t, []int{t.b}, past, i, lens, before+t.s)
	if err == nil {
		*t = h
	}
	return err
}
