//go:build !amd64 || noasm

package kernel

func columnExtents(lo, hi, x []float32, rows, ld int) (k int, finite bool) { return 0, true }

func groupCodes(q []uint8, step int, x []float32, rows, ld int, recip, zero []float32, bits int) int {
	return 0
}

func columnCodes(q []uint8, x, scale []float32, lo, hi float32) int { return 0 }
