package kernel

import "math"

// Panic strings of the vector functions: they mark errors of the caller, never of the data.
const (
	badVecLen   = "kernel: vector lengths differ"
	badRowLen   = "kernel: slice length does not match rows and columns"
	badShapeLen = "kernel: slice is shorter than its shape"
	badPerm     = "kernel: axes are not a permutation"
	badIndex    = "kernel: row index out of range"
	badConv     = "kernel: convolution geometry is not valid"
)

// Element-wise functions. dst and src have the same length and may be the same slice, but must not overlap otherwise.
// NaN gives NaN. The stated errors are the largest ones over dense sweeps against float64, in units in the last
// place (ULP) of the float32 result.

// Exp sets dst[i] = e^src[i]; at most 1 ULP, also where the result is subnormal.
func Exp(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !expVec(&dst[0], &src[0], n) {
		apply(dst, src, expf)
	}
}

// Log sets dst[i] = ln src[i]; at most 1 ULP. Log(0) is -Inf, a negative number gives NaN.
func Log(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !logVec(&dst[0], &src[0], n) {
		apply(dst, src, logf)
	}
}

// Tanh sets dst[i] = tanh src[i]; at most 2 ULP.
func Tanh(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !tanhVec(&dst[0], &src[0], n) {
		apply(dst, src, tanhf)
	}
}

// Sigmoid sets dst[i] = 1/(1+e^-src[i]); at most 3 ULP, also far on the negative side.
func Sigmoid(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !sigmoidVec(&dst[0], &src[0], n) {
		apply(dst, src, sigmoidf)
	}
}

// Erf sets dst[i] = erf src[i]; at most 2 ULP.
func Erf(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !erfVec(&dst[0], &src[0], n) {
		apply(dst, src, erff)
	}
}

// GeluErf sets dst[i] = x/2 (1+erf(x/sqrt 2)), x = src[i]; the absolute error is at most 2.5e-7 max(1, x), and for x >= -1 it is
// at most 3 ULP. -Inf gives NaN, as the formula does.
//
// Below -1 the bound is absolute: the result is x/2 e^q there, q from -1.1 on downwards like -x^2/2, and every rounding of q is a
// relative error of the result that grows with |q|. Below -3.3 the polynomial for q is fitted to 2e-5 relative only, where
// the result is below 2e-3 and is added to others near 1: some hundred ULP that no sum of activations sees.
func GeluErf(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !geluErfVec(&dst[0], &src[0], n) {
		apply(dst, src, geluErff)
	}
}

// GeluTanh sets dst[i] = x/2 (1+tanh(sqrt(2/pi)(x+0.044715x^3))), x = src[i], computed as
// x sigmoid(2 sqrt(2/pi)(x+0.044715x^3)); the absolute error is at most 2.5e-7 max(1, x), and for x >= -1 it is at most 3 ULP. Below,
// the sigmoid is e^q, and the roundings of q are relative errors that grow with |q|, as for GeluErf. -Inf gives NaN, as the formula does.
func GeluTanh(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !geluTanhVec(&dst[0], &src[0], n) {
		apply(dst, src, geluTanhf)
	}
}

// SiLU sets dst[i] = x sigmoid(x), x = src[i]; at most 4 ULP for x > -87; below, sigmoid is subnormal and the absolute
// error at most 1e-43. -Inf gives NaN, as the formula does.
func SiLU(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !siluVec(&dst[0], &src[0], n) {
		apply(dst, src, siluf)
	}
}

// HardSigmoid sets dst[i] = max(0, min(1, alpha src[i] + beta)) with one fused multiply-add.
func HardSigmoid(dst, src []float32, alpha, beta float32) {
	if n := len2(dst, src); n > 0 && !hardSigmoidVec(&dst[0], &src[0], n, alpha, beta) {
		apply(dst, src, func(x float32) float32 { return hardSigmoidf(x, alpha, beta) })
	}
}

// HardSwish sets dst[i] = x max(0, min(1, x/6 + 1/2)), x = src[i], with one fused multiply-add.
func HardSwish(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !hardSwishVec(&dst[0], &src[0], n) {
		apply(dst, src, func(x float32) float32 { return x * hardSigmoidf(x, 1.0/6, 0.5) })
	}
}

// Relu sets dst[i] = 0 where src[i] < 0, and src[i] elsewhere.
func Relu(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !reluVec(&dst[0], &src[0], n) {
		apply(dst, src, func(x float32) float32 { return maxf(0, x) })
	}
}

// LeakyRelu sets dst[i] = alpha src[i] where src[i] < 0, and src[i] elsewhere.
func LeakyRelu(dst, src []float32, alpha float32) {
	if n := len2(dst, src); n > 0 && !leakyReluVec(&dst[0], &src[0], n, alpha) {
		apply(dst, src, func(x float32) float32 {
			if x < 0 {
				return alpha * x
			}
			return x
		})
	}
}

// Elu sets dst[i] = alpha (e^x - 1) where x = src[i] < 0, and x elsewhere; at most 2 ULP of the difference.
func Elu(dst, src []float32, alpha float32) {
	if n := len2(dst, src); n > 0 && !eluVec(&dst[0], &src[0], n, alpha) {
		apply(dst, src, func(x float32) float32 {
			if x < 0 {
				return alpha * expm1Neg(x)
			}
			return x
		})
	}
}

// Softplus sets dst[i] = ln(1+e^src[i]); at most 2.5 ULP.
func Softplus(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !softplusVec(&dst[0], &src[0], n) {
		apply(dst, src, softplusf)
	}
}

// Sqrt sets dst[i] to the correctly rounded square root of src[i].
func Sqrt(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !sqrtVec(&dst[0], &src[0], n) {
		apply(dst, src, sqrtf)
	}
}

// Reciprocal sets dst[i] = 1/src[i], correctly rounded.
func Reciprocal(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !recipVec(&dst[0], &src[0], n) {
		apply(dst, src, func(x float32) float32 { return 1 / x })
	}
}

// Neg sets dst[i] = -src[i] by flipping the sign bit.
func Neg(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !negVec(&dst[0], &src[0], n) {
		apply(dst, src, negf)
	}
}

// Abs sets dst[i] = |src[i]| by clearing the sign bit.
func Abs(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !absVec(&dst[0], &src[0], n) {
		apply(dst, src, absf)
	}
}

// Floor sets dst[i] to the largest integral value not above src[i].
func Floor(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !floorVec(&dst[0], &src[0], n) {
		apply(dst, src, func(x float32) float32 { return float32(math.Floor(float64(x))) })
	}
}

// Ceil sets dst[i] to the smallest integral value not below src[i].
func Ceil(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !ceilVec(&dst[0], &src[0], n) {
		apply(dst, src, func(x float32) float32 { return float32(math.Ceil(float64(x))) })
	}
}

// Round sets dst[i] to the nearest integral value, ties to even.
func Round(dst, src []float32) {
	if n := len2(dst, src); n > 0 && !roundVec(&dst[0], &src[0], n) {
		apply(dst, src, roundf)
	}
}

// Clip sets dst[i] = min(max(src[i], lo), hi). A NaN in src stays NaN; lo > hi gives hi everywhere else; a NaN
// bound does not bind. This is the ONNX operator, whose missing bounds are -Inf and +Inf.
func Clip(dst, src []float32, lo, hi float32) {
	if n := len2(dst, src); n > 0 && !clipVec(&dst[0], &src[0], n, lo, hi) {
		apply(dst, src, func(x float32) float32 { return minf(hi, maxf(lo, x)) })
	}
}

func len2(a, b []float32) int {
	if len(a) != len(b) {
		panic(badVecLen)
	}
	return len(a)
}

func len3(a, b, c []float32) int {
	if len(a) != len(b) || len(a) != len(c) {
		panic(badVecLen)
	}
	return len(a)
}

func apply(dst, src []float32, f func(float32) float32) {
	for i, x := range src {
		dst[i] = f(x)
	}
}
