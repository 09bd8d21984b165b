package engine

import (
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// unaryOps are the functions of one element.
func unaryOps() map[string]opDef {
	u := func(f func(dst, src []float32), g func(float64) float64) opDef { return float(unary(f, g)) }
	slow := func(g func(float64) float64) opDef { return float(unary(nil, g)) }
	m := map[string]opDef{
		"Exp": u(kernel.Exp, math.Exp), "Log": u(kernel.Log, math.Log), "Tanh": u(kernel.Tanh, math.Tanh),
		"Sigmoid": u(kernel.Sigmoid, sigmoid64), "Erf": u(kernel.Erf, math.Erf), "Sqrt": u(kernel.Sqrt, math.Sqrt),
		"Reciprocal": u(kernel.Reciprocal, func(x float64) float64 { return 1 / x }),
		"Floor":      u(kernel.Floor, math.Floor), "Ceil": u(kernel.Ceil, math.Ceil), "Round": u(kernel.Round, math.RoundToEven),
		"Softplus": u(kernel.Softplus, softplus64), "HardSwish": u(kernel.HardSwish, hardSwish64),
		"Sin": u(kernel.Sin, math.Sin), "Cos": u(kernel.Cos, math.Cos), "Tan": slow(math.Tan), "Asin": slow(math.Asin), "Acos": slow(math.Acos),
		"Atan": slow(math.Atan), "Sinh": slow(math.Sinh), "Cosh": slow(math.Cosh), "Asinh": slow(math.Asinh),
		"Acosh": slow(math.Acosh), "Atanh": slow(math.Atanh),
		"Softsign": slow(func(x float64) float64 { return x / (1 + math.Abs(x)) }),
		"Mish":     slow(func(x float64) float64 { return x * math.Tanh(softplus64(x)) }),
		"Relu":     float(opRelu), "Neg": float(opNeg), "Abs": float(opAbs), "Sign": float(opSign), "Clip": float(opClip),
		"LeakyRelu": param(0.01, 0, kernel2(kernel.LeakyRelu), func(x, a, _ float64) float64 {
			if x < 0 {
				return a * x
			}
			return x
		}),
		"Elu": param(1, 0, kernel2(kernel.Elu), func(x, a, _ float64) float64 {
			if x < 0 {
				return a * math.Expm1(x)
			}
			return x
		}),
		"HardSigmoid": param(0.2, 0.5, kernel.HardSigmoid, func(x, a, b float64) float64 { return max(0, min(1, a*x+b)) }),
		"Celu": param(1, 0, nil, func(x, a, _ float64) float64 {
			return max(0, x) + min(0, a*math.Expm1(x/a))
		}),
		"Swish": param(1, 0, nil, func(x, a, _ float64) float64 { return x * sigmoid64(a*x) }),
		"ThresholdedRelu": param(1, 0, nil, func(x, a, _ float64) float64 {
			if x > a {
				return x
			}
			return 0
		}),
		"Selu": float(opSelu), "Shrink": float(opShrink), "Gelu": float(opGelu),
	}
	return qualify("", m)
}

// qualify puts a domain before the names of a table.
func qualify(domain string, m map[string]opDef) map[string]opDef {
	out := make(map[string]opDef, len(m))
	for k, v := range m {
		out[domain+"::"+k] = v
	}
	return out
}

func sigmoid64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softplus64(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func hardSwish64(x float64) float64 { return x * max(0, min(1, x/6+0.5)) }

func kernel2(f func(dst, src []float32, a float32)) func(dst, src []float32, a, b float32) {
	return func(dst, src []float32, a, _ float32) { f(dst, src, a) }
}

// unary returns the operator that applies f to float32 elements and g to float64 ones; with f nil, g serves both.
func unary(f func(dst, src []float32), g func(float64) float64) OpFunc {
	if f == nil {
		f = func(dst, src []float32) {
			for i, v := range src {
				dst[i] = float32(g(float64(v)))
			}
		}
	}
	return func(c *Call) error { return applyFloat(c, f, g) }
}

// param is unary for a function with the attributes alpha and beta.
func param(alpha, beta float32, f func(dst, src []float32, a, b float32), g func(x, a, b float64) float64) opDef {
	return float(func(c *Call) error {
		a, b := c.Node.Float("alpha", alpha), c.Node.Float("beta", beta)
		g1 := func(x float64) float64 { return g(x, float64(a), float64(b)) }
		if f == nil {
			return unary(nil, g1)(c)
		}
		return applyFloat(c, func(dst, src []float32) { f(dst, src, a, b) }, g1)
	})
}

// applyFloat maps input 0 to output 0, in place where it can.
func applyFloat(c *Call, f func(dst, src []float32), g func(float64) float64) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Float32:
		return mapSlices(c, x, f)
	case model.Float64:
		return mapSlices(c, x, func(dst, src []float64) {
			for i, v := range src {
				dst[i] = g(v)
			}
		})
	}
	return typeError(x)
}

// mapSlices calls f on pieces of input x and output 0, which have the same type and shape.
func mapSlices[T model.Element](c *Call, x *model.Tensor, f func(dst, src []T)) error {
	src, err := model.Data[T](x)
	if err != nil {
		return err
	}
	y, err := c.AllocLike(0, x.DType(), x.Shape(), 0)
	if err != nil {
		return err
	}
	dst, err := model.Data[T](y)
	if err != nil {
		return err
	}
	rowsParallel(c.pool, len(src), 1, func(lo, hi int) { f(dst[lo:hi], src[lo:hi]) })
	return nil
}

// mapNumber maps every numeric type with one generic function per kind of type.
func mapNumber(c *Call, f32 func(dst, src []float32), f64 func(float64) float64, signed func(int64) int64, unsigned func(uint64) uint64) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	switch x.DType() {
	case model.Int8:
		return mapInt[int8](c, x, signed)
	case model.Int16:
		return mapInt[int16](c, x, signed)
	case model.Int32:
		return mapInt[int32](c, x, signed)
	case model.Int64:
		return mapInt[int64](c, x, signed)
	case model.Uint8:
		return mapUint[uint8](c, x, unsigned)
	case model.Uint16:
		return mapUint[uint16](c, x, unsigned)
	case model.Uint32:
		return mapUint[uint32](c, x, unsigned)
	case model.Uint64:
		return mapUint[uint64](c, x, unsigned)
	}
	return applyFloat(c, f32, f64)
}

func mapInt[T int8 | int16 | int32 | int64](c *Call, x *model.Tensor, f func(int64) int64) error {
	return mapSlices(c, x, func(dst, src []T) {
		for i, v := range src {
			dst[i] = T(f(int64(v)))
		}
	})
}

func mapUint[T uint8 | uint16 | uint32 | uint64](c *Call, x *model.Tensor, f func(uint64) uint64) error {
	return mapSlices(c, x, func(dst, src []T) {
		for i, v := range src {
			dst[i] = T(f(uint64(v)))
		}
	})
}

func opRelu(c *Call) error {
	return mapNumber(c, kernel.Relu, func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x
	}, func(x int64) int64 { return max(x, 0) }, func(x uint64) uint64 { return x })
}

func opNeg(c *Call) error {
	return mapNumber(c, kernel.Neg, func(x float64) float64 { return -x }, func(x int64) int64 { return -x }, func(x uint64) uint64 { return -x })
}

func opAbs(c *Call) error {
	return mapNumber(c, kernel.Abs, math.Abs, func(x int64) int64 { return max(x, -x) }, func(x uint64) uint64 { return x })
}

func opSign(c *Call) error {
	sign := func(x float64) float64 {
		switch {
		case x > 0:
			return 1
		case x < 0:
			return -1
		}
		return x * 0
	}
	return mapNumber(c, func(dst, src []float32) {
		for i, v := range src {
			dst[i] = float32(sign(float64(v)))
		}
	}, sign, func(x int64) int64 { return int64(sign(float64(x))) }, func(x uint64) uint64 { return min(x, 1) })
}

func opSelu(c *Call) error {
	a := float64(c.Node.Float("alpha", 1.67326319217681884765625))
	g := float64(c.Node.Float("gamma", 1.05070102214813232421875))
	return unary(nil, func(x float64) float64 {
		if x > 0 {
			return g * x
		}
		return g * a * math.Expm1(x)
	})(c)
}

func opShrink(c *Call) error {
	l, b := float64(c.Node.Float("lambd", 0.5)), float64(c.Node.Float("bias", 0))
	f := func(x float64) float64 {
		switch {
		case x < -l:
			return x + b
		case x > l:
			return x - b
		}
		return 0
	}
	return mapNumber(c, func(dst, src []float32) {
		for i, v := range src {
			dst[i] = float32(f(float64(v)))
		}
	}, f, func(x int64) int64 { return int64(f(float64(x))) }, func(x uint64) uint64 { return uint64(f(float64(x))) })
}

func opGelu(c *Call) error {
	if c.Node.Str("approximate", "none") == "tanh" {
		return applyFloat(c, kernel.GeluTanh, geluTanh64)
	}
	return applyFloat(c, kernel.GeluErf, gelu64)
}

func gelu64(x float64) float64 { return 0.5 * x * (1 + math.Erf(x/math.Sqrt2)) }

func geluTanh64(x float64) float64 {
	return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

// opClip limits to [min, max]: attributes before opset 11, inputs since. With min > max the result is max.
func opClip(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if c.Opset < 11 {
		lo, hi := c.Node.Float("min", -math.MaxFloat32), c.Node.Float("max", math.MaxFloat32)
		return applyFloat(c, func(dst, src []float32) { kernel.Clip(dst, src, lo, hi) },
			func(v float64) float64 { return min(max(v, float64(lo)), float64(hi)) })
	}
	switch x.DType() {
	case model.Float32:
		return clip(c, x, float32(math.Inf(-1)), float32(math.Inf(1)), kernel.Clip)
	case model.Float64:
		return clip(c, x, math.Inf(-1), math.Inf(1), clipSlice)
	case model.Int8:
		return clip(c, x, math.MinInt8, math.MaxInt8, clipSlice[int8])
	case model.Int16:
		return clip(c, x, math.MinInt16, math.MaxInt16, clipSlice[int16])
	case model.Int32:
		return clip(c, x, math.MinInt32, math.MaxInt32, clipSlice[int32])
	case model.Int64:
		return clip(c, x, math.MinInt64, math.MaxInt64, clipSlice[int64])
	case model.Uint8:
		return clip(c, x, 0, math.MaxUint8, clipSlice[uint8])
	case model.Uint16:
		return clip(c, x, 0, math.MaxUint16, clipSlice[uint16])
	case model.Uint32:
		return clip(c, x, 0, math.MaxUint32, clipSlice[uint32])
	case model.Uint64:
		return clip(c, x, 0, math.MaxUint64, clipSlice[uint64])
	}
	return typeError(x)
}

func clipSlice[T number](dst, src []T, lo, hi T) {
	for i, v := range src {
		dst[i] = min(max(v, lo), hi)
	}
}

func clip[T number](c *Call, x *model.Tensor, lo, hi T, f func(dst, src []T, lo, hi T)) error {
	for i, to := range []*T{&lo, &hi} {
		if b := c.Arg(1 + i); b != nil {
			v, err := model.Data[T](b)
			if err != nil {
				return err
			}
			if len(v) != 1 {
				return errShape("bound", b, "one element")
			}
			*to = v[0]
		}
	}
	return mapSlices(c, x, func(dst, src []T) { f(dst, src, lo, hi) })
}
