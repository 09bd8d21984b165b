//go:build !amd64 || noasm

package kernel

func (g *gemmJob) blockHalfDirect(i0, i1, j0, j1, k0, kk int, acc bool) int { return j0 }

func widenPairsVec(dst []float32, src []uint16, n, rows int) bool { return false }

func (g *gemmJob) blockBF16(i0, i1, j0, j1, k0, kk int, acc bool) {
	if g.pairs {
		g.blockPairsGo(i0, i1, j0, j1, k0, kk, acc)
	} else {
		g.blockBF16Go(i0, i1, j0, j1, k0, kk, acc)
	}
}

func roundRowsVec(dst []uint16, ldd, step int, src []float32, lds, rows, k int) bool { return false }

func dotsPay() bool { return false }
