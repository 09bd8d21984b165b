//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
)

// TestAMXExact calls the tiles directly for shapes that VNNI would get, too small to pay for tiles: every number of rows and columns to 33,
// and every remainder of k, against the Go twin; nothing beyond the columns that were asked for is written.
func TestAMXExact(t *testing.T) {
	if !slices.Contains(Levels(), AMX) {
		t.Skip("no AMX")
	}
	r := rand.New(rand.NewPCG(21, 5))
	for i := range cases(88000) { // 20,000 for each of the four kernels
		m, n, k := 1+i%33, 1+i/33%33, 1+r.IntN(70)
		if i%28 == 0 {
			m, n, k = 1+r.IntN(140), 1+r.IntN(140), 1+r.IntN(1200)
		}
		lda, ldc := (k+3)&^3+r.IntN(9), n+r.IntN(4)
		a := randBytes(r, m*lda)
		b := PackS8(k, n, signed(randBytes(r, k*n)), n, false)
		want, got := make([]int32, m*ldc), make([]int32, m*ldc)
		for q := range got {
			got[q], want[q] = -7, -7
		}
		g := newInt8Job(m, a, lda, b)
		g.c32, g.ldc = want, ldc
		g.blockGo(0, m, 0, panels(n))
		g.blockAMX(&got[0], ldc, 0, m, 0, panels(n), n)
		g.release()
		if at := slices.Compare(got, want); at != 0 {
			for q := range want {
				if got[q] != want[q] {
					t.Fatalf("case %d, m=%d n=%d k=%d: element %d of rows of %d is %d, want %d", i, m, n, k, q, ldc, got[q], want[q])
				}
			}
		}
	}
}

// TestAMXHalf is TestAMXExact of bfloat16, with every epilogue, mostly of shapes that TestGemmBF16 has few of: the bits of the Go twin.
func TestAMXHalf(t *testing.T) {
	if !slices.Contains(testLevels(), AMX) {
		t.Skip("no AMX")
	}
	r := rand.New(rand.NewPCG(21, 9))
	for i := range cases(53000) {
		c := gemmCase{m: 17 + r.IntN(16), n: 1 + i%2*16 + r.IntN(16), k: 1 + r.IntN(40)}
		if i%10 > 6 {
			c.m, c.n = 1+r.IntN(16), 1+i%3/2*16+r.IntN(16)
		}
		c.fill(r)
		h := make([]uint16, len(c.b))
		F32ToBF16(h, c.b)
		w := PackHalf(BF16, c.k, c.n, h, c.ldb, false)
		want, got := c.runBF16(nil, w, bf16Way{false, Generic}), c.runBF16(nil, w, bf16Way{false, AMX})
		if at := sameBits(got, want); at >= 0 {
			t.Fatalf("case %d %v: element %d is %g, the twin has %g", i, c, at, got[at], want[at])
		}
	}
}

// TestTileWork: whatever the shape and the threads, no call of the assembly on tiles takes more than 16 million multiply-accumulates or 4 MiB of weights, since
// nothing can interrupt it, and a collection of garbage waits for it: less than a millisecond even at a hundredth of what tiles can do. The calls together
// are the whole product. No tiles are needed.
func TestTileWork(t *testing.T) {
	const most = 16_000_000
	pools := []*Pool{nil, NewPool(2, 0), NewPool(5, 0)}
	defer pools[1].Close()
	defer pools[2].Close()
	r := rand.New(rand.NewPCG(21, 6))
	size := func(top float64) int { return int(math.Exp(r.Float64() * math.Log(top))) }
	for i := range cases(20000) {
		m, n, k, p := size(3000), size(20000), size(100_000), pools[i%3]
		for m*n*k > 1<<33 {
			m, n, k = 1+m/2, 1+n/2, 1+k/2
		}
		var done atomic.Int64
		call := func(q tilePiece, k, bytes int) {
			work := q.m * q.blocks * q.n * q.panels
			if work <= 0 || work*k > most || q.n*q.panels*k*bytes > 4<<20 {
				t.Errorf("m=%d n=%d k=%d threads=%d: a call of %+v and k=%d", m, n, k, p.Threads(), q, k)
			}
			done.Add(int64(work * k))
		}
		g := &int8Job{m: m, b: &PackedS8{K: k, N: n}, isa: AMX}
		bytes := func(i0, i1, j0, j1 int) {
			amxSlices(ceilDiv(k, 4), func(_, steps, width int) {
				tilePieces(i0, i1, amxGroup, j0, j1, n, func(q tilePiece) { call(q, steps*width, 1) })
			})
		}
		g.task = func(t int) { bytes(g.part(t)) }
		g.run(p)
		for i := 0; i < m; i += blockRows { // all panels at a time, as the steps of an LSTM
			bytes(i, min(i+blockRows, m), 0, panels(n))
		}
		if want := int64(2 * m * n * ((k + 3) &^ 3)); done.Swap(0) != want {
			t.Fatalf("m=%d n=%d k=%d: the calls in bytes are not the product", m, n, k)
		}
		h := &gemmJob{m: m, n: n, k: k, isa: AMX, half: &PackedHalf{Kind: BF16, K: k, N: n}, rounded: []uint16{0}}
		h.task = func(t int) {
			i0, i1, j0, j1 := h.part(t)
			kb := h.rowBlock(i1 - i0)
			for k0 := 0; k0 < k; k0 += kb {
				kk := ceilDiv(min(kb, k-k0), tileK) * tileK
				tilePieces(i0, i1, rowsPerTask, j0, j1, n, func(q tilePiece) { call(q, kk, 2) })
			}
		}
		h.run(p)
		if want := int64(m * n * ceilDiv(k, tileK) * tileK); done.Load() != want {
			t.Fatalf("m=%d n=%d k=%d: the calls in bfloat16 are not the product", m, n, k)
		}
		if t.Failed() {
			return
		}
	}
}

// TestAMXKeepsPointers: the assembly leaves the pointers in its arguments alone. Behind the last panel they would point past the end of what
// they belong to, and the collector, which may look at them as soon as the call is over, would end the program.
func TestAMXKeepsPointers(t *testing.T) {
	if !slices.Contains(Levels(), AMX) {
		t.Skip("no AMX")
	}
	var shapes tileShapes
	shapes.set(1, PanelWidth, 4)
	a, b, c := make([]uint8, 4), make([]int8, 2*4*PanelWidth), make([]int32, 2*PanelWidth)
	x := amxArgs{config: &shapes, steps: 1, width: 4, widthB: 4 * PanelWidth, a: &a[0], lda: 4, b: &b[0], bs: 4 * PanelWidth, c: &c[0], ldc: 8 * PanelWidth,
		blocks: 1, panels: 2}
	amxU8S8x1x2(&x)
	if x.a != &a[0] || x.b != &b[0] || x.c != &c[0] {
		t.Error("a product of bytes moves its pointers")
	}
	shapes.set(1, PanelWidth, 2*tileK)
	ah, bh, ch := make([]uint16, tileRows*tileK), make([]uint16, 2*tileK*PanelWidth), make([]float32, 2*PanelWidth)
	y := bf16Args{config: &shapes, steps: 1, a: &ah[0], lda: 2 * tileRows * tileK, b: &bh[0], bs: 4 * PanelWidth, ps: 2 * tileK * PanelWidth, c: &ch[0],
		ldc: 8 * PanelWidth, blocks: 1, panels: 2}
	amxBF16x1x2(&y)
	if y.a != &ah[0] || y.b != &bh[0] || y.c != &ch[0] {
		t.Error("a product in bfloat16 moves its pointers")
	}
}
