//go:build (!amd64 && !arm64) || noasm

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
