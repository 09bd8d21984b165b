//go:build amd64 && !noasm

package kernel

// blockBF16 computes rows i0..i1 of panels j0..j1 over k0..k0+kk; on tiles i0 is a multiple of tileRows, k0 one of tileK in any case.
func (g *gemmJob) blockBF16(i0, i1, j0, j1, k0, kk int, acc bool) {
	switch {
	case g.pairs && g.isa.hasBF16():
		g.blockPairs(i0, i1, j0, j1, k0, kk, acc)
		return
	case g.pairs:
		g.blockPairsGo(i0, i1, j0, j1, k0, kk, acc)
		return
	case !g.isa.hasTiles():
		g.blockBF16Go(i0, i1, j0, j1, k0, kk, acc)
		return
	}
	var config tileShapes
	all := ceilDiv(g.k, tileK) * tileK * tileRows // elements of 16 rows of A
	tilePieces(i0, i1, rowsPerTask, j0, j1, g.n, func(p tilePiece) {
		config.set(p.m, p.n, 2*tileK)
		stride := panelStride(p.n)
		args := bf16Args{
			config: &config, steps: ceilDiv(kk, tileK),
			a: &g.rounded[p.i/tileRows*all+k0*tileRows], lda: 2 * all,
			b: &g.half.data[p.j*g.ps+k0*stride], bs: 4 * stride, ps: 2 * g.ps,
			c: &g.c[p.i*g.ldc+p.j*PanelWidth], ldc: 4 * g.ldc,
			blocks: p.blocks, panels: p.panels,
		}
		if acc {
			args.load = 1
		}
		switch {
		case p.m > tileRows && p.n > 16:
			amxBF16x2x2(&args)
		case p.m > tileRows:
			amxBF16x2x1(&args)
		case p.n > 16:
			amxBF16x1x2(&args)
		default:
			amxBF16x1x1(&args)
		}
	})
}

// blockPairs is blockPairsGo by VDPBF16PS.
func (g *gemmJob) blockPairs(i0, i1, j0, j1, k0, kk int, acc bool) {
	start := 0
	if acc {
		start = 1
	}
	pitch := pairsPitch(g.k)
	pairs, lda, ldc, bs := (kk+1)/2, 2*pitch, 4*g.ldc, 4*PanelWidth
	j := j0
	if m := i1 - i0; m <= 3 {
		for ; j+4 <= j1 && (j+4)*PanelWidth <= g.n; j += 4 {
			x, y, z := &g.rounded[i0*pitch+k0], &g.half.data[j*g.ps+k0*PanelWidth], &g.c[i0*g.ldc+j*PanelWidth]
			switch m {
			case 1:
				gemvDot512m1(pairs, x, lda, y, bs, 2*g.ps, z, ldc, start)
			case 2:
				gemvDot512m2(pairs, x, lda, y, bs, 2*g.ps, z, ldc, start)
			case 3:
				gemvDot512m3(pairs, x, lda, y, bs, 2*g.ps, z, ldc, start)
			}
		}
	}
	blocks := ceilDiv(i1-i0, 12)
	for ; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		stride := panelStride(w)
		y, mask := &g.half.data[j*g.ps+k0*stride], uint64(1)<<w-1
		for t, i := 0, i0; i < i1; t++ {
			mr := (i1 - i + blocks - t - 1) / (blocks - t) // blocks of nearly equal height
			x, z := &g.rounded[i*pitch+k0], &g.c[i*g.ldc+j*PanelWidth]
			if w > 16 {
				gemmDot512x32m(mr, pairs, x, lda, y, 4*stride, z, ldc, mask, start)
			} else {
				gemmDot512x16m(mr, pairs, x, lda, y, 4*stride, z, ldc, mask, start)
			}
			i += mr
		}
	}
}

// roundRowsVec is roundRowsGo in assembly; false if there is none.
func roundRowsVec(dst []uint16, ldd, step int, src []float32, lds, rows, k int) bool {
	if !Active().hasBF16() {
		return false
	}
	roundRowsBF16(&dst[0], 2*ldd, 2*step, &src[0], 4*lds, rows, k)
	return true
}
