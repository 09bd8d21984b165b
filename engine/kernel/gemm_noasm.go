//go:build !amd64 || noasm

package kernel

func (g *gemmJob) block(b []float32, i0, i1, j0, j1, k0, bk, kk int, acc bool) {
	g.blockGo(b, i0, i1, j0, j1, k0, bk, kk, acc)
}

func (g *gemmJob) epilogue(i0, i1, j0, j1 int) {
	if !g.ep.plain() {
		g.ep.applyGo(g.c, g.ldc, i0, i1, j0, j1)
		g.ep.activateRows(g.c, g.ldc, i0, i1, j0, j1)
	}
}

func transposeBlock(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeGo(dst, ldd, src, lds, rows, cols)
}

func copyPanel(dst, src []float32, lds, k int) { copyPanelGo(dst, src, lds, k) }

func (im *convImage) packPanel(_ ISA, dst []float32, j int) { im.packPanelGo(dst, j) }

func (g *gemmJob) blockHalfDirect(i0, i1, j0, j1, k0, kk int, acc bool) int { return j0 }

func widenPairsVec(dst []float32, src []uint16, n, rows int) bool { return false }

func (g *gemmJob) blockBF16(i0, i1, j0, j1, k0, kk int, acc bool) {
	g.blockBF16Go(i0, i1, j0, j1, k0, kk, acc)
}

func roundTilesVec(dst []uint16, src []float32, lds, rows, k int) bool { return false }
