//go:build arm64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

// absMax returns the largest magnitude of x; NaN if there is one.
func absMax(isa ISA, x []float32) float32 {
	n := len(x) &^ 15
	if n == 0 || isa < NEON {
		return absMaxGo(x)
	}
	return math.Float32frombits(max(nbitsMaxNEON(&x[0], n), math.Float32bits(absMaxGo(x[n:]))))
}

// splitDigits rounds x times factor to integers and stores their digits in q; len(x) is a multiple of 16.
func splitDigits(isa ISA, x []float32, factor float32, q []int8, parts int, sums *[3]int32) {
	switch {
	case len(x) == 0 || isa < NEON || parts == 2:
		splitDigitsGo(x, factor, q, parts, sums)
	case parts == 3:
		nbitsSplit3NEON(&x[0], len(x), factor, &q[0], sums)
	default:
		nbitsSplit1NEON(&x[0], len(x), factor, &q[0], sums)
	}
}

// nbitsFirst are streams of weights, of which only kernels of amd64 fetch some ahead.
type nbitsFirst struct{}

func (g *nbitsJob) aim(int, int) {}

// digitBlocks does what digitsOf does for blocks t0 to t1 of row i, up to the first that is not whole or of an unusual magnitude. It returns how many
// it did, and the largest magnitude in them.
func (g *nbitsJob) digitBlocks(i, t0, t1 int) (n int, top float32) {
	b := g.b
	t1 = min(t1, b.K/b.Block)
	if t0 >= t1 || g.isa < NEON || g.parts == 2 {
		return 0, 0
	}
	x, q, e := g.a[i*g.lda+t0*b.Block:], g.digits[(i*g.kPad()+t0*b.Block)*g.digitBytes():], &g.terms[i*b.blocks()+t0]
	_ = x[(t1-t0)*b.Block-1]
	var bits uint32
	if g.parts == 1 {
		n, bits = nbitsBlocks1NEON(&x[0], t1-t0, b.Block, &q[0], e, b.centre)
	} else {
		n, bits = nbitsBlocks3NEON(&x[0], t1-t0, b.Block, &q[0], e, b.centre)
	}
	return n, math.Float32frombits(bits)
}

func (g *nbitsJob) widenDigits(int, int, int) {}

// stream computes the whole ones of panels j0 to j1 of row i, and returns their number.
func (g *nbitsJob) stream(i, j0, j1 int) int {
	n := min(j1, g.b.N/PanelWidth) - j0
	if n <= 0 || g.isa < NEON || g.float[i] != rowDigits || g.parts == 2 {
		return 0
	}
	c := g.c[i*g.ldc+j0*PanelWidth:]
	_ = c[n*PanelWidth-1]
	g.digitTile(i, 1, j0, n, c, g.ldc)
	return n
}

// tile computes rows i to i+n of panel j, 32 columns, to c: up to four rows of one digit, three of three, or one of floats, which is done in Go.
func (g *nbitsJob) tile(i, n, j int, c []float32, ldc int) {
	if g.isa < NEON || g.float[i] != rowDigits || g.parts == 2 {
		g.tileGo(i, n, j, c, ldc)
		return
	}
	_ = c[(n-1)*ldc+PanelWidth-1]
	g.digitTile(i, n, j, 1, c, ldc)
}

// digitTile calls the kernel for rows i to i+n and, of one row, so many panels from j on.
func (g *nbitsJob) digitTile(i, n, j, panels int, c []float32, ldc int) {
	b := g.b
	kb := b.blocks()
	x := nbitsArgs{blocks: kb, pairs: b.Block / 8, w: &b.data[j*kb*b.blockBytes()], lda: g.kPad() * g.digitBytes(), terms: &g.terms[i*kb],
		ldt: kb * int(unsafe.Sizeof(nbitsTerms{})), c: &c[0], ldc: 4 * ldc, panels: panels}
	x.a = (*byte)(unsafe.Pointer(&g.digits[i*x.lda]))
	if b.zeros {
		x.zeros = 1
	}
	if g.isa == NEON {
		nbitsSmull(b.bits, g.parts, &x)
	} else {
		nbitsSdot(b.bits, g.parts, n, &x)
	}
}

// nbitsSmull calls the kernel without dot products, for one row.
func nbitsSmull(bits, parts int, x *nbitsArgs) {
	switch 10*bits + parts {
	case 41:
		nbits4p1m1smull(x)
	case 43:
		nbits4p3m1smull(x)
	case 81:
		nbits8p1m1smull(x)
	case 83:
		nbits8p3m1smull(x)
	default:
		panic(badNBits)
	}
}

// nbitsSdot calls the kernel with dot products.
func nbitsSdot(bits, parts, rows int, x *nbitsArgs) {
	switch 100*bits + 10*parts + rows {
	case 411:
		nbits4p1m1sdot(x)
	case 412:
		nbits4p1m2sdot(x)
	case 413:
		nbits4p1m3sdot(x)
	case 414:
		nbits4p1m4sdot(x)
	case 431:
		nbits4p3m1sdot(x)
	case 432:
		nbits4p3m2sdot(x)
	case 433:
		nbits4p3m3sdot(x)
	case 811:
		nbits8p1m1sdot(x)
	case 812:
		nbits8p1m2sdot(x)
	case 813:
		nbits8p1m3sdot(x)
	case 814:
		nbits8p1m4sdot(x)
	case 831:
		nbits8p3m1sdot(x)
	case 832:
		nbits8p3m2sdot(x)
	case 833:
		nbits8p3m3sdot(x)
	default:
		panic(badNBits)
	}
}

// nbitsNoZeros are the terms of zero points in the middle.
var nbitsNoZeros [PanelWidth]float32

// widenNBits writes rows of 32 columns as float32, a multiple of 8, of weights w of one block with these terms; zero may be nil.
func widenNBits(isa ISA, dst []float32, w []byte, scale, zero []float32, bits, centre int) {
	pairs := len(dst) / (8 * PanelWidth)
	if isa < NEON || pairs == 0 {
		widenNBitsGo(dst, w, scale, zero, bits, centre)
		return
	}
	if zero == nil {
		zero = nbitsNoZeros[:]
	}
	_, _, _ = w[pairs*PanelWidth*bits-1], scale[PanelWidth-1], zero[PanelWidth-1]
	if bits == 4 {
		nbits4widenNEON(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	} else {
		nbits8widenNEON(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	}
}
