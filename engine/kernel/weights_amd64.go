//go:build amd64 && !noasm

package kernel

// columnExtents does whole vectors of columns and returns how many columns that were, and whether their elements are finite.
func columnExtents(lo, hi, x []float32, rows, ld int) (k int, finite bool) {
	k = len(lo) &^ 7
	if k == 0 || !Active().hasAVX2() {
		return 0, true
	}
	var check float32
	i := 0
	for ; i+4 <= rows; i += 4 {
		check += columnExtents4x256(&lo[0], &hi[0], &x[i*ld], 4*ld, k)
	}
	for ; i < rows; i++ {
		check += columnExtents1x256(&lo[0], &hi[0], &x[i*ld], 4*ld, k)
	}
	return k, check == 0
}

// groupCodes does whole vectors of columns and returns how many columns that were.
func groupCodes(q []uint8, step int, x []float32, rows, ld int, recip, zero []float32, bits int) int {
	k := len(recip) &^ 15
	if k == 0 || rows*bits%32 != 0 || !Active().hasAVX2() {
		return 0
	}
	if bits == 4 {
		groupCodes4x256(&q[0], step, &x[0], 4*ld, rows, &recip[0], &zero[0], k)
	} else {
		groupCodes8x256(&q[0], step, &x[0], 4*ld, rows, &recip[0], &zero[0], k)
	}
	return k
}

// columnCodes does whole vectors and returns how many elements that were.
func columnCodes(q []uint8, x, scale []float32, lo, hi float32) int {
	k := len(q) &^ 31
	if k == 0 || !Active().hasAVX2() {
		return 0
	}
	columnCodes256(&q[0], &x[0], &scale[0], k, lo, hi)
	return k
}
