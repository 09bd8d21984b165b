package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
)

// broadcastShape returns the shape that both shapes extend to by the rule of NumPy.
func broadcastShape(a, b []int) ([]int, error) {
	n := max(len(a), len(b))
	out := make([]int, n)
	for i := range n {
		x, y := 1, 1
		if j := i - (n - len(a)); j >= 0 {
			x = a[j]
		}
		if j := i - (n - len(b)); j >= 0 {
			y = b[j]
		}
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil, fmt.Errorf("shapes %v and %v do not broadcast", a, b)
		}
	}
	return out, nil
}

// broadcastAll is broadcastShape for any number of shapes.
func broadcastAll(shapes ...[]int) ([]int, error) {
	out := []int{}
	var err error
	for _, s := range shapes {
		if out, err = broadcastShape(out, s); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// strides returns the row-major strides of a shape, in elements.
func strides(shape []int) []int { return stridesIn(make([]int, len(shape)), shape) }

// stridesIn is strides in memory that is there.
func stridesIn(s, shape []int) []int {
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// broadcastStrides returns the strides with which shape is read as out: 0 where it is repeated.
func broadcastStrides(shape, out []int) []int {
	s := make([]int, len(out))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		j := i + len(out) - len(shape)
		if shape[i] != 1 {
			s[j] = n
		}
		n *= shape[i]
	}
	return s
}

// loops is a nest of loops over an output, with the strides of K operands; neighbouring dimensions that behave as one
// are merged and dimensions of size 1 are gone. The innermost loop is the last.
type loops struct {
	dims []int
	str  [][]int // per operand
}

// newLoops merges the dimensions of shape. strs are the strides of each operand.
func newLoops(shape []int, strs ...[]int) loops {
	r := max(1, len(shape))
	l, mem := loops{str: make([][]int, len(strs))}, make([]int, r*(1+len(strs)))
	l.dims = mem[:0:r]
	for k := range strs {
		l.str[k] = mem[(k+1)*r : (k+1)*r : (k+2)*r]
	}
	for i, d := range shape {
		if d == 1 {
			continue
		}
		n := len(l.dims)
		merge := n > 0
		for k := range strs {
			if merge && l.str[k][n-1] != strs[k][i]*d {
				merge = false
			}
		}
		if merge {
			l.dims[n-1] *= d
			for k := range strs {
				l.str[k][n-1] = strs[k][i]
			}
			continue
		}
		l.dims = append(l.dims, d)
		for k := range strs {
			l.str[k] = append(l.str[k], strs[k][i])
		}
	}
	if len(l.dims) == 0 {
		l.dims = append(l.dims, 1)
		for k := range strs {
			l.str[k] = append(l.str[k], 0)
		}
	}
	return l
}

// inner returns the length of the innermost loop and rows the number of times that it runs.
func (l *loops) inner() int { return l.dims[len(l.dims)-1] }

func (l *loops) rows() int { return product(l.dims[:len(l.dims)-1]) }

// offsets sets off to the position of every operand at the start of a row.
func (l *loops) offsets(row int, off []int) {
	for k := range off {
		off[k] = 0
	}
	for i := len(l.dims) - 2; i >= 0; i-- {
		d := l.dims[i]
		x := row % d
		row /= d
		for k := range off {
			off[k] += x * l.str[k][i]
		}
	}
}

// parallelMin is the number of elements below which a loop over cheap elements is not worth a second thread.
const parallelMin = 1 << 15

// rowsParallel calls f for pieces of n rows of the given length, on the pool when there is enough to do.
func rowsParallel(p *kernel.Pool, n, length int, f func(lo, hi int)) {
	if p.Threads() == 1 || n*max(length, 1) < parallelMin || n < 2 {
		if n > 0 {
			f(0, n)
		}
		return
	}
	piece := max(1, n/(4*p.Threads()))
	if piece*length < parallelMin/4 {
		piece = parallelMin / 4 / max(length, 1)
		piece = max(piece, 1)
	}
	k := (n + piece - 1) / piece
	p.Run(k, func(i int) { f(i*piece, min(n, (i+1)*piece)) })
}
