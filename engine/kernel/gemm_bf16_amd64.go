//go:build amd64 && !noasm

package kernel

// tileConfig is the operand of LDTILECFG for palette 1 (Intel SDM volume 1, 18.3): bytes per row and rows of every tile.
type tileConfig struct {
	palette, startRow uint8
	_                 [14]uint8
	colBytes          [16]uint16
	rows              [16]uint8
}

// set shapes tiles 0 to 3 (C, 2 by 2), 4 and 5 (A) and 6 and 7 (B) for a block of m <= 32 rows and n <= 32 columns of four bytes.
func (t *tileConfig) set(m, n int) {
	t.palette = 1
	rows := [2]int{min(m, tileRows), max(0, m-tileRows)}
	cols := [2]int{min(n, 16), max(0, n-16)}
	for r := range 2 {
		for c := range 2 {
			if rows[r] > 0 && cols[c] > 0 {
				t.rows[2*r+c], t.colBytes[2*r+c] = uint8(rows[r]), uint16(4*cols[c])
			}
		}
		if rows[r] > 0 {
			t.rows[4+r], t.colBytes[4+r] = uint8(rows[r]), 64
		}
		if cols[r] > 0 {
			t.rows[6+r], t.colBytes[6+r] = 16, uint16(4*cols[r])
		}
	}
}

// blockBF16 computes rows i0..i1 of panels j0..j1 over k0..k0+kk; i0 is a multiple of tileRows, k0 of tileK.
func (g *gemmJob) blockBF16(i0, i1, j0, j1, k0, kk int, acc bool) {
	if !g.isa.hasTiles() {
		g.blockBF16Go(i0, i1, j0, j1, k0, kk, acc)
		return
	}
	full := min(j1, g.n/PanelWidth)
	blocks := (i1 - i0) / 32
	g.tiles(i0, 32, blocks, j0, full, PanelWidth, k0, kk, acc)
	g.tiles(i0+32*blocks, i1-i0-32*blocks, 1, j0, full, PanelWidth, k0, kk, acc)
	if full < j1 {
		w := g.n % PanelWidth
		g.tiles(i0, 32, blocks, full, j1, w, k0, kk, acc)
		g.tiles(i0+32*blocks, i1-i0-32*blocks, 1, full, j1, w, k0, kk, acc)
	}
}

// tiles computes blocks of m <= 32 rows from i0 on of panels j0..j1 of w columns.
func (g *gemmJob) tiles(i0, m, blocks, j0, j1, w, k0, kk int, acc bool) {
	if m == 0 || blocks == 0 || j0 == j1 {
		return
	}
	var config tileConfig
	config.set(m, w)
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
