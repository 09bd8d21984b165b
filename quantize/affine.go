// Package quantize stores weights in fewer bits and rewrites graphs so that a runtime computes with
// them: half precision, and dynamic int8 in the pattern that ONNX Runtime fuses. One trio of functions,
// ChooseParams, Quantize and Dequantize, does all affine arithmetic.
package quantize

import (
	"fmt"
	"math"
)

// Range is the integer range of a quantized type.
type Range struct{ Min, Max int32 }

// Integer ranges of the quantized types.
var (
	Int8Range  = Range{-128, 127}
	Uint8Range = Range{0, 255}
)

// Params are the parameters of an affine quantization: x = (q - ZeroPoint) * Scale.
type Params struct {
	Scale     float32
	ZeroPoint int32
}

// ChooseParams returns the parameters that map the values lo..hi, widened to contain 0, on r.
// Symmetric: Scale = max(|lo|,|hi|)/r.Max, ZeroPoint = the middle of the range rounded to even (0 for
// Int8Range). Asymmetric: Scale = (hi-lo)/(r.Max-r.Min), ZeroPoint = RNE(r.Min - lo/Scale). Computed in
// float64, then rounded to float32; a scale below the smallest normal float32 becomes 1, as in
// onnxruntime.quantization (ONNX Runtime 1.32, quant_utils.compute_scale_zp). It fails on a value that is
// not finite and on lo > hi.
func ChooseParams(lo, hi float32, r Range, symmetric bool) (Params, error) {
	l, h := math.Min(float64(lo), 0), math.Max(float64(hi), 0)
	if math.IsNaN(float64(lo+hi)) || math.IsInf(l, 0) || math.IsInf(h, 0) || lo > hi {
		return Params{}, fmt.Errorf("quantize: range %v to %v is not finite", lo, hi)
	}
	const smallest = 0x1p-126
	if symmetric {
		mid := math.RoundToEven(float64(r.Min+r.Max) / 2)
		a := math.Max(-l, h)
		s := a / (float64(r.Max) - mid)
		if s < smallest {
			return Params{1, int32(mid)}, nil
		}
		return Params{float32(s), int32(mid)}, nil
	}
	s := (h - l) / float64(r.Max-r.Min)
	if s < smallest {
		return Params{1, 0}, nil
	}
	z := math.RoundToEven(float64(r.Min) - l/s)
	return Params{float32(s), int32(math.Max(float64(r.Min), math.Min(float64(r.Max), z)))}, nil
}

// Quantize sets q[i] = clamp(RNE(x[i]/Scale) + ZeroPoint, r), the division in float32 (ONNX
// QuantizeLinear). The slices have equal length; T holds r.
func Quantize[T int8 | uint8 | int32](q []T, x []float32, p Params, r Range) {
	for i, v := range x {
		f := math.RoundToEven(float64(v / p.Scale))
		f += float64(p.ZeroPoint)
		switch {
		case f < float64(r.Min):
			f = float64(r.Min)
		case f > float64(r.Max):
			f = float64(r.Max)
		}
		q[i] = T(int32(f))
	}
}

// Dequantize sets x[i] = (q[i] - ZeroPoint) * Scale in float32 (ONNX DequantizeLinear).
func Dequantize[T int8 | uint8 | int32](x []float32, q []T, p Params) {
	for i, v := range q {
		x[i] = float32(int32(v)-p.ZeroPoint) * p.Scale
	}
}

// extent returns the smallest and largest element, 0, 0 for none; ok is false when one is not finite.
func extent(x []float32) (lo, hi float32, ok bool) {
	for i, v := range x {
		if v-v != 0 {
			return 0, 0, false
		}
		if i == 0 || v < lo {
			lo = v
		}
		if i == 0 || v > hi {
			hi = v
		}
	}
	return lo, hi, true
}
