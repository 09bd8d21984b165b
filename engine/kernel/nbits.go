package kernel

import (
	"slices"
	"sync"
)

// GemmNBits computes C = epilogue(A*B) for A[m,K] and C[m,N], row-major with leading dimensions lda and ldc.
//
// With bytes set, A is rounded to 8 bits in every block of a row: x = round(127*a/max|a|), half to even. Otherwise every block
// of A is held in integers, a power of two times a, as signed digits: three of 8 bits, with an error of about 2^-23 max|a| of the
// block, or one of 7 and one of 16, with 2^-22 (see nbitsParts). The sums of a block are then exact, and the result is as good as one of
// float32 (see the bound in the test). Rows with an infinity, a NaN or nothing above 2^-80, and CPUs with AVX-512 but not VPDPBUSD,
// multiply in float32. So do many rows (see nbitsWide; without assembly any number), by weights that are made float32 a block of a
// panel at a time, once for all rows of a task: the last bits of a row may depend on how many rows there are, not on the threads.
func GemmNBits(p *Pool, m int, a []float32, lda int, b *PackedNBits, c []float32, ldc int, bytes bool, ep Epilogue) {
	parts, isa := 1, Active()
	switch {
	case nbitsWide(isa, m, b, bytes):
		parts = 0
	case !bytes:
		parts = nbitsParts(isa, b)
	}
	gemmNBits(p, m, a, lda, b, c, ldc, parts, ep)
}

// nbitsParts is the number of digits of an A that is not rounded to 8 bits. Two, of 7 and 16 bits, are for weights of 8 bits in blocks of up to
// 256, whose sums fit 32 bits, where a product of 16 bits costs what one of 8 does: on amd64 without VPDPBUSD on 512-bit registers.
func nbitsParts(isa ISA, b *PackedNBits) int {
	if b.bits == 8 && b.Block <= 256 && isa < AVX512 {
		return 2
	}
	return 3
}

// gemmNBits is GemmNBits with A in so many digits, or with 0 in float32.
func gemmNBits(p *Pool, m int, a []float32, lda int, b *PackedNBits, c []float32, ldc int, parts int, ep Epilogue) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	ep.check(m, b.N)
	if ep.Accumulate {
		panic("kernel: a block-wise product cannot accumulate")
	}
	if m == 0 || b.N == 0 {
		return
	}
	if b.K == 0 {
		for i := range m {
			clear(c[i*ldc:][:b.N])
		}
		g := newGemmJob(m, b.N, 0, nil, 0, c, ldc, &ep)
		g.epilogue(0, m, 0, b.N)
		g.release()
		return
	}
	if parts == 0 {
		gemmNBitsWide(p, m, a, lda, b, c, ldc, &ep)
		return
	}
	g := nbitsJobs.Get().(*nbitsJob)
	g.m, g.a, g.lda, g.b, g.c, g.ldc, g.ep, g.isa = m, a, lda, b, c, ldc, ep, Active()
	g.parts = parts
	if !g.runAside(p) {
		threads := g.cut(p)
		g.prepare(p)
		g.run(p, threads)
	}
	g.forget()
	nbitsJobs.Put(g)
}

// forget lets go of the caller's slices.
func (g *nbitsJob) forget() {
	g.a, g.b, g.c, g.ep, g.first = nil, nil, nil, Epilogue{}, nbitsFirst{}
}

// nbitsTerms is what a product needs of one block of one row of A besides its digits.
type nbitsTerms struct {
	start  [3]int32 // per digit: minus the middle of the weights times the sum of the digits
	scale  float32  // of the digits
	sum    float32  // of the row's elements as the digits have them, or as they are
	centre int32
	total  int32 // of three digits and weights of 4 bits in blocks of 32, for AVX2: the starts as one integer
	_      int32
}

// nbitsArgs are the arguments of the assembly; see its comments for the offsets. Strides are in bytes.
type nbitsArgs struct {
	blocks, pairs int
	w             *byte
	a             *byte
	lda           int
	terms         *nbitsTerms
	ldt           int
	c             *float32
	ldc           int
	zeros         int
	_             [6 * 8]int32 // sums: memory of the AVX2 kernels
	panels        int          // of a stream
}

// nbitsJob is one product on its way through the pool.
type nbitsJob struct {
	m        int
	a        []float32
	lda      int
	b        *PackedNBits
	c        []float32
	ldc      int
	ep       Epilogue
	isa      ISA
	parts    int
	digits   []int8       // [m][groups of four][parts][4], K filled up to whole blocks; of two parts see splitTwoGo
	words    []int8       // the same in two bytes each, of three parts, or folded, of one: see widenDigits
	floats   []float32    // [m][K filled up], for rows multiplied in float32
	terms    []nbitsTerms // [m][blocks]
	float    []rowKind
	any      bool // there are such rows
	rowTasks int
	rows     int
	panels   int
	task     func(int)
	row      func(int)
	first    nbitsFirst
	pieces   int       // of a row, while digits are made
	most     []float32 // [m][pieces]
	piece    func(int)

	aside     []*nbitsJob // see runAside
	asideTask func(int)
	threadsOf int       // of aside, those in use
	tasks     int       // of all of them
	once      sync.Once // prepares one of them
	ready     bool      // it has
}

var nbitsJobs = sync.Pool{New: func() any { return newNBitsJob() }}

func newNBitsJob() *nbitsJob {
	g := new(nbitsJob)
	g.task, g.row, g.piece, g.asideTask = g.doTask, g.doRow, g.doPiece, g.doAside
	return g
}

// rowKind is how a row of A is multiplied.
type rowKind uint8

const (
	rowDigits rowKind = iota
	rowFloat
	rowWild // in float32, with a NaN or a magnitude of 2^100 or more: every weight is made before it is multiplied
)

// sized returns s with n elements of undefined contents.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// kPad is K filled up to whole blocks.
func (g *nbitsJob) kPad() int { return g.b.blocks() * g.b.Block }

// usesDigits tells whether the active kernels multiply integers, as the Go twin does, which has their bits: all but those for 512-bit registers
// without VPDPBUSD.
func (g *nbitsJob) usesDigits() bool { return g.isa != AVX512 }

// oneRow tells whether the kernels for digits are those of AVX2, which take one row at a time.
func (g *nbitsJob) oneRow() bool { return g.isa.hasAVX2() && !g.isa.hasAVX512() }

// prepare turns A into digits, and rows that digits cannot hold into floats.
func (g *nbitsJob) prepare(p *Pool) {
	kb := g.b.blocks()
	g.terms, g.float = sized(g.terms, g.m*kb), sized(g.float, g.m)
	for i := range g.float {
		g.float[i] = rowFloat
	}
	rows := p
	if g.m*g.b.K < forkDigits {
		rows = nil
	}
	g.any = true
	if g.usesDigits() {
		g.digits = sized(g.digits, g.m*g.kPad()*g.digitBytes())
		if g.wideDigits() {
			g.words = sized(g.words, 2*len(g.digits))
		}
		g.pieces = 1
		pieces := rows
		if n := p.Threads(); g.m < n && g.m*g.b.K >= g.forkPieces() && g.threads(p) > 1 {
			g.pieces, pieces = n, p
		}
		g.most = sized(g.most, g.m*g.pieces)
		pieces.Run(g.m*g.pieces, g.piece)
		g.any = false
		for i := range g.float {
			if most := slices.Max(g.most[i*g.pieces:][:g.pieces]); most == 0 || most > 0x1p-80 && most < 1<<100 {
				g.float[i] = rowDigits
			} else {
				g.any = true
			}
		}
	}
	if g.any {
		g.floats = sized(g.floats, g.m*g.kPad())
		rows.Run(g.m, g.row)
	}
}

// doRow prepares row i of A if it is multiplied in float32.
func (g *nbitsJob) doRow(i int) {
	if g.float[i] == rowDigits {
		return
	}
	kb, bl, kp := g.b.blocks(), g.b.Block, g.kPad()
	x := g.a[i*g.lda:][:g.b.K]
	row := g.floats[i*kp:][:kp]
	clear(row[copy(row, x):])
	if top := absMax(g.isa, x); !(top < 1<<100) {
		g.float[i] = rowWild
	}
	for t := range kb {
		var s float32
		for _, v := range x[t*bl : min(len(x), (t+1)*bl)] {
			s += v
		}
		g.terms[i*kb+t] = nbitsTerms{sum: s, centre: int32(g.b.centre)}
	}
}

// forkNBits is the number of bytes of weights, times the rows in fours, from which on a product is spread over threads.
const forkNBits = 600_000

// threads is the number of threads of the product.
func (g *nbitsJob) threads(p *Pool) int {
	if int(g.b.Bytes())*ceilDiv(g.m, 4) < forkNBits {
		return 1
	}
	return p.Threads()
}

// cut cuts the product into tasks for so many threads.
func (g *nbitsJob) cut(p *Pool) (threads int) {
	np := panels(g.b.N)
	threads = g.threads(p)
	g.rows, g.panels = min(g.m, 48), min(np, 8)
	switch {
	case g.m == 1:
		g.panels = rowPanels(np, g.b.blocks()*g.b.blockBytes(), threads)
		g.aim(0, g.panels)
	case threads > 1:
		tasks := 4 * threads
		if g.m > 24 { // of the last of which there is more to wait for
			tasks *= 2
		}
		for ceilDiv(np, g.panels)*ceilDiv(g.m, g.rows) < tasks && g.panels > 1 {
			g.panels = (g.panels + 1) / 2
		}
	}
	g.rowTasks = ceilDiv(g.m, g.rows)
	return threads
}

func (g *nbitsJob) run(p *Pool, threads int) {
	if threads == 1 {
		p = nil
	}
	p.Run(g.rowTasks*ceilDiv(panels(g.b.N), g.panels), g.task)
}

// doTask computes one group of rows of one group of panels.
func (g *nbitsJob) doTask(t int) {
	i0 := t % g.rowTasks * g.rows
	i1 := min(g.m, i0+g.rows)
	j0 := t / g.rowTasks * g.panels
	j1 := min(panels(g.b.N), j0+g.panels)
	j := j0
	if i1-i0 == 1 {
		j += g.stream(i0, j0, j1)
	}
	for ; j < j1; j++ {
		w := min(PanelWidth, g.b.N-j*PanelWidth)
		for i := i0; i < i1; {
			n := g.height(i, i1)
			if w < PanelWidth {
				g.edge(i, n, j, w)
			} else {
				g.tile(i, n, j, g.c[i*g.ldc+j*PanelWidth:], g.ldc)
			}
			i += n
		}
	}
	if !g.ep.plain() {
		e := gemmJob{c: g.c, ldc: g.ldc, ep: g.ep, isa: g.isa} // on the heap: an argument of assembly
		e.epilogue(i0, i1, j0*PanelWidth, min(g.b.N, j1*PanelWidth))
	}
}

// edge is tile for a panel of which C has w columns.
func (g *nbitsJob) edge(i, n, j, w int) {
	var whole [4 * PanelWidth]float32
	g.tile(i, n, j, whole[:], PanelWidth)
	for r := range n {
		copy(g.c[(i+r)*g.ldc+j*PanelWidth:][:w], whole[r*PanelWidth:])
	}
}

// height is the number of rows from i on that one tile takes: of digits, or a single one of floats.
func (g *nbitsJob) height(i, i1 int) int {
	if g.float[i] != rowDigits || g.oneRow() || g.isa == NEON {
		return 1
	}
	most := 4
	if g.parts > 1 {
		most = 3
	}
	n := 1
	for n < most && i+n < i1 && g.float[i+n] == rowDigits {
		n++
	}
	return n
}

// tileGo is the Go twin of the assembly: rows i to i+n of panel j, 32 columns, to c. Digits give its very bits.
func (g *nbitsJob) tileGo(i, n, j int, c []float32, ldc int) {
	kb, size := g.b.blocks(), g.b.blockBytes()
	for r := i; r < i+n; r++ {
		out := c[(r-i)*ldc:][:PanelWidth]
		clear(out)
		for t := range kb {
			block := g.b.data[(j*kb+t)*size:][:size]
			if g.float[r] != rowDigits {
				g.floatBlock(r, t, block, out)
			} else {
				g.digitBlock(r, t, block, out)
			}
		}
	}
}

// digitBlock adds the product of block t of row r.
func (g *nbitsJob) digitBlock(r, t int, block []byte, out []float32) {
	b := g.b
	scale, zero := b.terms(block)
	e := &g.terms[r*b.blocks()+t]
	q := g.digits[(r*g.kPad()+t*b.Block)*g.digitBytes():][:b.Block*g.digitBytes()]
	for c := range out {
		s := e.start
		for k := range b.Block {
			w := b.integer(block, k, c)
			if g.parts == 2 {
				lo, hi := twoDigits(q, k)
				s[0], s[1] = s[0]+w*lo, s[1]+w*hi
				continue
			}
			for p := range g.parts {
				s[p] += w * int32(q[k/4*4*g.parts+4*p+k%4])
			}
		}
		f := float32(s[0])
		switch g.parts {
		case 2:
			f = Fma32(128, float32(s[1]), f)
		case 3:
			f = Fma32(65536, float32(s[2]), Fma32(256, float32(s[1]), f))
		}
		out[c] = Fma32(f, scale[c]*e.scale, out[c])
		if zero != nil {
			out[c] = Fma32(negf(zero[c]), e.sum, out[c])
		}
	}
}

// floatBlock adds the product of block t of row r in float32.
func (g *nbitsJob) floatBlock(r, t int, block []byte, out []float32) {
	b := g.b
	scale, zero := b.terms(block)
	x := g.floats[r*g.kPad()+t*b.Block:][:b.Block]
	for c := range out {
		if g.float[r] == rowWild {
			for k, v := range x[:min(b.Block, b.K-t*b.Block)] {
				w := float32(float32(b.integer(block, k, c)-int32(b.centre)) * scale[c])
				if zero != nil {
					w -= zero[c]
				}
				out[c] = Fma32(v, w, out[c])
			}
			continue
		}
		var s float32
		for k, v := range x {
			s = Fma32(v, float32(b.integer(block, k, c)-int32(b.centre)), s)
		}
		out[c] = Fma32(s, scale[c], out[c])
		if zero != nil {
			out[c] = Fma32(negf(zero[c]), g.terms[r*b.blocks()+t].sum, out[c])
		}
	}
}
