//go:build amd64 && !noasm

package kernel

// directHalf256 is the number of rows up to which AVX2 widens the weights as it loads them, for every micro-kernel again. With more
// rows it is better to widen them once. With AVX-512, whose
// micro-kernels have 12 rows, the first is never slower (Sapphire Rapids).
const directHalf256 = 24

// blockHalfDirect computes whole panels from j0 on without widening them in memory and returns the first panel that it left.
func (g *gemmJob) blockHalfDirect(i0, i1, j0, j1, k0, kk int, acc bool) int {
	m, start := i1-i0, 0
	if acc {
		start = 1
	}
	j1 = min(j1, g.n/PanelWidth)
	per, bs := 1, 2*PanelWidth // rows of B in a row of a panel, and its bytes
	if g.half.Kind == BF16 {
		per, bs = 2, 4*PanelWidth
	}
	lda, ldc, ps := 4*g.lda, 4*g.ldc, 2*g.ps
	x := &g.a[i0*g.lda+k0]
	j := j0
	switch {
	case g.isa.hasAVX512():
		for ; m <= 3 && j+4 <= j1; j += 4 {
			gemvHalf512(g.half.Kind, m, kk, x, lda, &g.half.data[j*g.ps+k0/per*bs/2], bs, ps, &g.c[i0*g.ldc+j*PanelWidth], ldc, start)
		}
		blocks := ceilDiv(m, 12)
		for ; j < j1; j++ {
			y := &g.half.data[j*g.ps+k0/per*bs/2]
			for t, i := 0, i0; i < i1; t++ {
				mr := (i1 - i + blocks - t - 1) / (blocks - t) // blocks of nearly equal height
				x, z := &g.a[i*g.lda+k0], &g.c[i*g.ldc+j*PanelWidth]
				if g.half.Kind == BF16 {
					gemmBF16x512m(mr, kk, x, lda, y, bs, z, ldc, start)
				} else {
					gemmF16x512m(mr, kk, x, lda, y, bs, z, ldc, start)
				}
				i += mr
			}
		}
	case g.isa.hasAVX2() && !g.isa.hasAVX512() && m <= directHalf256:
		for ; m == 1 && j+2 <= j1; j += 2 {
			y, z := &g.half.data[j*g.ps+k0/per*bs/2], &g.c[i0*g.ldc+j*PanelWidth]
			if g.half.Kind == BF16 {
				gemvBF16x256m1(kk, x, lda, y, bs, ps, z, ldc, start)
			} else {
				gemvF16x256m1(kk, x, lda, y, bs, ps, z, ldc, start)
			}
		}
		blocks := ceilDiv(m, 6)
		for ; j < j1; j++ {
			for h := range 2 { // half a panel at a time
				y := &g.half.data[j*g.ps+k0/per*bs/2+h*bs/4]
				for t, i := 0, i0; i < i1; t++ {
					mr := (i1 - i + blocks - t - 1) / (blocks - t)
					x, z := &g.a[i*g.lda+k0], &g.c[i*g.ldc+j*PanelWidth+16*h]
					if g.half.Kind == BF16 {
						gemmBF16x256m(mr, kk, x, lda, y, bs, z, ldc, start)
					} else {
						gemmF16x256m(mr, kk, x, lda, y, bs, z, ldc, start)
					}
					i += mr
				}
			}
		}
	}
	return j
}

// gemvHalf512 calls the kernel of m rows, 1 to 3.
func gemvHalf512(kind HalfKind, m, k int, a *float32, lda int, b *uint16, bs, ps int, c *float32, ldc, acc int) {
	switch {
	case kind == BF16 && m == 1:
		gemvBF16x512m1(k, a, lda, b, bs, ps, c, ldc, acc)
	case kind == BF16 && m == 2:
		gemvBF16x512m2(k, a, lda, b, bs, ps, c, ldc, acc)
	case kind == BF16:
		gemvBF16x512m3(k, a, lda, b, bs, ps, c, ldc, acc)
	case m == 1:
		gemvF16x512m1(k, a, lda, b, bs, ps, c, ldc, acc)
	case m == 2:
		gemvF16x512m2(k, a, lda, b, bs, ps, c, ldc, acc)
	default:
		gemvF16x512m3(k, a, lda, b, bs, ps, c, ldc, acc)
	}
}

// widenPairsVec is widen of BF16 in assembly, for n a multiple of 16 and rows > 0; false if there is none.
func widenPairsVec(dst []float32, src []uint16, n, rows int) bool {
	_, _ = dst[2*n*rows-1], src[2*n*rows-1]
	switch isa := Active(); {
	case isa.hasAVX512():
		widenPairs512(&dst[0], &src[0], n, rows)
	case isa.hasAVX2():
		widenPairs256(&dst[0], &src[0], n, rows)
	default:
		return false
	}
	return true
}
