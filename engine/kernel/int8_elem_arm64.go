//go:build arm64 && !noasm

package kernel

// lookup does whole vectors and returns how many elements that were.
func lookup(dst, src []uint8, t *[256]uint8) int {
	n := neonLen(len(src))
	if n > 0 {
		lookupNEON(&dst[0], &src[0], n, &t[0])
	}
	return n
}

// vectors does whole vectors and returns how many elements that were.
func (f *AddU8) vectors(dst, a, b []uint8) int {
	n := neonLen(len(dst))
	if n > 0 {
		addU8NEON(&dst[0], &a[0], &b[0], n, f)
	}
	return n
}

// vectors does whole vectors and returns how many elements that were.
func (f *MulU8) vectors(dst, a, b []uint8) int {
	n := neonLen(len(dst))
	if n > 0 {
		mulU8NEON(&dst[0], &a[0], &b[0], n, f)
	}
	return n
}

// maxU8 does whole vectors and returns how many elements that were.
func maxU8(dst, src []uint8) int {
	n := neonLen(len(dst))
	if n > 0 {
		maxU8NEON(&dst[0], &src[0], n)
	}
	return n
}

// sumRowsU8 does whole vectors of sums and returns how many sums that were.
func sumRowsU8(acc []int32, x []uint8, rows, ld int) int {
	n := neonLen(len(acc))
	if n > 0 {
		sumRowsU8NEON(&acc[0], n, &x[0], rows, ld)
	}
	return n
}

func widen(dst, src []uint8) int { return 0 }

func interleave3(dst, x, y, z []uint8) int { return 0 }
