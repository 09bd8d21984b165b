package kernel

// gemmNBitsWide is GemmNBits in float32: the bits of GemmF32 on the weights that widen makes.
func gemmNBitsWide(p *Pool, m int, a []float32, lda int, b *PackedNBits, c []float32, ldc int, ep *Epilogue) {
	g := newGemmJob(m, b.N, b.K, a, lda, c, ldc, ep)
	g.nbits = b
	g.inPlace, g.ldb = true, PanelWidth // the rows of every widened panel are as long
	g.run(p)
	g.release()
}

// widen writes rows k0 to k0+rows of panel j, 32 columns each, to dst: (q - centre)*s - (z - centre)*s, of three
// roundings, so that a weight at its zero point is 0. k0 is a multiple of 8, and rows is rounded up to one.
func (b *PackedNBits) widen(isa ISA, dst []float32, j, k0, rows int) {
	size := b.blockBytes()
	panel := b.data[j*b.blocks()*size:]
	for end := k0 + (rows+7)&^7; k0 < end; {
		t, r := k0/b.Block, k0%b.Block
		n := min(b.Block-r, end-k0)
		block := panel[t*size:][:size]
		scale, zero := b.terms(block)
		widenNBits(isa, dst[:n*PanelWidth], block[r*PanelWidth*b.bits/8:], scale, zero, b.bits, b.centre)
		dst = dst[n*PanelWidth:]
		k0 += n
	}
}

// widenNBitsGo is the Go twin of widenNBits: rows of 32 columns, a multiple of 8, of weights w of one block with these terms.
func widenNBitsGo(dst []float32, w []byte, scale, zero []float32, bits, centre int) {
	scale = scale[:PanelWidth]
	for k := range len(dst) / PanelWidth {
		at, shift := 4*PanelWidth*(k/4)+k%4, 0
		if bits == 4 {
			at, shift = 4*PanelWidth*(k/8)+k%4, k%8/4*4
		}
		row := dst[k*PanelWidth:][:PanelWidth]
		for c := range row {
			row[c] = float32(int(w[at+4*c])>>shift&(1<<bits-1)-centre) * scale[c]
		}
		for c, z := range zero {
			row[c] -= z
		}
	}
}

// nbitsWide tells whether a product of m rows is done so: from the number of rows on that pays for the widening, by measurement, on arm64 by the
// number of instructions of a [384 384] product in blocks of 32, counted by an emulator: with SDOT 59,000 for each row of digits and 254,000 and
// 50,000 for each row of float32, without it 143,000 for each row of digits. What may be rounded to bytes is multiplied as bytes wherever there is
// a product of them.
func nbitsWide(isa ISA, m int, b *PackedNBits, bytes bool) bool {
	switch {
	case isa == AVX512: // which has no product of digits and bytes
		return m >= 2
	case bytes:
		return false
	case isa.hasVNNI512(): // in larger blocks digits are faster
		return b.Block <= 32 && m >= 48
	case isa.hasAVX2():
		return m >= 10
	case isa >= NEONDot:
		return b.Block <= 32 && m >= 32
	case isa == NEON:
		return m >= 3
	}
	return true // in Go, even for one row
}
