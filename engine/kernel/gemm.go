package kernel

import (
	"math"
	"sync"
)

// PanelWidth is the number of columns in one packed panel of a weight matrix.
const PanelWidth = 32

// PackedF32 is a matrix B[K,N] in the order that GemmF32 reads it: panels of 32 columns, each panel row by row; the rows of
// a partial last panel are shorter (see panelStride). It is the same on every ISA and is not changed after PackF32.
type PackedF32 struct {
	K, N int
	data []float32 // [N/32][K][32], and then [K][panelStride(N%32)]
}

// Bytes returns the size of the packed copy.
func (b *PackedF32) Bytes() int64 { return int64(len(b.data)) * 4 }

// PackF32 packs B[k,n], row-major with leading dimension ldb; with trans, b holds the transpose, [n,k].
func PackF32(k, n int, b []float32, ldb int, trans bool) *PackedF32 {
	checkB(len(b), k, n, ldb, trans)
	np := panels(n)
	out := &PackedF32{K: k, N: n, data: floatsOf(Memory(4 * packedLen(k, n)))}
	for j := range np {
		packPanelF32(out.data[j*k*PanelWidth:], k, n, j, b, ldb, trans)
	}
	return out
}

// GemmF32 computes C = epilogue(A*B): A[m,K] and C[m,N] are row-major with leading dimensions lda and ldc. C must
// not overlap A, the epilogue's slices or B. See the package comment for the order of the additions, and Epilogue for
// what follows them. A nil pool computes in the calling goroutine; a small product does so anyway.
func GemmF32(p *Pool, m int, a []float32, lda int, b *PackedF32, c []float32, ldc int, ep Epilogue) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	ep.check(m, b.N)
	if m == 0 || b.N == 0 {
		return
	}
	g := newGemmJob(m, b.N, b.K, a, lda, c, ldc, &ep)
	g.b, g.ps = b.data, b.K*PanelWidth
	g.run(p)
	g.release()
}

// MatMulF32 computes C = epilogue(op(A)*op(B)) for operands that are not packed: op(A) is [m,k] and op(B) is [k,n], all
// row-major. With transA, a holds the transpose, [k,m]; with transB, b holds [n,k]. The result has the same bits as that
// of GemmF32. Scratch memory is recycled.
func MatMulF32(p *Pool, m, n, k int, a []float32, lda int, transA bool, b []float32, ldb int, transB bool, c []float32, ldc int, ep Epilogue) {
	if transA {
		checkA(len(a), k, m, lda)
	} else {
		checkA(len(a), m, k, lda)
	}
	checkB(len(b), k, n, ldb, transB)
	checkC(len(c), m, n, ldc)
	ep.check(m, n)
	if m == 0 || n == 0 {
		return
	}
	var at *scratchF32
	if transA && k > 0 {
		at = getScratchF32(m * k)
		transposeF32(p, at.f, k, a, lda, k, m)
		a, lda = at.f, k
	}
	g := newGemmJob(m, n, k, a, lda, c, ldc, &ep)
	g.b, g.ldb = b, ldb
	if !transB && m <= directRows {
		g.inPlace, g.ps = true, PanelWidth
	} else {
		g.pack, g.transB = true, transB
	}
	g.run(p)
	g.release()
	if at != nil {
		scratchPoolF32.Put(at)
	}
}

// gemmCut says how a product is cut: the rows and panels of a task at most, the rows of a panel that are used before the next rows of A, and the
// panels whose epilogue runs together.
type gemmCut struct{ rows, panels, k, group int }

// cuts returns how the product is cut. In float32 on 256-bit registers a block of A, 240 KiB at most, stays in the L2 cache while all of B goes by, which
// is asked for in time (see block256).
func (g *gemmJob) cuts() gemmCut {
	c := gemmCut{rowsPerTask, panelsPerTask, kBlock, panelsPerTask}
	switch {
	case g.pairs:
		c.k = kBlockPairs
	case g.rounded != nil:
		c.k = kBlockTiles
	case g.half == nil && g.isa.hasAVX2() && !g.isa.hasAVX512():
		c = gemmCut{rows: 160, panels: 64, k: kBlock, group: panelsPerTask}
		if g.m > directRows {
			c.group = 4
		}
		if g.pack { // what a task packs shall still be near when it is used
			c.panels = panelsPerTask
		}
	}
	return c
}

const (
	// directRows is the number of rows up to which MatMulF32 reads B in place: packing pays only when a panel is used often.
	directRows = 24
	// rowsPerTask bounds the rows of A in one task, so that they stay in the L2 cache.
	rowsPerTask = 192
	// panelsPerTask bounds the panels of B in one task.
	panelsPerTask = 8
	// packedBytes bounds what a task packs at a time.
	packedBytes = 192 << 10
	// kBlock bounds the rows of a panel that are used before the next rows of A: 32*kBlock floats stay close. In float32 it bounds the chains
	// of additions too, so it is the same at every level.
	kBlock = 384
	// kBlockTiles is the same for products on tiles: a panel of B stays in the L1 cache for all rows of a task.
	kBlockTiles = 256
	// kBlockFew is the same for such products of up to three rows, which read B once: 4 MiB of panelsPerTask panels, for whose assembly a collection
	// of garbage waits.
	kBlockFew = 8192
	// kBlockPairs is the same for products of bfloat16 in pairs.
	kBlockPairs = 1024
	// kAlign is what the first row of such a block is a multiple of.
	kAlign = tileK
	// forkFlops is the work below which a product is not spread over threads: about 25 us of one core.
	forkFlops = 2_500_000
	// forkFlopsTiles is the same bound for products on tiles.
	forkFlopsTiles = 30_000_000
	// forkBytes is the same bound for products with few rows, which wait for the weights.
	forkBytes = 600_000
)

// gemmJob is one product on its way through the pool; recycled with its closure, so that a call allocates nothing.
type gemmJob struct {
	m, n, k  int
	a        []float32
	lda      int
	b        []float32
	ps       int // distance between panels
	ldb      int
	inPlace  bool // b is row-major and read as it is
	pack     bool // b is not packed: every task packs its own panels, blocks of their rows one after the other
	transB   bool
	image    *convImage   // instead of b: its columns are packed
	offs     []int        // where the rows of b are, read as they lie there
	half     *PackedHalf  // instead of b
	nbits    *PackedNBits // instead of b
	rounded  []uint16     // instead of a: bfloat16
	pairs    bool         // rounded holds rows for products in pairs, not tiles
	c        []float32
	ldc      int
	ep       Epilogue
	isa      ISA
	cut      gemmCut
	rowTasks int
	rows     int // per task
	panels   int // per task
	task     func(int)
}

var gemmJobs = sync.Pool{New: func() any {
	g := new(gemmJob)
	g.task = g.doTask
	return g
}}

func newGemmJob(m, n, k int, a []float32, lda int, c []float32, ldc int, ep *Epilogue) *gemmJob {
	g := gemmJobs.Get().(*gemmJob)
	*g = gemmJob{m: m, n: n, k: k, a: a, lda: lda, c: c, ldc: ldc, ep: *ep, isa: Active(), task: g.task}
	return g
}

func (g *gemmJob) release() {
	*g = gemmJob{task: g.task} // keep no slice alive
	gemmJobs.Put(g)
}

// run cuts the product into tasks of rows x panels and runs them.
func (g *gemmJob) run(p *Pool) {
	threads, size, flops, align := p.Threads(), 4, forkFlops, 1
	if g.half != nil {
		size = 2
	}
	if g.rounded != nil && !g.pairs {
		flops, align = forkFlopsTiles, 2*tileRows
	}
	if threads > 1 && (2*g.m*g.n*g.k < flops && (g.m > 3 || size*g.n*g.k < forkBytes)) {
		threads = 1
	}
	np := panels(g.n)
	g.cut = g.cuts()
	g.rows, g.panels = min(g.m, g.cut.rows), min(np, g.cut.panels)
	if g.pack { // all rows, if there are columns enough for all threads: each panel is packed once then
		g.ps = g.rowBlock(g.m) * PanelWidth
		g.rows, g.panels = g.m, min(g.panels, max(1, packedBytes/(4*max(g.ps, 1))))
	}
	if threads > 1 {
		// At least four tasks per thread, cutting columns first: panels are what is not shared. Rows that are still many come before them.
		for ceilDiv(np, g.panels)*ceilDiv(g.m, g.rows) < 4*threads && g.rows > g.cut.rows {
			g.rows = (g.rows + 1) / 2
		}
		for ceilDiv(np, g.panels)*ceilDiv(g.m, g.rows) < 4*threads && g.panels > 1 {
			g.panels = (g.panels + 1) / 2
		}
		for ceilDiv(np, g.panels)*ceilDiv(g.m, g.rows) < 4*threads && g.rows > 24 {
			g.rows = (g.rows + 1) / 2
		}
	}
	g.rowTasks = ceilDiv(g.m, g.rows)
	g.rows = ceilDiv(ceilDiv(g.m, g.rowTasks), align) * align
	g.rowTasks = ceilDiv(g.m, g.rows)
	n := g.rowTasks * ceilDiv(np, g.panels)
	if threads == 1 && p.Threads() > 1 {
		p = nil
	}
	p.Run(n, g.task)
}

// part returns the rows i0..i1 and the panels j0..j1 of a task.
func (g *gemmJob) part(t int) (i0, i1, j0, j1 int) {
	i0, j0 = t%g.rowTasks*g.rows, t/g.rowTasks*g.panels
	return i0, min(g.m, i0+g.rows), j0, min(panels(g.n), j0+g.panels)
}

// doTask computes one group of rows of one group of panels.
func (g *gemmJob) doTask(t int) {
	i0, i1, j0, j1 := g.part(t)
	switch {
	case g.k == 0:
		g.zeroTerms(i0, i1, j0, j1)
		g.epilogue(i0, i1, j0*PanelWidth, min(g.n, j1*PanelWidth))
	case g.pack:
		g.packedBlocks(i0, i1, j0, j1)
	default:
		g.blocks(g.b[min(j0*g.ps, len(g.b)):], i0, i1, j0, j1)
	}
}

// rowBlock is the number of rows of B that are used before the next rows of A. In float32 it is the number of terms of a chain, and depends on k alone;
// how many rows of A there are matters for bfloat16 only.
func (g *gemmJob) rowBlock(rows int) int {
	most := g.cut.k
	if rows <= 3 {
		switch {
		case g.pairs:
			most = max(g.k, 1)
		case g.rounded != nil:
			most = kBlockFew
		}
	}
	return evenBlock(g.k, most)
}

// evenBlock is the least multiple of kAlign with which as few blocks of at most most as can be cover k.
func evenBlock(k, most int) int {
	return (ceilDiv(k, max(ceilDiv(k, most), 1)) + kAlign - 1) &^ (kAlign - 1)
}

// packedBlocks is blocks of panels that it packs: of a block of their rows all, then all rows of A by these.
func (g *gemmJob) packedBlocks(i0, i1, j0, j1 int) {
	kb := g.ps / PanelWidth
	s := getScratchF32(packedLen(kb, min(g.n, j1*PanelWidth)-j0*PanelWidth))
	parts := ceilDiv(i1-i0, g.cut.rows)
	for k0 := 0; k0 < g.k; k0 += kb {
		kk := min(kb, g.k-k0)
		for j := j0; j < j1; j++ {
			switch dst := s.f[(j-j0)*g.ps:]; {
			case g.image != nil:
				g.image.packPanel(g.isa, dst, j, g.image.offs[k0:k0+kk])
			case g.transB:
				packPanelF32(dst, kk, g.n, j, g.b[k0:], g.ldb, true)
			default:
				packPanelF32(dst, kk, g.n, j, g.b[k0*g.ldb:], g.ldb, false)
			}
		}
		for t, i := 0, i0; i < i1; t++ {
			e := i + (i1-i+parts-t-1)/(parts-t)
			g.blocksOf(s.f, i, e, j0, j1, k0, 0, kk)
			i = e
		}
	}
	scratchPoolF32.Put(s)
}

// blocks computes rows i0..i1 of panels j0..j1 with their epilogue; b starts at panel j0. A few rows go to the end of k with the panels that their
// kernels take at a time, so that weights are read in the order in which they lie.
func (g *gemmJob) blocks(b []float32, i0, i1, j0, j1 int) {
	kb, step := g.rowBlock(i1-i0), j1-j0
	if i1-i0 <= 3 && kb < g.k && g.rounded == nil {
		step = g.fewPanels(i1 - i0)
	}
	for j := j0; j < j1; j += step {
		for k0 := 0; k0 < g.k; k0 += kb {
			g.blocksOf(b[min((j-j0)*g.ps, len(b)):], i0, i1, j, min(j+step, j1), k0, k0, min(kb, g.k-k0))
		}
	}
}

// fewPanels is the number of panels that kernels of one to three rows take at a time.
func (g *gemmJob) fewPanels(rows int) int {
	switch {
	case g.isa.hasAVX512():
		return widePanels
	case g.isa.hasAVX2() && rows == 1:
		return 2
	}
	return 1
}

// blocksOf computes rows i0..i1 of panels j0..j1 over k0..k0+kk, and their epilogue with the last ones; see block.
func (g *gemmJob) blocksOf(b []float32, i0, i1, j0, j1, k0, bk, kk int) {
	acc, step := k0 > 0 || g.ep.Accumulate, j1-j0
	after := k0+kk >= g.k && !g.ep.plain() && !g.fusesBias(i1-i0)
	if after {
		step = min(step, g.cut.group)
	}
	for j := j0; j < j1; j += step {
		end := min(j+step, j1)
		switch {
		case g.rounded != nil:
			g.blockBF16(i0, i1, j, end, k0, kk, acc)
		case g.half != nil:
			g.blockHalf(i0, i1, j, end, k0, kk, acc)
		case g.nbits != nil:
			g.blockWidened(i0, i1, j, end, k0, kk, acc)
		default:
			g.block(b[(j-j0)*g.ps:], i0, i1, j, end, k0, bk, kk, acc)
		}
		if after {
			g.epilogue(i0, i1, j*PanelWidth, min(g.n, end*PanelWidth))
		}
	}
}

// fusesBias reports whether the kernels of a block of so many rows add the bias, and nothing is left of the epilogue. Those of float32 weights do:
// with 512-bit registers from four rows on, with 256-bit ones from two on and for whole vectors; those that read an image in place add that of rows.
func (g *gemmJob) fusesBias(rows int) bool {
	e := &g.ep
	switch {
	case e.Residual != nil || e.Act != ActNone || e.Alpha != 0 && e.Alpha != 1:
		return false
	case g.offs != nil:
		return e.BiasM != nil && e.Bias == nil
	case e.Bias == nil || e.BiasM != nil || g.half != nil || g.nbits != nil || g.rounded != nil:
		return false
	case g.isa.hasAVX512():
		return rows > 3
	}
	return rows > 1 && g.n%16 == 0 && g.isa.hasAVX2()
}

// zeroTerms is a product with k = 0.
func (g *gemmJob) zeroTerms(i0, i1, j0, j1 int) {
	if g.ep.Accumulate {
		return
	}
	for i := i0; i < i1; i++ {
		clear(g.c[i*g.ldc+j0*PanelWidth : i*g.ldc+min(g.n, j1*PanelWidth)])
	}
}

// blockGo is the Go twin of the assembly block.
func (g *gemmJob) blockGo(b []float32, i0, i1, j0, j1, k0, bk, kk int, acc bool) {
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.n-j*PanelWidth)
		bs := g.rowStride(w)
		off := (j-j0)*g.ps + bk*bs
		for i := i0; i < i1; i++ {
			c := g.c[i*g.ldc+j*PanelWidth:][:w]
			var s [PanelWidth]float32
			for q, x := range g.a[i*g.lda+k0:][:kk] {
				x64 := float64(x)
				for e, y := range b[off+q*bs:][:w] {
					t := x64*float64(y) + float64(s[e]) // Fma32, written out since the compiler does not inline it
					if u := math.Float64bits(t); u&(1<<29-1) == 1<<28 || u<<1 < 897<<53 {
						s[e] = fmaOdd(x, y, s[e])
					} else {
						s[e] = float32(t)
					}
				}
			}
			if acc {
				for e := range c {
					s[e] += c[e]
				}
			}
			copy(c, s[:])
		}
	}
}

// rowStride is the distance between the rows of a panel that has w columns.
func (g *gemmJob) rowStride(w int) int {
	if g.inPlace {
		return g.ldb
	}
	return panelStride(w)
}

// panelStride is the length of a packed row of w columns: whole cache lines, but for a few columns no padding at all.
func panelStride(w int) int {
	if w < 8 {
		return w
	}
	return (w + 15) &^ 15
}

// packedLen is the size of B[k,n] packed.
func packedLen(k, n int) int { return k * (n&^(PanelWidth-1) + panelStride(n%PanelWidth)) }

func panels(n int) int { return (n + PanelWidth - 1) / PanelWidth }

// widePanels is the number of panels that several kernels of one row take at a time.
const widePanels = 4

// rowPanels is the number of panels, of size bytes each, that a task of a product of one row takes of np: half of what is a thread's, since with
// every task the CPU begins anew to read ahead (on a Zen 4 eight tasks of 10 MB for two threads take 64 us, four 61), or as small a part of it
// as makes tasks of some 6 MiB at most, for whose assembly a collection of garbage waits. The threads have equal shares (of 128 panels in tasks of 28
// the slower of two had 72).
func rowPanels(np, size, threads int) int {
	const most = 6 << 20
	n := ceilDiv(np, 2*threads)
	if parts := ceilDiv(n*size, most); parts > 1 {
		n = ceilDiv(np, 2*threads*parts)
	}
	return min(np, ceilDiv(n, widePanels)*widePanels)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
