package quantize

import (
	"math"

	"github.com/wattshed/wattshed/model"
)

// float8Format is one of the 8-bit float types of ONNX that have an encoder here.
type float8Format struct {
	man, bias int
	top       uint8 // code of the largest finite value
	nan       uint8 // code of a NaN
	inf       uint8 // code that an overflow becomes without saturation
}

var (
	e4m3 = float8Format{man: 3, bias: 7, top: 0x7e, nan: 0x7f, inf: 0x7f}
	e5m2 = float8Format{man: 2, bias: 15, top: 0x7b, nan: 0x7f, inf: 0x7c}
)

// formatOf returns the format of Float8E4M3FN or Float8E5M2.
func formatOf(d model.DType) (float8Format, bool) {
	switch d {
	case model.Float8E4M3FN:
		return e4m3, true
	case model.Float8E5M2:
		return e5m2, true
	}
	return float8Format{}, false
}

// value returns what a code without its sign stands for; the code is finite.
func (f float8Format) value(code uint8) float32 {
	e, m := int(code)>>f.man, int(code)&(1<<f.man-1)
	if e == 0 {
		return float32(math.Ldexp(float64(m), 1-f.bias-f.man))
	}
	return float32(math.Ldexp(float64(m+1<<f.man), e-f.bias-f.man))
}

// largest returns the largest finite value: 448 or 57344.
func (f float8Format) largest() float32 { return f.value(f.top) }

// encode rounds v to nearest even. A NaN stays one; what is beyond the largest value, infinities included, becomes
// the largest value with saturate, else NaN (E4M3FN) or infinity (E5M2). (ONNX Cast, tables of float8 conversion.)
func (f float8Format) encode(v float32, saturate bool) uint8 {
	bits := math.Float32bits(v)
	sign, mag := uint8(bits>>24&0x80), bits&0x7fffffff
	if mag > 0x7f800000 {
		return sign | f.nan
	}
	over := sign | f.inf
	if saturate {
		over = sign | f.top
	}
	if mag == 0x7f800000 {
		return over
	}
	e := int(mag>>23) - 127 // the value is 1.m * 2^e; a subnormal float32 is far below half the smallest code
	drop := 23 - f.man      // bits of the mantissa to round away
	if low := 1 - f.bias; e < low {
		drop += low - e
		e = low - 1
	}
	if drop > 24 {
		return sign
	}
	m := mag&0x7fffff | 1<<23
	kept := m >> drop
	rest, half := m&(1<<drop-1), uint32(1)<<(drop-1)
	if rest > half || rest == half && kept&1 == 1 {
		kept++
	}
	code := kept // subnormal: the carry into the exponent is right as it is
	if e >= 1-f.bias {
		code = uint32(e+f.bias-1)<<f.man + kept // kept holds the hidden bit
	}
	if code > uint32(f.top) {
		return over
	}
	return sign | uint8(code)
}

// table returns the values of all 256 codes.
func (f float8Format) table() *[256]float32 {
	var t [256]float32
	for c := range 128 {
		v := float32(math.NaN())
		switch {
		case c <= int(f.top):
			v = f.value(uint8(c))
		case uint8(c) == f.inf && f.inf != f.nan:
			v = float32(math.Inf(1))
		}
		t[c], t[c+128] = v, -v
	}
	return &t
}
