package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// elems are the elements of a tensor for operators that only move them: bytes or strings.
type elems struct {
	b    []byte
	s    []string
	size int // bytes per element; 0 for strings
}

// elemsOf returns the elements of t, of any type of whole bytes or String.
func elemsOf(t *model.Tensor) (elems, error) {
	if t.DType() == model.String {
		s, err := t.Strings()
		return elems{s: s}, err
	}
	if t.DType().Bits() < 8 {
		return elems{}, typeError(t)
	}
	b, err := t.Bytes()
	return elems{b: b, size: t.DType().Bits() / 8}, err
}

// outElems makes output i. done must be called when the elements are written.
func (c *Call) outElems(i int, d model.DType, shape []int) (e elems, done func() error, err error) {
	if d == model.String {
		n, err := model.NumElements(shape)
		if err != nil || int64(n) > c.arena.bound()/16 { // 16 bytes a string header
			return elems{}, nil, fmt.Errorf("shape %v of strings is too large", shape)
		}
		s := make([]string, n)
		return elems{s: s}, func() error {
			t, err := model.NewStrings(shape, s)
			if err == nil {
				c.Set(i, t)
			}
			return err
		}, nil
	}
	if d.Bits() < 8 {
		return elems{}, nil, fmt.Errorf("element type %s: %w", d, model.ErrUnsupported)
	}
	t, err := c.Alloc(i, d, shape)
	if err != nil {
		return elems{}, nil, err
	}
	b, err := t.Bytes()
	return elems{b: b, size: d.Bits() / 8}, func() error { return nil }, err
}

// copy copies n elements of src from position si to position di.
func (e elems) copy(di int, src elems, si, n int) {
	if e.size == 0 {
		copy(e.s[di:di+n], src.s[si:si+n])
		return
	}
	w := e.size
	if n == 1 {
		switch w {
		case 4:
			*(*[4]byte)(e.b[di*4:]) = *(*[4]byte)(src.b[si*4:])
			return
		case 8:
			*(*[8]byte)(e.b[di*8:]) = *(*[8]byte)(src.b[si*8:])
			return
		}
	}
	copy(e.b[di*w:(di+n)*w], src.b[si*w:(si+n)*w])
}

// copyRows copies rows of n elements of src from position si on, from apart, to position di and on, at apart. With stream it stores past the caches.
func (e elems) copyRows(di int, src elems, si, n, rows, at, from int, stream bool) {
	e.copyBlocks(di, src, si, n, [2]int{1, rows}, [2]int{0, at}, [2]int{0, from}, stream)
}

// copyBlocks is copyRows for blocks[0] blocks of blocks[1] rows; index 0 of at and from is that of the blocks.
func (e elems) copyBlocks(di int, src elems, si, n int, blocks, at, from [2]int, stream bool) {
	if e.size == 0 {
		for b := range blocks[0] {
			for r := range blocks[1] {
				copy(e.s[di+b*at[0]+r*at[1]:][:n], src.s[si+b*from[0]+r*from[1]:])
			}
		}
		return
	}
	w := e.size
	kernel.CopyBlocks(e.b[di*w:], src.b[si*w:], n*w, blocks, [2]int{at[0] * w, at[1] * w}, [2]int{from[0] * w, from[1] * w}, stream)
}

// take copies n elements of src, step positions apart from position si on, to position di.
func (e elems) take(di int, src elems, si, step, n int) {
	switch {
	case step == 1:
		e.copy(di, src, si, n)
	case e.size == 4:
		for to := e.b[di*4 : (di+n)*4]; len(to) >= 4; to = to[4:] {
			*(*[4]byte)(to) = *(*[4]byte)(src.b[si*4:])
			si += step
		}
	default:
		for i := range n {
			e.copy(di+i, src, si+i*step, 1)
		}
	}
}

// clear sets n elements to zero.
func (e elems) clear(di, n int) {
	if e.size == 0 {
		clear(e.s[di : di+n])
		return
	}
	clear(e.b[di*e.size : (di+n)*e.size])
}

// gatherStrided copies src into dst, which is dense with the given shape, reading with strides (0 and negative
// allowed) from offset off.
func (e elems) gatherStrided(shape, str []int, src elems, off int) {
	if product(shape) == 0 {
		return
	}
	l := newLoops(shape, str)
	n, s := l.inner(), l.str[0][len(l.dims)-1]
	var o [1]int
	if s == 1 {
		around, step := 1, n // rows whose places in src are evenly spaced
		if k := len(l.dims) - 2; k >= 0 && l.str[0][k] >= 0 {
			around, step = l.dims[k], l.str[0][k]
		}
		stream := kernel.Streams(len(e.b), min(len(e.b), len(src.b)), 1)
		for r := 0; r < l.rows(); r += around {
			l.offsets(r, o[:])
			e.copyRows(r*n, src, off+o[0], n, around, n, step, stream)
		}
		return
	}
	for r := range l.rows() {
		l.offsets(r, o[:])
		at := off + o[0]
		for i := range n {
			e.copy(r*n+i, src, at, 1)
			at += s
		}
	}
}
