package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

func opTranspose(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	perm := c.attrInts("perm")
	r := x.Rank()
	if perm == nil {
		perm = c.ints(r)
		for i := range r {
			perm[i] = r - 1 - i
		}
	}
	if len(perm) != r {
		return fmt.Errorf("perm %v does not fit rank %d", perm, r)
	}
	mark, err := axes(perm, r)
	if err != nil {
		return err
	}
	for _, m := range mark {
		if !m {
			return fmt.Errorf("perm %v is no permutation", perm)
		}
	}
	return transposeTo(c, 0, x, perm)
}

// transposeTo makes output i the transpose of x.
func transposeTo(c *Call, i int, x *model.Tensor, perm []int) error {
	shape, str, old := c.ints(len(perm)), c.ints(len(perm)), stridesIn(c.ints(x.Rank()), x.Shape())
	moved, next := false, 0
	for k, p := range perm {
		if p < 0 {
			p += len(perm)
		}
		shape[k], str[k] = x.Shape()[p], old[p]
		if shape[k] != 1 {
			moved = moved || p < next
			next = p
		}
	}
	if !moved { // only dimensions of size 1 change places
		y, err := x.Reshape(shape)
		if err == nil {
			c.Set(i, y)
		}
		return err
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(i, x.DType(), shape)
	if err != nil {
		return err
	}
	if product(shape) > 0 {
		transposeElems(c.pool, dst, src, shape, str)
	}
	return done()
}

// transposeElems copies rows in parallel, or matrices where the innermost dimension of dst is not that of src.
func transposeElems(p *kernel.Pool, dst, src elems, shape, str []int) {
	l := newLoops(shape, str)
	n, s := l.inner(), l.str[0][len(l.dims)-1]
	if s != 1 && dst.size > 0 && dst.size <= 8 {
		if j := slices.Index(l.str[0], 1); j >= 0 {
			transposeMatrices(p, dst, src, &l, j)
			return
		}
	}
	if s == 1 {
		transposeRows(p, dst, src, &l)
		return
	}
	around, step := 1, 0 // rows whose places in src are evenly spaced
	if k := len(l.dims) - 2; k >= 0 {
		around, step = l.dims[k], l.str[0][k]
	}
	rowsParallel(p, l.rows(), n, func(lo, hi int) {
		var o [1]int
		for r := lo; r < hi; {
			l.offsets(r, o[:])
			for end := min(hi, r-r%around+around); r < end; r++ {
				for i, at := r*n, o[0]; i < (r+1)*n; i, at = i+1, at+s {
					dst.copy(i, src, at, 1)
				}
				o[0] += step
			}
		}
	})
}

// transposeRows copies the rows of l, whose elements are neighbours in src too, in their order in src: reading what lies far apart costs more than
// writing it, since the CPU prefetches the one only.
func transposeRows(p *kernel.Pool, dst, src elems, l *loops) {
	last := len(l.dims) - 1
	n, to := l.dims[last], strides(l.dims)
	order := make([]int, last, last+1)
	for k := range order {
		order[k] = k
	}
	slices.SortStableFunc(order, func(x, y int) int { return l.str[0][y] - l.str[0][x] })
	sizes := make([]int, 3*(last+1))
	by := loops{dims: sizes[:last+1], str: [][]int{sizes[last+1 : 2*(last+1)], sizes[2*(last+1):]}} // places in src and in dst
	for i, k := range append(order, last) {
		by.dims[i], by.str[0][i], by.str[1][i] = l.dims[k], l.str[0][k], to[k]
	}
	around, from, at := [2]int{1, 1}, [2]int{}, [2]int{} // the two loops around the rows: lengths, strides in src and in dst
	for i := range min(2, last) {
		k := last - 1 - i
		around[1-i], from[1-i], at[1-i] = by.dims[k], by.str[0][k], by.str[1][k]
	}
	stream := kernel.Streams(len(dst.b), len(dst.b), p.Threads())
	rowsParallel(p, by.rows(), n, func(lo, hi int) {
		var o [2]int
		for r := lo; r < hi; {
			by.offsets(r, o[:])
			b, i := r/around[1]%around[0], r%around[1]
			blocks := [2]int{1, min(hi-r, around[1]-i)}
			if i == 0 && hi-r >= around[1] {
				blocks[0] = min((hi-r)/around[1], around[0]-b)
			}
			dst.copyBlocks(o[1], src, o[0], n, blocks, at, from, stream)
			r += blocks[0] * blocks[1]
		}
	})
}

// transposeStrip is the number of rows of a matrix in dst that one piece of work makes, and transposeLeast that of several threads where there would be
// too few pieces, or elements have no kernel.
const transposeStrip, transposeLeast = 512, 64

// transposeMatrices copies to the dimensions of l, of which j has stride 1 in src: for every position in the others a matrix
// whose columns are the rows of src.
func transposeMatrices(p *kernel.Pool, dst, src elems, l *loops, j int) {
	last := len(l.dims) - 1
	m, n := l.dims[last], l.dims[j]
	// the loops over the matrices: strides in src and in dst
	outer := loops{str: make([][]int, 2)}
	for k, at := last, 1; k >= 0; k-- {
		if k != j && k != last {
			outer.dims = append([]int{l.dims[k]}, outer.dims...)
			outer.str[0], outer.str[1] = append([]int{l.str[0][k]}, outer.str[0]...), append([]int{at}, outer.str[1]...)
		}
		at *= l.dims[k]
	}
	outer.dims = append(outer.dims, 1) // offsets are those of rows
	apart := product(l.dims[j+1:])
	strip := transposeStrip
	if p.Threads() > 1 {
		strip = transposeLeast
		if dst.size == 4 {
			strip = min(transposeStrip, max(strip, n*outer.rows()/(4*p.Threads())&^15))
		}
	}
	strips, w := (n+strip-1)/strip, dst.size
	stream := kernel.Streams(len(dst.b), len(dst.b), p.Threads())
	rowsParallel(p, outer.rows()*strips, m*min(n, strip), func(lo, hi int) {
		var o [2]int
		for r := lo; r < hi; {
			k := r % strips
			end := min(strips, k+hi-r)
			outer.offsets(r/strips, o[:])
			from, to := k*strip, min(n, end*strip)
			kernel.Transpose(dst.b[(o[1]+from*apart)*w:], src.b[(o[0]+from)*w:], w, m, to-from, apart, l.str[0][last], stream)
			r += end - k
		}
	})
}
