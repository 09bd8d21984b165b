package engine

import "github.com/wattshed/wattshed/engine/kernel"

// indexedRow is the number of bytes from which on rows are copied by kernel.CopyIndexed.
const indexedRow = 64

func opGather(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	it, err := c.Need(1)
	if err != nil {
		return err
	}
	ax, err := c.axisAttr(0, x.Rank())
	if err != nil {
		return err
	}
	idx, err := ints(it)
	if err != nil {
		return err
	}
	n, inner, outer := x.Shape()[ax], product(x.Shape()[ax+1:]), product(x.Shape()[:ax])
	shape := append([]int{}, x.Shape()[:ax]...)
	shape = append(append(shape, it.Shape()...), x.Shape()[ax+1:]...)
	for i, v := range idx {
		if idx[i], err = index(v, n); err != nil {
			return err
		}
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	stream := kernel.Streams(len(dst.b), min(len(dst.b), len(src.b)), c.pool.Threads())
	if len(idx) == 1 {
		rowsParallel(c.pool, outer, inner, func(lo, hi int) {
			dst.copyRows(lo*inner, src, (lo*n+idx[0])*inner, inner, hi-lo, inner, n*inner, stream)
		})
		return done()
	}
	if w := inner * dst.size; w >= indexedRow && len(idx) > 0 {
		rowsParallel(c.pool, outer*len(idx), inner, func(lo, hi int) {
			for r := lo; r < hi; {
				o, k := r/len(idx), r%len(idx)
				m := min(hi-r, len(idx)-k)
				kernel.CopyIndexed(dst.b[r*w:(r+m)*w], src.b[o*n*w:(o+1)*n*w], w, idx[k:k+m], stream)
				r += m
			}
		})
		return done()
	}
	rowsParallel(c.pool, outer*len(idx), inner, func(lo, hi int) {
		for r := lo; r < hi; r++ {
			dst.copy(r*inner, src, (r/len(idx)*n+idx[r%len(idx)])*inner, inner)
		}
	})
	return done()
}
