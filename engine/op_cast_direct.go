package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// castTo makes t in another type output 0, in the arena for the pairs of types that models convert large values between.
func castTo(c *Call, x *model.Tensor, to model.DType) error {
	if !to.Valid() {
		return fmt.Errorf("target type %d is unknown: %w", to, model.ErrUnsupported)
	}
	if f := directCast(x.DType(), to); f != nil {
		return f(c, x)
	}
	t, err := castTensor(x, to, ruleOf(c.Node))
	if err != nil {
		return err
	}
	c.Set(0, t)
	return nil
}

// directCast returns the conversion between two types without a value in between, or nil.
func directCast(from, to model.DType) func(c *Call, x *model.Tensor) error {
	switch to {
	case model.Float32:
		switch from {
		case model.Int8:
			return castFast[float32, int8]
		case model.Uint8:
			return castFast[float32, uint8]
		case model.Int16:
			return castFast[float32, int16]
		case model.Uint16:
			return castFast[float32, uint16]
		case model.Int32:
			return castFast[float32, int32]
		case model.Int64:
			return castFast[float32, int64]
		case model.Bool:
			return castBool[float32]
		case model.Float16, model.BFloat16:
			return castHalf
		}
	case model.Int32:
		switch from {
		case model.Int64:
			return castFast[int32, int64]
		case model.Bool:
			return castBool[int32]
		}
	case model.Int64:
		switch from {
		case model.Int32:
			return castFast[int64, int32]
		case model.Bool:
			return castBool[int64]
		}
	case model.Float16, model.BFloat16:
		if from == model.Float32 {
			return func(c *Call, x *model.Tensor) error { return c.narrowTo(0, to, x) }
		}
	}
	return nil
}

func castFast[D, T number](c *Call, x *model.Tensor) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	dst, err := Out[D](c, 0, x.Shape())
	if err != nil {
		return err
	}
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) {
		d := dst[lo:hi]
		for i, v := range src[lo:hi] {
			d[i] = D(v)
		}
	})
	return nil
}

func castBool[D number](c *Call, x *model.Tensor) error {
	src, err := model.Data[bool](x)
	if err != nil {
		return err
	}
	dst, err := Out[D](c, 0, x.Shape())
	if err != nil {
		return err
	}
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) {
		d := dst[lo:hi]
		for i, v := range src[lo:hi] {
			d[i] = 0
			if v {
				d[i] = 1
			}
		}
	})
	return nil
}

func castHalf(c *Call, x *model.Tensor) error {
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	return widenHalf(c.pool, dst, x)
}

// widenHalf writes the elements of a tensor in half precision to dst.
func widenHalf(p *kernel.Pool, dst []float32, x *model.Tensor) error {
	src, err := model.Data[uint16](x)
	if err != nil {
		return err
	}
	f := kernel.F16ToF32
	if x.DType() == model.BFloat16 {
		f = kernel.BF16ToF32
	}
	rowsParallel(p, len(src), 1, func(lo, hi int) { f(dst[lo:hi], src[lo:hi]) })
	return nil
}

// narrowTo makes the float32 tensor x, rounded to a type of half precision, output i. x may be what output i is so far.
func (c *Call) narrowTo(i int, to model.DType, x *model.Tensor) error {
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	t, err := c.Alloc(i, to, x.Shape()) // it lets go of the memory of x at most, which nobody asks for before it has been read
	if err != nil {
		return err
	}
	dst, err := model.Data[uint16](t)
	if err != nil {
		return err
	}
	f := kernel.F32ToF16
	if to == model.BFloat16 {
		f = kernel.F32ToBF16
	}
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) { f(dst[lo:hi], src[lo:hi]) })
	return nil
}
