//go:build amd64 && !noasm

package kernel

import "unsafe"

// minMax returns the range of 0 and the elements of x; a NaN is ignored.
func minMax(x []float32) (lo, hi float32) {
	n := 0
	switch isa := Active(); {
	case isa >= AVX512 && len(x) >= 64:
		n = len(x) &^ 63
		lo, hi = minMax512(&x[0], n)
	case isa >= AVX2 && len(x) >= 32:
		n = len(x) &^ 31
		lo, hi = minMax256(&x[0], n)
	}
	return minMaxGo(x[n:], lo, hi)
}

// quantizeU8 is QuantizeLinearU8 for slices of equal length.
func quantizeU8(x []float32, q []uint8, scale float32, zero uint8) {
	n, isa := 0, Active()
	switch {
	case isa >= AVX512:
		n = len(x) &^ 15
	case isa >= AVX2:
		n = len(x) &^ 7
	}
	if n > 0 {
		z := float32(zero)
		inverse, lo, hi := 1/scale, (-1-z)*scale, (256-z)*scale // beyond lo and hi the result is saturated
		fast := scale >= 0x1p-100 && scale <= 0x1p100
		switch {
		case isa >= AVX512 && fast:
			quantizeFastU8x512(&x[0], n, &q[0], scale, int32(zero), inverse, lo, hi)
		case isa >= AVX512:
			quantizeU8x512(&x[0], n, &q[0], scale, int32(zero))
		case fast:
			quantizeFastU8x256(&x[0], n, &q[0], scale, int32(zero), inverse, lo, hi)
		default:
			quantizeU8x256(&x[0], n, &q[0], scale, int32(zero))
		}
	}
	quantizeU8Go(x[n:], q[n:], scale, zero)
}

// requantize does as many elements as fill whole vectors and returns their number.
func requantize[T int8 | uint8](acc []int32, y []T, scale []float32, bias []int32, zero uint8, flip uint32) int {
	isa, lanes := Active(), 8
	if isa >= AVX512 {
		lanes = 16
	}
	n := len(acc) / lanes * lanes
	if n == 0 || isa < AVX2 {
		return 0
	}
	var one [16]float32
	var same [16]int32
	s, sInc, b, bInc := &scale[0], 4*lanes, &same[0], 0
	if len(scale) == 1 {
		for i := range one {
			one[i] = scale[0]
		}
		s, sInc = &one[0], 0
	}
	switch {
	case len(bias) == 1:
		for i := range same {
			same[i] = bias[0]
		}
	case len(bias) > 1:
		b, bInc = &bias[0], 4*lanes
	}
	d := (*uint8)(unsafe.Pointer(&y[0]))
	if isa >= AVX512 {
		requantize512(&acc[0], n, d, s, sInc, b, bInc, int32(zero), flip)
	} else {
		requantize256(&acc[0], n, d, s, sInc, b, bInc, int32(zero), flip)
	}
	return n
}

// sumU8 adds bytes.
func sumU8(x []uint8) int32 {
	n := 0
	var s int64
	if len(x) >= 32 && Active() >= AVX2 {
		n = len(x) &^ 31
		s = sumU8x32(&x[0], n)
	}
	return int32(s) + sumU8Go(x[n:])
}

// sums writes the sums of rows i0..i1 of panels j0..j1, up to column n, to c: the element at row i0 of panel j0, with rows ldc elements apart.
func (g *int8Job) sums(c *int32, ldc, i0, i1, j0, j1, n int) {
	switch {
	case g.isa >= AMX && g.amxPays(i1-i0, min(n, j1*PanelWidth)-j0*PanelWidth):
		g.blockAMX(c, ldc, i0, i1, j0, j1, n)
	case g.isa >= AVX512VNNI:
		g.block512(c, ldc, i0, i1, j0, j1, n)
	default:
		g.block256(c, ldc, i0, i1, j0, j1, n)
	}
}

// block512 is sums with VPDPBUSD on 512-bit registers.
func (g *int8Job) block512(c *int32, ldc, i0, i1, j0, j1, n int) {
	k4 := ceilDiv(g.b.K, 4)
	ps, row := k4*4*PanelWidth, 4*ldc
	j := j0
	switch m := i1 - i0; m {
	case 1:
		j += g.runs512(c, i0, j0, min(j1, n/PanelWidth))
	case 2, 3:
		kernel := vnniGemv512m2
		if m == 3 {
			kernel = vnniGemv512m3
		}
		for ; j+widePanels <= min(j1, n/PanelWidth); j += widePanels {
			kernel(k4, &g.a[i0*g.lda], g.lda, &g.b.data[j*ps], 4*PanelWidth, ps, at(c, (j-j0)*PanelWidth), row)
		}
	}
	blocks := ceilDiv(i1-i0, 12)
	for ; j < j1; j++ {
		w := min(PanelWidth, n-j*PanelWidth)
		y := &g.b.data[j*ps]
		mask := uint64(1)<<w - 1
		for t, i := 0, i0; i < i1; t++ {
			mr := (i1 - i + blocks - t - 1) / (blocks - t)
			x, z := &g.a[i*g.lda], at(c, (i-i0)*ldc+(j-j0)*PanelWidth)
			if w > 16 {
				vnni512x32m(mr, k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
			} else {
				vnni512x16m(mr, k4, x, g.lda, y, 4*PanelWidth, z, row, mask)
			}
			i += mr
		}
	}
}

// runs512 is sums of row i and panels j0 to j1, but for what is left of them over widePanels. It cuts them into as many runs and goes through
// those side by side, so that the weights come in streams as long as the runs. It returns the number of panels.
func (g *int8Job) runs512(c *int32, i, j0, j1 int) int {
	run := (j1 - j0) / widePanels
	k4 := ceilDiv(g.b.K, 4)
	ps := k4 * 4 * PanelWidth
	var sums [widePanels * PanelWidth]int32
	for q := range run {
		vnniGemv512m1(k4, &g.a[i*g.lda], g.lda, &g.b.data[(j0+q)*ps], 4*PanelWidth, run*ps, &sums[0], 0)
		for r := range widePanels {
			copy(unsafe.Slice(at(c, (q+r*run)*PanelWidth), PanelWidth), sums[r*PanelWidth:])
		}
	}
	return run * widePanels
}

// block256 is sums with VPDPBUSD on 256-bit registers, or a product of AVX2.
func (g *int8Job) block256(c *int32, ldc, i0, i1, j0, j1, n int) {
	k4 := ceilDiv(g.b.K, 4)
	ps := k4 * 4 * PanelWidth
	j := j0
	if whole := min(j1, n/PanelWidth) - j0; whole > 0 && i1-i0 == 1 && g.folds() {
		g.foldedPanels(c, i0, j0, whole)
		j += whole
	}
	if g.isa != AVXVNNI && !g.b.narrow && j < j1 {
		g.words256(at(c, (j-j0)*PanelWidth), ldc, k4, i0, i1, j, j1, n)
		return
	}
	for ; j < j1; j++ {
		w := min(PanelWidth, n-j*PanelWidth)
		if g.isa == AVXVNNI && w == PanelWidth && i1-i0 <= 3 {
			g.fewRows256(c, ldc, k4, &g.b.data[j*ps], i0, i1-i0, (j-j0)*PanelWidth)
			continue
		}
		wide := g.b.marks(j, k4)
		if g.isa != AVXVNNI && w == PanelWidth && i1-i0 == 1 {
			narrowU8S8x32m1(k4, &g.a[i0*g.lda], g.lda, &g.b.data[j*ps], wide, at(c, (j-j0)*PanelWidth), 4*ldc)
			continue
		}
		for h := 0; h < w; h += 16 {
			y, mask := &g.b.data[j*ps+4*h], &maskTable[16-min(16, w-h)]
			if g.isa != AVXVNNI && w-h >= 16 {
				mask = nil // the kernels without VPDPBUSD store whole vectors then
			}
			if g.isa == AVXVNNI {
				g.columnsVNNI256(c, ldc, k4, y, mask, i0, i1, (j-j0)*PanelWidth+h)
			} else {
				g.columns256(c, ldc, k4, y, wide, mask, i0, i1, (j-j0)*PanelWidth+h)
			}
		}
	}
}

// columns256 computes 16 columns of rows i0..i1 by narrow weights; wide are the marks of the panel, col is where the columns lie in a row of c.
func (g *int8Job) columns256(c *int32, ldc, k4 int, y *int8, wide *uint8, mask *int32, i0, i1, col int) {
	row := 4 * ldc
	for i := i0; i < i1; i += 4 {
		x, z := &g.a[i*g.lda], at(c, (i-i0)*ldc+col)
		switch i1 - i {
		case 1:
			narrowU8S8x16m1(k4, x, g.lda, y, wide, z, row, mask)
		case 2:
			narrowU8S8x16m2(k4, x, g.lda, y, wide, z, row, mask)
		case 3:
			narrowU8S8x16m3(k4, x, g.lda, y, wide, z, row, mask)
		default:
			narrowU8S8x16m4(k4, x, g.lda, y, wide, z, row, mask)
		}
	}
}

// marks returns the marks of panel j of narrow weights.
func (b *PackedS8) marks(j, k4 int) *uint8 {
	if !b.narrow {
		return nil
	}
	return &b.wide[j*ceilDiv(k4, 2)]
}

// marksWide tells whether packed weights carry the marks of markWide.
const marksWide = true

// markWide sets wide[i] to 1 where the positive or the negative weights of the groups 2i and 2i+1 of a panel, at places 0 and 1 or at 2 and 3
// of a group, are more than 128 in sum.
func markWide(panel []int8, wide []uint8) {
	n := len(panel) / (8 * PanelWidth)
	if n > 0 && Active() >= AVX2 {
		widePairs256(n, &panel[0], &wide[0])
		return
	}
	markWideGo(panel, wide)
}

// packFours packs n times four rows of 32 columns of b with the bits of flip inverted, adds them to the sums of their columns, and returns what
// it did of n, 0 or all, and the largest magnitude of the sum of two neighbours, of rows 0 and 1 or 2 and 3 of four.
func packFours(n int, b []uint8, ldb int, flip uint32, dst []uint8, sums []int32) (done int, most int32) {
	if Active() < AVX2 {
		return 0, 0
	}
	_, _, _ = b[(4*n-1)*ldb+PanelWidth-1], dst[4*n*PanelWidth-1], sums[PanelWidth-1]
	return n, int32(packFours256(n, &b[0], ldb, flip, &dst[0], &sums[0]))
}
