//go:build amd64 && !noasm

package kernel

// blockBF16 computes rows i0..i1 of panels j0..j1 over k0..k0+kk; i0 is a multiple of tileRows, k0 of tileK.
func (g *gemmJob) blockBF16(i0, i1, j0, j1, k0, kk int, acc bool) {
	if !g.isa.hasTiles() {
		g.blockBF16Go(i0, i1, j0, j1, k0, kk, acc)
		return
	}
	full := min(j1, g.n/PanelWidth)
	blocks := (i1 - i0) / 32
	for _, r := range [2][3]int{{i0, 32, blocks}, {i0 + 32*blocks, i1 - i0 - 32*blocks, 1}} {
		g.tiles(r[0], r[1], r[2], j0, full, PanelWidth, k0, kk, acc)
		g.tiles(r[0], r[1], r[2], full, j1, g.n%PanelWidth, k0, kk, acc)
	}
}

// tiles computes blocks of m <= 32 rows from i0 on of panels j0..j1 of w columns.
func (g *gemmJob) tiles(i0, m, blocks, j0, j1, w, k0, kk int, acc bool) {
	if m == 0 || blocks == 0 || j0 >= j1 {
		return
	}
	var config tileShapes
	config.set(m, w, 2*tileK)
	stride := panelStride(w)
	all := ceilDiv(g.k, tileK) * tileK * tileRows // elements of 16 rows of A
	args := bf16Args{
		config: &config, steps: ceilDiv(kk, tileK),
		a: &g.rounded[i0/tileRows*all+k0*tileRows], lda: 2 * all,
		b: &g.half.data[j0*g.ps+k0*stride], bs: 4 * stride, ps: 2 * g.ps,
		c: &g.c[i0*g.ldc+j0*PanelWidth], ldc: 4 * g.ldc,
		blocks: blocks, panels: j1 - j0,
	}
	if acc {
		args.load = 1
	}
	switch {
	case m > tileRows && w > 16:
		amxBF16x2x2(&args)
	case m > tileRows:
		amxBF16x2x1(&args)
	case w > 16:
		amxBF16x1x2(&args)
	default:
		amxBF16x1x1(&args)
	}
}

// roundTilesVec is roundTilesGo in assembly; false if there is none.
func roundTilesVec(dst []uint16, src []float32, lds, rows, k int) bool {
	if !Active().hasTiles() {
		return false
	}
	roundTiles(&dst[0], &src[0], 4*lds, rows, k)
	return true
}
