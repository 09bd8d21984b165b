//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// hasVBMI reports whether bytes can be looked up in registers.
func hasVBMI(i ISA) bool { return i >= AVX512 && cpu.X86.HasAVX512VBMI }

// lookup does whole vectors and returns how many elements that were.
func lookup(dst, src []uint8, t *[256]uint8) int {
	isa := Active()
	n := len(src) &^ 31
	switch {
	case hasVBMI(isa):
		if n &^= 63; n > 0 {
			lookup512(&dst[0], &src[0], n, &t[0])
		}
		return n
	case !isa.hasAVX2():
		return 0
	case n > 0:
		lookup256(&dst[0], &src[0], n, &t[0])
	}
	rest := len(src) - n
	if rest < 8 {
		return n
	}
	var b [32]uint8
	copy(b[:], src[n:])
	lookup256(&b[0], &b[0], 32, &t[0])
	copy(dst[n:], b[:rest])
	return len(src)
}

// lookup sets y[i] to the table of y[i], 32 at a time with AVX2: of the rows that it has.
func (t *rowTable) lookup(y []uint8) {
	n := len(y) &^ 31
	if n > 0 {
		t.rows32(&y[0], n)
	}
	if rest := len(y) - n; rest > 0 {
		var b [32]uint8
		copy(b[:], y[n:])
		t.rows32(&b[0], 32)
		copy(y[n:], b[:rest])
	}
}

// rows32 does n elements, a multiple of 32, not 0.
func (t *rowTable) rows32(y *uint8, n int) {
	switch {
	case t.rows <= 8:
		lookup256r8(y, y, n, &t.t[0], &t.low)
	case t.rows <= 10:
		lookup256r10(y, y, n, &t.t[0], &t.low)
	case t.rows <= 12:
		lookup256r12(y, y, n, &t.t[0], &t.low)
	case t.rows <= 14:
		lookup256r14(y, y, n, &t.t[0], &t.low)
	default:
		lookup256(y, y, n, &t.t[0])
	}
}

// vectors does whole vectors and returns how many elements that were.
func (f *AddU8) vectors(dst, a, b []uint8) int {
	isa := Active()
	switch {
	case isa >= AVX512 && len(dst) >= 16:
		n := len(dst) &^ 15
		addU8x512(&dst[0], &a[0], &b[0], n, f)
		return n
	case isa >= AVX2 && len(dst) >= 8:
		n := len(dst) &^ 7
		addU8x256(&dst[0], &a[0], &b[0], n, f)
		return n
	}
	return 0
}

// vectors does whole vectors and returns how many elements that were.
func (f *MulU8) vectors(dst, a, b []uint8) int {
	isa := Active()
	switch {
	case isa >= AVX512 && len(dst) >= 16:
		n := len(dst) &^ 15
		mulU8x512(&dst[0], &a[0], &b[0], n, f)
		return n
	case isa >= AVX2 && len(dst) >= 8:
		n := len(dst) &^ 7
		mulU8x256(&dst[0], &a[0], &b[0], n, f)
		return n
	}
	return 0
}

// maxU8 does whole vectors and returns how many elements that were.
func maxU8(dst, src []uint8) int {
	n := len(dst) &^ 31
	if n == 0 || Active() < AVX2 {
		return 0
	}
	maxU8x32(&dst[0], &src[0], n)
	return n
}

// sumRowsU8 does whole vectors of sums and returns how many sums that were.
func sumRowsU8(acc []int32, x []uint8, rows, ld int) int {
	isa := Active()
	switch {
	case isa >= AVX512 && len(acc) >= 16:
		n := len(acc) &^ 15
		sumRowsU8x512(&acc[0], n, &x[0], rows, ld)
		return n
	case isa >= AVX2 && len(acc) >= 8:
		n := len(acc) &^ 7
		sumRowsU8x256(&acc[0], n, &x[0], rows, ld)
		return n
	}
	return 0
}

// widen copies whole vectors of pixels of three bytes to places of four, and returns how many pixels that were.
func widen(dst, src []uint8) int {
	n := (len(src) - 4) / 3 &^ 7
	if n <= 0 || !Active().hasAVX2() {
		return 0
	}
	widenPixels256(&dst[:4*n][0], &src[0], n)
	return n
}

// interleave3 turns whole vectors of three planes into pixels, and returns how many pixels that were.
func interleave3(dst, x, y, z []uint8) int {
	n := len(x) &^ 15
	if n == 0 || !Active().hasAVX2() {
		return 0
	}
	interleave3x16(&dst[:3*n][0], &x[0], &y[:n][0], &z[:n][0], n)
	return n
}
