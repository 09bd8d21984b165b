package engine

import (
	"fmt"
	"sort"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// opEinsum sums products over the labels that the output does not name.
func opEinsum(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return einsum[float32](c)
	case model.Float64:
		return einsum[float64](c)
	case model.Int32:
		return einsum[int32](c)
	case model.Int64:
		return einsum[int64](c)
	}
	return typeError(x)
}

// einsumLabels expands the terms of an equation; the dimensions of "..." get the labels '0', '1', ... from the right.
func einsumLabels(eq string, ranks []int) (in [][]rune, out []rune, err error) {
	eq = strings.ReplaceAll(eq, " ", "")
	left, right, explicit := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return nil, nil, fmt.Errorf("equation %q does not fit %d inputs", eq, len(ranks))
	}
	dots := 0
	expand := func(s string, n int) []rune {
		pre, post, has := strings.Cut(s, "...")
		r := []rune(pre)
		if has {
			for i := n - 1; i >= 0; i-- {
				r = append(r, '0'+rune(i))
			}
		}
		return append(r, []rune(post)...)
	}
	count := map[rune]int{}
	for i, s := range terms {
		n := ranks[i] - len([]rune(strings.Replace(s, "...", "", 1)))
		if n < 0 || n > 9 || n > 0 && !strings.Contains(s, "...") {
			return nil, nil, fmt.Errorf("term %q does not fit rank %d", s, ranks[i])
		}
		dots = max(dots, n)
		term := expand(s, n)
		for _, l := range term {
			count[l]++
		}
		in = append(in, term)
	}
	if explicit {
		return in, expand(right, dots), nil
	}
	out = expand("...", dots)
	var once []rune
	for l, n := range count {
		if n == 1 && l > '9' {
			once = append(once, l)
		}
	}
	sort.Slice(once, func(i, j int) bool { return once[i] < once[j] })
	return in, append(out, once...), nil
}

func einsum[T number](c *Call) error {
	ranks := make([]int, len(c.In))
	data := make([][]T, len(c.In))
	for i := range c.In {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		ranks[i] = t.Rank()
		if data[i], err = model.Data[T](t); err != nil {
			return err
		}
	}
	in, out, err := einsumLabels(c.Node.Str("equation", ""), ranks)
	if err != nil {
		return err
	}
	size := map[rune]int{}
	var order []rune
	for i, term := range in {
		for k, l := range term {
			d := c.In[i].Shape()[k]
			old, ok := size[l]
			switch {
			case !ok:
				order = append(order, l)
				size[l] = d
			case old == 1:
				size[l] = d
			case d != 1 && d != old:
				return fmt.Errorf("label %q has sizes %d and %d", l, old, d)
			}
		}
	}
	named := map[rune]bool{}
	var shape []int
	for _, l := range out {
		if _, ok := size[l]; !ok || named[l] {
			return fmt.Errorf("output label %q of %q", l, c.Node.Str("equation", ""))
		}
		named[l] = true
		shape = append(shape, size[l])
	}
	var sum []int
	loop := append([]rune(nil), out...)
	for _, l := range order {
		if !named[l] {
			loop, sum = append(loop, l), append(sum, size[l])
		}
	}
	str := make([][]int, len(in))
	for i, term := range in {
		s := strides(c.In[i].Shape())
		str[i] = make([]int, len(loop))
		for k, l := range term {
			if c.In[i].Shape()[k] == 1 {
				continue
			}
			for p, m := range loop {
				if m == l {
					str[i][p] += s[k]
				}
			}
		}
	}
	dst, err := Out[T](c, 0, append([]int{}, shape...))
	if err != nil {
		return err
	}
	clear(dst)
	if product(shape)*product(sum) == 0 {
		return nil
	}
	l := newLoops(append(append([]int{}, shape...), sum...), str...)
	per, n, off := product(sum), l.inner(), make([]int, len(in))
	at := 0
	for r := range l.rows() {
		l.offsets(r, off)
		for j := range n {
			v := T(1)
			for k := range data {
				v *= data[k][off[k]+j*l.str[k][len(l.dims)-1]]
			}
			dst[at/per] += v
			at++
		}
	}
	return nil
}
