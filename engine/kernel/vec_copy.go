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
	// streamFrom is the size of an output from which on it pays to store past the caches, also if what comes next reads it: half of a last level of
	// 32 MiB. An EPYC (Zen 4) takes, in ms per 16 MiB through the caches and past them, and with a second pass that reads the output:
	//
	//	threads, output   halves of rows of 8 KiB     heads, rows of 256 bytes    64 rows transposed
	//	1  8 MiB          0.49 0.59, read 0.69 1.02   0.60 0.59, read 0.76 1.01   0.59 0.63, read 0.83 1.37
	//	1 12 MiB          0.77 0.59, read 0.92 1.03   0.80 0.58, read 1.05 1.02   0.91 0.62, read 1.28 1.37
	//	1 16 MiB          1.05 0.59, read 1.30 1.05   1.03 0.59, read 1.35 1.04   1.20 0.69, read 1.54 1.42
	//	1 64 MiB          1.72 0.99, read 2.38 1.76   1.52 0.99, read 2.29 1.68   1.96 1.20, read 2.68 1.93
	//	2 12 MiB          0.53 0.59, read 0.69 1.00   0.46 0.60, read 0.69 0.99   0.59 0.60, read 0.82 1.09
	//	2 16 MiB          1.26 0.60, read 1.51 1.14   1.14 0.62, read 1.46 1.13   1.24 0.75, read 1.63 1.49
	//	2 64 MiB          1.67 0.92, read 2.40 1.63   1.33 0.78, read 2.00 1.54   1.85 1.23, read 2.66 2.01
	streamFrom = 16 << 20
)

// Streams tells whether operators that only move elements store an output of so many bytes past the caches, where most of it would not stay until it
// is read.
func Streams(n int) bool { return n >= streamFrom }

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
