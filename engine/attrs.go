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
	out := make([]int, len(x))
	for i, v := range x {
		out[i] = int(v)
	}
	return out, err
}

// intsFrom returns the integers of attribute name where the opset is below since, and of input i otherwise; ok is false
// when they are omitted.
func (c *Call) intsFrom(name string, i int, since int64) (v []int, ok bool, err error) {
	if c.Opset < since {
		a := c.Node.Attr(name)
		if a == nil {
			return nil, false, nil
		}
		return attrInts(c.Node, name), true, nil
	}
	t := c.Arg(i)
	if t == nil {
		return nil, false, nil
	}
	v, err = ints(t)
	return v, true, err
}

func attrInts(n *model.Node, name string) []int {
	a := n.Ints(name)
	if a == nil {
		return nil
	}
	out := make([]int, len(a))
	for i, v := range a {
		out[i] = int(v)
	}
	return out
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
