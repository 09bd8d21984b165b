package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// halfSlice returns n numbers of a kind, and the same numbers as float32.
func halfSlice(kind HalfKind, x []float32) ([]uint16, []float32) {
	h, wide := make([]uint16, len(x)), make([]float32, len(x))
	if kind == BF16 {
		F32ToBF16(h, x)
		BF16ToF32(wide, h)
	} else {
		F32ToF16(h, x)
		F16ToF32(wide, h)
	}
	return h, wide
}

// TestGemmHalfBits: on every ISA the bits of the naive chains over the widened weights, of random shapes and epilogues, with subnormal
// halves among the weights.
func TestGemmHalfBits(t *testing.T) {
	n := cases(24000)
	pool := NewPool(3, 0)
	defer pool.Close()
	r := rand.New(rand.NewPCG(17, 11))
	for i := range n {
		kind := HalfKind(i % 2)
		c := randCase(r)
		c.transA = false
		c.fill(r)
		for j := range c.b {
			if r.IntN(32) == 0 {
				c.b[j] *= 1e-6
			}
		}
		var h []uint16
		h, c.b = halfSlice(kind, c.b)
		p := pool
		if i%4 < 2 {
			p = nil
		}
		want := c.want()
		packed := PackHalf(kind, c.k, c.n, h, c.ldb, c.transB)
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			got := append([]float32(nil), c.c...)
			GemmHalf(p, c.m, c.a, c.lda, packed, got, c.ldc, c.ep)
			restore()
			if at := sameBits(got, want); at >= 0 {
				t.Fatalf("%v: case %d %v %v: element %d is %g, want %g", isa, i, kind, c, at, got[at], want[at])
			}
		}
	}
}

// TestGemmHalfThreadsAndBlocks takes shapes that are cut into K blocks, row tasks and panel tasks: the bits of GemmF32.
func TestGemmHalfThreadsAndBlocks(t *testing.T) {
	pools := []*Pool{nil, NewPool(2, 0), NewPool(4, 10*time.Microsecond)}
	defer pools[1].Close()
	defer pools[2].Close()
	r := rand.New(rand.NewPCG(3, 6))
	for i, s := range [][3]int{{1, 1000, 701}, {2, 515, 1300}, {3, 300, 901}, {12, 290, 1101}, {30, 290, 1101}, {217, 300, 41}, {400, 70, 130}} {
		for v := range 4 {
			if testing.Short() && v != i%4 {
				continue
			}
			kind := HalfKind(v % 2)
			c := gemmCase{m: s[0], n: s[1], k: s[2], transB: v > 1}
			c.fill(r)
			var h []uint16
			h, c.b = halfSlice(kind, c.b)
			want := c.run(nil, true)
			packed := PackHalf(kind, c.k, c.n, h, c.ldb, c.transB)
			for _, isa := range floatLevels() {
				restore := Limit(isa)
				for _, p := range pools {
					got := append([]float32(nil), c.c...)
					GemmHalf(p, c.m, c.a, c.lda, packed, got, c.ldc, c.ep)
					if at := sameBits(got, want); at >= 0 {
						t.Fatalf("%v: %v %v threads=%d: element %d is %g, want %g", isa, kind, c, p.Threads(), at, got[at], want[at])
					}
				}
				restore()
			}
		}
	}
}

// A view of columns is the matrix packed from those columns.
func TestPackedHalfColumns(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const k, n = 7, 139
	for kind := F16; kind <= BF16; kind++ {
		h, _ := halfSlice(kind, randSlice(r, k*n))
		all := PackHalf(kind, k, n, h, n, false)
		for _, c := range [][2]int{{0, 64}, {32, 96}, {64, 75}, {128, 11}} {
			if got, want := all.Columns(c[0], c[1]), PackHalf(kind, k, c[1], h[c[0]:], n, false); !slices.Equal(got.data, want.data) {
				t.Errorf("%v: columns %v differ", kind, c)
			}
		}
		if all.Bytes() > 2*32*(128+16) {
			t.Errorf("%v: %d bytes", kind, all.Bytes())
		}
	}
}

func BenchmarkGemmHalf(b *testing.B) {
	for _, s := range [][3]int{{1, 4096, 4096}, {1, 384, 1536}, {4, 384, 1536}, {12, 384, 1536}, {24, 384, 1536}, {128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}} {
		m, k, n := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, w, c := randSlice(r, m*k), randSlice(r, k*n), make([]float32, m*n)
		run := func(name string, bytes int64, f func()) {
			b.Run(fmt.Sprintf("%s/%dx%dx%d", name, m, k, n), func(b *testing.B) {
				for b.Loop() {
					f()
				}
				b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOPS")
				b.ReportMetric(float64(bytes)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GB/s")
			})
		}
		pw := PackF32(k, n, w, n, false)
		run("f32", pw.Bytes(), func() { GemmF32(nil, m, a, k, pw, c, n, Epilogue{}) })
		for kind := F16; kind <= BF16; kind++ {
			h, _ := halfSlice(kind, w)
			ph := PackHalf(kind, k, n, h, n, false)
			run(kind.String(), ph.Bytes(), func() { GemmHalf(nil, m, a, k, ph, c, n, Epilogue{}) })
		}
	}
}
