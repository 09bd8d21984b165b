package model

import (
	"fmt"
	"math"
)

// minifloats converts elements of the 8-bit and 4-bit float types. Every value is exact.
func minifloats(d DType, raw []byte, out []float32) error {
	nan := float32(math.NaN())
	switch d {
	case Float4E2M1:
		for i := range out {
			out[i] = minifloat(raw[i/2]>>(4*(i&1))&15, 2, 1, 1)
		}
		return nil
	case Float8E4M3FN, Float8E5M2, Float8E4M3FNUZ, Float8E5M2FNUZ, Float8E8M0:
	default:
		return fmt.Errorf("model: %s tensor read as float32: %w", d, ErrType)
	}
	var table [256]float32
	for i := range table {
		v := uint8(i)
		switch d {
		case Float8E4M3FN:
			table[i] = minifloat(v, 4, 3, 7)
			if v&0x7f == 0x7f {
				table[i] = nan
			}
		case Float8E5M2:
			table[i] = minifloat(v, 5, 2, 15)
			if v&0x7c == 0x7c {
				table[i] = float32(math.Inf(1 - int(v>>6&2)))
				if v&3 != 0 {
					table[i] = nan
				}
			}
		case Float8E4M3FNUZ:
			table[i] = minifloat(v, 4, 3, 8)
		case Float8E5M2FNUZ:
			table[i] = minifloat(v, 5, 2, 16)
		case Float8E8M0:
			table[i] = float32(math.Ldexp(1, i-127))
		}
	}
	if d == Float8E8M0 {
		table[255] = nan
	}
	if d == Float8E4M3FNUZ || d == Float8E5M2FNUZ {
		table[0x80] = nan // where -0 would be
	}
	for i := range out {
		out[i] = table[raw[i]]
	}
	return nil
}

// minifloat returns the value of a sign, e exponent and m mantissa bits without infinities and NaNs:
// (-1)^s * 2^(exp-bias) * (1 + man/2^m), or 2^(1-bias) * man/2^m where exp is 0.
func minifloat(v uint8, e, m, bias int) float32 {
	man := int(v) & (1<<m - 1)
	exp := int(v) >> m & (1<<e - 1)
	if exp > 0 {
		man += 1 << m
	} else {
		exp = 1
	}
	x := math.Ldexp(float64(man), exp-bias-m)
	if v>>(e+m)&1 != 0 {
		x = math.Copysign(x, -1)
	}
	return float32(x)
}
