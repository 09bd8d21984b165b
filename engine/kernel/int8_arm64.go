//go:build arm64 && !noasm

package kernel

// marksWide tells whether packed weights carry the marks of markWide.
const marksWide = false

func markWide(panel []int8, wide []uint8) { markWideGo(panel, wide) }

// sums writes the sums of rows i0..i1 of panels j0..j1, up to column n, to c: the element at row i0 of panel j0, with rows ldc elements apart.
// Columns beyond those of B are left out.
func (g *int8Job) sums(c *int32, ldc, i0, i1, j0, j1, _ int) {
	k4 := ceilDiv(g.b.K, 4)
	few := g.isa >= NEONDot && i1-i0 <= neonFew
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.b.N-j*PanelWidth)
		for h, n := 0, 0; h < w; h += n {
			n = neonColumns(w - h)
			rows := neonRows
			if w == PanelWidth && few {
				n = PanelWidth
			}
			if g.isa == NEON {
				rows = neonPlainRows
			}
			col := j*PanelWidth + h
			y, sums := &g.b.data[j*k4*4*PanelWidth+4*h], &g.b.ColSum[col]
			blocks := ceilDiv(i1-i0, rows)
			for t, i := 0, i0; i < i1; t++ {
				mr := (i1 - i + blocks - t - 1) / (blocks - t)
				g.tile(mr, n, k4, &g.a[i*g.lda], y, at(c, (i-i0)*ldc+col-j0*PanelWidth), 4*ldc, sums)
				i += mr
			}
		}
	}
}

// neonPlainRows is the number of rows that the kernels without dot products take.
const neonPlainRows = 4

// tile computes mr rows of n columns.
func (g *int8Job) tile(mr, n, k4 int, a *uint8, b *int8, c *int32, ldc int, sums *int32) {
	const bs = 4 * PanelWidth
	switch g.isa {
	case NEON:
		switch n {
		case 8:
			smullNEON8(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 4:
			smullNEON4(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 3:
			smullNEON3(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 2:
			smullNEON2(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 1:
			smullNEON1(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		}
	case NEONDot:
		switch n {
		case PanelWidth:
			sdotNEON32(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 8:
			sdotNEON8(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 4:
			sdotNEON4(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 3:
			sdotNEON3(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 2:
			sdotNEON2(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 1:
			sdotNEON1(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		}
	default:
		switch n {
		case PanelWidth:
			sudotNEON32(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 8:
			sudotNEON8(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 4:
			sudotNEON4(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 3:
			sudotNEON3(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 2:
			sudotNEON2(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		case 1:
			sudotNEON1(mr, k4, a, g.lda, b, bs, c, ldc, sums)
		}
	}
}

func packFours(int, []uint8, int, uint32, []uint8, []int32) (int, int32) { return 0, 0 }

func (g *int8Job) prepareRow() {}
