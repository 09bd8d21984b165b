package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// gemmCase is one random product; the operands sit at odd offsets in larger slices, and C has a border that must survive.
type gemmCase struct {
	m, n, k        int
	transA, transB bool
	a, b, c        []float32
	lda, ldb, ldc  int
	ep             Epilogue
}

func (c gemmCase) String() string {
	return fmt.Sprintf("m=%d n=%d k=%d transA=%v transB=%v lda=%d ldb=%d ldc=%d act=%d acc=%v alpha=%g bias=%v biasM=%v res=%v", c.m, c.n, c.k,
		c.transA, c.transB, c.lda, c.ldb, c.ldc, c.ep.Act, c.ep.Accumulate, c.ep.Alpha, c.ep.Bias != nil, c.ep.BiasM != nil, c.ep.Residual != nil)
}

// dim draws a dimension, mostly near the edges of tiles.
func dim(r *rand.Rand) int {
	switch r.IntN(10) {
	case 0:
		return r.IntN(3)
	case 1, 2:
		return []int{1, 6, 12, 16, 32, 64}[r.IntN(6)] + r.IntN(3) - 1
	case 3:
		return r.IntN(71)
	}
	return 1 + r.IntN(34)
}

func randSlice(r *rand.Rand, n int) []float32 {
	off := r.IntN(5)
	s := make([]float32, n+off)
	for i := range s {
		s[i] = float32(r.NormFloat64())
		if r.IntN(64) == 0 {
			s[i] = 0
		}
	}
	return s[off:]
}

func randCase(r *rand.Rand) gemmCase {
	c := gemmCase{m: dim(r), n: dim(r), k: dim(r), transA: r.IntN(4) == 0, transB: r.IntN(2) == 0}
	switch r.IntN(6) { // for every one of the kernels of few rows, some of which take four panels
	case 0, 1:
		c.m, c.n, c.k = 1+r.IntN(6), 4*PanelWidth+r.IntN(8*PanelWidth), 1+r.IntN(20)
	case 2, 3:
		c.m, c.n = 4+r.IntN(9), PanelWidth+r.IntN(3*PanelWidth)
	}
	switch r.IntN(400) {
	case 0: // several chains
		c.k = 500 + r.IntN(1200)
	case 2:
		c.k = 385 + r.IntN(130)
	case 1:
		c.m, c.n, c.k = 190+r.IntN(40), 250+r.IntN(100), 60
	}
	c.fill(r)
	return c
}

func (c *gemmCase) fill(r *rand.Rand) {
	ar, ac, br, bc := c.m, c.k, c.k, c.n
	if c.transA {
		ar, ac = ac, ar
	}
	if c.transB {
		br, bc = bc, br
	}
	c.lda, c.ldb, c.ldc = ac+r.IntN(3), bc+r.IntN(3), c.n+r.IntN(3)
	c.a, c.b, c.c = randSlice(r, ar*c.lda), randSlice(r, br*c.ldb), randSlice(r, c.m*c.ldc)
	if ar > 0 {
		c.a = c.a[:(ar-1)*c.lda+ac] // exactly as long as it must be: an over-read would leave the slice
	}
	if br > 0 {
		c.b = c.b[:(br-1)*c.ldb+bc]
	}
	if r.IntN(3) == 0 {
		return
	}
	c.ep.Act = []Activation{ActNone, ActRelu, ActClip6}[r.IntN(3)]
	c.ep.Accumulate = r.IntN(3) == 0
	c.ep.Alpha = []float32{0, 1, 0.125, 0.3}[r.IntN(4)]
	if r.IntN(2) == 0 {
		c.ep.Bias = randSlice(r, c.n)
	}
	if r.IntN(3) == 0 {
		c.ep.BiasM = randSlice(r, c.m)
	}
	if r.IntN(3) == 0 {
		c.ep.LdR = c.n + r.IntN(3)
		c.ep.Residual = randSlice(r, c.m*c.ep.LdR)
	}
}

func (c *gemmCase) at(i, q int) float32 {
	if c.transA {
		return c.a[q*c.lda+i]
	}
	return c.a[i*c.lda+q]
}

func (c *gemmCase) bt(q, j int) float32 {
	if c.transB {
		return c.b[j*c.ldb+q]
	}
	return c.b[q*c.ldb+j]
}

// chainTerms is the number of terms of the chains of a product over k > 0, as the package comment has it.
func chainTerms(k int) int {
	chains := (k + 383) / 384
	return ((k+chains-1)/chains + 31) / 32 * 32
}

// want is the contract written down naively: a sum of chains of Fma32 per element, then the epilogue.
func (c *gemmCase) want() []float32 {
	out := append([]float32(nil), c.c...)
	for i := range c.m {
		for j := range c.n {
			var s float32
			if c.ep.Accumulate {
				s = c.c[i*c.ldc+j]
			}
			for q0, n := 0, chainTerms(max(1, c.k)); q0 < c.k; q0 += n {
				var t float32
				for q := q0; q < min(c.k, q0+n); q++ {
					t = Fma32(c.at(i, q), c.bt(q, j), t)
				}
				if q0 > 0 || c.ep.Accumulate {
					t += s
				}
				s = t
			}
			if c.ep.Alpha != 0 {
				s *= c.ep.Alpha
			}
			if c.ep.BiasM != nil {
				s += c.ep.BiasM[i]
			}
			if c.ep.Bias != nil {
				s += c.ep.Bias[j]
			}
			if c.ep.Residual != nil {
				s += c.ep.Residual[i*c.ep.LdR+j]
			}
			switch c.ep.Act {
			case ActRelu:
				s = max(s, 0)
			case ActClip6:
				s = min(max(s, 0), 6)
			}
			out[i*c.ldc+j] = s
		}
	}
	return out
}

// run computes the case, packed or not, into a copy of C.
func (c *gemmCase) run(p *Pool, packed bool) []float32 {
	out := append([]float32(nil), c.c...)
	if packed && !c.transA {
		GemmF32(p, c.m, c.a, c.lda, PackF32(c.k, c.n, c.b, c.ldb, c.transB), out, c.ldc, c.ep)
	} else {
		MatMulF32(p, c.m, c.n, c.k, c.a, c.lda, c.transA, c.b, c.ldb, c.transB, out, c.ldc, c.ep)
	}
	return out
}

// sameBits reports the first index at which the bits differ, or -1; -0 and 0 differ.
func sameBits(a, b []float32) int {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) && !(a[i] != a[i] && b[i] != b[i]) {
			return i
		}
	}
	return -1
}

// cases is the number of random cases of a test: n, and a twentieth of it under -short (the emulator of arm64) and the race detector.
func cases(n int) int {
	if testing.Short() || raceEnabled {
		return n / 20
	}
	return n
}

// testLevels are the levels of this machine, or those that ISAEnv leaves of them.
func testLevels() []ISA {
	top, _ := isaFromEnv()
	return slices.DeleteFunc(Levels(), func(i ISA) bool { return i > top })
}

// floatLevels are those whose float32 kernels differ: those above AVX512 run its, those above NEON too.
func floatLevels() []ISA {
	return slices.DeleteFunc(testLevels(), func(i ISA) bool { return i > AVX512 && i <= AMX || i > NEON })
}

// forEachISA runs f as a subtest at every level that this machine has.
func forEachISA(t *testing.T, f func(t *testing.T)) {
	for _, i := range testLevels() {
		t.Run(i.String(), func(t *testing.T) {
			defer Limit(i)()
			f(t)
		})
	}
}

// TestGemmBits is the determinism contract: the same bits as the naive chains on every ISA, packed or not, threads or not.
func TestGemmBits(t *testing.T) {
	n := cases(24000)
	pool := NewPool(3, 0)
	defer pool.Close()
	r := rand.New(rand.NewPCG(7, 11))
	reading := leaveReading(t)
	for i := range n {
		reading(i)
		c := randCase(r)
		p := pool
		if i%2 == 0 {
			p = nil
		}
		want := c.want()
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := c.run(p, i%4 < 2)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d %v: element %d is %g, want %g", isa, i, c, at, got[at], want[at])
			}
		}
	}
}

// TestGemmThreadsAndBlocks takes shapes that are cut into K blocks, row tasks and panel tasks.
func TestGemmThreadsAndBlocks(t *testing.T) {
	pools := []*Pool{NewPool(1, 0), NewPool(2, 0), NewPool(4, 10*time.Microsecond)}
	shapes := [][3]int{{1, 1000, 700}, {2, 515, 1300}, {3, 300, 900}, {30, 290, 1100}, {217, 300, 40}, {400, 70, 130}, {26, 2085, 33}, {165, 70, 420}}
	if raceEnabled {
		pools, shapes = pools[2:], shapes[3:]
	}
	r := rand.New(rand.NewPCG(3, 5))
	reading := leaveReading(t)
	for i, s := range shapes {
		for v := range 4 {
			if testing.Short() && v != i%4 {
				continue
			}
			c := gemmCase{m: s[0], n: s[1], k: s[2], transA: v == 2, transB: v&1 == 1}
			c.fill(r)
			want := c.want()
			for _, isa := range floatLevels() {
				restore := Limit(isa)
				for q, p := range pools {
					reading(4 * q)
					for _, packed := range []bool{true, false} {
						got := c.run(p, packed)
						if at := sameBits(got, want); at >= 0 {
							t.Fatalf("%v: %v threads=%d packed=%v: element %d is %g, want %g", isa, c, p.Threads(), packed, at, got[at], want[at])
						}
					}
				}
				restore()
			}
		}
	}
	for _, p := range pools {
		p.Close()
	}
}

// TestGemmActivations: the fused activation gives the bits of the function applied afterwards.
func TestGemmActivations(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(4, 4))
		for act, f := range map[Activation]func(dst, src []float32){ActGeluErf: GeluErf, ActGeluTanh: GeluTanh, ActSiLU: SiLU, ActTanh: Tanh,
			ActSigmoid: Sigmoid, ActHardSwish: HardSwish} {
			c := gemmCase{m: 19, n: 41, k: 7}
			c.fill(r)
			c.ep = Epilogue{Bias: randSlice(r, c.n)}
			want := c.want()
			for i := range c.m {
				row := want[i*c.ldc:][:c.n]
				f(row, row)
			}
			c.ep.Act = act
			if at := sameBits(c.run(nil, true), want); at >= 0 {
				t.Fatalf("activation %d: element %d differs", act, at)
			}
		}
	})
}

func TestGemmPanics(t *testing.T) {
	f := make([]float32, 6)
	for name, call := range map[string]func(){
		badA:        func() { MatMulF32(nil, 3, 1, 3, f, 3, false, f, 1, false, f, 1, Epilogue{}) },
		badB:        func() { MatMulF32(nil, 1, 3, 3, f, 3, false, f, 3, false, f, 3, Epilogue{}) },
		badC:        func() { MatMulF32(nil, 3, 3, 2, f, 2, false, f, 3, false, f, 3, Epilogue{}) },
		badBias:     func() { MatMulF32(nil, 1, 3, 2, f, 2, false, f, 3, false, f, 3, Epilogue{Bias: f}) },
		badBiasM:    func() { MatMulF32(nil, 1, 3, 2, f, 2, false, f, 3, false, f, 3, Epilogue{BiasM: f}) },
		badResidual: func() { MatMulF32(nil, 1, 3, 2, f, 2, false, f, 3, false, f, 3, Epilogue{Residual: f, LdR: 2}) },
		badShape:    func() { MatMulF32(nil, -1, 3, 2, f, 2, false, f, 3, false, f, 3, Epilogue{}) },
	} {
		func() {
			defer func() {
				if got := recover(); got != name {
					t.Errorf("panic %v, want %q", got, name)
				}
			}()
			call()
		}()
	}
}

func BenchmarkGemmF32(b *testing.B) {
	for _, s := range [][3]int{{128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}, {1, 384, 1536}, {512, 768, 3072}} {
		m, k, n := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, w, c := randSlice(r, m*k), randSlice(r, k*n), make([]float32, m*n)
		pw := PackF32(k, n, w, n, false)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, 200*time.Microsecond)
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/t%d", name, m, k, n, threads), func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
				})
			}
			run("packed", func() { GemmF32(p, m, a, k, pw, c, n, Epilogue{}) })
			run("unpacked", func() { MatMulF32(p, m, n, k, a, k, false, w, n, false, c, n, Epilogue{}) })
			p.Close()
		}
	}
}

// BenchmarkCold takes other weights every time, 128 MiB in all, as a whole model does.
func BenchmarkCold(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const k, n = 384, 1536
	w, ws := randSlice(r, k*n), make([]*PackedF32, 56)
	for i := range ws {
		ws[i] = PackF32(k, n, w, n, false)
	}
	for _, m := range []int{1, 16, 128} {
		a, c := randSlice(r, m*k), make([]float32, m*n)
		b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
			i := 0
			for b.Loop() {
				GemmF32(nil, m, a, k, ws[i%len(ws)], c, n, Epilogue{})
				i++
			}
			b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
		})
	}
}

// TestGemmDoesNotAllocate: jobs and scratch are recycled.
func TestGemmDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	p := NewPool(2, 0)
	defer p.Close()
	r := rand.New(rand.NewPCG(1, 1))
	c := gemmCase{m: 64, n: 200, k: 128, transB: true}
	c.fill(r)
	packed := PackF32(c.k, c.n, c.b, c.ldb, true)
	out := make([]float32, len(c.c))
	for name, f := range map[string]func(){
		"GemmF32":   func() { GemmF32(p, c.m, c.a, c.lda, packed, out, c.ldc, c.ep) },
		"MatMulF32": func() { MatMulF32(p, c.m, c.n, c.k, c.a, c.lda, false, c.b, c.ldb, true, out, c.ldc, c.ep) },
	} {
		if n := testing.AllocsPerRun(50, f); n > 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

// BenchmarkAttention is one head of 128 tokens: Q*K^T and P*V out of interleaved heads.
func BenchmarkAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const s, d, ld = 128, 32, 384
	q, k, v, sc, out := randSlice(r, s*ld), randSlice(r, s*ld), randSlice(r, s*ld), make([]float32, s*s), make([]float32, s*ld)
	report := func(b *testing.B) {
		b.ReportMetric(2*s*s*d*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
	}
	b.Run("qk", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			MatMulF32(nil, s, s, d, q, ld, false, k, ld, true, sc, s, Epilogue{Alpha: 0.17})
		}
		report(b)
	})
	b.Run("pv", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			MatMulF32(nil, s, d, s, sc, s, false, v, ld, false, out, ld, Epilogue{})
		}
		report(b)
	})
}
