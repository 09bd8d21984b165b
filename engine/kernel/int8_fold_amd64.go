//go:build amd64 && !noasm

package kernel

import "unsafe"

// foldBytesGo is the Go twin of foldBytes256. Of blocks of x, every byte with the bits of flip inverted taken as x from -128 to 127, it stores
// the magnitudes of four and then their four masks in dst: the bits of mask, and inverted where x is negative. The sum of the magnitudes of the
// negative ones of a block goes to sums, stride bytes, a multiple of four, after that of the block before. See _gen/fold.go for what this is good for.
func foldBytesGo(block int, x []int8, flip, mask uint8, dst []uint8, sums []int32, stride int) {
	for k, v := range x {
		v ^= int8(flip)
		at := k/4*8 + k%4
		if k%block == 0 {
			sums[k/block*stride/4] = 0
		}
		dst[at], dst[at+4] = uint8(v), mask
		if v < 0 {
			dst[at], dst[at+4] = uint8(-v), ^mask
			sums[k/block*stride/4] += -int32(v)
		}
	}
}

// foldBytes is the number of bytes of weights from which on a CPU that reads ahead takes folded products of narrow weights too: those wait for
// memory, and reading panel by panel with little fetched ahead (foldU8S8x32n1) takes less of it than the kernels of narrow weights.
const foldBytes = 4 << 20

// folds tells whether products of one row are folded.
func (g *int8Job) folds() bool {
	return (g.isa == AVX2 || g.isa == AVX512) && (!g.b.narrow || readsAhead && len(g.b.data) >= foldBytes)
}

// prepareRow folds the row of a product of one row.
func (g *int8Job) prepareRow() {
	if g.m == 1 && g.b.N > 0 && g.folds() {
		g.scratch = getScratchU8(8 * ceilDiv(g.b.K, 4))
		g.folded = g.foldRow(0, g.scratch)
	}
}

// foldRow folds row i into s.
func (g *int8Job) foldRow(i int, s *scratchU8) foldedRow {
	k4 := ceilDiv(g.b.K, 4)
	a := signedBytes(g.a[i*g.lda:][:4*k4])
	n := len(a) &^ 15
	r := foldedRow{x: s.b[:8*k4]}
	if n > 0 {
		foldBytes256(1, n, &a[0], 0x80808080, 0, &r.x[0], &r.start, 4)
	}
	if n < len(a) {
		var rest [1]int32
		foldBytesGo(16, a[n:], 0x80, 0, r.x[2*n:], rest[:], 4)
		r.start += rest[0]
	}
	return r
}

// foldedPanels writes the products of row i and panels from j on, all of their 32 columns, to c.
func (g *int8Job) foldedPanels(c *int32, i, j, panels int) {
	r := g.folded
	if len(r.x) == 0 {
		s := getScratchU8(8 * ceilDiv(g.b.K, 4))
		defer scratchPoolU8.Put(s)
		r = g.foldRow(i, s)
	}
	k4 := len(r.x) / 8
	ps := k4 * 4 * PanelWidth
	_ = g.b.data[(j+panels)*ps-1]
	whole := min(panels, g.b.N/PanelWidth-j)
	if readsAhead && whole > 0 && k4 > 0 {
		foldU8S8x32n1(whole, k4, &r.x[0], r.start, &g.b.data[j*ps], &g.b.ColSum[j*PanelWidth], c)
		j, panels = j+whole, panels-whole
		if panels > 0 {
			c = at(c, whole*PanelWidth)
		}
		whole = 0
	} else if k4%8 == 0 {
		for ; whole >= widePanels; whole -= widePanels {
			out := unsafe.Slice(c, widePanels*PanelWidth)
			for e, s := range g.b.ColSum[j*PanelWidth:][:len(out)] {
				out[e] = r.start + s<<7
			}
			foldU8S8x128m1(k4/8, &r.x[0], &g.b.data[j*ps], ps, c)
			j, panels = j+widePanels, panels-widePanels
			if panels > 0 {
				c = at(c, len(out))
			}
		}
	}
	if whole > 0 {
		foldU8S8x32m1(whole, k4, &r.x[0], r.start, &g.b.data[j*ps], &g.b.ColSum[j*PanelWidth], c)
	}
	if whole < panels { // the last one, of which there are sums of some columns only
		var sums [PanelWidth]int32
		copy(sums[:], g.b.ColSum[(j+whole)*PanelWidth:])
		foldU8S8x32m1(1, k4, &r.x[0], r.start, &g.b.data[(j+whole)*ps], &sums[0], at(c, whole*PanelWidth))
	}
}

// signedBytes is x as signed bytes.
func signedBytes(x []uint8) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
