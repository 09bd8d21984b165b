package kernel

import "math"

// PackedDigits is a matrix B[K,N] in 24-bit integers times a scale per column: three bytes where PackedF32 has four, for products
// with one vector, which wait for the weights. Panels of 32 columns; in a panel groups of four rows, in a group the digits
// 0, 1 and 2 (signed, plus 128) of the 32 columns, four bytes each; then the scales.
type PackedDigits struct {
	K, N int
	data []byte
}

// Bytes returns the size of the packed copy.
func (b *PackedDigits) Bytes() int64 { return int64(len(b.data)) }

const (
	// digitUnit is what the digits of the vector stand for: 2^-22, so that [-1, 1] fits.
	digitUnit = 0x1p-22
	badDigits = "kernel: digits want whole panels and groups of 16 rows"
)

// PackDigits packs the transpose of b[n,k]: k a multiple of 16, n of PanelWidth. Every weight is rounded to a multiple of
// max|column| / 8355711.
func PackDigits(k, n int, b []float32) *PackedDigits {
	checkB(len(b), k, n, k, true)
	if k%16 != 0 || n%PanelWidth != 0 || k == 0 {
		panic(badDigits)
	}
	p := &PackedDigits{K: k, N: n, data: Memory(n / PanelWidth * digitsPanel(k))}
	for j := range n {
		col := b[j*k:][:k]
		top := float64(absMaxGo(col))
		panel := p.data[j/PanelWidth*digitsPanel(k):][:digitsPanel(k)]
		c := j % PanelWidth
		inv := 0.0
		if top > 0 {
			inv = maxDigits / top
		}
		for q, v := range col {
			w := int32(math.RoundToEven(float64(v) * inv))
			for d := range 3 {
				x := int8(w)
				if d == 2 {
					x = int8(max(-127, min(127, w)))
				}
				panel[q/4*384+128*d+4*c+q%4] = uint8(x) ^ 0x80
				w = (w - int32(x)) >> 8
			}
		}
		// the sums leave the digits' lower 16 bits out
		floatsOf(panel[k/4*384:])[c] = float32(top / maxDigits * digitUnit * 65536)
	}
	return p
}

// digitsPanel is the number of bytes of a panel.
func digitsPanel(k int) int { return k/4*384 + 4*PanelWidth }

// digitsArgs are the arguments of the assembly; see its comment for the offsets.
type digitsArgs struct {
	groups, panels int
	w              *byte
	a              *int8
	c              *float32
	start          [3]int32
}

// HasDigits reports whether GemvDigits does anything at the active level.
func HasDigits() bool { return Active().hasVNNI512() }

// GemvDigits adds a*B to c for a vector a[K] with elements in [-1, 1], the state of a recurrent cell. a is rounded to multiples of
// 2^-22, and products below 2^-23 max|column| are left out: with s = sum |B[k,n]|, m = max|B[:,n]|, the error is at most
// 2^-23 s + K 2^-23 m + 2^-22 (s + K 2^-7 m) of additions, that of a chain of float32 additions and less. It does
// nothing and reports false on CPUs without VPDPBUSD, and where an element is outside of [-1, 1] or a NaN.
func GemvDigits(a []float32, b *PackedDigits, c []float32) bool {
	if len(a) != b.K || len(c) != b.N {
		panic(badLen)
	}
	if isa := Active(); !isa.hasVNNI512() || !(absMax(isa, a) < 1.5) {
		return false
	}
	gemvDigits(a, b, c)
	return true
}

// digitStart turns the sums of the digits of the vector into where the integer sums start: minus 128 times each digit of
// the vector that they multiply.
func digitStart(s [3]int32) [3]int32 {
	return [3]int32{-128 * s[2], -128 * (s[1] + s[2]), -128 * (s[0] + s[1] + s[2])}
}

// gemvDigitsGo is the Go twin of the assembly.
func gemvDigitsGo(a []float32, b *PackedDigits, c []float32) {
	q := make([]int8, 3*b.K)
	var s [3]int32
	splitDigitsGo(a, 1/digitUnit, q, 3, &s)
	start := digitStart(s)
	for j := range c {
		panel := b.data[j/PanelWidth*digitsPanel(b.K):][:digitsPanel(b.K)]
		e := j % PanelWidth
		var sum [5]int32
		for k := range b.K {
			for d := range 3 {
				w := int32(panel[k/4*384+128*d+4*e+k%4])
				for p := range 3 {
					sum[d+p] += w * int32(q[k/4*12+4*p+k%4])
				}
			}
		}
		f := Fma32(256, float32(sum[3]+start[1]), float32(sum[2]+start[2]))
		f = Fma32(65536, float32(sum[4]+start[0]), f)
		c[j] = Fma32(floatsOf(panel[b.K/4*384:])[e], f, c[j])
	}
}
