//go:build amd64 && !noasm

package kernel

//go:noescape
func stride2AVX2(dst, src *float32, n int)

//go:noescape
func interleave2AVX2(dst, x, y *float32, n int)

//go:noescape
func transpose8AVX2(dst, src *byte, dstStride, srcStride, blocks int)

//go:noescape
func transpose16AVX2(dst, src *byte, dstStride, srcStride, blocks int)

//go:noescape
func transpose16AVX512(dst, src *byte, dstStride, srcStride, blocks int)

//go:noescape
func transposeStreamAVX512(dst, src *byte, dstStride, srcStride, blocks int)

//go:noescape
func transposeStream64AVX512(dst, src *byte, dstStride, srcStride, blocks int)

//go:noescape
func copyRowsAVX2(dst, src *byte, w, rows, dstStride, srcStride int)

//go:noescape
func streamRowsAVX2(dst, src *byte, w, rows, dstStride, srcStride int)

//go:noescape
func streamFence()

//go:noescape
func gatherRowsAVX2(dst, src *byte, index *int, w, count int)

//go:noescape
func gatherStreamAVX2(dst, src *byte, index *int, w, count int)

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

// copyRowsVec does copyRowsAVX2, or streamRowsAVX2 without streamFence, where it can.
func copyRowsVec(dst, src *byte, w, rows, dstStride, srcStride int, stream bool) bool {
	switch {
	case Active() < AVX2:
		return false
	case stream:
		streamRowsAVX2(dst, src, w, rows, dstStride, srcStride)
	default:
		copyRowsAVX2(dst, src, w, rows, dstStride, srcStride)
	}
	return true
}

// gatherRowsVec does gatherRowsAVX2, or gatherStreamAVX2, where it can.
func gatherRowsVec(dst, src *byte, index *int, w, count int, stream bool) bool {
	switch {
	case Active() < AVX2:
		return false
	case stream:
		gatherStreamAVX2(dst, src, index, w, count)
		streamFence()
	default:
		gatherRowsAVX2(dst, src, index, w, count)
	}
	return true
}

// transpose16Vec sets dst[j,i] = src[i,j] for 16 rows of n 32-bit elements, where it can, and returns how many of the columns it has done. With stream,
// which asks for whole cache lines of dst, stores may go past the caches, without streamFence.
func transpose16Vec(dst, src *byte, dstStride, srcStride, n int, stream bool) int {
	switch isa := Active(); {
	case isa >= AVX512 && n >= 16 && stream:
		transposeStreamAVX512(dst, src, dstStride, srcStride, n/16)
		return n &^ 15
	case isa >= AVX512 && n >= 16:
		transpose16AVX512(dst, src, dstStride, srcStride, n/16)
		return n &^ 15
	case isa >= AVX2 && n >= 8:
		transpose16AVX2(dst, src, dstStride, srcStride, n/8)
		return n &^ 7
	}
	return 0
}

// transpose64Vec is transpose16Vec with stream for 64 rows.
func transpose64Vec(dst, src *byte, dstStride, srcStride, n int) int {
	if Active() < AVX512 || n < 16 {
		return 0
	}
	transposeStream64AVX512(dst, src, dstStride, srcStride, n/16)
	return n &^ 15
}
