//go:build amd64 && !noasm

package kernel

// block computes rows i0..i1 of panels j0..j1 over k0..k0+kk (kk > 0); b starts at panel j0, whose rows begin with row k0-bk of B.
func (g *gemmJob) block(b []float32, i0, i1, j0, j1, k0, bk, kk int, acc bool) {
	start := 0
	if acc {
		start = 1
	}
	switch {
	case g.isa >= AVX512:
		g.block512(b, i0, i1, j0, j1, k0, bk, kk, start)
	case g.isa >= AVX2:
		g.block256(b, i0, i1, j0, j1, k0, bk, kk, start)
	default:
		g.blockGo(b, i0, i1, j0, j1, k0, bk, kk, acc)
	}
}

// blockAt computes rows of panels of an image in place.
func (g *gemmJob) blockAt(b []float32, i0, i1, j0, j1, k0, kk, acc int) {
	fused := k0+kk == g.k && g.fusesBias(i1-i0)
	blocks := ceilDiv(i1-i0, 12)
	for j := j0; j < j1; j++ {
		mask := uint64(1)<<min(PanelWidth, g.n-j*PanelWidth) - 1
		var bias *float32
		for t, i := 0, i0; i < i1; t++ {
			mr := (i1 - i + blocks - t - 1) / (blocks - t)
			if fused {
				bias = &g.ep.BiasM[i]
			}
			gemm512x32at(mr, kk, &g.a[i*g.lda+k0], 4*g.lda, &b[(j-j0)*PanelWidth], &g.offs[k0], &g.c[i*g.ldc+j*PanelWidth], 4*g.ldc, mask, acc, bias)
			i += mr
		}
	}
}

func (g *gemmJob) block512(b []float32, i0, i1, j0, j1, k0, bk, kk, acc int) {
	if g.offs != nil {
		g.blockAt(b, i0, i1, j0, j1, k0, kk, acc)
		return
	}
	lda, bs, ldc := 4*g.lda, 4*g.rowStride(PanelWidth), 4*g.ldc
	j := j0
	if m := i1 - i0; m <= 3 {
		for ; j+4 <= j1 && (j+4)*PanelWidth <= g.n; j += 4 {
			x, y, z := &g.a[i0*g.lda+k0], &b[(j-j0)*g.ps+bk*bs/4], &g.c[i0*g.ldc+j*PanelWidth]
			switch m {
			case 1:
				gemv512m1(kk, x, lda, y, bs, 4*g.ps, z, ldc, acc)
			case 2:
				gemv512m2(kk, x, lda, y, bs, 4*g.ps, z, ldc, acc)
			case 3:
				gemv512m3(kk, x, lda, y, bs, 4*g.ps, z, ldc, acc)
			}
		}
	}
	fused := k0+kk == g.k && g.fusesBias(i1-i0)
	if !asksAhead {
		g.panels512(b, i0, i1, j0, j, j1, k0, bk, kk, acc, fused)
		return
	}
	blocks := ceilDiv(i1-i0, 12)
	for t, i := 0, i0; i < i1; t++ {
		e := i + (i1-i+blocks-t-1)/(blocks-t) // blocks of nearly equal height
		g.panels512(b, i, e, j0, j, j1, k0, bk, kk, acc, fused)
		i = e
	}
}

// panels512 is block512 for panels j to j1, one after the other, each with all rows.
func (g *gemmJob) panels512(b []float32, i0, i1, j0, j, j1, k0, bk, kk, acc int, fused bool) {
	lda, ldc, blocks := 4*g.lda, 4*g.ldc, ceilDiv(i1-i0, 12)
	var bias *float32
	for ; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		if fused {
			bias = &g.ep.Bias[j*PanelWidth]
		}
		bs := g.rowStride(w)
		y := &b[(j-j0)*g.ps+bk*bs]
		bs *= 4
		mask := uint64(1)<<w - 1
		for t, i := 0, i0; i < i1; t++ {
			mr := (i1 - i + blocks - t - 1) / (blocks - t)
			x, z := &g.a[i*g.lda+k0], &g.c[i*g.ldc+j*PanelWidth]
			if w > 16 {
				gemm512x32m(mr, kk, x, lda, y, bs, z, ldc, mask, acc, bias)
			} else {
				gemm512x16m(mr, kk, x, lda, y, bs, z, ldc, mask, acc, bias)
			}
			i += mr
		}
	}
}

const (
	// sweepBlocks is the number of blocks of rows from which on block256 prefetches the next panel while it computes one: every call of the kernel its
	// part, half of the panel during each half of this one. With fewer there is no time for that.
	sweepBlocks = 4
	// sweepTurn is what four rows of a panel have, in bytes: one turn of the kernel's loop.
	sweepTurn = 4 * 4 * PanelWidth
)

func (g *gemmJob) block256(b []float32, i0, i1, j0, j1, k0, bk, kk, acc int) {
	lda, bs, ldc := 4*g.lda, 4*g.rowStride(PanelWidth), 4*g.ldc
	j, fused := j0, k0+kk == g.k && g.fusesBias(i1-i0)
	var bias *float32
	if i1-i0 == 1 {
		for ; j+2 <= j1 && (j+2)*PanelWidth <= g.n; j += 2 {
			gemv256m1(kk, &g.a[i0*g.lda+k0], lda, &b[(j-j0)*g.ps+bk*bs/4], bs, 4*g.ps, &g.c[i0*g.ldc+j*PanelWidth], ldc, acc)
		}
	}
	for ; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		bs := g.rowStride(w)
		for h := 0; h < w; h += 16 { // half a panel at a time
			y := &b[(j-j0)*g.ps+bk*bs+h]
			full, rows := w-h >= 16, 6
			if !full {
				rows = 4
			}
			if fused {
				bias = &g.ep.Bias[j*PanelWidth+h]
			}
			mask := &maskTable[16-min(16, w-h)]
			blocks := ceilDiv(i1-i0, rows)
			pf, step, next := y, 0, (j+1-j0)*g.ps+bk*bs+h*kk
			if blocks >= sweepBlocks && !g.inPlace && g.half == nil && next < len(b) {
				step = ceilDiv(sweepTurn, 2*blocks)
			}
			for t, i := 0, i0; i < i1; t++ {
				mr := (i1 - i + blocks - t - 1) / (blocks - t)
				x, z := &g.a[i*g.lda+k0], &g.c[i*g.ldc+j*PanelWidth+h]
				if full {
					if step != 0 {
						pf = &b[min(next+t*(kk/4)*step/4, len(b)-1)]
					}
					gemm256x16m(mr, kk, x, lda, y, 4*bs, z, ldc, acc, pf, step, bias)
				} else {
					gemm256x16masked(mr, kk, x, lda, y, 4*bs, z, ldc, mask, acc)
				}
				i += mr
			}
		}
	}
}

// lanes is the number of float32 in a register of the epilogues.
func (i ISA) lanes() int {
	if i >= AVX512 {
		return 16
	}
	return 8
}

// epilogueAsm runs the epilogue of a level from AVX2 on.
func epilogueAsm(isa ISA, x *epArgs) {
	if isa >= AVX512 {
		epilogue512(x)
	} else {
		epilogue256(x)
	}
}

// dequantizeAsm turns sums into floats: plain has one scale and one zero point of A and no row terms, bare neither residual nor limits.
func dequantizeAsm(isa ISA, x *epArgs, plain, bare bool) {
	switch {
	case bare && isa >= AVX512:
		dequantizeBare512(x)
	case bare:
		dequantizeBare256(x)
	case plain && isa >= AVX512:
		dequantizePlain512(x)
	case plain:
		dequantizePlain256(x)
	case isa >= AVX512:
		dequantize512(x)
	default:
		dequantize256(x)
	}
}

// transpose8 makes rows of columns: 8 rows of src, n groups of 8 columns. Strides are in bytes.
//
//go:noescape
func transpose8(dst *float32, ldd int, src *float32, lds int, n int)

// packRows32 copies k rows of 32 columns of src to consecutive rows. lds is in bytes.
//
//go:noescape
func packRows32(dst *float32, src *float32, lds int, k int)

// transposeBlock writes dst[c*ldd+r] = src[r*lds+c] for r < rows, c < cols.
func transposeBlock(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	r8, c8 := rows&^7, cols&^7
	if r8 == 0 || c8 == 0 || Active() < AVX2 {
		transposeGo(dst, ldd, src, lds, rows, cols)
		return
	}
	const chunk = 128 // columns; keeps the written lines in the cache until the next strip fills them
	for c := 0; c < c8; c += chunk {
		for r := 0; r < r8; r += 8 {
			transpose8(&dst[c*ldd+r], 4*ldd, &src[r*lds+c], 4*lds, min(chunk, c8-c)/8)
		}
	}
	if c8 < cols {
		transposeGo(dst[c8*ldd:], ldd, src[c8:], lds, r8, cols-c8)
	}
	if r8 < rows {
		transposeGo(dst[r8:], ldd, src[r8*lds:], lds, rows-r8, cols)
	}
}

// copyPanel copies k rows of 32 columns; k > 0.
func copyPanel(dst, src []float32, lds, k int) {
	if Active() < AVX2 {
		copyPanelGo(dst, src, lds, k)
		return
	}
	_, _ = dst[k*PanelWidth-1], src[(k-1)*lds+PanelWidth-1]
	packRows32(&dst[0], &src[0], 4*lds, k)
}
