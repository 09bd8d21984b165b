//go:build arm64 && !noasm

package kernel

import "unsafe"

// minMax returns the range of 0 and the elements of x; a NaN is ignored.
func minMax(x []float32) (lo, hi float32) {
	n := neonLen(len(x))
	if n > 0 {
		lo, hi = minMaxNEON(&x[0], n)
	}
	return minMaxGo(x[n:], lo, hi)
}

// neonLen is the number of elements of n that the kernels of 16 elements do.
func neonLen(n int) int {
	if Active() == Generic {
		return 0
	}
	return n &^ 15
}

// quantizeU8 is QuantizeLinearU8 for slices of equal length.
func quantizeU8(x []float32, q []uint8, scale float32, zero uint8) {
	n := neonLen(len(x))
	if n > 0 {
		z := float32(zero)
		quantizeU8NEON(&x[0], n, &q[0], scale, -z, 255-z, int32(zero))
	}
	quantizeU8Go(x[n:], q[n:], scale, zero)
}

// sumU8 adds bytes.
func sumU8(x []uint8) int32 {
	n := neonLen(len(x))
	var s uint32
	if n > 0 {
		s = sumU8NEON(&x[0], n)
	}
	return int32(s) + sumU8Go(x[n:])
}

// requantize does as many elements as fill whole vectors and returns their number.
func requantize[T int8 | uint8](acc []int32, y []T, scale []float32, bias []int32, zero uint8, flip uint32) int {
	n := len(acc) &^ 7
	if n == 0 || Active() == Generic {
		return 0
	}
	var one [8]float32
	var same [8]int32
	s, sInc, b, bInc := &scale[0], 32, &same[0], 0
	if len(scale) == 1 {
		for i := range one {
			one[i] = scale[0]
		}
		s, sInc = &one[0], 0
	}
	switch {
	case len(bias) == 1:
		for i := range same {
			same[i] = bias[0]
		}
	case len(bias) > 1:
		b, bInc = &bias[0], 32
	}
	z := float32(zero)
	requantizeNEON(&acc[0], n, (*uint8)(unsafe.Pointer(&y[0])), s, sInc, b, bInc, -z, 255-z, int32(zero), flip)
	return n
}
