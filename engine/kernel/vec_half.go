package kernel

import (
	"math"

	"github.com/x448/float16"
)

// Conversions between number formats. Half precision values are their bits in uint16.

// F32ToF16 sets dst[i] to src[i] rounded to IEEE binary16, nearest even; beyond 65504 it overflows to Inf, NaN stays NaN.
func F32ToF16(dst []uint16, src []float32) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !f32ToF16Vec(&dst[0], &src[0], k) {
		k = 0
	}
	for i := k; i < n; i++ {
		dst[i] = float16.Fromfloat32(src[i]).Bits()
	}
}

// F16ToF32 sets dst[i] to the value of the IEEE binary16 number src[i]; exact.
func F16ToF32(dst []float32, src []uint16) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !f16ToF32Vec(&dst[0], &src[0], k) {
		k = 0
	}
	for i := k; i < n; i++ {
		dst[i] = float16.Frombits(src[i]).Float32()
	}
}

// F32ToBF16 sets dst[i] to src[i] rounded to bfloat16, nearest even; NaN stays NaN.
func F32ToBF16(dst []uint16, src []float32) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !f32ToBF16Vec(&dst[0], &src[0], k) {
		k = 0
	}
	for i := k; i < n; i++ {
		b := math.Float32bits(src[i])
		if b&^(1<<31) > 0x7f800000 {
			dst[i] = uint16(b>>16) | 0x40
		} else {
			dst[i] = uint16((b + 0x7fff + b>>16&1) >> 16)
		}
	}
}

// BF16ToF32 sets dst[i] to the value of the bfloat16 number src[i]; exact.
func BF16ToF32(dst []float32, src []uint16) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !bf16ToF32Vec(&dst[0], &src[0], k) {
		k = 0
	}
	for i := k; i < n; i++ {
		dst[i] = math.Float32frombits(uint32(src[i]) << 16)
	}
}

// DequantizeU8 sets dst[i] = (src[i]-zero) * scale; the difference is exact.
func DequantizeU8(dst []float32, src []uint8, scale float32, zero uint8) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !dequantU8Vec(&dst[0], &src[0], k, scale, float32(zero)) {
		k = 0
	}
	for i := k; i < n; i++ {
		dst[i] = float32(int32(src[i])-int32(zero)) * scale
	}
}

// DequantizeS8 sets dst[i] = (src[i]-zero) * scale; the difference is exact.
func DequantizeS8(dst []float32, src []int8, scale float32, zero int8) {
	n := lenConv(len(dst), len(src))
	k := n &^ 15
	if k == 0 || !dequantS8Vec(&dst[0], &src[0], k, scale, float32(zero)) {
		k = 0
	}
	for i := k; i < n; i++ {
		dst[i] = float32(int32(src[i])-int32(zero)) * scale
	}
}

// DequantizeRowsU8 applies DequantizeU8 to every row of src [rows,n] with its own scale; zero is nil (all 0) or [rows].
func DequantizeRowsU8(dst []float32, src []uint8, rows, n int, scale []float32, zero []uint8) {
	if rows < 0 || n < 0 || len(src) != rows*n || len(scale) != rows || (zero != nil && len(zero) != rows) {
		panic(badRowLen)
	}
	for r := range rows {
		var z uint8
		if zero != nil {
			z = zero[r]
		}
		DequantizeU8(dst[r*n:(r+1)*n], src[r*n:(r+1)*n], scale[r], z)
	}
}

// DequantizeRowsS8 applies DequantizeS8 to every row of src [rows,n] with its own scale; zero is nil (all 0) or [rows].
func DequantizeRowsS8(dst []float32, src []int8, rows, n int, scale []float32, zero []int8) {
	if rows < 0 || n < 0 || len(src) != rows*n || len(scale) != rows || (zero != nil && len(zero) != rows) {
		panic(badRowLen)
	}
	for r := range rows {
		var z int8
		if zero != nil {
			z = zero[r]
		}
		DequantizeS8(dst[r*n:(r+1)*n], src[r*n:(r+1)*n], scale[r], z)
	}
}

func lenConv(a, b int) int {
	if a != b {
		panic(badVecLen)
	}
	return a
}
