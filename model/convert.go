package model

import (
	"fmt"
	"math"

	"github.com/x448/float16"
)

// Float32 returns the elements as float32: the tensor's own memory for Float32 (which must not be
// changed), a converted copy for every other float type, Bool (0 or 1) and the integers of 2 to 64 bits.
// Strings and complex types are an error wrapping ErrType.
func (t *Tensor) Float32() ([]float32, error) {
	switch t.dtype {
	case Float32:
		return Data[float32](t)
	case Float64:
		return convert[float64](t)
	case Int8:
		return convert[int8](t)
	case Int16:
		return convert[int16](t)
	case Int32:
		return convert[int32](t)
	case Int64:
		return convert[int64](t)
	case Uint16:
		return convert[uint16](t)
	case Uint32:
		return convert[uint32](t)
	case Uint64:
		return convert[uint64](t)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	out := make([]float32, t.n)
	switch t.dtype {
	case Uint8, Bool:
		for i, b := range raw {
			out[i] = float32(b)
		}
	case Float16:
		for i := range out {
			out[i] = float16.Frombits(uint16(raw[2*i]) | uint16(raw[2*i+1])<<8).Float32()
		}
	case BFloat16:
		for i := range out {
			out[i] = math.Float32frombits(uint32(raw[2*i])<<16 | uint32(raw[2*i+1])<<24)
		}
	case Uint4, Int4, Uint2, Int2:
		bits := t.dtype.Bits()
		per := 8 / bits
		signed := t.dtype == Int4 || t.dtype == Int2
		for i := range out {
			v := int(raw[i/per]>>(i%per*bits)) & (1<<bits - 1)
			if signed && v >= 1<<(bits-1) {
				v -= 1 << bits
			}
			out[i] = float32(v)
		}
	default:
		return out, minifloats(t.dtype, raw, out)
	}
	return out, nil
}

func convert[T Element](t *Tensor) ([]float32, error) {
	x, err := Data[T](t)
	if err != nil {
		return nil, err
	}
	out := make([]float32, len(x))
	switch x := any(x).(type) {
	case []float64:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []int8:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []int16:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []int32:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []int64:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []uint16:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []uint32:
		for i, v := range x {
			out[i] = float32(v)
		}
	case []uint64:
		for i, v := range x {
			out[i] = float32(v)
		}
	}
	return out, nil
}

// FromFloat32 returns a tensor of dtype Float32 (over x itself), Float64, Float16 or BFloat16 with the
// values x, rounded to nearest even. Values beyond the range of the type become infinite. Other types are
// an error wrapping ErrType.
func FromFloat32(dtype DType, shape []int, x []float32) (*Tensor, error) {
	switch dtype {
	case Float32:
		return NewTensor(Float32, shape, bytesOf(x))
	case Float64:
		d := make([]float64, len(x))
		for i, v := range x {
			d[i] = float64(v)
		}
		return NewTensor(Float64, shape, bytesOf(d))
	case Float16:
		h := make([]uint16, len(x))
		for i, v := range x {
			h[i] = float16.Fromfloat32(v).Bits()
		}
		return NewTensor(Float16, shape, bytesOf(h))
	case BFloat16:
		h := make([]uint16, len(x))
		for i, v := range x {
			h[i] = bfloat16(v)
		}
		return NewTensor(BFloat16, shape, bytesOf(h))
	}
	return nil, fmt.Errorf("model: float32 values as %s: %w", dtype, ErrType)
}

// bfloat16 rounds to nearest even; a NaN stays one.
func bfloat16(v float32) uint16 {
	b := math.Float32bits(v)
	if v != v {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
