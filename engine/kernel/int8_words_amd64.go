//go:build amd64 && !noasm

package kernel

import "sync"

const (
	// wordRows is the number of rows that the exact AVX2 product takes at most.
	wordRows = 6
	// wordBytes is the size of the rows that are widened at a time, six at least: they stay in the L1 cache beside the weights of eight columns.
	wordBytes = 24 << 10
)

// scratchI16 is recycled working memory.
type scratchI16 struct{ w []int16 }

var scratchPoolI16 = sync.Pool{New: func() any { return new(scratchI16) }}

// words256 is sums for weights of any size with AVX2: rows are widened to 16 bits, a few at a time, and multiplied by the weights, which the kernel
// widens. c is the element at row i0 of panel j0.
func (g *int8Job) words256(c *int32, ldc, k4, i0, i1, j0, j1, n int) {
	k := 4 * k4
	strip := max(1, wordBytes/(2*k*wordRows)) * wordRows
	s := scratchPoolI16.Get().(*scratchI16)
	if size := min(strip, i1-i0) * k; cap(s.w) < size {
		s.w = make([]int16, size)
	}
	for r0 := i0; r0 < i1; r0 += strip {
		r1 := min(i1, r0+strip)
		w := s.w[:(r1-r0)*k]
		for r := r0; r < r1; r++ {
			wordsOfU8(&w[(r-r0)*k], &g.a[r*g.lda:][:k][0], k)
		}
		for col := 0; col < min(n, j1*PanelWidth)-j0*PanelWidth; col += 8 {
			y := &g.b.data[(j0+col/PanelWidth)*k*PanelWidth+4*(col%PanelWidth)]
			var mask *int32 // stores of whole vectors have none
			if left := n - j0*PanelWidth - col; left < 8 {
				mask = &maskTable[16-left]
			}
			for r, blocks := r0, ceilDiv(r1-r0, wordRows); r < r1; blocks-- {
				m := ceilDiv(r1-r, blocks)
				wordsS8x8(m, k4, &w[(r-r0)*k], 2*k, y, at(c, (r-i0)*ldc+col), 4*ldc, mask)
				r += m
			}
		}
	}
	scratchPoolI16.Put(s)
}

// wordsS8x8 is the product of m rows, 1 to 6, and 8 columns.
func wordsS8x8(m, k4 int, x *int16, lda int, y *int8, z *int32, ldc int, mask *int32) {
	const bs = 4 * PanelWidth
	switch m {
	case 1:
		wordsS8x8m1(k4, x, lda, y, bs, z, ldc, mask)
	case 2:
		wordsS8x8m2(k4, x, lda, y, bs, z, ldc, mask)
	case 3:
		wordsS8x8m3(k4, x, lda, y, bs, z, ldc, mask)
	case 4:
		wordsS8x8m4(k4, x, lda, y, bs, z, ldc, mask)
	case 5:
		wordsS8x8m5(k4, x, lda, y, bs, z, ldc, mask)
	default:
		wordsS8x8m6(k4, x, lda, y, bs, z, ldc, mask)
	}
}
