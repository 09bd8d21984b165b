package kernel

import "unsafe"

const (
	// cacheLine is the unit of stores that go past the caches.
	cacheLine = 64
	// copyPiece is the size of pieces of rows that Go copies: from 1 MiB on it stores past the caches, which makes 8 MiB and less take 1.6 times as
	// long, and 1.9 times as long with the reader of the copy.
	copyPiece = 512 << 10
	// streamRow is the length from which on rows that begin or end within a line are streamed, but for those lines.
	streamRow = 4 << 10
	// streamLeast is how much of an output one call stores past the caches at least: ordering such stores takes as long as copying 2 KiB.
	streamLeast = 16 << 10
	// streamFrom is the size of an output from which on it pays to store past the caches, also if what comes next reads it, and streamTouched that of an
	// output and of what is read for it. An EPYC (Zen 4, a last level of 32 MiB) takes, in ms per 16 MiB through the caches and past them, and with
	// a second pass that reads the output (least of 24 samples in turn; with 2 threads on one complex of cores, whose stores to memory one thread fills):
	//
	//	threads, output   halves of rows of 8 KiB     halves that are the same    heads, rows of 256 bytes
	//	1  8 MiB          0.53 0.60, read 0.69 1.06   0.45 0.60, read 0.65 1.04   0.60 0.59, read 0.86 1.06
	//	1 12 MiB          0.98 0.60, read 1.07 1.09   0.67 0.59, read 0.84 1.05   0.96 0.60, read 1.29 1.10
	//	1 14 MiB          1.11 0.61, read 1.49 1.17   0.76 0.60, read 1.16 1.05   1.04 0.61, read 1.44 1.12
	//	1 16 MiB          1.36 0.67, read 1.64 1.21   0.92 0.60, read 1.38 1.11   1.08 0.61, read 1.57 1.22
	//	1 64 MiB          1.93 0.93, read 2.44 1.94   2.01 0.95, read 2.70 1.90   1.58 0.91, read 2.48 1.87
	//	2 16 MiB          0.62 0.60, read 0.69 1.01   0.33 0.60, read 0.63 1.00   0.50 0.61, read 0.78 1.07
	//	2 18 MiB          0.54 0.62, read 0.85 1.07   0.55 0.61, read 0.65 1.01   0.58 0.61, read 0.82 1.05
	//	2 24 MiB          0.84 0.63, read 1.12 1.08   0.65 0.59, read 0.80 1.01   0.73 0.63, read 1.00 1.11
	//	2 64 MiB          1.17 0.66, read 1.55 1.34   1.13 0.66, read 1.74 1.26   0.99 0.73, read 1.52 1.35
	//
	// and with 2 threads on two complexes, where the stores of each are their own:
	//
	//	2 12 MiB          0.42 0.31, read 0.34 0.58   0.21 0.31, read 0.29 0.56   0.44 0.32, read 0.58 0.56
	//	2 16 MiB          0.58 0.31, read 0.58 0.62   0.47 0.31, read 0.36 0.56   0.51 0.33, read 0.84 0.61
	//	2 24 MiB          0.71 0.36, read 0.83 0.77   0.62 0.31, read 0.70 0.59   0.70 0.34, read 0.92 0.69
	streamFrom, streamTouched = 16 << 20, 20 << 20
)

// Streams tells whether operators that only move elements, in so many threads, store an output of out bytes past the caches, where most of it would not
// stay until it is read. in is how many different bytes they read for it.
func Streams(out, in, threads int) bool { return streams(out, in, threads, lastLevel()) }

// streams is Streams for a last level of so many bytes, 0 where that is not known. One thread takes longer to fill caches than memory from half of them on.
// Several, which memory would hold up together, keep outputs that take at most three quarters of the last level with what is read for them. A larger level
// than 32 MiB counts as that much: none was measured, and a virtual machine has but its share of the one that it is shown.
func streams(out, in, threads, cache int) bool {
	if threads > 1 {
		return out >= streamFrom && out+in > min(cache, 2*streamFrom)/4*3
	}
	return out >= streamFrom || out+in > streamTouched
}

// CopyRows copies rows of w bytes, which begin srcStride bytes apart in src and dstStride in dst; srcStride may be less than w. With stream, stores go
// past the caches where they can. dst and src must not overlap.
func CopyRows(dst, src []byte, w, rows, dstStride, srcStride int, stream bool) {
	CopyBlocks(dst, src, w, [2]int{1, rows}, [2]int{0, dstStride}, [2]int{0, srcStride}, stream)
}

// CopyBlocks is CopyRows for n[0] blocks of n[1] rows: index 0 of the strides is that of the blocks, index 1 that of the rows in them.
func CopyBlocks(dst, src []byte, w int, n, dstStride, srcStride [2]int, stream bool) {
	copyBlocks(dst, src, w, n, dstStride, srcStride, stream && w*n[0]*n[1] >= streamLeast)
}

// copyBlocks is CopyBlocks for blocks of any size.
func copyBlocks(dst, src []byte, w int, n, dstStride, srcStride [2]int, stream bool) {
	if w <= 0 || n[0] <= 0 || n[1] <= 0 {
		return
	}
	for i := range n {
		if n[i] == 1 {
			dstStride[i], srcStride[i] = w, w
		}
		if dstStride[i] < w || srcStride[i] < 0 {
			panic(badRowLen)
		}
	}
	most := func(stride [2]int) int { return (n[0]-1)*stride[0] + (n[1]-1)*stride[1] + w }
	if len(dst) < most(dstStride) || len(src) < most(srcStride) {
		panic(badRowLen)
	}
	if dstStride[1] == w && srcStride[1] == w {
		w, n[1], dstStride[1], srcStride[1] = w*n[1], 1, w*n[1], w*n[1]
	}
	vec := Active().hasAVX2() && w >= 4
	whole := stream && aligned(dst, w|dstStride[0]|dstStride[1])
	for b := range n[0] {
		d, s := dst[b*dstStride[0]:], src[b*srcStride[0]:]
		switch {
		case !vec:
			copyRowsGo(d, s, w, n[1], dstStride[1], srcStride[1])
		case stream && !whole && w >= streamRow:
			streamRows(d, s, w, n[1], dstStride[1], srcStride[1])
		default:
			copyRowsVec(&d[0], &s[0], w, n[1], dstStride[1], srcStride[1], whole)
		}
	}
	if vec && stream {
		streamFence()
	}
}

// streamRows copies rows that begin or end within a line past the caches, but for those lines.
func streamRows(dst, src []byte, w, rows, dstStride, srcStride int) {
	for i := range rows {
		d, s := dst[i*dstStride:][:w], src[i*srcStride:][:w]
		lead := int(-uintptr(unsafe.Pointer(&d[0])) % cacheLine)
		lines := (w - lead) &^ (cacheLine - 1)
		copy(d[:lead], s)
		copyRowsVec(&d[lead], &s[lead], lines, 1, lines, lines, true)
		copy(d[lead+lines:], s[lead+lines:])
	}
}

// aligned tells whether dst begins with a line and n is a number of whole lines.
func aligned(dst []byte, n int) bool {
	return (uintptr(unsafe.Pointer(&dst[0]))|uintptr(n))%cacheLine == 0
}

// copyRowsGo is CopyRows in Go.
func copyRowsGo(dst, src []byte, w, rows, dstStride, srcStride int) {
	for i := range rows {
		d, s := dst[i*dstStride:][:w], src[i*srcStride:][:w]
		for len(d) > copyPiece {
			copy(d[:copyPiece], s)
			d, s = d[copyPiece:], s[copyPiece:]
		}
		copy(d, s)
	}
}

// CopyIndexed copies row index[i] of src, of w bytes, to row i of dst. The caller has checked the indices, 0 and up: one out of range panics. With
// stream, stores go past the caches where they can. dst and src must not overlap.
func CopyIndexed(dst, src []byte, w int, index []int, stream bool) {
	copyIndexed(dst, src, w, index, stream && len(dst) >= streamLeast)
}

// copyIndexed is CopyIndexed for rows of any size.
func copyIndexed(dst, src []byte, w int, index []int, stream bool) {
	if w <= 0 || len(index) == 0 {
		return
	}
	if len(dst) != len(index)*w {
		panic(badRowLen)
	}
	last := len(src)/w - 1
	for _, r := range index {
		if r < 0 || r > last {
			panic(badIndex)
		}
	}
	if w >= cacheLine && gatherRowsVec(&dst[0], &src[0], &index[0], w, len(index), stream && aligned(dst, w)) {
		return
	}
	for i, r := range index {
		copy(dst[i*w:(i+1)*w], src[r*w:(r+1)*w])
	}
}
