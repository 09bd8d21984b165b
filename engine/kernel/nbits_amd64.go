//go:build amd64 && !noasm

package kernel

import (
	"math"
	"unsafe"
)

// absMax returns the largest magnitude of x; NaN if there is one.
func absMax(isa ISA, x []float32) float32 {
	n := len(x) &^ 15
	if n == 0 || isa < AVX512 {
		return absMaxGo(x)
	}
	top := max(nbitsMax512(&x[0], n), math.Float32bits(absMaxGo(x[n:])))
	return math.Float32frombits(top)
}

// splitDigits rounds x times factor to integers and stores their digits in q; len(x) is a multiple of 16.
func splitDigits(isa ISA, x []float32, factor float32, q []int8, parts int, sums *[3]int32) {
	switch {
	case len(x) == 0 || isa < AVX512:
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
	x.lda = g.kPad() * g.parts
	x.a = (*byte)(unsafe.Pointer(&g.digits[i*x.lda]))
	nbitsTile(b.bits, g.parts, n, &x)
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
