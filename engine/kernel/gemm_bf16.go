package kernel

import (
	"math"
	"sync"
)

// Products of bfloat16 numbers: A is rounded to bfloat16, products are exact, every addition rounds to float32, to nearest even, and
// subnormal operands and results of any step count as 0. There are two orders of the additions, those of the instructions (Intel SDM
// volume 2):
//
// On tiles (TDPBF16PS), and where neither instruction is used: for every 32 k one chain of fused multiply-adds runs over the even and
// one over the odd k, each from 0, and their sum is added to the result. So the error of an element against the exact sum over the
// rounded A is at most (18 + K/32) 2^-24 times the sum of |a b|.
//
// In pairs (VDPBF16PS): one chain of fused multiply-adds runs over all k, of each pair the odd one first, from 0 or from C when
// accumulating. K steps round, so the error is at most K 2^-24 / (1 - K 2^-24) times the sum of |a b|, and |C|
// when accumulating; K is rounded up to an even number.
//
// What is flushed comes on top: at most 2^-126 each step, and 2^-126 |b| or |a| for every subnormal operand.

// BF16Fast tells whether GemmBF16 runs on tiles here, or in pairs on a CPU for which that was measured to be faster than float32; where
// it is false, GemmHalf is more exact and, as far as that was measured, faster.
func BF16Fast() bool {
	isa := Active()
	return isa.hasTiles() || isa.pairsBF16() && dotsPay()
}

// GemmBF16 computes C = epilogue(A*B) with A rounded to bfloat16, in the arithmetic above, in pairs at the level AVX512BF16: A[m,K] and
// C[m,N] are row-major with leading dimensions lda and ldc, b is of the kind BF16 (panic). C must not overlap A, the epilogue's slices
// or B. Each row of the result depends on the same row of A alone, whatever m is.
func GemmBF16(p *Pool, m int, a []float32, lda int, b *PackedHalf, c []float32, ldc int, ep Epilogue) {
	gemmBF16(p, Active().pairsBF16(), m, a, lda, b, c, ldc, ep)
}

// pairsBF16 tells whether GemmBF16 multiplies in pairs.
func (i ISA) pairsBF16() bool { return i.hasBF16() && !i.hasTiles() }

// gemmBF16 is GemmBF16, in pairs or not.
func gemmBF16(p *Pool, pairs bool, m int, a []float32, lda int, b *PackedHalf, c []float32, ldc int, ep Epilogue) {
	if b.Kind != BF16 {
		panic("kernel: the weights are not bfloat16")
	}
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	ep.check(m, b.N)
	if m == 0 || b.N == 0 {
		return
	}
	g := newGemmJob(m, b.N, b.K, a, lda, c, ldc, &ep)
	g.half, g.ps, g.pairs = b, b.rows()*PanelWidth, pairs
	s := getScratchU16(g.roundedLen())
	g.rounded = s.h
	g.roundRows(p)
	g.run(p)
	g.release()
	scratchPoolU16.Put(s)
}

// tileK is the number of k in one tile of bfloat16, tileRows that of its rows.
const tileK, tileRows = 32, 16

// pairsPitch is the distance of the rows of A that are multiplied in pairs: an odd number of cache lines, so that rows do not compete
// for the same few sets of a cache.
func pairsPitch(k int) int { return (ceilDiv(k, tileK) | 1) * tileK }

// roundedLen is the size of A in bfloat16.
func (g *gemmJob) roundedLen() int {
	if g.pairs {
		return g.m * pairsPitch(g.k)
	}
	return ceilDiv(g.m, tileRows) * tileRows * ceilDiv(g.k, tileK) * tileK
}

// roundRows rounds A[m,k] to bfloat16, the last columns filled up with zeros: to tiles, [m/16][k/32][16][32], in which rows that are
// not there keep what is there, or for pairs to rows pairsPitch apart.
func (g *gemmJob) roundRows(p *Pool) {
	if g.k == 0 {
		return
	}
	size, ldd, step := ceilDiv(g.k, tileK)*tileK*tileRows, tileK, tileK*tileRows
	if g.pairs {
		ldd, step = pairsPitch(g.k), tileK
		size = ldd * tileRows
	}
	if g.m*g.k < 1<<17 {
		p = nil
	}
	m, k, a, lda, dst := g.m, g.k, g.a, g.lda, g.rounded
	p.Run(ceilDiv(m, tileRows), func(i int) {
		rows := min(tileRows, m-i*tileRows)
		src, d := a[i*tileRows*lda:], dst[i*size:min((i+1)*size, len(dst))]
		if !roundRowsVec(d, ldd, step, src, lda, rows, k) {
			roundRowsGo(d, ldd, step, src, lda, rows, k)
		}
	})
}

// roundRowsGo is the Go twin of the assembly: rows of k numbers, each to rows ldd apart whose groups of 32 columns are step apart.
func roundRowsGo(dst []uint16, ldd, step int, src []float32, lds, rows, k int) {
	for r := range rows {
		x := src[r*lds:][:k]
		for q := range (k + tileK - 1) &^ (tileK - 1) {
			var v uint16
			if q < k {
				v = roundBF16(x[q])
			}
			dst[r*ldd+q/tileK*step+q%tileK] = v
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
						s[q%2] = flushed(Fma32(wideBF16(x), wideBF16(y), s[q%2]))
					}
					c[e] = flushed(flushed(c[e]) + flushed(s[0]+s[1]))
				}
			}
		}
	}
}

// blockPairsGo is the Go twin of the products in pairs: rows i0..i1 of panels j0..j1 over k0..k0+kk; k0 is even.
func (g *gemmJob) blockPairsGo(i0, i1, j0, j1, k0, kk int, acc bool) {
	pitch := pairsPitch(g.k)
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		stride, b := panelStride(w), g.half.data[j*g.ps:]
		for i := i0; i < i1; i++ {
			c := g.c[i*g.ldc+j*PanelWidth:][:w]
			if !acc {
				clear(c)
			}
			a := g.rounded[i*pitch:][:pitch]
			for e := range c {
				s := flushed(c[e])
				for q := k0; q < k0+kk; q += 2 {
					y := b[(q/2*stride+e)*2:][:2]
					s = flushed(Fma32(wideBF16(a[q+1]), wideBF16(y[1]), s))
					s = flushed(Fma32(wideBF16(a[q]), wideBF16(y[0]), s))
				}
				c[e] = s
			}
		}
	}
}

// wideBF16 returns the number h, or 0 of its sign if it is subnormal.
func wideBF16(h uint16) float32 { return flushed(math.Float32frombits(uint32(h) << 16)) }

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
