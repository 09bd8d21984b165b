//go:build arm64 && !noasm

package kernel

// lanes is the number of float32 in a register.
func (i ISA) lanes() int { return 4 }

func epilogueAsm(_ ISA, x *epArgs) { epilogueNEON(x) }

func dequantizeAsm(_ ISA, x *epArgs, _, _ bool) { dequantizeNEON(x) }

// neonRows is the number of rows that the kernels of 8 and fewer columns take; neonFew is that of the kernels of a whole panel, which
// read the weights in order.
const neonRows, neonFew = 8, 3

// block computes rows i0..i1 of panels j0..j1 over k0..k0+kk (kk > 0); b starts at panel j0, whose rows begin with row k0-bk of B.
func (g *gemmJob) block(b []float32, i0, i1, j0, j1, k0, bk, kk int, acc bool) {
	if g.isa == Generic {
		g.blockGo(b, i0, i1, j0, j1, k0, bk, kk, acc)
		return
	}
	start := 0
	if acc {
		start = 1
	}
	lda, ldc, m := 4*g.lda, 4*g.ldc, i1-i0
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		bs := g.rowStride(w)
		panel := b[(j-j0)*g.ps+bk*bs:]
		if w == PanelWidth && m <= neonFew {
			gemmNEON32(m, kk, &g.a[i0*g.lda+k0], lda, &panel[0], 4*bs, &g.c[i0*g.ldc+j*PanelWidth], ldc, start)
			continue
		}
		for h, n := 0, 0; h < w; h += n {
			n = neonColumns(w - h)
			blocks := ceilDiv(m, neonRows)
			for t, i := 0, i0; i < i1; t++ {
				mr := (i1 - i + blocks - t - 1) / (blocks - t) // blocks of nearly equal height
				x, y, z := &g.a[i*g.lda+k0], &panel[h], &g.c[i*g.ldc+j*PanelWidth+h]
				switch n {
				case 8:
					gemmNEON8(mr, kk, x, lda, y, 4*bs, z, ldc, start)
				case 4:
					gemmNEON4(mr, kk, x, lda, y, 4*bs, z, ldc, start)
				case 3:
					gemmNEON3(mr, kk, x, lda, y, 4*bs, z, ldc, start)
				case 2:
					gemmNEON2(mr, kk, x, lda, y, 4*bs, z, ldc, start)
				case 1:
					gemmNEON1(mr, kk, x, lda, y, 4*bs, z, ldc, start)
				}
				i += mr
			}
		}
	}
}

// neonColumns is the number of columns that the next kernel takes when w are left.
func neonColumns(w int) int {
	switch {
	case w >= 8:
		return 8
	case w >= 4:
		return 4
	}
	return w
}
