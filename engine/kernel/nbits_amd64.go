//go:build amd64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

// absMax returns the largest magnitude of x; NaN if there is one.
func absMax(isa ISA, x []float32) float32 {
	n := len(x) &^ 15
	var top uint32
	switch {
	case n == 0 || isa < AVX2:
		return absMaxGo(x)
	case isa < AVX512:
		top = nbitsMax256(&x[0], n)
	default:
		top = nbitsMax512(&x[0], n)
	}
	return math.Float32frombits(max(top, math.Float32bits(absMaxGo(x[n:]))))
}

// splitDigits rounds x times factor to integers and stores their digits in q; len(x) is a multiple of 16.
func splitDigits(isa ISA, x []float32, factor float32, q []int8, parts int, sums *[3]int32) {
	switch {
	case len(x) == 0 || isa < AVX2:
		splitDigitsGo(x, factor, q, parts, sums)
	case isa < AVX512 && parts == 2:
		nbitsSplit2x256(&x[0], len(x), factor, &q[0], sums)
	case isa < AVX512 && parts == 3:
		nbitsSplit3x256(&x[0], len(x), factor, &q[0], sums)
	case isa < AVX512:
		nbitsSplit1x256(&x[0], len(x), factor, &q[0], sums)
	case parts == 2:
		splitDigitsGo(x, factor, q, parts, sums)
	case parts == 3:
		nbitsSplit3(&x[0], len(x), factor, &q[0], sums)
	default:
		nbitsSplit1(&x[0], len(x), factor, &q[0], sums)
	}
}

// tile computes rows i to i+n of panel j, 32 columns, to c: up to four rows of one digit, three of three, or one of floats.
func (g *nbitsJob) tile(i, n, j int, c []float32, ldc int) {
	if g.isa < AVX2 || g.float[i] == rowWild {
		g.tileGo(i, n, j, c, ldc)
		return
	}
	b := g.b
	kb := b.blocks()
	x := nbitsArgs{blocks: kb, pairs: b.Block / 8, w: &b.data[j*kb*b.blockBytes()], terms: &g.terms[i*kb], ldt: kb * int(unsafe.Sizeof(nbitsTerms{})),
		c: &c[0], ldc: 4 * ldc}
	_ = c[(n-1)*ldc+PanelWidth-1]
	if b.zeros {
		x.zeros = 1
	}
	if g.float[i] == rowFloat {
		x.a = (*byte)(unsafe.Pointer(&g.floats[i*g.kPad()]))
		switch {
		case g.isa >= AVX512 && b.bits == 4:
			nbits4f512(&x)
		case g.isa >= AVX512:
			nbits8f512(&x)
		case b.bits == 4:
			nbits4f256(&x)
		default:
			nbits8f256(&x)
		}
		return
	}
	x.lda = g.kPad() * g.digitBytes()
	x.a = (*byte)(unsafe.Pointer(&g.digits[i*x.lda]))
	if g.isa < AVX512 {
		g.rowTile(i, &x)
		return
	}
	nbitsTile(b.bits, g.parts, n, &x)
}

// rowTile calls the AVX2 kernel for digits.
func (g *nbitsJob) rowTile(i int, x *nbitsArgs) {
	if g.wideDigits() {
		x.a = (*byte)(unsafe.Pointer(&g.words[2*i*x.lda]))
	}
	switch {
	case g.parts == 2:
		nbits8p2r256(x)
	case g.b.bits == 4 && g.parts == 1:
		nbits4p1r256(x)
	case g.b.bits == 4:
		nbits4p3r256(x)
	case g.parts == 1:
		nbits8p1r256(x)
	default:
		nbits8p3r256(x)
	}
}

// widenDigits makes the 16-bit digits of blocks t0 to t1 of row i, which the AVX2 kernels for weights of 8 bits take.
func (g *nbitsJob) widenDigits(i, t0, t1 int) {
	if n := (t1 - t0) * g.b.Block * g.parts; n > 0 && g.wideDigits() {
		at := (i*g.kPad() + t0*g.b.Block) * g.parts
		nbitsWords256(n, &g.digits[at], &g.words[2*at])
	}
}

// nbitsTile calls the kernel for digits.
func nbitsTile(bits, parts, rows int, x *nbitsArgs) {
	switch 100*bits + 10*parts + rows {
	case 411:
		nbits4p1m1(x)
	case 412:
		nbits4p1m2(x)
	case 413:
		nbits4p1m3(x)
	case 414:
		nbits4p1m4(x)
	case 431:
		nbits4p3m1(x)
	case 432:
		nbits4p3m2(x)
	case 433:
		nbits4p3m3(x)
	case 811:
		nbits8p1m1(x)
	case 812:
		nbits8p1m2(x)
	case 813:
		nbits8p1m3(x)
	case 814:
		nbits8p1m4(x)
	case 831:
		nbits8p3m1(x)
	case 832:
		nbits8p3m2(x)
	case 833:
		nbits8p3m3(x)
	default:
		panic(badNBits)
	}
}
