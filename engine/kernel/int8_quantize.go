package kernel

import "math"

// RangeU8 returns the scale and zero point of ONNX DynamicQuantizeLinear for x: the range of x widened to contain 0,
// scale = (max-min)/255, or 1 if the range is empty, and zero point = round(saturate(-min/scale)), ties to even. All
// arithmetic is float32. A NaN is ignored. (ONNX operator DynamicQuantizeLinear-11; ONNX Runtime agrees on the scale 1.)
func RangeU8(x []float32) (scale float32, zero uint8) {
	lo, hi := minMax(x)
	return paramsU8(lo, hi)
}

// paramsU8 is RangeU8 for a known range with lo <= 0 <= hi.
func paramsU8(lo, hi float32) (scale float32, zero uint8) {
	if lo == hi {
		return 1, 0
	}
	scale = (hi - lo) / 255
	z := (0 - lo) / scale
	return scale, uint8(math.RoundToEven(float64(clamp32(z, 0, 255))))
}

// clamp32 limits v to [lo, hi]; a NaN becomes lo.
func clamp32(v, lo, hi float32) float32 {
	if !(v > lo) {
		return lo
	}
	return min(v, hi)
}

// QuantizeLinearU8 sets q[i] = saturate(round(x[i]/scale) + zero) to 0..255, ties to even (ONNX QuantizeLinear); a NaN
// becomes 0.
func QuantizeLinearU8(x []float32, q []uint8, scale float32, zero uint8) {
	if len(x) != len(q) {
		panic(badLen)
	}
	quantizeU8(x, q, scale, zero)
}

// QuantizeU8 is ONNX DynamicQuantizeLinear: RangeU8 and then QuantizeLinearU8 of the whole of x.
func QuantizeU8(x []float32, q []uint8) (scale float32, zero uint8) {
	if len(x) != len(q) {
		panic(badLen)
	}
	scale, zero = RangeU8(x)
	quantizeU8(x, q, scale, zero)
	return scale, zero
}

// DynamicQuantizeU8 is QuantizeU8 on a pool.
func DynamicQuantizeU8(p *Pool, x []float32, q []uint8) (scale float32, zero uint8) {
	if len(x) != len(q) {
		panic(badLen)
	}
	return quantizeRows(p, len(x), 1, x, 1, q, 1)
}

func minMaxGo(x []float32, lo, hi float32) (float32, float32) {
	for _, v := range x {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

func quantizeU8Go(x []float32, q []uint8, scale float32, zero uint8) {
	z := float32(zero)
	lo, hi := -z, 255-z
	for i, v := range x {
		q[i] = uint8(int32(math.RoundToEven(float64(clamp32(v/scale, lo, hi)))) + int32(zero))
	}
}

// QuantizeLinearS8 sets q[i] = saturate(round(x[i]/scale) + zero) to -128..127, ties to even (ONNX QuantizeLinear); a NaN
// becomes -128.
func QuantizeLinearS8(x []float32, q []int8, scale float32, zero int8) {
	if len(x) != len(q) {
		panic(badLen)
	}
	// The same as unsigned with everything moved by 128, a block at a time.
	var buf [512]uint8
	for len(x) > 0 {
		n := min(len(x), len(buf))
		quantizeU8(x[:n], buf[:n], scale, uint8(zero)^0x80)
		for i, v := range buf[:n] {
			q[i] = int8(v ^ 0x80)
		}
		x, q = x[n:], q[n:]
	}
}

// RequantizeU8 sets y[j] = saturate(round(float32(acc[j]+bias[j]) * scale[j]) + zero) to 0..255, ties to even: the last step of ONNX
// QLinearMatMul and QLinearConv for one row, with scale = aScale*bScale/yScale (as ONNX Runtime computes it). scale has
// length 1 or len(acc), bias 0, 1 or len(acc).
func RequantizeU8(acc []int32, y []uint8, scale []float32, bias []int32, zero uint8) {
	if len(acc) != len(y) {
		panic(badLen)
	}
	checkRequantize(len(acc), len(scale), len(bias))
	n := requantize(acc, y, scale, bias, zero, 0)
	requantizeGo(acc, y, n, scale, bias, zero, 0)
}

// RequantizeS8 is RequantizeU8 for signed results, -128..127.
func RequantizeS8(acc []int32, y []int8, scale []float32, bias []int32, zero int8) {
	if len(acc) != len(y) {
		panic(badLen)
	}
	checkRequantize(len(acc), len(scale), len(bias))
	n := requantize(acc, y, scale, bias, uint8(zero)^0x80, 0x80808080)
	requantizeGo(acc, y, n, scale, bias, uint8(zero)^0x80, 0x80)
}

func checkRequantize(n, scale, bias int) {
	if scale != 1 && scale != n {
		panic(badScale)
	}
	if bias > 1 && bias != n {
		panic(badBias)
	}
}

// requantizeGo does elements from n on; flip is exclusive-ored to the unsigned result.
func requantizeGo[T int8 | uint8](acc []int32, y []T, n int, scale []float32, bias []int32, zero, flip uint8) {
	z := float32(zero)
	for j := n; j < len(acc); j++ {
		v := acc[j]
		if len(bias) > 0 {
			v += bias[j%len(bias)]
		}
		f := clamp32(float32(v)*scale[j%len(scale)], -z, 255-z)
		y[j] = T(uint8(int32(math.RoundToEven(float64(f)))+int32(zero)) ^ flip)
	}
}

// RangeF32 returns the range of 0 and the elements of x; a NaN is ignored.
func RangeF32(x []float32) (lo, hi float32) { return minMax(x) }

// ParamsU8 is RangeU8 for a known range with lo <= 0 <= hi, as RangeF32 returns it.
func ParamsU8(lo, hi float32) (scale float32, zero uint8) { return paramsU8(lo, hi) }
