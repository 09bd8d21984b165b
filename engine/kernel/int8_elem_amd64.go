//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// hasVBMI reports whether bytes can be looked up in registers.
func hasVBMI(i ISA) bool { return i >= AVX512 && cpu.X86.HasAVX512VBMI }

// lookup does whole vectors and returns how many elements that were.
func lookup(dst, src []uint8, t *[256]uint8) int {
	n := len(src) &^ 63
	if n == 0 || !hasVBMI(Active()) {
		return 0
	}
	lookup512(&dst[0], &src[0], n, &t[0])
	return n
}
