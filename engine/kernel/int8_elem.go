package kernel

import (
	"encoding/binary"
	"math"
)

// Lookup sets dst[i] = t[src[i]]. dst may be src.
func Lookup(dst, src []uint8, t *[256]uint8) {
	if len(dst) != len(src) {
		panic(badLen)
	}
	n := lookup(dst, src, t)
	lookupGo(dst[n:], src[n:], t)
}

func lookupGo(dst, src []uint8, t *[256]uint8) {
	for i, v := range src {
		dst[i] = t[v]
	}
}

// rowTable is a table of bytes that has one value up to low: that of a function that is constant there, as activations mostly are, takes fewer than the
// sixteen rows of sixteen bytes.
type rowTable struct {
	t    [256]uint8 // from low on
	low  uint8
	rows int
}

// newRowTable returns the form of t, with low 0 where that saves no rows.
func newRowTable(t *[256]uint8) *rowTable {
	r := &rowTable{t: *t, rows: 16}
	low := 0
	for low < 255 && t[low+1] == t[0] {
		low++
	}
	if rows := ceilDiv(256-low, 16); rows <= 14 {
		*r = rowTable{low: uint8(low), rows: rows}
		copy(r.t[:], t[low:])
	}
	return r
}

// AddU8 holds the factors of a sum of bytes: see NewAddU8.
type AddU8 struct{ A, B, Fixed, Lo, Hi float32 }

// NewAddU8 returns the factors of clamp(round(a*sa/sc + b*sb/sc + fixed), lo, hi) with fixed = zc - (sa/sc*za + sb/sc*zb), ties to
// even, both products by fused multiply-adds, that of b first: QLinearAdd as ONNX Runtime computes it on amd64.
func NewAddU8(sa, sb, sc float32, za, zb, zc, lo, hi uint8) AddU8 {
	ra, rb := sa/sc, sb/sc
	pa, pb := float32(ra*float32(za)), float32(rb*float32(zb))
	sum := pa + pb
	return AddU8{A: ra, B: rb, Fixed: float32(zc) - sum, Lo: float32(lo), Hi: float32(hi)}
}

// Apply sets dst[i] from a[i] and b[i]. dst may be a or b.
func (f *AddU8) Apply(dst, a, b []uint8) {
	if len(a) != len(dst) || len(b) != len(dst) {
		panic(badLen)
	}
	for i := f.vectors(dst, a, b); i < len(dst); i++ {
		s := Fma32(float32(b[i]), f.B, f.Fixed)
		dst[i] = uint8(math.RoundToEven(float64(clamp32(Fma32(float32(a[i]), f.A, s), f.Lo, f.Hi))))
	}
}

// MulU8 holds the factors of a product of bytes: see NewMulU8.
type MulU8 struct{ ZA, ZB, Ratio, Lo, Hi, Zero float32 }

// NewMulU8 returns the factors of clamp(round((a-za)*(b-zb)*(sa*sb/sc)) + zc, lo, hi), ties to even: QLinearMul as ONNX Runtime
// computes it.
func NewMulU8(sa, sb, sc float32, za, zb, zc, lo, hi uint8) MulU8 {
	z := float32(zc)
	p := sa * sb
	return MulU8{ZA: float32(za), ZB: float32(zb), Ratio: p / sc, Lo: float32(lo) - z, Hi: float32(hi) - z, Zero: z}
}

// Apply sets dst[i] from a[i] and b[i]. dst may be a or b.
func (f *MulU8) Apply(dst, a, b []uint8) {
	if len(a) != len(dst) || len(b) != len(dst) {
		panic(badLen)
	}
	for i := f.vectors(dst, a, b); i < len(dst); i++ {
		p := (float32(a[i]) - f.ZA) * (float32(b[i]) - f.ZB)
		dst[i] = uint8(int32(math.RoundToEven(float64(clamp32(p*f.Ratio, f.Lo, f.Hi)))) + int32(f.Zero))
	}
}

// MaxU8 sets dst[i] = max(dst[i], src[i]).
func MaxU8(dst, src []uint8) {
	if len(dst) != len(src) {
		panic(badLen)
	}
	for i := maxU8(dst, src); i < len(dst); i++ {
		dst[i] = max(dst[i], src[i])
	}
}

// SumRowsU8 adds rows of bytes, ld apart, to the sums: acc[i] += sum over r of x[r*ld+i].
func SumRowsU8(acc []int32, x []uint8, rows, ld int) {
	if rows <= 0 || len(acc) == 0 {
		return
	}
	if len(x) < (rows-1)*ld+len(acc) {
		panic(badLen)
	}
	n := sumRowsU8(acc, x, rows, ld)
	for r := range rows {
		for i, v := range x[r*ld+n:][:len(acc)-n] {
			acc[n+i] += int32(v)
		}
	}
}

// InterleaveU8 turns planes [c, n] into pixels [n, c].
func InterleaveU8(dst, src []uint8, c int) {
	n := len(src) / max(c, 1)
	if c < 1 || len(dst) < n*c {
		panic(badLen)
	}
	if c == 3 {
		x, y, z := src[:n], src[n:2*n], src[2*n:3*n]
		k := interleave3(dst, x, y, z)
		x, y, z, dst = x[k:], y[k:], z[k:], dst[3*k:]
		for i, v := range x {
			d := dst[3*i : 3*i+3 : 3*i+3]
			d[0], d[1], d[2] = v, y[i], z[i]
		}
		return
	}
	for k := range c {
		for i, v := range src[k*n : (k+1)*n] {
			dst[i*c+k] = v
		}
	}
}

// FlipU8 sets dst[i] = src[i] XOR 0x80: signed bytes become unsigned ones, moved by 128, and back.
func FlipU8(dst, src []uint8) {
	if len(dst) != len(src) {
		panic(badLen)
	}
	n := len(src) &^ 7
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(dst[i:], binary.LittleEndian.Uint64(src[i:])^0x8080808080808080)
	}
	for i := n; i < len(src); i++ {
		dst[i] = src[i] ^ 0x80
	}
}

// TransposeU8 sets dst[cols, rows] to the transpose of src[rows, cols].
func TransposeU8(dst, src []uint8, rows, cols int) {
	if len(src) < rows*cols || len(dst) < rows*cols {
		panic(badLen)
	}
	r8, c8 := rows&^7, cols&^7
	for c := 0; c < c8; c += 8 {
		for r := 0; r < r8; r += 8 {
			var b [8]uint64
			for i := range b {
				b[i] = binary.LittleEndian.Uint64(src[(r+i)*cols+c:])
			}
			transposeBytes8(&b)
			for i, v := range b {
				binary.LittleEndian.PutUint64(dst[(c+i)*rows+r:], v)
			}
		}
		for r := r8; r < rows; r++ {
			for i, v := range src[r*cols+c:][:8] {
				dst[(c+i)*rows+r] = v
			}
		}
	}
	for r := range rows {
		for c := c8; c < cols; c++ {
			dst[c*rows+r] = src[r*cols+c]
		}
	}
}

// transposeBytes8 transposes eight rows of eight bytes: blocks of four, two and one bytes change places.
func transposeBytes8(b *[8]uint64) {
	for i := range 4 {
		x, y := b[i], b[i+4]
		b[i], b[i+4] = x&0xffffffff|y<<32, x>>32|y&^0xffffffff
	}
	for _, i := range [4]int{0, 1, 4, 5} {
		x, y := b[i], b[i+2]
		const m = 0x0000ffff0000ffff
		b[i], b[i+2] = x&m|y&m<<16, x>>16&m|y&^m
	}
	for i := 0; i < 8; i += 2 {
		x, y := b[i], b[i+1]
		const m = 0x00ff00ff00ff00ff
		b[i], b[i+1] = x&m|y&m<<8, x>>8&m|y&^m
	}
}
