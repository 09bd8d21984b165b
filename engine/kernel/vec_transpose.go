package kernel

import "unsafe"

// transposeTile is the side of the squares that are transposed at once: as many cache lines as one set of a first-level cache
// holds, since rows are often a power of two apart.
const transposeTile = 8

// transposeStrip is the number of columns of src that are transposed from the first row to the last before the next ones: the
// cache lines of that many rows of dst, where they are filled a piece at a time, stay in the second-level cache. Where rows of dst lie pages apart they
// share few of its sets, so AVX2 has fewer of them; AVX-512 fills lines at once.
const transposeStrip, transposeNarrow = 512, 64

// Transpose sets element [j, i] of dst to element [i, j] of src, for m rows of n elements of size bytes (1, 2, 4 or 8). Rows
// begin srcStride elements apart in src and dstStride in dst, which must not overlap. With stream, stores go past the caches where they can.
func Transpose(dst, src []byte, size, m, n, dstStride, srcStride int, stream bool) {
	transpose(dst, src, size, m, n, dstStride, srcStride, stream && m*n*size >= streamLeast)
}

// transpose is Transpose for matrices of any size.
func transpose(dst, src []byte, size, m, n, dstStride, srcStride int, stream bool) {
	if m <= 0 || n <= 0 {
		return
	}
	if len(dst) < ((n-1)*dstStride+m)*size || len(src) < ((m-1)*srcStride+n)*size {
		panic(badRowLen)
	}
	stream = stream && size == 4 && aligned(dst, 4*dstStride)
	strip := transposeStrip
	if size == 4 && dstStride%1024 == 0 && !Active().hasAVX512() {
		strip = transposeNarrow
	}
	for j := 0; j < n; j += strip {
		d, s, w := dst[j*dstStride*size:], src[j*size:], min(strip, n-j)
		switch size {
		case 1:
			transposeTiles[[1]byte](d, s, m, w, dstStride, srcStride)
		case 2:
			transposeTiles[[2]byte](d, s, m, w, dstStride, srcStride)
		case 4:
			if m < transposeTile {
				transposeTiles[[4]byte](d, s, m, w, dstStride, srcStride)
				continue
			}
			transpose32(d, s, m, w, 4*dstStride, 4*srcStride, stream)
		case 8:
			transposeTiles[[8]byte](d, s, m, w, dstStride, srcStride)
		default:
			panic(badRowLen)
		}
	}
	if stream {
		streamFence()
	}
}

// transposeTiles is Transpose for elements of one size.
func transposeTiles[T [1]byte | [2]byte | [4]byte | [8]byte](dst, src []byte, m, n, dstStride, srcStride int) {
	var z T
	d := unsafe.Slice((*T)(unsafe.Pointer(&dst[0])), len(dst)/len(z))
	s := unsafe.Slice((*T)(unsafe.Pointer(&src[0])), len(src)/len(z))
	width := transposeTile
	if m < transposeTile { // few elements of each row of dst
		width = n
	}
	for i0 := 0; i0 < m; i0 += transposeTile {
		for j0 := 0; j0 < n; j0 += width {
			cols := min(width, n-j0)
			for i := i0; i < min(i0+transposeTile, m); i++ {
				k := j0*dstStride + i
				for _, v := range s[i*srcStride+j0:][:cols] {
					d[k] = v
					k += dstStride
				}
			}
		}
	}
}
