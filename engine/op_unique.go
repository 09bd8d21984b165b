package engine

import (
	"fmt"
	"sort"

	"github.com/wattshed/wattshed/model"
)

// opUnique finds the distinct elements, or slices along an axis: the values, their first places, the place of every
// element among the values, and their counts.
func opUnique(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	n, outer, inner := x.Len(), 1, 1
	ax, flat := 0, c.Node.Attr("axis") == nil
	if !flat {
		if ax, err = c.axisAttr(0, x.Rank()); err != nil {
			return err
		}
		n, outer, inner = x.Shape()[ax], product(x.Shape()[:ax]), product(x.Shape()[ax+1:])
	}
	key, err := uniqueKeys(x, n, outer, inner)
	if err != nil {
		return err
	}
	first := map[string]int{}
	var order []int // first places of the distinct slices
	place := make([]int, n)
	for i := range n {
		k := key.text(i)
		p, ok := first[k]
		if !ok {
			p = len(order)
			first[k] = p
			order = append(order, i)
		}
		place[i] = p
	}
	rank := make([]int, len(order))
	for i := range rank {
		rank[i] = i
	}
	if c.Node.Int("sorted", 1) != 0 {
		sort.SliceStable(rank, func(a, b int) bool { return key.less(order[rank[a]], order[rank[b]]) })
	}
	back := make([]int, len(order))
	for to, from := range rank {
		back[from] = to
	}
	src, err := elemsOf(x)
	if err != nil {
		return err
	}
	shape := []int{len(order)}
	if !flat {
		shape = append([]int{}, x.Shape()...)
		shape[ax] = len(order)
	}
	dst, done, err := c.outElems(0, x.DType(), shape)
	if err != nil {
		return err
	}
	for o := range outer {
		for to, from := range rank {
			dst.copy((o*len(order)+to)*inner, src, (o*n+order[from])*inner, inner)
		}
	}
	if err := done(); err != nil {
		return err
	}
	firsts, counts, inverse := make([]int64, len(order)), make([]int64, len(order)), make([]int64, n)
	for to, from := range rank {
		firsts[to] = int64(order[from])
	}
	for i, p := range place {
		inverse[i] = int64(back[p])
		counts[back[p]]++
	}
	for i, v := range [][]int64{firsts, inverse, counts} {
		if c.Wants(1 + i) {
			c.Set(1+i, model.FromSlice([]int{len(v)}, v))
		}
	}
	return nil
}

// sliceKeys compares slices of a tensor: as numbers or strings.
type sliceKeys struct {
	v               []float64
	s               []string
	n, outer, inner int
}

func uniqueKeys(x *model.Tensor, n, outer, inner int) (*sliceKeys, error) {
	k := &sliceKeys{n: n, outer: outer, inner: inner}
	var err error
	if x.DType() == model.String {
		k.s, err = x.Strings()
	} else {
		k.v, err = toFloat64(x)
	}
	return k, err
}

func (k *sliceKeys) each(i int, f func(at int) bool) {
	for o := range k.outer {
		for j := range k.inner {
			if !f((o*k.n+i)*k.inner + j) {
				return
			}
		}
	}
}

func (k *sliceKeys) text(i int) string {
	var b []byte
	k.each(i, func(at int) bool {
		if k.s != nil {
			b = fmt.Appendf(b, "%q ", k.s[at])
		} else {
			b = fmt.Appendf(b, "%x ", k.v[at])
		}
		return true
	})
	return string(b)
}

func (k *sliceKeys) less(a, b int) bool {
	var pa []int
	k.each(a, func(at int) bool { pa = append(pa, at); return true })
	i, res := 0, false
	k.each(b, func(at int) bool {
		p := pa[i]
		i++
		if k.s != nil {
			if k.s[p] != k.s[at] {
				res = k.s[p] < k.s[at]
				return false
			}
			return true
		}
		if k.v[p] != k.v[at] {
			res = k.v[p] < k.v[at] || k.v[at] != k.v[at] && k.v[p] == k.v[p]
			return false
		}
		return true
	})
	return res
}
