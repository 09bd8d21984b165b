package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// bf16Way is one of the ways in which GemmBF16 is computed.
type bf16Way struct {
	pairs bool
	isa   ISA
}

// bf16Ways are those of this machine: of both orders of additions the Go twin first.
func bf16Ways() []bf16Way {
	var out []bf16Way
	for _, pairs := range []bool{false, true} {
		out = append(out, bf16Way{pairs, Generic})
		for _, isa := range testLevels() {
			if isa.hasTiles() && !pairs || isa.pairsBF16() && pairs {
				out = append(out, bf16Way{pairs, isa})
			}
		}
	}
	return out
}

// bf16Twins tells that no assembly runs here, so that there are only the twins, which are slow.
func bf16Twins() bool {
	return !slices.ContainsFunc(bf16Ways(), func(w bf16Way) bool { return w.isa != Generic })
}

func (c *gemmCase) runBF16(p *Pool, w *PackedHalf, way bf16Way) []float32 {
	defer Limit(way.isa)()
	out := append([]float32(nil), c.c...)
	gemmBF16(p, way.pairs, c.m, c.a, c.lda, w, out, c.ldc, c.ep)
	return out
}

// checkBF16 compares with a float64 sum over A rounded to bfloat16. The bounds of the product are those derived in gemm_bf16.go; each step of
// the epilogue rounds once more, relative to the sum of the sizes of its terms. With flush, every one of the K products and sums may
// lose 2^-126, and subnormal operands count as 0, which A and B of those tests are small enough to make visible.
func (c *gemmCase) checkBF16(got []float32, pairs bool) error {
	const u = 0x1p-24
	bound := float64(18+c.k/32+1) * u
	if k := float64(c.k + c.k%2); pairs {
		bound = k * u / (1 - k*u)
	}
	for i := range c.m {
		for j := range c.n {
			var sum, mass, lost float64
			if c.ep.Accumulate {
				sum = float64(c.c[i*c.ldc+j])
				mass = math.Abs(sum)
			}
			for q := range c.k {
				x, y := float64(math.Float32frombits(uint32(roundBF16(c.at(i, q)))<<16)), float64(c.bt(q, j))
				sum += x * y
				mass += math.Abs(x * y)
				lost += 0x1p-126 * (2 + math.Abs(x))
			}
			tol := bound*mass + lost + 0x1p-125
			alpha := 1.0
			if c.ep.Alpha != 0 {
				alpha = float64(c.ep.Alpha)
			}
			sum, tol, mass = sum*alpha, tol*alpha, mass*alpha
			steps := 1.0
			add := func(x float32) {
				sum += float64(x)
				mass += math.Abs(float64(x))
				steps++
			}
			if c.ep.BiasM != nil {
				add(c.ep.BiasM[i])
			}
			if c.ep.Bias != nil {
				add(c.ep.Bias[j])
			}
			if c.ep.Residual != nil {
				add(c.ep.Residual[i*c.ep.LdR+j])
			}
			tol += steps * u * (mass + tol)
			switch c.ep.Act { // both are monotone and not steeper than 1
			case ActRelu:
				sum = max(sum, 0)
			case ActClip6:
				sum = min(max(sum, 0), 6)
			}
			if d := math.Abs(float64(got[i*c.ldc+j]) - sum); !(d <= tol) {
				return fmt.Errorf("C[%d,%d] = %g, want %g within %g", i, j, got[i*c.ldc+j], sum, tol)
			}
		}
	}
	return nil
}

// TestGemmBF16 compares the assembly with its Go twin, to the bit, and both with float64, over random shapes and epilogues; nothing outside of C
// changes. A tenth of the cases has operands so small that products and sums are flushed to 0; there the bound alone is asked for.
func TestGemmBF16(t *testing.T) {
	n := cases(24000)
	if bf16Twins() {
		n = min(n, 2000)
	}
	pool := NewPool(3, 0)
	defer pool.Close()
	r := rand.New(rand.NewPCG(21, 4))
	for i := range n {
		c := randCase(r)
		c.transA = false
		c.fill(r)
		tiny := i%10 == 0
		if tiny {
			for q := range c.a {
				c.a[q] *= 0x1p-64
			}
			for q := range c.b {
				c.b[q] *= float32(math.Ldexp(1, -50-r.IntN(76)))
			}
		}
		var h []uint16
		h, c.b = halfSlice(BF16, c.b)
		w := PackHalf(BF16, c.k, c.n, h, c.ldb, c.transB)
		p := pool
		if i%2 == 0 {
			p = nil
		}
		var twin []float32
		for _, way := range bf16Ways() {
			got := c.runBF16(p, w, way)
			if way.isa == Generic {
				twin = got
			}
			if at := sameBits(got, twin); at >= 0 && !tiny {
				t.Fatalf("%v: case %d %v: element %d is %g, the twin has %g", way, i, c, at, got[at], twin[at])
			}
			if err := c.checkBF16(got, way.pairs); err != nil {
				t.Fatalf("%v: case %d %v: %v", way, i, c, err)
			}
			for q := range got {
				if q%c.ldc >= c.n && math.Float32bits(got[q]) != math.Float32bits(c.c[q]) {
					t.Fatalf("%v: case %d %v: element %d beyond the rows of C changed", way, i, c, q)
				}
			}
		}
	}
}

// TestGemmBF16ThreadsAndBlocks takes shapes that are cut into K blocks, row tasks and panel tasks: the bits do not depend on the threads,
// and those of a row not on the others.
func TestGemmBF16ThreadsAndBlocks(t *testing.T) {
	pools := []*Pool{nil, NewPool(2, 0), NewPool(4, 10*time.Microsecond)}
	defer pools[1].Close()
	defer pools[2].Close()
	r := rand.New(rand.NewPCG(3, 7))
	for i, s := range [][3]int{{1, 1000, 701}, {2, 70, 9000}, {33, 290, 1101}, {217, 600, 600}, {400, 330, 1030}, {1500, 70, 130}} {
		c := gemmCase{m: s[0], n: s[1], k: s[2]}
		c.fill(r)
		c.ep.Accumulate = false
		var h []uint16
		h, c.b = halfSlice(BF16, c.b)
		w := PackHalf(BF16, c.k, c.n, h, c.ldb, false)
		twins := map[bool][]float32{}
		for _, way := range bf16Ways() {
			if i > 0 && way.isa == Generic && (raceEnabled || testing.Short() || bf16Twins()) {
				continue // the twin is slow
			}
			want := c.runBF16(nil, w, way)
			if way.isa == Generic {
				twins[way.pairs] = want
			} else if twin := twins[way.pairs]; twin != nil {
				if at := sameBits(want, twin); at >= 0 {
					t.Fatalf("%v: %v: element %d is %g, the twin has %g", way, c, at, want[at], twin[at])
				}
			}
			if err := c.checkBF16(want, way.pairs); err != nil {
				t.Fatalf("%v: %v: %v", way, c, err)
			}
			for _, p := range pools[1:] {
				if at := sameBits(c.runBF16(p, w, way), want); at >= 0 {
					t.Fatalf("%v: %v threads=%d: element %d differs", way, c, p.Threads(), at)
				}
			}
			last := c
			i := c.m - 1
			last.m, last.a, last.c = 1, c.a[i*c.lda:], c.c[i*c.ldc:]
			if c.ep.BiasM != nil {
				last.ep.BiasM = c.ep.BiasM[i:]
			}
			if c.ep.Residual != nil {
				last.ep.Residual = c.ep.Residual[i*c.ep.LdR:]
			}
			if at := sameBits(last.runBF16(nil, w, way), want[i*c.ldc:]); at >= 0 {
				t.Fatalf("%v: %v: element %d of the last row alone differs", way, c, at)
			}
		}
	}
}

// TestGemmBF16SpecialValues: a NaN or infinity stays in its row and column, and padding creates none.
func TestGemmBF16SpecialValues(t *testing.T) {
	const m, n, k = 35, 37, 41
	a, b := make([]float32, m*k), make([]float32, k*n)
	a[3*k+2] = float32(math.NaN())
	b[4*n+36] = float32(math.Inf(1))
	h, _ := halfSlice(BF16, b)
	w := PackHalf(BF16, k, n, h, n, false)
	for _, way := range bf16Ways() {
		c := gemmCase{m: m, n: n, k: k, a: a, lda: k, c: make([]float32, m*n), ldc: n}
		for at, v := range c.runBF16(nil, w, way) {
			i, j := at/n, at%n
			if nan := i == 3 || j == 36; (v != v) != nan || !nan && v != 0 {
				t.Fatalf("%v: C[%d,%d] = %g", way, i, j, v)
			}
		}
	}
}

func BenchmarkGemmBF16(b *testing.B) {
	for _, s := range [][3]int{{1, 4096, 4096}, {1, 384, 1536}, {8, 384, 1536}, {32, 384, 1536}, {128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}, {512, 768, 3072}, {1024, 1024, 1024}} {
		m, k, n := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, w, c := randSlice(r, m*k), randSlice(r, k*n), make([]float32, m*n)
		h, _ := halfSlice(BF16, w)
		var ws []*PackedHalf // 32 MiB of other weights each time, as a model has
		for range 1 + 1<<25/(2*k*n) {
			ws = append(ws, PackHalf(BF16, k, n, h, n, false))
		}
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, 200*time.Microsecond)
			for name, count := range map[string]int{"hot": 1, "cold": len(ws)} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/t%d", name, m, k, n, threads), func(b *testing.B) {
					i := 0
					for b.Loop() {
						GemmBF16(p, m, a, k, ws[i%count], c, n, Epilogue{})
						i++
					}
					b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
					b.ReportMetric(float64(ws[0].Bytes())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
				})
			}
			p.Close()
		}
	}
}
