package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// logicOps are comparisons, truth functions, and choices by them.
func logicOps() map[string]opDef {
	cmp := func(op compareOp) opDef { return float(func(c *Call) error { return compare(c, op) }) }
	truth := func(f func(a, b bool) bool) opDef {
		return plain(func(c *Call) error {
			return compareTyped[bool](c, func(dst, a, b []bool) {
				for i := range dst {
					dst[i] = f(a[min(i, len(a)-1)], b[min(i, len(b)-1)])
				}
			})
		})
	}
	return qualify("", map[string]opDef{
		"Equal": cmp(cmpEqual), "Less": cmp(cmpLess), "LessOrEqual": cmp(cmpLessEqual),
		"Greater": cmp(cmpGreater), "GreaterOrEqual": cmp(cmpGreaterEqual),
		"And": truth(func(a, b bool) bool { return a && b }), "Or": truth(func(a, b bool) bool { return a || b }),
		"Xor": truth(func(a, b bool) bool { return a != b }),
		"Not": plain(opNot), "Where": plain(opWhere), "IsNaN": plain(opIsNaN), "IsInf": plain(opIsInf),
	})
}

type compareOp int

const (
	cmpEqual compareOp = iota
	cmpLess
	cmpLessEqual
	cmpGreater
	cmpGreaterEqual
)

func compare(c *Call, op compareOp) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	switch a.DType() {
	case model.Float32:
		return compareTyped(c, compareRow[float32](op))
	case model.Float64:
		return compareTyped(c, compareRow[float64](op))
	case model.Int8:
		return compareTyped(c, compareRow[int8](op))
	case model.Int16:
		return compareTyped(c, compareRow[int16](op))
	case model.Int32:
		return compareTyped(c, compareRow[int32](op))
	case model.Int64:
		return compareTyped(c, compareRow[int64](op))
	case model.Uint8:
		return compareTyped(c, compareRow[uint8](op))
	case model.Uint16:
		return compareTyped(c, compareRow[uint16](op))
	case model.Uint32:
		return compareTyped(c, compareRow[uint32](op))
	case model.Uint64:
		return compareTyped(c, compareRow[uint64](op))
	case model.Bool:
		if op == cmpEqual {
			return compareTyped(c, func(dst, a, b []bool) {
				for i := range dst {
					dst[i] = a[min(i, len(a)-1)] == b[min(i, len(b)-1)]
				}
			})
		}
	case model.String:
		if op == cmpEqual {
			return equalStrings(c)
		}
	}
	return typeError(a)
}

func compareTyped[T model.Element](c *Call, f rowFunc[bool, T]) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	shape, err := broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	y, err := c.Alloc(0, model.Bool, shape)
	if err != nil {
		return err
	}
	return binaryLoop(c, y, a, b, f)
}

func compareRow[T number](op compareOp) rowFunc[bool, T] {
	var f func(a, b T) bool
	switch op {
	case cmpEqual:
		f = func(a, b T) bool { return a == b }
	case cmpLess:
		f = func(a, b T) bool { return a < b }
	case cmpLessEqual:
		f = func(a, b T) bool { return a <= b }
	case cmpGreater:
		f = func(a, b T) bool { return a > b }
	default:
		f = func(a, b T) bool { return a >= b }
	}
	return func(dst []bool, a, b []T) {
		for i := range dst {
			dst[i] = f(a[min(i, len(a)-1)], b[min(i, len(b)-1)])
		}
	}
}

func equalStrings(c *Call) error {
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	x, err := c.In[0].Strings()
	if err != nil {
		return err
	}
	y, err := b.Strings()
	if err != nil {
		return err
	}
	shape, err := broadcastShape(c.In[0].Shape(), b.Shape())
	if err != nil {
		return err
	}
	dst, err := Out[bool](c, 0, shape)
	if err != nil {
		return err
	}
	eachBroadcast(shape, [][]int{c.In[0].Shape(), b.Shape()}, func(i int, off []int) { dst[i] = x[off[0]] == y[off[1]] })
	return nil
}

// eachBroadcast calls f for every element i of shape with the positions of the operands.
func eachBroadcast(shape []int, operands [][]int, f func(i int, off []int)) {
	if product(shape) == 0 {
		return
	}
	strs := make([][]int, len(operands))
	for k, s := range operands {
		strs[k] = broadcastStrides(s, shape)
	}
	l := newLoops(shape, strs...)
	n, off, i := l.inner(), make([]int, len(operands)), 0
	for r := range l.rows() {
		l.offsets(r, off)
		for range n {
			f(i, off)
			i++
			for k := range off {
				off[k] += l.str[k][len(l.dims)-1]
			}
		}
	}
}

func opNot(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	return mapSlices(c, x, func(dst, src []bool) {
		for i, v := range src {
			dst[i] = !v
		}
	})
}

// opWhere moves elements of any type.
func opWhere(c *Call) error {
	if c.NumIn() != 3 || c.In[0] == nil || c.In[1] == nil || c.In[2] == nil {
		return fmt.Errorf("three inputs are needed")
	}
	cond, err := model.Data[bool](c.In[0])
	if err != nil {
		return err
	}
	a, b := c.In[1], c.In[2]
	shape, err := broadcastAll(c.In[0].Shape(), a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	if a.DType() != b.DType() {
		return fmt.Errorf("inputs have types %s and %s: %w", a.DType(), b.DType(), model.ErrType)
	}
	x, err := elemsOf(a)
	if err != nil {
		return err
	}
	z, err := elemsOf(b)
	if err != nil {
		return err
	}
	dst, done, err := c.outElems(0, a.DType(), shape)
	if err != nil {
		return err
	}
	eachBroadcast(shape, [][]int{c.In[0].Shape(), a.Shape(), b.Shape()}, func(i int, off []int) {
		if cond[off[0]] {
			dst.copy(i, x, off[1], 1)
		} else {
			dst.copy(i, z, off[2], 1)
		}
	})
	return done()
}

func opIsNaN(c *Call) error {
	return classify(c, func(v float64) bool { return v != v })
}

func opIsInf(c *Call) error {
	pos, neg := c.Node.Int("detect_positive", 1) != 0, c.Node.Int("detect_negative", 1) != 0
	return classify(c, func(v float64) bool { return pos && math.IsInf(v, 1) || neg && math.IsInf(v, -1) })
}

func classify(c *Call, f func(float64) bool) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	dst, err := Out[bool](c, 0, x.Shape())
	for i, v := range src {
		dst[i] = f(v)
	}
	return err
}

// bitwise returns BitwiseAnd (0), BitwiseOr (1) or BitwiseXor (2).
func bitwise(kind int) OpFunc {
	return func(c *Call) error {
		a, err := c.Need(0)
		if err != nil {
			return err
		}
		switch a.DType() {
		case model.Int8, model.Uint8:
			return bitwiseTyped[uint8](c, kind, model.Uint8)
		case model.Int16, model.Uint16:
			return bitwiseTyped[uint16](c, kind, model.Uint16)
		case model.Int32, model.Uint32:
			return bitwiseTyped[uint32](c, kind, model.Uint32)
		case model.Int64, model.Uint64:
			return bitwiseTyped[uint64](c, kind, model.Uint64)
		}
		return typeError(a)
	}
}

func bitwiseTyped[T uint8 | uint16 | uint32 | uint64](c *Call, kind int, as model.DType) error {
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	shape, err := broadcastShape(c.In[0].Shape(), b.Shape())
	if err != nil {
		return err
	}
	y, err := c.Alloc(0, c.In[0].DType(), shape)
	if err != nil {
		return err
	}
	var v [3]*model.Tensor
	for i, t := range []*model.Tensor{y, c.In[0], b} {
		if v[i], err = t.View(as); err != nil {
			return err
		}
	}
	return binaryLoop(c, v[0], v[1], v[2], func(dst, a, b []T) {
		for i := range dst {
			x, y := a[min(i, len(a)-1)], b[min(i, len(b)-1)]
			switch kind {
			case 0:
				dst[i] = x & y
			case 1:
				dst[i] = x | y
			default:
				dst[i] = x ^ y
			}
		}
	})
}

func opBitwiseNot(c *Call) error {
	return mapNumber(c, nil, nil, func(x int64) int64 { return ^x }, func(x uint64) uint64 { return ^x })
}

func opBitShift(c *Call) error {
	left := c.Node.Str("direction", "") == "LEFT"
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	switch a.DType() {
	case model.Uint8:
		return shift[uint8](c, left)
	case model.Uint16:
		return shift[uint16](c, left)
	case model.Uint32:
		return shift[uint32](c, left)
	case model.Uint64:
		return shift[uint64](c, left)
	case model.Int8:
		return shift[int8](c, left)
	case model.Int16:
		return shift[int16](c, left)
	case model.Int32:
		return shift[int32](c, left)
	case model.Int64:
		return shift[int64](c, left)
	}
	return typeError(a)
}

// shift treats a negative amount as a very large one: only the sign is left of the element.
func shift[T integer](c *Call, left bool) error {
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	shape, err := broadcastShape(c.In[0].Shape(), b.Shape())
	if err != nil {
		return err
	}
	y, err := c.Alloc(0, c.In[0].DType(), shape)
	if err != nil {
		return err
	}
	return binaryLoop(c, y, c.In[0], b, func(dst, a, b []T) {
		for i := range dst {
			x, n := a[min(i, len(a)-1)], b[min(i, len(b)-1)]
			by := uint64(n)
			if n < 0 {
				by = 64
			}
			if left {
				dst[i] = x << by
			} else {
				dst[i] = x >> by
			}
		}
	})
}
