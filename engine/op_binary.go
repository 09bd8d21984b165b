package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// number is every Go type that arithmetic operators compute in.
type number interface {
	float32 | float64 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// errShape says that an input has not the shape that is needed.
func errShape(what string, t *model.Tensor, want string) error {
	return fmt.Errorf("%s has shape %v, want %s", what, t.Shape(), want)
}

// binaryOp names an arithmetic function of two elements.
type binaryOp int

const (
	opAdd binaryOp = iota
	opSub
	opMul
	opDiv
	opMax
	opMin
	opMod
	opFmod
	opPow
)

// binaryOps are the arithmetic functions of two tensors, and of several.
func binaryOps() map[string]opDef {
	fold := func(op binaryOp, mean bool) opDef { return float(func(c *Call) error { return variadic(c, op, mean) }) }
	two := func(op binaryOp) opDef { return float(func(c *Call) error { return arith(c, op) }) }
	return qualify("", map[string]opDef{
		"Add": two(opAdd), "Sub": two(opSub), "Mul": two(opMul), "Div": two(opDiv), "PRelu": float(opPRelu),
		"Mod": float(opModulo), "Pow": plain(opPower),
		"Max": fold(opMax, false), "Min": fold(opMin, false), "Sum": fold(opAdd, false), "Mean": fold(opAdd, true),
		"BitwiseAnd": plain(bitwise(0)), "BitwiseOr": plain(bitwise(1)), "BitwiseXor": plain(bitwise(2)),
		"BitwiseNot": plain(opBitwiseNot), "BitShift": plain(opBitShift),
	})
}

// arith computes output 0 = input 0 op input 1.
func arith(c *Call, op binaryOp) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	return arithOf(c, op, a, b, 0, 1)
}

// arithOf computes output 0 = a op b. ia and ib are the inputs whose memory may be taken over, or -1.
func arithOf(c *Call, op binaryOp, a, b *model.Tensor, ia, ib int) error {
	if a.DType() != b.DType() {
		return fmt.Errorf("inputs have types %s and %s: %w", a.DType(), b.DType(), model.ErrType)
	}
	shape, err := broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	var own []int
	for _, i := range []int{ia, ib} {
		if i >= 0 {
			own = append(own, i)
		}
	}
	y, err := c.AllocLike(0, a.DType(), shape, own...)
	if err != nil {
		return err
	}
	switch a.DType() {
	case model.Float32:
		if int(op) < len(vectorOps) {
			return binaryLoop(c, y, a, b, vectorRow(op))
		}
		return binaryLoop(c, y, a, b, plainRow[float32](op))
	case model.Float64:
		return binaryLoop(c, y, a, b, plainRow[float64](op))
	case model.Int8:
		return binaryLoop(c, y, a, b, plainRow[int8](op))
	case model.Int16:
		return binaryLoop(c, y, a, b, plainRow[int16](op))
	case model.Int32:
		return binaryLoop(c, y, a, b, plainRow[int32](op))
	case model.Int64:
		return binaryLoop(c, y, a, b, plainRow[int64](op))
	case model.Uint8:
		return binaryLoop(c, y, a, b, plainRow[uint8](op))
	case model.Uint16:
		return binaryLoop(c, y, a, b, plainRow[uint16](op))
	case model.Uint32:
		return binaryLoop(c, y, a, b, plainRow[uint32](op))
	case model.Uint64:
		return binaryLoop(c, y, a, b, plainRow[uint64](op))
	}
	return typeError(a)
}

// rowFunc computes a row of an output from rows of two inputs, of which one may be a single element that is repeated.
type rowFunc[D, T any] func(dst []D, a, b []T)

// binaryLoop applies f to the rows of y = f(a, b) with broadcasting.
func binaryLoop[D, T model.Element](c *Call, y, a, b *model.Tensor, f rowFunc[D, T]) error {
	dst, err := model.Data[D](y)
	if err != nil {
		return err
	}
	x, err := model.Data[T](a)
	if err != nil {
		return err
	}
	z, err := model.Data[T](b)
	if err != nil || len(dst) == 0 {
		return err
	}
	if len(dst) == 1 || sameShape(a.Shape(), b.Shape()) {
		if len(dst) == 1 {
			f(dst, x, z)
			return nil
		}
		rowsParallel(c.pool, len(dst), 1, func(lo, hi int) { f(dst[lo:hi], x[lo:hi], z[lo:hi]) })
		return nil
	}
	l := newLoops(y.Shape(), broadcastStrides(a.Shape(), y.Shape()), broadcastStrides(b.Shape(), y.Shape()))
	n := l.inner()
	sa, sb := l.str[0][len(l.dims)-1], l.str[1][len(l.dims)-1]
	if l.rows() == 1 { // one operand is a scalar
		rowsParallel(c.pool, n, 1, func(lo, hi int) { f(dst[lo:hi], cut(x, sa, lo, hi), cut(z, sb, lo, hi)) })
		return nil
	}
	rowsParallel(c.pool, l.rows(), n, func(lo, hi int) {
		var off [2]int
		for r := lo; r < hi; r++ {
			l.offsets(r, off[:])
			f(dst[r*n:(r+1)*n], cut(x[off[0]:], sa, 0, n), cut(z[off[1]:], sb, 0, n))
		}
	})
	return nil
}

// cut returns the elements lo to hi of an operand with stride 1, or its first element with stride 0.
func cut[T any](x []T, stride, lo, hi int) []T {
	if stride == 0 {
		return x[:1]
	}
	return x[lo:hi]
}

// vectorOps are the float32 kernels: two rows, scalar on the right, scalar on the left.
var vectorOps = [...]struct {
	vv func(dst, a, b []float32)
	vs func(dst, a []float32, s float32)
	sv func(dst []float32, s float32, b []float32)
}{
	opAdd: {kernel.Add, kernel.AddS, func(dst []float32, s float32, b []float32) { kernel.AddS(dst, b, s) }},
	opSub: {kernel.Sub, kernel.SubS, kernel.SubR},
	opMul: {kernel.Mul, kernel.MulS, func(dst []float32, s float32, b []float32) { kernel.MulS(dst, b, s) }},
	opDiv: {kernel.Div, kernel.DivS, kernel.DivR},
	opMax: {kernel.Max, kernel.MaxS, kernel.MaxR},
	opMin: {kernel.Min, kernel.MinS, kernel.MinR},
}

func vectorRow(op binaryOp) rowFunc[float32, float32] {
	k := vectorOps[op]
	return func(dst, a, b []float32) {
		switch {
		case len(a) == len(b):
			k.vv(dst, a, b)
		case len(b) == 1:
			k.vs(dst, a, b[0])
		default:
			k.sv(dst, a[0], b)
		}
	}
}

// plainRow is the row function of any numeric type.
func plainRow[T number](op binaryOp) rowFunc[T, T] {
	f := scalarOp[T](op)
	return func(dst, a, b []T) {
		switch {
		case len(a) == len(b):
			for i, v := range a {
				dst[i] = f(v, b[i])
			}
		case len(b) == 1:
			s := b[0]
			for i, v := range a {
				dst[i] = f(v, s)
			}
		default:
			s := a[0]
			for i, v := range b {
				dst[i] = f(s, v)
			}
		}
	}
}

func scalarOp[T number](op binaryOp) func(a, b T) T {
	var z T
	_, f32 := any(z).(float32)
	_, f64 := any(z).(float64)
	isFloat := f32 || f64
	switch op {
	case opAdd:
		return func(a, b T) T { return a + b }
	case opSub:
		return func(a, b T) T { return a - b }
	case opMul:
		return func(a, b T) T { return a * b }
	case opMax:
		return func(a, b T) T { return max(a, b) }
	case opMin:
		return func(a, b T) T { return min(a, b) }
	case opDiv:
		if isFloat {
			return func(a, b T) T { return a / b }
		}
		return func(a, b T) T {
			if b == 0 {
				return 0
			}
			return a / b
		}
	case opPow:
		return func(a, b T) T { return T(math.Pow(float64(a), float64(b))) }
	}
	if isFloat {
		return func(a, b T) T {
			m := math.Mod(float64(a), float64(b))
			if op == opMod && m != 0 && (m < 0) != (b < 0) {
				m += float64(b)
			}
			return T(m)
		}
	}
	return func(a, b T) T {
		if b == 0 {
			return 0
		}
		m := a - a/b*b
		if op == opMod && m != 0 && (m < 0) != (b < 0) {
			m += b
		}
		return m
	}
}

func opModulo(c *Call) error {
	if c.Node.Int("fmod", 0) != 0 {
		return arith(c, opFmod)
	}
	return arith(c, opMod)
}

// opPower is Pow; the exponent is converted to the type of the base, or both are computed in float64 when one of them is
// an integer and the other is not.
func opPower(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if a.DType() == model.Float32 && b.DType() == model.Float32 && b.Len() == 1 && b.Rank() <= a.Rank() {
		e, err := model.Data[float32](b)
		if err != nil {
			return err
		}
		y := e[0]
		return mapSlices(c, a, func(dst, src []float32) { kernel.Pow(dst, src, y) })
	}
	if a.DType() == b.DType() && !isHalf(a) {
		return arithOf(c, opPow, a, b, 0, 1)
	}
	x, err := c.toFloat64(a)
	if err != nil {
		return err
	}
	y, err := c.toFloat64(b)
	if err != nil {
		return err
	}
	tx, ty := model.FromSlice(a.Shape(), x), model.FromSlice(b.Shape(), y)
	if err := arithOf(c, opPow, tx, ty, -1, -1); err != nil {
		return err
	}
	t, err := castTensor(c.out[0].t, a.DType(), castRule{saturate: true})
	if err != nil {
		return err
	}
	c.Set(0, t)
	return nil
}

// variadic folds op over all inputs, from left to right.
func variadic(c *Call, op binaryOp, mean bool) error {
	acc, err := c.Need(0)
	if err != nil {
		return err
	}
	if c.NumIn() == 1 {
		c.Set(0, acc)
		return nil
	}
	for i := 1; i < c.NumIn(); i++ {
		b, err := c.Need(i)
		if err != nil {
			return err
		}
		if i == 1 {
			err = arithOf(c, op, acc, b, 0, -1)
		} else {
			var held *buffer // the sum so far stays alive while it is read
			if held = c.out[0].buf; held != nil {
				held.refs++
			}
			err = arithOf(c, op, acc, b, -1, -1)
			if held != nil {
				c.arena.release(held)
			}
		}
		if err != nil {
			return err
		}
		acc = c.out[0].t
	}
	if !mean {
		return nil
	}
	switch acc.DType() {
	case model.Float32:
		x, err := model.Data[float32](acc)
		kernel.MulS(x, x, 1/float32(c.NumIn()))
		return err
	case model.Float64:
		x, err := model.Data[float64](acc)
		for i := range x {
			x[i] /= float64(c.NumIn())
		}
		return err
	}
	return typeError(acc)
}

func opPRelu(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	s, err := c.Need(1)
	if err != nil {
		return err
	}
	y, err := c.Alloc(0, x.DType(), x.Shape())
	if err != nil {
		return err
	}
	if x.DType() != s.DType() {
		return fmt.Errorf("slope has type %s: %w", s.DType(), model.ErrType)
	}
	if c.Opset < 7 && x.Rank() > 2 && s.Rank() == 1 && s.Shape()[0] == x.Shape()[1] { // one slope a channel, before slopes were broadcast
		shape := append([]int{s.Shape()[0]}, slices.Repeat([]int{1}, x.Rank()-2)...)
		if s, err = s.Reshape(shape); err != nil {
			return err
		}
	}
	if shape, err := broadcastShape(x.Shape(), s.Shape()); err != nil || !sameShape(shape, x.Shape()) {
		return errShape("slope", s, fmt.Sprintf("one that broadcasts to %v", x.Shape()))
	}
	switch x.DType() {
	case model.Float32:
		return binaryLoop(c, y, x, s, preluRow[float32])
	case model.Float64:
		return binaryLoop(c, y, x, s, preluRow[float64])
	case model.Int32:
		return binaryLoop(c, y, x, s, preluRow[int32])
	case model.Int64:
		return binaryLoop(c, y, x, s, preluRow[int64])
	}
	return typeError(x)
}

func preluRow[T number](dst, a, b []T) {
	for i, v := range a {
		if v < 0 {
			v *= b[min(i, len(b)-1)]
		}
		dst[i] = v
	}
}
