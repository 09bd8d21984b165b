package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// ints returns the integers of an input of type int64 or int32.
func ints(t *model.Tensor) ([]int, error) {
	if t.DType() != model.Int64 && t.DType() != model.Int32 {
		return nil, fmt.Errorf("integers of type %s: %w", t.DType(), model.ErrType)
	}
	x, err := toInt64(t)
	return toInts(make([]int, len(x)), x), err
}

func toInts(dst []int, src []int64) []int {
	for i, v := range src {
		dst[i] = int(v)
	}
	return dst
}

// workInts is the number of integers that a Call keeps for its next one.
const workInts = 512

// ints returns n zeros that are the call's own until it returns.
func (c *Call) ints(n int) []int {
	if c.work == nil && n <= workInts {
		c.work = make([]int, 0, workInts)
	}
	at := len(c.work)
	if n > cap(c.work)-at {
		return make([]int, n)
	}
	c.work = c.work[:at+n]
	s := c.work[at : at+n : at+n]
	clear(s)
	return s
}

// attrInts returns the integers of an attribute, the call's own until it returns; nil when it is omitted.
func (c *Call) attrInts(name string) []int {
	a := c.Node.Ints(name)
	if a == nil {
		return nil
	}
	return toInts(c.ints(len(a)), a)
}

// intsLike returns a copy of x that is the call's own until it returns.
func (c *Call) intsLike(x []int) []int {
	s := c.ints(len(x))
	copy(s, x)
	return s
}

// intsFrom returns the integers of attribute name where the opset is below since, and of input i otherwise; ok is false
// when they are omitted. They are the call's own until it returns.
func (c *Call) intsFrom(name string, i int, since int64) (v []int, ok bool, err error) {
	if c.Opset < since {
		a := c.Node.Attr(name)
		if a == nil {
			return nil, false, nil
		}
		return c.attrInts(name), true, nil
	}
	t := c.Arg(i)
	switch {
	case t == nil:
		return nil, false, nil
	case t.DType() == model.Int64:
		x, err := model.Data[int64](t)
		return toInts(c.ints(len(x)), x), true, err
	}
	v, err = ints(t)
	return v, true, err
}

func attrInts(n *model.Node, name string) []int {
	a := n.Ints(name)
	if a == nil {
		return nil
	}
	return toInts(make([]int, len(a)), a)
}

// axis normalises an axis of a tensor of rank r.
func axis(a, r int) (int, error) {
	if a < -r || a >= r {
		return 0, fmt.Errorf("axis %d is outside of rank %d", a, r)
	}
	if a < 0 {
		a += r
	}
	return a, nil
}

// axisAttr returns the attribute axis, normalised.
func (c *Call) axisAttr(def int64, r int) (int, error) { return axis(int(c.Node.Int("axis", def)), r) }

// axes normalises a list of axes and marks them.
func axes(list []int, r int) ([]bool, error) {
	mark := make([]bool, r)
	for _, a := range list {
		i, err := axis(a, r)
		if err != nil {
			return nil, err
		}
		mark[i] = true
	}
	return mark, nil
}

// scalarInt returns the single integer of an input.
func scalarInt(t *model.Tensor) (int, error) {
	v, err := ints(t)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, errShape("input", t, "one element")
	}
	return v[0], nil
}

// scalarFloat returns the single number of an input, converted.
func scalarFloat(t *model.Tensor) (float64, error) {
	v, err := toFloat64(t)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, errShape("input", t, "one element")
	}
	return v[0], nil
}
