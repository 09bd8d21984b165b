package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// quantOps quantize, dequantize and compute in integers.
func quantOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"QuantizeLinear": plain(opQuantizeLinear), "DequantizeLinear": plain(opDequantizeLinear),
		"DynamicQuantizeLinear": plain(opDynamicQuantizeLinear),
		"MatMulInteger":         {run: opMatMulInteger, prep: prepMatMulInteger},
		"QLinearMatMul":         plain(opQLinearMatMul),
		"ConvInteger":           {run: opConvInteger, prep: prepConvInteger(1, 3)},
		"QLinearConv":           {run: opQLinearConv, prep: prepConvInteger(3, 5)},
	})
}

// quantMatrix is a packed int8 matrix [K, N] with the scales and zero points of its columns.
type quantMatrix struct {
	q     *kernel.PackedS8
	scale []float32
	zero  []int8 // of the packed values; nil when all are 0
}

// blockIndex maps element i of a tensor to the scale that applies to it: one for all, one per position along an axis,
// or one per block along it.
func blockIndex(shape []int, scale *model.Tensor, ax, block int) (func(i int) int, error) {
	if scale.Len() == 1 && block == 0 {
		return func(int) int { return 0 }, nil
	}
	ax, err := axis(ax, len(shape))
	if err != nil {
		return nil, err
	}
	inner, n := product(shape[ax+1:]), shape[ax]
	if block == 0 {
		if scale.Rank() != 1 || scale.Len() != n {
			return nil, errShape("scale", scale, fmt.Sprintf("[%d]", n))
		}
		return func(i int) int { return i / inner % n }, nil
	}
	if scale.Rank() != len(shape) {
		return nil, errShape("scale", scale, fmt.Sprintf("rank %d", len(shape)))
	}
	blocks := (n + block - 1) / block
	for k, d := range scale.Shape() {
		if k != ax && d != shape[k] || k == ax && d != blocks {
			return nil, errShape("scale", scale, fmt.Sprintf("%v in blocks of %d along axis %d", shape, block, ax))
		}
	}
	return func(i int) int { return (i/(inner*n)*blocks+i/inner%n/block)*inner + i%inner }, nil
}

func opQuantizeLinear(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	to := model.Uint8
	zt := c.Arg(2)
	if zt != nil {
		to = zt.DType()
	} else if v := c.Node.Int("output_dtype", 0); v != 0 {
		to = model.DType(v)
	}
	if x.DType() == model.Float32 && (to == model.Uint8 || to == model.Int8) && st.Len() == 1 && st.DType() == model.Float32 {
		return quantizeFast(c, x, st, zt, to)
	}
	at, err := blockIndex(x.Shape(), st, int(c.Node.Int("axis", 1)), int(c.Node.Int("block_size", 0)))
	if err != nil {
		return err
	}
	src, err := toFloat64(x)
	if err != nil {
		return err
	}
	scale, err := toFloat64(st)
	if err != nil {
		return err
	}
	zero := make([]float64, len(scale))
	if zt != nil {
		if zero, err = toFloat64(zt); err != nil {
			return err
		}
		if len(zero) != len(scale) {
			return errShape("zero point", zt, fmt.Sprint(st.Shape()))
		}
	}
	half := isHalf(st) // the quotient is rounded to the type of the computation
	q := make([]float64, len(src))
	lo, hi, isInt := intRange(to)
	for i, v := range src {
		k := at(i)
		v = float64(float32(v) / float32(scale[k]))
		if half {
			v = roundHalf(v, st.DType())
		}
		switch {
		case !isInt:
			q[i] = v + zero[k]
		case v != v: // as ONNX Runtime has it
			q[i] = lo
		default:
			q[i] = min(max(math.RoundToEven(v)+zero[k], lo), hi)
		}
	}
	t, err := fromFloat64(to, x.Shape(), q, castRule{saturate: c.Node.Int("saturate", 1) != 0})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// quantizeFast is QuantizeLinear to bytes with one scale.
func quantizeFast(c *Call, x, st, zt *model.Tensor, to model.DType) error {
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	scale, err := model.Data[float32](st)
	if err != nil {
		return err
	}
	var zero uint8
	if zt != nil {
		z, err := zt.Bytes()
		if err != nil {
			return err
		}
		if len(z) != 1 {
			return errShape("zero point", zt, "one element")
		}
		zero = z[0]
	}
	y, err := c.Alloc(0, to, x.Shape())
	if err != nil {
		return err
	}
	dst, err := y.Bytes()
	if err != nil {
		return err
	}
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) {
		if to == model.Int8 {
			kernel.QuantizeLinearS8(src[lo:hi], asInt8(dst[lo:hi]), scale[0], int8(zero))
			return
		}
		kernel.QuantizeLinearU8(src[lo:hi], dst[lo:hi], scale[0], zero)
	})
	return nil
}

func roundHalf(v float64, d model.DType) float64 {
	t, err := model.FromFloat32(d, []int{}, []float32{float32(v)})
	if err != nil {
		return v
	}
	x, err := t.Float32()
	if err != nil {
		return v
	}
	return float64(x[0])
}

// intRange returns the range of an integer type.
func intRange(d model.DType) (lo, hi float64, ok bool) {
	if !d.IsInteger() {
		return 0, 0, false
	}
	b := d.Bits()
	switch d {
	case model.Uint8, model.Uint16, model.Uint32, model.Uint64, model.Uint4, model.Uint2:
		return 0, math.Ldexp(1, b) - 1, true
	}
	return -math.Ldexp(1, b-1), math.Ldexp(1, b-1) - 1, true
}

func opDequantizeLinear(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	zt := c.Arg(2)
	to := st.DType()
	if v := c.Node.Int("output_dtype", 0); v != 0 {
		to = model.DType(v)
	}
	at, err := blockIndex(x.Shape(), st, int(c.Node.Int("axis", 1)), int(c.Node.Int("block_size", 0)))
	if err != nil {
		return err
	}
	if zt != nil && zt.Len() != st.Len() {
		return errShape("zero point", zt, fmt.Sprint(st.Shape()))
	}
	if to == model.Float32 && st.DType() == model.Float32 && st.Len() == 1 && x.DType().Bits() == 8 && x.DType().IsInteger() {
		return dequantizeFast(c, x, st, zt)
	}
	if to == model.Float32 && st.DType() == model.Float32 {
		switch x.DType() {
		case model.Int8:
			return dequantizeBytes[int8](c, x, st, zt, at)
		case model.Uint8:
			return dequantizeBytes[uint8](c, x, st, zt, at)
		}
	}
	scale, err := toFloat64(st)
	if err != nil {
		return err
	}
	var zero []float64
	if zt != nil {
		if zero, err = toFloat64(zt); err != nil {
			return err
		}
	}
	if to == model.Float32 && x.DType() != model.String {
		return dequantizeParts(c, x, scale, zero, at)
	}
	src, err := toFloat64(x)
	if err != nil {
		return err
	}
	out := make([]float64, len(src))
	for i, v := range src {
		k := at(i)
		if zero != nil {
			v -= zero[k]
		}
		out[i] = v * scale[k]
	}
	t, err := fromFloat64(to, x.Shape(), out, castRule{saturate: true})
	if err == nil {
		c.Set(0, t)
	}
	return err
}

// dequantizeBytes is opDequantizeLinear of bytes with more than one scale: element i has scale and zero point at(i).
func dequantizeBytes[T int8 | uint8](c *Call, x, st, zt *model.Tensor, at func(int) int) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	scale, err := model.Data[float32](st)
	if err != nil {
		return err
	}
	zero := make([]T, len(scale))
	if zt != nil {
		if zero, err = model.Data[T](zt); err != nil {
			return err
		}
	}
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	for i, v := range src {
		k := at(i)
		dst[i] = float32(int(v)-int(zero[k])) * scale[k]
	}
	return nil
}

// dequantizeParts is opDequantizeLinear to float32 of any type, some elements at a time: all of them as float64 would take many times what the
// weights do. Element i has scale and zero point at(i).
func dequantizeParts(c *Call, x *model.Tensor, scale, zero []float64, at func(int) int) error {
	const part = 1 << 16 // whole bytes in every type
	raw, err := x.Bytes()
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	bits := x.DType().Bits()
	for i0 := 0; i0 < len(dst); i0 += part {
		n := min(part, len(dst)-i0)
		t, err := model.NewTensor(x.DType(), []int{n}, raw[i0*bits/8:][:(n*bits+7)/8])
		if err != nil {
			return err
		}
		src, err := toFloat64(t)
		if err != nil {
			return err
		}
		for i, v := range src {
			k := at(i0 + i)
			if zero != nil {
				v -= zero[k]
			}
			dst[i0+i] = float32(v * scale[k])
		}
	}
	return nil
}

func dequantizeFast(c *Call, x, st, zt *model.Tensor) error {
	scale, err := model.Data[float32](st)
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	if x.DType() == model.Uint8 {
		src, err := model.Data[uint8](x)
		if err != nil {
			return err
		}
		var zero [1]uint8
		if zt != nil {
			z, err := model.Data[uint8](zt)
			if err != nil {
				return err
			}
			copy(zero[:], z)
		}
		kernel.DequantizeU8(dst, src, scale[0], zero[0])
		return nil
	}
	src, err := model.Data[int8](x)
	if err != nil {
		return err
	}
	var zero [1]int8
	if zt != nil {
		z, err := model.Data[int8](zt)
		if err != nil {
			return err
		}
		copy(zero[:], z)
	}
	kernel.DequantizeS8(dst, src, scale[0], zero[0])
	return nil
}

func opDynamicQuantizeLinear(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	q, err := Out[uint8](c, 0, x.Shape())
	if err != nil {
		return err
	}
	scale, zero := kernel.DynamicQuantizeU8(c.pool, src, q)
	s, err := Out[float32](c, 1, []int{})
	if err != nil {
		return err
	}
	z, err := Out[uint8](c, 2, []int{})
	if err != nil {
		return err
	}
	s[0], z[0] = scale, zero
	return nil
}
