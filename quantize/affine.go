// Package quantize stores weights in fewer bits and rewrites graphs so that a runtime computes with
// them: half precision, dynamic and static integers, weights in groups. One trio of functions, ChooseParams,
// Quantize and Dequantize, does the affine arithmetic of ONNX; Scheme applies it to whole tensors of every type.
//
// Four formats have conventions of their own for scale and rounding, which their readers repeat bit for bit, and so a
// function of their own each:
//
//	ChooseFloat8   8-bit floats            absmax / largest value, no zero point    (compressed-tensors)
//	DynamicParams  DynamicQuantizeLinear   computed in float32 by the runtime       (ONNX operator)
//	ChooseBlock    MatMulNBits             signed absmax / -2^(bits-1), halves away (ONNX Runtime, q4_dq.cpp)
//	WeightOnly     with HQQ                range not widened to 0, float zero point (ONNX Runtime, HQQWeightOnlyQuantizer)
package quantize

import (
	"fmt"
	"math"
)

// Range is the integer range of a quantized type.
type Range struct{ Min, Max int32 }

// Integer ranges of the quantized types.
var (
	Int8Range   = Range{-128, 127}
	Uint8Range  = Range{0, 255}
	Int16Range  = Range{-32768, 32767}
	Uint16Range = Range{0, 65535}
	Int4Range   = Range{-8, 7}
	Uint4Range  = Range{0, 15}
)

// symmetric returns the range that a symmetric scale is chosen for: without the lowest value of the two
// signed types (onnxruntime.quantization, ONNX_INT_TYPE_SYMMETRIC_RANGE).
func (r Range) symmetric() Range {
	if r == Int8Range || r == Int16Range {
		r.Min++
	}
	return r
}

// Params are the parameters of an affine quantization: x = (q - ZeroPoint) * Scale.
type Params struct {
	Scale     float32
	ZeroPoint int32
}

// smallestScale is the smallest normal float32: ranges that would need a smaller scale count as zero.
const smallestScale = 0x1p-126

// ChooseParams returns the parameters that map the values lo..hi, widened to contain 0, on r.
//
// Asymmetric: Scale = (hi-lo) / (r.Max-r.Min), ZeroPoint = RNE(r.Min - lo/Scale). Symmetric: lo..hi is widened to
// -a..a with a = max(|lo|,|hi|), r loses its lowest value if it is that of int8 or int16, and
// ZeroPoint = RNE((r.Min+r.Max)/2). All in float64, Scale then rounded to float32; for a Scale
// below the smallest normal float32 it is {1, 0}. (onnxruntime.quantization 1.32, quant_utils.compute_scale_zp.)
//
// It fails on a value that is not finite and on lo > hi.
func ChooseParams(lo, hi float32, r Range, symmetric bool) (Params, error) {
	if lo-lo != 0 || hi-hi != 0 || lo > hi {
		return Params{}, fmt.Errorf("quantize: %v to %v is no finite range", lo, hi)
	}
	l, h := math.Min(float64(lo), 0), math.Max(float64(hi), 0)
	if symmetric {
		r = r.symmetric()
		h = math.Max(-l, h)
		l = -h
	}
	s := (h - l) / (float64(r.Max) - float64(r.Min))
	if s < smallestScale {
		return Params{1, 0}, nil
	}
	if symmetric {
		return Params{float32(s), int32(math.RoundToEven((float64(r.Min) + float64(r.Max)) / 2))}, nil
	}
	z := math.RoundToEven(float64(r.Min) - l/s)
	return Params{float32(s), int32(min(max(z, float64(r.Min)), float64(r.Max)))}, nil
}

// DynamicParams returns the parameters that a runtime chooses for activations lo..hi: those of ONNX
// DynamicQuantizeLinear, uint8 and asymmetric like ChooseParams, but computed in float32, with ZeroPoint
// = RNE(clamp(-lo/Scale)) and Scale 1 for an empty range only. lo and hi must be finite.
func DynamicParams(lo, hi float32) Params {
	lo, hi = min(lo, 0), max(hi, 0)
	if lo == hi {
		return Params{1, 0}
	}
	s := (hi - lo) / 255
	z := min(max(-lo/s, 0), 255)
	return Params{s, int32(math.RoundToEven(float64(z)))}
}

// Quantized are the Go types of quantized elements; those of 4 bits are held one to a byte.
type Quantized interface {
	int8 | uint8 | int16 | uint16
}

// rounder, added to a float32 of less than 2^22, leaves its integer part, rounded to even, in the lowest bits.
const rounder = 3 << 22

// Quantize sets q[i] = clamp(RNE(x[i]/Scale) + ZeroPoint, r), the division in float32 (ONNX QuantizeLinear); a NaN
// becomes r.Min. The slices have equal length; T holds r and r holds ZeroPoint.
func Quantize[T Quantized](q []T, x []float32, p Params, r Range) {
	lo, hi := float32(r.Min-p.ZeroPoint), float32(r.Max-p.ZeroPoint)
	q = q[:len(x)]
	for i, v := range x {
		q[i] = T(roundClamped(v/p.Scale, lo, hi) + p.ZeroPoint)
	}
}

// roundClamped returns v rounded to even within lo..hi, which are integers of less than 2^22; lo for a NaN.
func roundClamped(v, lo, hi float32) int32 {
	if !(v > lo) {
		v = lo
	}
	if v > hi {
		v = hi
	}
	return int32(math.Float32bits(v+rounder)) - int32(math.Float32bits(rounder))
}

// Dequantize sets x[i] = (q[i] - ZeroPoint) * Scale in float32 (ONNX DequantizeLinear).
func Dequantize[T Quantized](x []float32, q []T, p Params) {
	x = x[:len(q)]
	for i, v := range q {
		x[i] = float32(int32(v)-p.ZeroPoint) * p.Scale
	}
}
