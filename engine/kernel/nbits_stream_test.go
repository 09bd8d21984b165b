package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestNBitsStream has one row and whole panels, which one call of a kernel takes, against the formula and, bit for bit, the Go twin.
func TestNBitsStream(t *testing.T) {
	n := cases(20000)
	pool := NewPool(2, 0)
	defer pool.Close()
	var twin [][]float32
	reading := leaveReading(t)
	forEachISA(t, func(t *testing.T) {
		isa := Active()
		if isa == AVX512 { // multiplies in float32
			return
		}
		r := rand.New(rand.NewPCG(4, 10))
		for i := range n {
			reading(i)
			k, cols := 1+r.IntN(80), 20+r.IntN(60)
			if r.IntN(2) == 0 { // enough for the kernels of four panels
				cols = 100 + r.IntN(200)
			}
			if r.IntN(200) == 0 {
				k, cols = r.IntN(600), r.IntN(400)
			}
			c := &nbitsCase{m: 1, lda: k, ldc: cols, bytes: r.IntN(2) == 0, a: make([]float32, k)}
			c.b = randNBits(r, k, cols, []int{4, 8, 4, 8, 8, 2}[r.IntN(6)], []int{32, 32, 32, 64, 96, 128, 48}[r.IntN(7)])
			c.b.Distant = i/8%2 == 0
			for q := range c.a {
				c.a[q] = float32(r.NormFloat64() * math.Exp(4*r.NormFloat64()))
			}
			parts := 3
			if c.bytes {
				parts = 1
			}
			got := c.runDigits([]*Pool{nil, pool}[i%2], parts)
			if err := c.check(got); err != nil {
				t.Fatalf("case %d, %d bits, block %d, [%d %d]: %v", i, c.b.Bits, c.b.Block, k, cols, err)
			}
			if isa == Generic {
				twin = append(twin, got)
				continue
			}
			for j, want := range twin[i] {
				if math.Float32bits(got[j]) != math.Float32bits(want) {
					t.Fatalf("case %d, %d bits, block %d, [%d %d], element %d: %v, the Go twin has %v", i, c.b.Bits, c.b.Block, k, cols, j, got[j], want)
				}
			}
		}
	})
}

// TestNBitsDigits compares the digits of rows, and what goes with them, with those of the Go twin.
func TestNBitsDigits(t *testing.T) {
	n := cases(20000)
	type made struct {
		digits []int8
		terms  []nbitsTerms
		float  []rowKind
	}
	var twin []made
	forEachISA(t, func(t *testing.T) {
		isa := Active()
		if isa == AVX512 {
			return
		}
		r := rand.New(rand.NewPCG(4, 11))
		for i := range n {
			k, block := 1+r.IntN(200), 16<<r.IntN(4)
			g := &nbitsJob{m: 1 + r.IntN(2), lda: k, isa: isa, parts: 1 + r.IntN(3), b: &PackedNBits{K: k, N: 1, Block: block, bits: 4, centre: 8}}
			g.task, g.row, g.piece = g.doTask, g.doRow, g.doPiece
			g.a = make([]float32, g.m*k)
			for q := range g.a {
				g.a[q] = float32(r.NormFloat64() * math.Exp(12*r.NormFloat64()))
			}
			if r.IntN(2) == 0 { // the ends of the magnitudes that are divided many blocks at a time, the ends of the digits, and what no digits hold
				for range 1 + r.IntN(4) {
					at := r.IntN(len(g.a)) / block * block
					v := []float64{0, 0x1p-69, 0x1p-70, 0x1p-71, 0x1p-90, 0x1p-119, 0x1p-120, 0x1p-122, 0x1p-149, 0x1p99, 0x1p100, 0x1.fffffep99, math.Inf(-1), math.NaN(), maxDigits, maxDigits + 0.5, maxTwo, maxTwo + 0.5, 127, 1}
					for q := range g.a[at:min(at+block, len(g.a))] {
						g.a[at+q] = 0
					}
					g.a[at] = float32(v[r.IntN(len(v))])
				}
			}
			g.prepare(nil)
			for row := range g.m { // the digits of a row that is not multiplied with them are not made to the end
				if g.float[row] != rowDigits {
					clear(g.terms[row*g.b.blocks():][:g.b.blocks()])
					clear(g.digits[row*g.kPad()*g.digitBytes():][:g.kPad()*g.digitBytes()])
				}
			}
			for j := range g.terms { // of AVX2 alone: see widenDigits
				e := &g.terms[j]
				if block == 32 && g.parts == 3 && g.oneRow() && g.float[j/g.b.blocks()] == rowDigits && e.total != e.start[0]+e.start[1]<<8+e.start[2]<<16 {
					t.Fatalf("case %d, block %d: the starts %v as one integer are %d", i, j, e.start, e.total)
				}
				e.total = 0
			}
			got := made{g.digits, g.terms, g.float}
			if isa == Generic {
				twin = append(twin, got)
				continue
			}
			if want := twin[i]; !slices.Equal(got.digits, want.digits) || !slices.Equal(got.terms, want.terms) || !slices.Equal(got.float, want.float) {
				t.Fatalf("case %d, %d digits, block %d, %d of %d: not as in Go", i, g.parts, block, g.m, k)
			}
		}
	})
}

// TestNBitsAside has one row on several threads, each with digits of its own, whose bits are those of one thread; rows that digits cannot hold too,
// more threads than tasks and a pool that is busy.
func TestNBitsAside(t *testing.T) {
	n := cases(100) // of which each has the weights that a fork wants
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 12))
		pools := []*Pool{NewPool(2, 0), NewPool(3, 0), NewPool(16, 0)}
		for i := range n {
			bits, block := []int{4, 8}[r.IntN(2)], []int{32, 32, 64}[r.IntN(3)]
			k := 200 + r.IntN(800)
			cols := 8*forkNBits/bits/k + r.IntN(300)
			c := &nbitsCase{m: 1, lda: k, ldc: cols, bytes: r.IntN(2) == 0, a: make([]float32, k)}
			c.b = randNBits(r, k, cols, bits, block)
			for q := range c.a {
				c.a[q] = float32(r.NormFloat64() * math.Exp(4*r.NormFloat64()))
			}
			if r.IntN(8) == 0 {
				c.a[r.IntN(k)] = []float32{float32(math.NaN()), float32(math.Inf(1)), 0x1p110}[r.IntN(3)]
			}
			parts := []int{3, 1}[r.IntN(2)]
			p, want := pools[i%3], c.runDigits(nil, parts)
			got := c.runDigits(p, parts)
			if i%8 == 0 {
				p.Run(2, func(k int) {
					if k == 0 {
						got = c.runDigits(p, parts)
					}
				})
			}
			for j := range want {
				if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
					t.Fatalf("case %d, %d bits, block %d, [%d %d], element %d: %v, one thread has %v", i, bits, block, k, cols, j, got[j], want[j])
				}
			}
		}
		for _, p := range pools {
			p.Close()
		}
	})
}

// TestRowPanels: tasks are whole groups of panels, or all, and hold a group more than 6 MiB at most; panels of no bytes are no error.
func TestRowPanels(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 13))
	for range 20000 {
		np, size, threads := 1+r.IntN(2000), r.IntN(1<<r.IntN(28)), 1+r.IntN(64)
		n := rowPanels(np, size, threads)
		if n < 1 || n > np || n < np && n%widePanels != 0 || n > widePanels && (n-widePanels)*size > 6<<20 {
			t.Fatalf("%d of %d panels of %d bytes with %d threads", n, np, size, threads)
		}
	}
}
