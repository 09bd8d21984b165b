package kernel

import "math"

// Fma32 returns x*y + z rounded once to float32, as the FMA instructions do, on every architecture.
//
// The product of two float32 is exact in float64, so only the sum is rounded there; rounding that sum again to float32
// is harmless unless it lies exactly between two float32 values or in the subnormal range, and then it is first
// corrected to round-to-odd (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using
// rounding to odd", IEEE Trans. Computers 57(4), 2008).
func Fma32(x, y, z float32) float32 {
	s := float64(x)*float64(y) + float64(z)
	if b := math.Float64bits(s); b&(1<<29-1) == 1<<28 || b<<1 < 897<<53 {
		return fmaOdd(x, y, z)
	}
	return float32(s)
}

// fmaOdd is the slow path of Fma32.
func fmaOdd(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	t := s - p
	e := (p - (s - t)) + (c - t) // TwoSum (Knuth): p + c == s + e exactly
	if (e > 0 || e < 0) && math.Float64bits(s)&1 == 0 {
		b := math.Float64bits(s)
		if (e > 0) == (s > 0) {
			b++
		} else {
			b--
		}
		s = math.Float64frombits(b)
	}
	return float32(s)
}
