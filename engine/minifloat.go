package engine

import (
	"math"
	"sort"

	"github.com/wattshed/wattshed/model"
)

// miniFormat describes a float type of at most 8 bits.
type miniFormat struct {
	exp, man, bias int
	fnuz           bool // no infinities, no negative zero; its code is NaN
	inf            bool // has infinities
	nan            bool // has NaN
}

func miniFormatOf(d model.DType) (miniFormat, bool) {
	switch d {
	case model.Float8E4M3FN:
		return miniFormat{exp: 4, man: 3, bias: 7, nan: true}, true
	case model.Float8E4M3FNUZ:
		return miniFormat{exp: 4, man: 3, bias: 8, fnuz: true, nan: true}, true
	case model.Float8E5M2:
		return miniFormat{exp: 5, man: 2, bias: 15, inf: true, nan: true}, true
	case model.Float8E5M2FNUZ:
		return miniFormat{exp: 5, man: 2, bias: 16, fnuz: true, nan: true}, true
	case model.Float4E2M1:
		return miniFormat{exp: 2, man: 1, bias: 1}, true
	}
	return miniFormat{}, false
}

// miniTable returns the values of all codes of a narrow float type, nil for other types.
func miniTable(d model.DType) []float64 {
	if d == model.Float8E8M0 {
		t := make([]float64, 256)
		for i := range t {
			t[i] = math.Ldexp(1, i-127)
		}
		t[255] = math.NaN()
		return t
	}
	f, ok := miniFormatOf(d)
	if !ok {
		return nil
	}
	half := 1 << (f.exp + f.man)
	t := make([]float64, 2*half)
	for c := range half {
		e, m := c>>f.man, c&(1<<f.man-1)
		v := math.Ldexp(float64(m), 1-f.bias-f.man)
		if e > 0 {
			v = math.Ldexp(float64(m+1<<f.man), e-f.bias-f.man)
		}
		top := e == 1<<f.exp-1
		switch {
		case f.inf && top && m == 0:
			v = math.Inf(1)
		case f.inf && top, f.nan && !f.fnuz && !f.inf && c == half-1:
			v = math.NaN()
		}
		t[c], t[c+half] = v, -v
	}
	t[half] = math.Copysign(0, -1)
	if f.fnuz {
		t[half] = math.NaN()
	}
	return t
}

// newMini returns the encoder of a narrow float type, round to nearest even, by the tables in the specification of Cast.
func newMini(d model.DType, table []float64, rule castRule) func(float64) byte {
	if d == model.Float8E8M0 {
		return func(v float64) byte { return encodeE8M0(v, rule) }
	}
	f, _ := miniFormatOf(d)
	half := len(table) / 2
	n := 0 // number of finite codes
	for n < half && table[n] == table[n] && !math.IsInf(table[n], 0) {
		n++
	}
	top := table[n-1]
	limit := top + (top-table[n-2])/2
	nan, over := byte(half-1), byte(half-1)
	switch {
	case f.fnuz:
		nan, over = byte(half), byte(half)
	case f.inf:
		over = byte(n)
	}
	return func(v float64) byte {
		sign := byte(0)
		if math.Signbit(v) {
			sign = byte(half)
		}
		a := math.Abs(v)
		switch {
		case v != v:
			if !f.nan { // float4: NaN becomes -0
				return byte(half)
			}
			if f.fnuz {
				return nan
			}
			return nan | sign
		case !f.nan || rule.saturate:
			a = min(a, top)
		case a > limit || a == limit && (n-1)&1 == 1:
			if f.fnuz {
				return nan
			}
			return over | sign
		}
		i := sort.SearchFloat64s(table[:n], a) // table[i-1] < a <= table[i]
		if i == n {
			i = n - 1
		}
		if i > 0 {
			lo, hi := a-table[i-1], table[i]-a
			if lo < hi || lo == hi && i&1 == 1 {
				i--
			}
		}
		if f.fnuz && i == 0 {
			return 0
		}
		return byte(i) | sign
	}
}

// encodeE8M0 rounds |v| to a power of two.
func encodeE8M0(v float64, rule castRule) byte {
	if v != v {
		return 255
	}
	a := math.Abs(v)
	if math.IsInf(a, 0) {
		if rule.saturate {
			return 254
		}
		return 255
	}
	if a == 0 {
		return 0
	}
	m, e := math.Frexp(a) // a = m 2^e, m in [0.5, 1)
	k := e - 1            // floor(log2 a)
	switch rule.round {
	case "down":
	case "nearest":
		if m >= 0.75 {
			k++
		}
	default:
		if m > 0.5 {
			k++
		}
	}
	switch c := k + 127; {
	case c < 0:
		return 0
	case c > 254:
		if rule.saturate {
			return 254
		}
		return 255
	default:
		return byte(c)
	}
}
