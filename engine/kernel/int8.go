package kernel

import "sync"

// GemmU8S8 computes C[i,j] = sum over k of A[i,k]*B[k,j] in int32, exactly (modulo 2^32): A[m,K] unsigned bytes, C[m,N],
// both row-major. C must not overlap A.
func GemmU8S8(p *Pool, m int, a []uint8, lda int, b *PackedS8, c []int32, ldc int) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	if m == 0 || b.N == 0 {
		return
	}
	a, lda, pad := padRows(m, a, lda, b.K)
	g := newInt8Job(m, a, lda, b)
	g.c32, g.ldc = c, ldc
	g.run(p)
	g.release()
	if pad != nil {
		scratchPoolU8.Put(pad)
	}
}

// GemmS8S8 is GemmU8S8 for signed A: it multiplies A+128 and takes 128*ColSum off again.
func GemmS8S8(p *Pool, m int, a []int8, lda int, b *PackedS8, c []int32, ldc int) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	s := getScratchU8(m * b.K)
	for i := range m {
		d := s.b[i*b.K:][:b.K]
		for q, v := range a[i*lda:][:b.K] {
			d[q] = uint8(v) ^ 0x80
		}
	}
	MatMulInteger(p, m, s.b, b.K, []uint8{128}, b, nil, c, ldc)
	scratchPoolU8.Put(s)
}

// MatMulInteger computes C[i,j] = sum over k of (A[i,k]-aZero[i]) * (B[k,j]-bZero[j]) in int32 (ONNX MatMulInteger).
// aZero has length 1 or m, bZero length 1 or N, in terms of the stored signed values (see ShiftZero); nil means 0.
func MatMulInteger(p *Pool, m int, a []uint8, lda int, aZero []uint8, b *PackedS8, bZero []int8, c []int32, ldc int) {
	checkZeros(len(aZero), m, len(bZero), b.N)
	GemmU8S8(p, m, a, lda, b, c, ldc)
	if len(aZero) == 0 && len(bZero) == 0 {
		return
	}
	for i := range m {
		var az, rowSum int32
		if len(aZero) > 0 {
			az = int32(aZero[i%len(aZero)])
		}
		if len(bZero) > 0 {
			rowSum = sumU8(a[i*lda:][:b.K]) - az*int32(b.K)
		}
		row := c[i*ldc:][:b.N]
		for j, s := range b.ColSum {
			row[j] -= az * s
		}
		for j := range row {
			if len(bZero) > 0 {
				row[j] -= int32(bZero[j%len(bZero)]) * rowSum
			}
		}
	}
}

// DynQuantGemm computes C = epilogue(dequantize(A') * dequantize(B)): A[m,K] is quantized as one tensor by
// ONNX DynamicQuantizeLinear (see QuantizeU8), multiplied in integers and scaled back by float32(acc) * (aScale*bScale[j]).
// bScale has length 1 or N; bZero has length 1 or N in terms of the stored signed values, nil for symmetric weights.
// Epilogue.Accumulate is not supported (panic).
func DynQuantGemm(p *Pool, m int, a []float32, lda int, b *PackedS8, bScale []float32, bZero []int8, c []float32, ldc int, ep Epilogue) {
	checkA(len(a), m, b.K, lda)
	if m == 0 || b.N == 0 {
		return
	}
	k4 := (b.K + 3) &^ 3
	s := getScratchU8(m * k4)
	scale, zero := quantizeRows(p, m, b.K, a, lda, s.b, k4)
	QuantGemm(p, m, s.b, k4, []float32{scale}, []uint8{zero}, b, bScale, bZero, c, ldc, ep)
	scratchPoolU8.Put(s)
}

// quantizeRows quantizes the matrix a[m,k] as one tensor into rows of ldq bytes; bytes past k are not used.
func quantizeRows(p *Pool, m, k int, a []float32, lda int, q []uint8, ldq int) (scale float32, zero uint8) {
	if p.Threads() == 1 || m*k < forkQuantize {
		lo, hi := rangeRows(m, k, a, lda)
		scale, zero = paramsU8(lo, hi)
		quantizeBlock(m, k, a, lda, q, ldq, scale, zero)
		return scale, zero
	}
	tasks := min(m, 2*p.Threads())
	ranges := make([][2]float32, tasks)
	p.Run(tasks, func(t int) {
		i0, i1 := t*m/tasks, (t+1)*m/tasks
		ranges[t][0], ranges[t][1] = rangeRows(i1-i0, k, a[i0*lda:], lda)
	})
	var lo, hi float32
	for _, r := range ranges {
		lo, hi = min(lo, r[0]), max(hi, r[1])
	}
	scale, zero = paramsU8(lo, hi)
	p.Run(tasks, func(t int) {
		i0, i1 := t*m/tasks, (t+1)*m/tasks
		quantizeBlock(i1-i0, k, a[i0*lda:], lda, q[i0*ldq:], ldq, scale, zero)
	})
	return scale, zero
}

// rangeRows returns the range of 0 and the matrix a[m,k].
func rangeRows(m, k int, a []float32, lda int) (lo, hi float32) {
	if lda == k {
		return minMax(a[:m*k])
	}
	for i := range m {
		l, h := minMax(a[i*lda:][:k])
		lo, hi = min(lo, l), max(hi, h)
	}
	return lo, hi
}

// quantizeBlock quantizes the matrix a[m,k].
func quantizeBlock(m, k int, a []float32, lda int, q []uint8, ldq int, scale float32, zero uint8) {
	if lda == k && ldq == k {
		quantizeU8(a[:m*k], q[:m*k], scale, zero)
		return
	}
	for i := range m {
		quantizeU8(a[i*lda:][:k], q[i*ldq:][:k], scale, zero)
	}
}

// QuantGemm is DynQuantGemm for an A that is quantized already: A[i,k] stands for aScale[i]*(A[i,k]-aZero[i]), with aScale
// and aZero of length 1 or m (one per row).
func QuantGemm(p *Pool, m int, a []uint8, lda int, aScale []float32, aZero []uint8, b *PackedS8, bScale []float32, bZero []int8, c []float32, ldc int, ep Epilogue) {
	checkA(len(a), m, b.K, lda)
	checkC(len(c), m, b.N, ldc)
	checkZeros(len(aZero), m, len(bZero), b.N)
	ep.check(m, b.N)
	if (len(aScale) != 1 && len(aScale) != m) || (len(bScale) != 1 && len(bScale) != b.N) {
		panic(badScale)
	}
	if ep.Accumulate {
		panic("kernel: an int8 product cannot accumulate")
	}
	if m == 0 || b.N == 0 {
		return
	}
	a, lda, pad := padRows(m, a, lda, b.K)
	g := newInt8Job(m, a, lda, b)
	g.cf, g.ldc, g.ep = c, ldc, ep
	g.aScale, g.aZero, g.bScale, g.bZero = aScale, aZero, bScale, bZero
	g.terms()
	g.run(p)
	g.release()
	if pad != nil {
		scratchPoolU8.Put(pad)
	}
}

func checkZeros(az, m, bz, n int) {
	if (az > 1 && az != m) || (bz > 1 && bz != n) {
		panic(badZero)
	}
}

// int8Job is one int8 product on its way through the pool. Exactly one of c32 and cf is set.
type int8Job struct {
	m              int
	a              []uint8
	lda            int
	b              *PackedS8
	c32            []int32
	cf             []float32
	ldc            int
	aScale, bScale []float32
	aZero          []uint8
	bZero          []int8
	az32, rowSum   []int32 // aZero widened; per row the sum of A less its zero point
	bz32           []int32 // bZero widened to N elements
	oneScale       [16]float32
	ep             Epilogue
	isa            ISA
	rowTasks       int
	rows, panels   int // per task
	task           func(int)
	folded         foldedRow  // of a product of one row, or empty
	scratch        *scratchU8 // of folded
}

// foldedRow is one row of A, less 128, as foldBytes256 leaves it.
type foldedRow struct {
	x     []uint8 // 8 bytes of every four elements
	start int32
}

var int8Jobs = sync.Pool{New: func() any {
	g := new(int8Job)
	g.task = g.doTask
	return g
}}

func newInt8Job(m int, a []uint8, lda int, b *PackedS8) *int8Job {
	g := int8Jobs.Get().(*int8Job)
	*g = int8Job{m: m, a: a, lda: lda, b: b, isa: Active(), task: g.task, az32: g.az32[:0], rowSum: g.rowSum[:0], bz32: g.bz32[:0]}
	return g
}

func (g *int8Job) release() {
	if g.scratch != nil {
		scratchPoolU8.Put(g.scratch)
	}
	*g = int8Job{task: g.task, az32: g.az32, rowSum: g.rowSum, bz32: g.bz32} // keep no slice of the caller's
	int8Jobs.Put(g)
}

const (
	// forkMacs is the int8 work below which a product is not spread over threads, and forkTiles that on tiles, which take some 25 us for it
	// with the epilogue.
	forkMacs, forkTiles = 6_000_000, 18_000_000
	// forkQuantize is the number of elements from which on A is quantized in parallel: some 20 us of one core.
	forkQuantize = 128 << 10
)

func (g *int8Job) run(p *Pool) {
	if g.m == 0 || g.b.N == 0 {
		return
	}
	g.prepareRow()
	np := panels(g.b.N)
	threads := p.Threads()
	fork, tasks := forkMacs, 4
	if g.isa == AMX && g.m > 3 {
		fork, tasks = forkTiles, 2
	}
	if g.m*g.b.N*g.b.K < fork && (g.m > 3 || g.b.N*g.b.K < forkBytes) {
		threads = 1
	}
	g.rows, g.panels = min(g.m, rowsPerTask), min(np, panelsPerTask)
	switch {
	case g.m == 1 && g.isa.hasVNNI512():
		g.panels = rowPanels(np, g.b.K*PanelWidth, threads)
	case threads > 1:
		for ceilDiv(np, g.panels)*ceilDiv(g.m, g.rows) < tasks*threads && g.panels > 1 {
			g.panels = (g.panels + 1) / 2
		}
	}
	if threads == 1 {
		p = nil
	}
	g.rowTasks = ceilDiv(g.m, g.rows)
	g.rows = ceilDiv(g.m, g.rowTasks)
	p.Run(g.rowTasks*ceilDiv(np, g.panels), g.task)
}

// part returns the rows i0..i1 and the panels j0..j1 of a task.
func (g *int8Job) part(t int) (i0, i1, j0, j1 int) {
	i0, j0 = t%g.rowTasks*g.rows, t/g.rowTasks*g.panels
	return i0, min(g.m, i0+g.rows), j0, min(panels(g.b.N), j0+g.panels)
}

func (g *int8Job) doTask(t int) { g.block(g.part(t)) }

// blockGo is the Go twin: rows i0..i1 of panels j0..j1, the epilogue included.
func (g *int8Job) blockGo(i0, i1, j0, j1 int) {
	k := g.b.K
	k4 := ceilDiv(k, 4)
	for j := j0; j < j1; j++ {
		w := min(PanelWidth, g.b.N-j*PanelWidth)
		panel := g.b.data[j*k4*4*PanelWidth:][:k4*4*PanelWidth]
		for i := i0; i < i1; i++ {
			var s [PanelWidth]int32
			for q, x := range g.a[i*g.lda:][:k] {
				at := q/4*4*PanelWidth + q%4
				for e := range w {
					s[e] += int32(x) * int32(panel[at+4*e])
				}
			}
			if g.c32 != nil {
				copy(g.c32[i*g.ldc+j*PanelWidth:][:w], s[:])
				continue
			}
			g.dequantizeGo(i, j*PanelWidth, s[:w])
		}
	}
	if g.cf != nil {
		n0, n1 := j0*PanelWidth, min(g.b.N, j1*PanelWidth)
		g.ep.applyGo(g.cf, g.ldc, i0, i1, n0, n1)
		g.ep.activateRows(g.cf, g.ldc, i0, i1, n0, n1)
	}
}

// dequantizeGo writes float32(acc - corrections) * (aScale*bScale) for columns j0.. of row i.
func (g *int8Job) dequantizeGo(i, j0 int, acc []int32) {
	row := g.cf[i*g.ldc+j0:][:len(acc)]
	as, az, rowSum := g.rowTerms(i)
	for e, s := range acc {
		j := j0 + e
		s -= az * g.b.ColSum[j]
		if len(g.bZero) > 0 {
			s -= rowSum * int32(g.bZero[j%len(g.bZero)])
		}
		row[e] = float32(s) * (as * g.bScale[j%len(g.bScale)])
	}
}

// padRows returns a such that every row can be read up to the next multiple of four bytes: itself if it is long enough (what
// follows a row is multiplied by zero), or a copy in scratch memory.
func padRows(m int, a []uint8, lda, k int) ([]uint8, int, *scratchU8) {
	k4 := (k + 3) &^ 3
	if (m-1)*lda+k4 <= len(a) {
		return a, lda, nil
	}
	s := getScratchU8(m * k4)
	for i := range m {
		copy(s.b[i*k4:], a[i*lda:][:k])
	}
	return s.b, k4, s
}

// terms widens the zero points and adds up the rows.
func (g *int8Job) terms() {
	for _, z := range g.aZero {
		g.az32 = append(g.az32, int32(z))
	}
	for i := range g.oneScale {
		g.oneScale[i] = g.bScale[0]
	}
	if len(g.bZero) == 0 {
		return
	}
	if len(g.bZero) == 1 {
		g.bz32 = append(g.bz32, int32(g.bZero[0]))
		for len(g.bz32) < g.b.N {
			g.bz32 = append(g.bz32, g.bz32[:min(len(g.bz32), g.b.N-len(g.bz32))]...)
		}
	} else {
		for _, z := range g.bZero {
			g.bz32 = append(g.bz32, int32(z))
		}
	}
	for i := range g.m {
		var az int32
		if len(g.aZero) > 0 {
			az = int32(g.aZero[i%len(g.aZero)])
		}
		g.rowSum = append(g.rowSum, sumU8(g.a[i*g.lda:][:g.b.K])-az*int32(g.b.K))
	}
}

// rowTerms returns the scale and zero point of row i of A and the sum of its elements less the zero point (0 if bZero
// does not need it).
func (g *int8Job) rowTerms(i int) (as float32, az, rowSum int32) {
	as = g.aScale[i%len(g.aScale)]
	if len(g.aZero) > 0 {
		az = int32(g.aZero[i%len(g.aZero)])
	}
	if len(g.bZero) > 0 {
		rowSum = g.rowSum[i]
	}
	return as, az, rowSum
}

// sumU8Go is the Go twin of sumU8.
func sumU8Go(x []uint8) int32 {
	var s int32
	for _, v := range x {
		s += int32(v)
	}
	return s
}

// scratchU8 is recycled working memory.
type scratchU8 struct{ b []uint8 }

var scratchPoolU8 = sync.Pool{New: func() any { return new(scratchU8) }}

// getScratchU8 returns scratch of n bytes with undefined contents.
func getScratchU8(n int) *scratchU8 {
	s := scratchPoolU8.Get().(*scratchU8)
	if cap(s.b) < n {
		s.b = make([]uint8, n)
	}
	s.b = s.b[:n]
	return s
}
