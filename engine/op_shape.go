package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// shapeOps read or change shapes without touching elements.
func shapeOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Shape": plain(opShape), "Size": plain(opSize), "Reshape": plain(opReshape), "Flatten": plain(opFlatten),
		"Squeeze": plain(opSqueeze), "Unsqueeze": plain(opUnsqueeze), "Identity": plain(opIdentity),
		"Dropout": plain(opDropout),
	})
}

func opShape(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	r := x.Rank()
	clip := func(v int) int {
		if v < 0 {
			v += r
		}
		return min(max(v, 0), r)
	}
	lo, hi := 0, r
	if c.Opset >= 15 {
		lo = clip(int(c.Node.Int("start", 0)))
		if a := c.Node.Attr("end"); a != nil {
			hi = clip(int(a.I))
		}
	}
	hi = max(lo, hi)
	dst, err := Out[int64](c, 0, []int{hi - lo})
	for i := range dst {
		dst[i] = int64(x.Shape()[lo+i])
	}
	return err
}

func opSize(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	dst, err := Out[int64](c, 0, []int{})
	if err == nil {
		dst[0] = int64(x.Len())
	}
	return err
}

// setShape makes output 0 the elements of x in another shape.
func (c *Call) setShape(x *model.Tensor, shape []int) error {
	y, err := x.Reshape(shape)
	if err != nil {
		return err
	}
	c.Set(0, y)
	return nil
}

func opReshape(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	want, ok, err := c.intsFrom("shape", 1, 5)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("the new shape is missing")
	}
	shape, err := resolveShape(x.Shape(), x.Len(), want, c.Node.Int("allowzero", 0) != 0)
	if err != nil {
		return err
	}
	return c.setShape(x, shape)
}

// resolveShape replaces 0 by the size of that dimension of old, unless zeros are meant, and -1 by what is left.
func resolveShape(old []int, n int, want []int, allowZero bool) ([]int, error) {
	shape := append([]int{}, want...)
	free := -1
	for i, d := range shape {
		switch {
		case d == 0 && !allowZero:
			if i >= len(old) {
				return nil, fmt.Errorf("shape %v copies dimension %d of %v", want, i, old)
			}
			shape[i] = old[i]
		case d == -1 && free < 0:
			free = i
			shape[i] = 1
		case d < 0:
			return nil, fmt.Errorf("shape %v is invalid", want)
		}
	}
	if free >= 0 {
		rest, err := model.NumElements(shape)
		if err != nil {
			return nil, err
		}
		if rest == 0 || n%rest != 0 {
			return nil, fmt.Errorf("%d elements do not fit shape %v", n, want)
		}
		shape[free] = n / rest
	}
	return shape, nil
}

func opFlatten(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	a := int(c.Node.Int("axis", 1))
	if a < 0 {
		a += x.Rank()
	}
	if a < 0 || a > x.Rank() {
		return fmt.Errorf("axis %d is outside of rank %d", a, x.Rank())
	}
	return c.setShape(x, []int{product(x.Shape()[:a]), product(x.Shape()[a:])})
}

func opSqueeze(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	list, ok, err := c.intsFrom("axes", 1, 13)
	if err != nil {
		return err
	}
	mark, err := axes(list, x.Rank())
	if err != nil {
		return err
	}
	shape := c.ints(x.Rank())[:0]
	for i, d := range x.Shape() {
		switch {
		case !ok && d == 1:
		case ok && mark[i]:
			if d != 1 {
				return fmt.Errorf("dimension %d of %v is not 1", i, x.Shape())
			}
		default:
			shape = append(shape, d)
		}
	}
	return c.setShape(x, shape)
}

func opUnsqueeze(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	list, ok, err := c.intsFrom("axes", 1, 13)
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("axes are missing")
	}
	r := x.Rank() + len(list)
	mark, err := axes(list, r)
	if err != nil {
		return err
	}
	shape := c.ints(r)[:0]
	rest := x.Shape()
	for i := range r {
		if mark[i] {
			shape = append(shape, 1)
			continue
		}
		if len(rest) == 0 {
			return fmt.Errorf("axes %v repeat", list)
		}
		shape = append(shape, rest[0])
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("axes %v repeat", list)
	}
	return c.setShape(x, shape)
}

func opIdentity(c *Call) error {
	c.pass(0, c.in[0])
	return nil
}

// pass makes a slot, of any kind, output i.
func (c *Call) pass(i int, s slot) {
	if s.is == isTensor {
		if s.t != nil {
			c.Set(i, s.t)
		}
		return
	}
	c.put(i, slot{seq: s.seq, is: s.is})
}

// opDropout is the identity: only inference is done here. The mask, where wanted, is all true (false before opset 12
// is not distinguished from it: it was of the type of the data then).
func opDropout(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if t := c.Arg(2); t != nil {
		mode, err := model.Data[bool](t)
		if err != nil {
			return err
		}
		if len(mode) == 1 && mode[0] {
			return dropoutTraining(c, x)
		}
	}
	c.Set(0, x)
	if !c.Wants(1) {
		return nil
	}
	if c.Opset < 10 {
		t, err := castTensor(boolTensor(x.Shape(), true), x.DType(), castRule{})
		if err == nil {
			c.Set(1, t)
		}
		return err
	}
	c.Set(1, boolTensor(x.Shape(), true))
	return nil
}

func boolTensor(shape []int, v bool) *model.Tensor {
	b := make([]bool, product(shape))
	for i := range b {
		b[i] = v
	}
	return model.FromSlice(shape, b)
}
