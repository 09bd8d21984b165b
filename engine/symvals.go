package engine

import (
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// The values of small tensors of integers that are made from sizes. Unknown ones are sizes, or sums of them: at least 0.

// maxVals bounds the elements of a tensor whose values are followed.
const maxVals = 64

// sizes is Shape.
func (s *symbols) sizes(n *model.Node, x []dim) {
	if x == nil {
		return
	}
	from, to := within(n.Int("start", 0), len(x)), within(n.Int("end", int64(len(x))), len(x))
	v := x[min(from, to):to]
	s.vals[n.Out(0)], s.rank0[n.Out(0)] = v, false
	s.set(n, []dim{{c: len(v)}})
}

// within returns a start or an end, counted from the end where it is negative, within a list of k.
func within(i int64, k int) int {
	if i < 0 {
		i = max(i, math.MinInt64+int64(k)) + int64(k)
	}
	return int(min(max(i, 0), int64(k)))
}

// sum returns the size that is the sum of two.
func (s *symbols) sum(a, b dim) dim {
	switch {
	case a.s == 0 && b.s == 0:
		return dim{c: a.c + b.c}
	case a == dim{}:
		return b
	case b == dim{}:
		return a
	case a.s > b.s || a.s == b.s && a.c > b.c:
		a, b = b, a
	}
	d, ok := s.sums[[2]dim{a, b}]
	if !ok {
		d = s.unknown()
		s.sums[[2]dim{a, b}] = d
	}
	return d
}

// pairs calls f for the elements of two lists of integers, of which one may be of one element, and sets the output to what it
// returns; where it returns false for one, nothing is known.
func (s *symbols) pairs(n *model.Node, a, b string, f func(x, y dim) (dim, bool)) {
	x, ok := s.vals[a]
	y, ok2 := s.vals[b]
	k := max(len(x), len(y))
	if !ok || !ok2 || k == 0 || len(x) != k && len(x) != 1 || len(y) != k && len(y) != 1 {
		return
	}
	out := make([]dim, k)
	for i := range out {
		if out[i], ok = f(x[i%len(x)], y[i%len(y)]); !ok {
			return
		}
	}
	s.vals[n.Out(0)], s.rank0[n.Out(0)] = out, s.rank0[a] && s.rank0[b]
}

// arithmetic computes small integers, as exporters do to find sizes; comparisons are 0 or 1.
func (s *symbols) arithmetic(n *model.Node) {
	s.pairs(n, n.In(0), n.In(1), func(x, y dim) (dim, bool) {
		known := x.s == 0 && y.s == 0
		switch {
		case n.Op == "Equal" && known && x.c == y.c:
			return dim{c: 1}, true
		case n.Op == "Equal" && (known || x.s == 0 && x.c < 0 || y.s == 0 && y.c < 0): // a size is not negative
			return dim{}, true
		case n.Op == "Add" && (known || (x.s != 0 || x.c >= 0) && (y.s != 0 || y.c >= 0)):
			return s.sum(x, y), true
		case n.Op == "Mul" && x == dim{c: 1}:
			return y, true
		case n.Op == "Mul" && y == dim{c: 1}, n.Op == "Div" && y == dim{c: 1}:
			return x, true
		case !known:
		case n.Op == "Sub":
			return dim{c: x.c - y.c}, true
		case n.Op == "Mul":
			return dim{c: x.c * y.c}, true
		case n.Op == "Div" && y.c != 0:
			return dim{c: x.c / y.c}, true
		}
		return dim{}, false
	})
}

// choose is Where of integers.
func (s *symbols) choose(n *model.Node) {
	mask, ok := s.vals[n.In(0)]
	if !ok {
		return
	}
	if len(mask) == 0 || slices.ContainsFunc(mask, func(d dim) bool { return d.s != 0 }) {
		return
	}
	at := -1
	s.pairs(n, n.In(1), n.In(2), func(x, y dim) (dim, bool) {
		at++
		if mask[at%len(mask)].c != 0 {
			return x, true
		}
		return y, true
	})
	if len(mask) != 1 && len(mask) != at+1 {
		delete(s.vals, n.Out(0))
	}
	s.rank0[n.Out(0)] = s.rank0[n.Out(0)] && s.rank0[n.In(0)]
}

// filled is ConstantOfShape.
func (s *symbols) filled(n *model.Node) {
	shape, ok := s.vals[n.In(0)]
	if !ok {
		return
	}
	s.set(n, shape)
	a := n.Attr("value")
	if len(shape) != 1 || shape[0].s != 0 || shape[0].c < 0 || shape[0].c > maxVals || a == nil || a.T == nil || a.T.DType() != model.Int64 {
		return
	}
	v, err := ints(a.T)
	if err != nil || len(v) != 1 {
		return
	}
	s.vals[n.Out(0)], s.rank0[n.Out(0)] = slices.Repeat([]dim{{c: v[0]}}, shape[0].c), false
}

// gemm is the shape of A B of two matrices.
func (s *symbols) gemm(n *model.Node, a, b []dim) {
	if len(a) != 2 || len(b) != 2 {
		return
	}
	m, k := a[0], b[1]
	if n.Int("transA", 0) != 0 {
		m = a[1]
	}
	if n.Int("transB", 0) != 0 {
		k = b[0]
	}
	s.set(n, []dim{m, k})
}

// zeroed reports whether a Reshape with allowzero asks for an empty dimension: elsewhere allowzero changes nothing, since unknown
// sizes are those of dimensions that are there.
func zeroed(n *model.Node, target []dim) bool {
	return n.Int("allowzero", 0) != 0 && slices.Contains(target, dim{})
}

// bounds returns the start and the end of a Slice with steps of 1 along an axis.
func (s *symbols) bounds(n *model.Node, i int, list []int, rank int) (from, to dim, ok bool) {
	starts, ends := s.numbers(n, "starts", 1), s.numbers(n, "ends", 2)
	if n.In(4) != "" && slices.ContainsFunc(s.numbers(n, "", 4), func(d dim) bool { return d != dim{c: 1} }) || n.In(4) != "" && s.vals[n.In(4)] == nil {
		return from, to, false
	}
	if len(starts) != len(list) || len(ends) != len(list) {
		return from, to, false
	}
	for k, ax := range list {
		if ax == i || ax == i-rank {
			return starts[k], ends[k], starts[k].s == 0
		}
	}
	return from, to, false
}

// numbers returns the integers of input i, or those of an attribute before opset 10.
func (s *symbols) numbers(n *model.Node, name string, i int) (v []dim) {
	if s.e.version(n) >= 10 {
		return s.vals[n.In(i)]
	}
	for _, x := range attrInts(n, name) {
		v = append(v, dim{c: x})
	}
	return v
}

// kept returns how much a Slice leaves of dimension i, of size d.
func (s *symbols) kept(n *model.Node, d dim, i int, list []int, rank int) dim {
	from, to, ok := s.bounds(n, i, list, rank)
	switch {
	case !ok:
	case to.s == 0 && d.s == 0:
		a, b := within(int64(from.c), d.c), within(int64(to.c), d.c)
		return dim{c: max(b-a, 0)}
	case from == dim{} && (to == d || to.s == 0 && to.c >= math.MaxInt32):
		return d
	case from == dim{} && to.s != 0 && d.s == 0 && d.c > 1:
		u := s.unknown()
		s.capped[u] = to
		return u
	}
	return s.unknown()
}

// flatten is the shape of a matrix of all elements, cut before an axis.
func (s *symbols) flatten(n *model.Node, x []dim) {
	at, k := int(n.Int("axis", 1)), len(x)
	if at < 0 {
		at += k
	}
	if x == nil || at < 0 || at > k {
		return
	}
	s.set(n, []dim{s.product(x[:at]), s.product(x[at:])})
}

// product returns the number of elements of a shape.
func (s *symbols) product(x []dim) dim {
	p := dim{c: 1}
	for _, d := range x {
		switch {
		case p.s == 0 && d.s == 0:
			p.c *= d.c
		case d == dim{c: 1}:
		case p == dim{c: 1}:
			p = d
		default:
			return s.unknown()
		}
	}
	return p
}

// cut is Slice of a list of integers.
func (s *symbols) cut(n *model.Node) {
	v, ok := s.vals[n.In(0)]
	if !ok || s.rank0[n.In(0)] {
		return
	}
	if from, to, ok := s.bounds(n, 0, []int{0}, 1); ok && to.s == 0 {
		a, b := within(int64(from.c), len(v)), within(int64(to.c), len(v))
		s.vals[n.Out(0)], s.rank0[n.Out(0)] = v[min(a, b):b], false
	}
}
