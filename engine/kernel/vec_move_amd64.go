//go:build amd64 && !noasm

package kernel

//go:noescape
func stride2AVX2(dst, src *float32, n int)

//go:noescape
func interleave2AVX2(dst, x, y *float32, n int)

//go:noescape
func transpose8AVX2(dst, src *byte, dstStride, srcStride, blocks int)

// stride2Vec does stride2AVX2 where it can.
func stride2Vec(dst, src *float32, n int) bool {
	if Active() < AVX2 {
		return false
	}
	stride2AVX2(dst, src, n)
	return true
}

// interleave2Vec does interleave2AVX2 where it can.
func interleave2Vec(dst, x, y *float32, n int) bool {
	if Active() < AVX2 {
		return false
	}
	interleave2AVX2(dst, x, y, n)
	return true
}

// transpose8Vec does transpose8AVX2 where it can.
func transpose8Vec(dst, src *byte, dstStride, srcStride, blocks int) bool {
	if Active() < AVX2 {
		return false
	}
	transpose8AVX2(dst, src, dstStride, srcStride, blocks)
	return true
}
