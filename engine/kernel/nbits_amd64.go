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

// nbitsFirst are the streams of weights that a product of one row begins with, as nbitsBlocks1 fetches them while it makes digits.
type nbitsFirst struct {
	w      *byte
	s1, s2 int
}

// aim sets the streams to those of a task of panels j0 to j1: the starts of its runs, or the panel in four parts or two.
func (g *nbitsJob) aim(j0, j1 int) {
	b := g.b
	g.first = nbitsFirst{}
	if runs := nbitsRuns(b.bits, g.parts); g.isa.hasVNNI512() && b.Block == 32 && j1-j0 >= runs {
		run := (j1 - j0) / runs * b.blocks() * b.blockBytes()
		g.first = nbitsFirst{&b.data[j0*b.blocks()*b.blockBytes()], run, 2 * run}
		switch runs { // with every block of A come 128 bytes of each
		case 1:
			g.first.s1, g.first.s2 = 128*b.blocks(), 256*b.blocks()
		case 2:
			g.first.s1, g.first.s2 = 128*b.blocks(), run
		}
	}
}

// digitBlocks does what digitsOf does for blocks t0 to t1 of row i, up to the first that is not whole or of an unusual magnitude. It returns how many
// it did, and the largest magnitude in them.
func (g *nbitsJob) digitBlocks(i, t0, t1 int) (n int, top float32) {
	b := g.b
	t1 = min(t1, b.K/b.Block)
	if t0 >= t1 || !g.oneRow() && !g.isa.hasVNNI512() {
		return 0, 0
	}
	x, q, e := g.a[i*g.lda+t0*b.Block:], g.digits[(i*g.kPad()+t0*b.Block)*g.digitBytes():], &g.terms[i*b.blocks()+t0]
	_ = x[(t1-t0)*b.Block-1]
	var bits uint32
	switch {
	case g.oneRow() && g.parts == 1:
		n, bits = nbitsBlocks1x256(&x[0], t1-t0, b.Block, &q[0], e, b.centre)
	case g.oneRow() && g.parts == 2:
		n, bits = nbitsBlocks2x256(&x[0], t1-t0, b.Block, &q[0], e, b.centre)
	case g.oneRow():
		n, bits = nbitsBlocks3x256(&x[0], t1-t0, b.Block, &q[0], e, b.centre)
	case g.parts == 1:
		n, bits = nbitsBlocks1(&x[0], t1-t0, b.Block, &q[0], e, b.centre, g.first.w, g.first.s1, g.first.s2)
	case g.parts == 3:
		n, bits = nbitsBlocks3(&x[0], t1-t0, b.Block, &q[0], e, b.centre, g.first.w, g.first.s1, g.first.s2)
	}
	return n, math.Float32frombits(bits)
}

// stream computes the whole ones of panels j0 to j1 of row i, if there is a kernel for that, and returns their number.
func (g *nbitsJob) stream(i, j0, j1 int) int {
	n := min(j1, g.b.N/PanelWidth) - j0
	if n <= 0 || g.float[i] != rowDigits {
		return 0
	}
	if g.oneRow() {
		return g.stream256(i, j0, n)
	}
	if !g.isa.hasVNNI512() || g.b.Block%32 != 0 {
		return 0
	}
	c := g.c[i*g.ldc+j0*PanelWidth:]
	_ = c[n*PanelWidth-1]
	x := g.args(i, j0, c, g.ldc)
	x.a, x.panels = (*byte)(unsafe.Pointer(&g.digits[i*x.lda])), n
	kind := 10*g.b.bits + g.parts
	if runs := nbitsRuns(g.b.bits, g.parts); g.b.Block == 32 && n >= runs {
		x.panels = n - n%runs
		g.wide(&x)
		if x.panels == n {
			return n
		}
		j, left := j0+x.panels, n%runs
		rest := g.args(i, j, c[x.panels*PanelWidth:], g.ldc)
		x.w, x.c, x.panels = rest.w, rest.c, left
	}
	switch kind {
	case 41:
		nbits4p1stream(&x)
	case 43:
		nbits4p3stream(&x)
	case 81:
		nbits8p1stream(&x)
	default:
		nbits8p3stream(&x)
	}
	return n
}

// wide calls the kernel for one row in so many digits and blocks of 32 that asks ahead as the CPU and the place of the weights want it.
func (g *nbitsJob) wide(x *nbitsArgs) {
	kind := 10*g.b.bits + g.parts
	switch {
	case asksAhead && g.b.distant:
		kind += 200
	case asksAhead:
		kind += 100
	}
	switch kind {
	case 41:
		nbits4p1wide(x)
	case 43:
		nbits4p3wide(x)
	case 81:
		nbits8p1wide(x)
	case 83:
		nbits8p3wide(x)
	case 141:
		nbits4p1near(x)
	case 143:
		nbits4p3near(x)
	case 181:
		nbits8p1near(x)
	case 183:
		nbits8p3near(x)
	case 241:
		nbits4p1far(x)
	case 243:
		nbits4p3far(x)
	case 281:
		nbits8p1far(x)
	default:
		nbits8p3far(x)
	}
}

// nbitsRuns is the number of runs of panels that the kernel of AVX-512 for one row in so many digits and blocks of 32 goes through side by side.
func nbitsRuns(bits, parts int) int {
	switch {
	case parts > 1:
		return 1
	case bits == 4:
		return 2
	}
	return 4
}

// args are the arguments of kernels for rows from i on and panel j, but for A.
func (g *nbitsJob) args(i, j int, c []float32, ldc int) nbitsArgs {
	b := g.b
	kb := b.blocks()
	x := nbitsArgs{blocks: kb, pairs: b.Block / 8, w: &b.data[j*kb*b.blockBytes()], lda: g.kPad() * g.digitBytes(), terms: &g.terms[i*kb],
		ldt: kb * int(unsafe.Sizeof(nbitsTerms{})), c: &c[0], ldc: 4 * ldc}
	if b.zeros {
		x.zeros = 1
	}
	return x
}

// tile computes rows i to i+n of panel j, 32 columns, to c: up to four rows of one digit, three of three, or one of floats.
func (g *nbitsJob) tile(i, n, j int, c []float32, ldc int) {
	if g.isa < AVX2 || g.float[i] == rowWild {
		g.tileGo(i, n, j, c, ldc)
		return
	}
	b := g.b
	x := g.args(i, j, c, ldc)
	_ = c[(n-1)*ldc+PanelWidth-1]
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
	if g.isa < AVX512 {
		g.rowTile(i, &x)
		return
	}
	x.a = (*byte)(unsafe.Pointer(&g.digits[i*x.lda]))
	nbitsTile(b.bits, g.parts, n, &x)
}

// stream256 is stream with AVX2, for n whole panels.
func (g *nbitsJob) stream256(i, j0, n int) int {
	f := g.panels256()
	if f == nil {
		return 0
	}
	c := g.c[i*g.ldc+j0*PanelWidth:]
	_ = c[n*PanelWidth-1]
	x := g.args(i, j0, c, g.ldc)
	x.a = g.digits256(i, &x)
	wide := 0
	if g.b.bits == 8 && g.b.Block == 32 && !readsAhead {
		wide = n - n%widePanels
	}
	if x.panels = wide; wide > 0 {
		nbits8p1wide256(&x)
	}
	if x.panels = n - wide; x.panels > 0 {
		rest := g.args(i, j0+wide, c[wide*PanelWidth:], g.ldc)
		x.w, x.c = rest.w, rest.c
		f(&x)
	}
	return n
}

// panels256 returns the AVX2 kernel of one row for one panel after the other, or nil.
func (g *nbitsJob) panels256() func(*nbitsArgs) {
	switch {
	case g.parts == 2 && readsAhead:
		return nbits8p2n256
	case g.b.bits == 8 && g.parts == 1 && readsAhead:
		return nbits8p1n256
	case g.b.bits == 8 && g.parts == 1:
		return nbits8p1x256
	case g.b.bits == 4 && g.parts == 1 && g.b.Block == 32 && readsAhead:
		return nbits4p1b32n256
	case g.b.bits == 4 && g.parts == 1 && g.b.Block == 32:
		return nbits4p1b32x256
	case g.b.bits == 4 && g.parts == 3 && g.b.Block == 32:
		return nbits4p3b32x256
	}
	return nil
}

// digits256 returns the digits of row i as the AVX2 kernels take them.
func (g *nbitsJob) digits256(i int, x *nbitsArgs) *byte {
	if g.wideDigits() {
		return (*byte)(unsafe.Pointer(&g.words[2*i*x.lda]))
	}
	return (*byte)(unsafe.Pointer(&g.digits[i*x.lda]))
}

// rowTile calls the AVX2 kernel for digits.
func (g *nbitsJob) rowTile(i int, x *nbitsArgs) {
	x.a, x.panels = g.digits256(i, x), 1
	if f := g.panels256(); f != nil {
		f(x)
		return
	}
	switch {
	case g.parts == 2:
		nbits8p2r256(x)
	case g.b.bits == 4 && g.parts == 1:
		nbits4p1r256(x)
	case g.b.bits == 4:
		nbits4p3r256(x)
	default:
		nbits8p3r256(x)
	}
}

// widenDigits makes of the digits of blocks t0 to t1 of row i what the AVX2 kernels take instead: for weights of 8 bits three digits of 16 bits, or
// one folded, with what that adds to the sums as the second start; and for three digits and weights of 4 bits in blocks of 32 the starts as one.
func (g *nbitsJob) widenDigits(i, t0, t1 int) {
	if t1 <= t0 || !g.oneRow() {
		return
	}
	at, n := (i*g.kPad()+t0*g.b.Block)*g.digitBytes(), (t1-t0)*g.b.Block*g.parts
	terms := g.terms[i*g.b.blocks()+t0:][:t1-t0]
	switch {
	case g.b.bits == 8 && g.parts == 1:
		_, _ = g.digits[at+n-1], g.words[2*(at+n)-1]
		foldBytes256(t1-t0, g.b.Block, &g.digits[at], 0, 0x80808080, (*uint8)(unsafe.Pointer(&g.words[2*at])), &terms[0].start[1], int(unsafe.Sizeof(terms[0])))
	case g.b.bits == 8 && g.parts == 3:
		nbitsWords256(n, &g.digits[at], &g.words[2*at])
	case g.parts == 3 && g.b.Block == 32:
		for t := range terms {
			s := &terms[t].start
			terms[t].total = s[0] + s[1]<<8 + s[2]<<16
		}
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
