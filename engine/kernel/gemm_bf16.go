package kernel

import (
	"math"
	"sync"
)

// Products of bfloat16 numbers, with the arithmetic of AMX (TDPBF16PS, Intel SDM volume 2): A is rounded to bfloat16; for every 32 k
// one chain of fused multiply-adds runs over the even and one over the odd k, each from 0, their sum is added to the result, and every
// step rounds to float32, to nearest even. Products are exact. Subnormal operands and results of any step count as 0.
//
// So the error of an element against the exact sum over the rounded A is at most (18 + K/32) 2^-24 times the sum of |a b|, but for
// what is flushed: at most 2^-126 each step, and 2^-126 |b| or |a| for every subnormal operand.

// BF16Fast tells whether GemmBF16 runs on tiles here; where it does not, GemmHalf is faster and more exact.
func BF16Fast() bool { return Active().hasTiles() }

// GemmBF16 computes C = epilogue(A*B) with A rounded to bfloat16, in the arithmetic above: A[m,K] and C[m,N] are row-major with leading
// dimensions lda and ldc, b is of the kind BF16 (panic). C must not overlap A, the epilogue's slices or B. Each row of the
// result depends on the same row of A alone, whatever m is.
func GemmBF16(p *Pool, m int, a []float32, lda int, b *PackedHalf, c []float32, ldc int, ep Epilogue) {
	if b.Kind != BF16 {
		panic("kernel: the weights are not bfloat16")
	}
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	ep.check(m, b.N)
	if m == 0 || b.N == 0 {
		return
	}
	s := getScratchU16((m + 15) &^ 15 * b.rows())
	roundRows(p, s.h, m, b.K, a, lda)
	g := newGemmJob(m, b.N, b.K, a, lda, c, ldc, &ep)
	g.half, g.rounded, g.ps = b, s.h, b.rows()*PanelWidth
	g.run(p)
	g.release()
	scratchPoolU16.Put(s)
}

// tileK is the number of k in one tile of bfloat16, tileRows that of its rows.
const tileK, tileRows = 32, 16

// roundRows rounds A[m,k] to bfloat16 tiles: [m/16][k/32][16][32], the last columns filled up with zeros; rows that are not there keep
// what is there.
func roundRows(p *Pool, dst []uint16, m, k int, a []float32, lda int) {
	if k == 0 {
		return
	}
	size := (k + tileK - 1) &^ (tileK - 1) * tileRows
	if m*k < 1<<17 {
		p = nil
	}
	p.Run(ceilDiv(m, tileRows), func(i int) {
		rows := min(tileRows, m-i*tileRows)
		src, d := a[i*tileRows*lda:], dst[i*size:(i+1)*size]
		if !roundTilesVec(d, src, lda, rows, k) {
			roundTilesGo(d, src, lda, rows, k)
		}
	})
}

// roundTilesGo is the Go twin of the assembly: rows of k numbers.
func roundTilesGo(dst []uint16, src []float32, lds, rows, k int) {
	for r := range rows {
		x := src[r*lds:][:k]
		for q := range (k + tileK - 1) &^ (tileK - 1) {
			var v uint16
			if q < k {
				v = roundBF16(x[q])
			}
			dst[(q/tileK*tileRows+r)*tileK+q%tileK] = v
		}
	}
}

// roundBF16 rounds to nearest even; subnormal numbers become 0.
func roundBF16(x float32) uint16 {
	b := math.Float32bits(x)
	switch e := b >> 23 & 0xff; {
	case e == 0:
		return uint16(b >> 16 & 0x8000)
	case e == 0xff && b&(1<<23-1) != 0:
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// flushed returns x, or 0 of its sign if it is subnormal.
func flushed(x float32) float32 {
	if b := math.Float32bits(x); b&0x7f800000 == 0 {
		return math.Float32frombits(b & (1 << 31))
	}
	return x
}

// blockBF16Go is the Go twin of the tiles: rows i0..i1 of panels j0..j1 over k0..k0+kk; k0 is a multiple of tileK.
func (g *gemmJob) blockBF16Go(i0, i1, j0, j1, k0, kk int, acc bool) {
	steps := ceilDiv(g.k, tileK)
	wide := func(h uint16) float32 { return flushed(math.Float32frombits(uint32(h) << 16)) }
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		stride, b := panelStride(w), g.half.data[j*g.ps:]
		for i := i0; i < i1; i++ {
			c := g.c[i*g.ldc+j*PanelWidth:][:w]
			if !acc {
				clear(c)
			}
			for t := k0 / tileK; t*tileK < k0+kk; t++ {
				a := g.rounded[((i/tileRows*steps+t)*tileRows+i%tileRows)*tileK:][:tileK]
				for e := range c {
					var s [2]float32
					for q, x := range a {
						y := b[((t*tileK+q)/2*stride+e)*2+q%2]
						s[q%2] = flushed(Fma32(wide(x), wide(y), s[q%2]))
					}
					c[e] = flushed(flushed(c[e]) + flushed(s[0]+s[1]))
				}
			}
		}
	}
}

// scratchU16 is recycled working memory.
type scratchU16 struct{ h []uint16 }

var scratchPoolU16 = sync.Pool{New: func() any { return new(scratchU16) }}

// getScratchU16 returns scratch of n elements with undefined contents.
func getScratchU16(n int) *scratchU16 {
	s := scratchPoolU16.Get().(*scratchU16)
	if cap(s.h) < n {
		s.h = make([]uint16, n)
	}
	s.h = s.h[:n]
	return s
}
