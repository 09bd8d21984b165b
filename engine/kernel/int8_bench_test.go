package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

func BenchmarkInt8(b *testing.B) {
	shapes := [][3]int{{128, 384, 384}, {128, 384, 1536}, {128, 1536, 384}, {1, 384, 1536}, {512, 768, 3072}, {1, 4096, 4096}}
	for i := range 2 * len(shapes) {
		s, narrow := shapes[i/2], i%2 == 1
		m, k, n := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 1))
		a, x, c := randBytes(r, m*k), randSlice(r, m*k), make([]int32, m*n)
		q := signed(randBytes(r, k*n))
		if narrow { // as quantized weights are: most are small
			for i := range q {
				q[i] = int8(max(-64, min(64, 16*r.NormFloat64())))
			}
		}
		w, y, bias := PackS8(k, n, q, n, false), make([]float32, m*n), make([]float32, n)
		for _, threads := range []int{1, 2} {
			p := NewPool(threads, 200*time.Microsecond)
			run := func(name string, f func()) {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/narrow=%v/t%d", name, m, k, n, narrow, threads), func(b *testing.B) {
					for b.Loop() {
						f()
					}
					b.ReportMetric(2*float64(m*n*k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOPS")
				})
			}
			run("u8s8", func() { GemmU8S8(p, m, a, k, w, c, n) })
			run("dynamic", func() {
				DynQuantGemm(p, m, x, k, w, []float32{0.01}, nil, y, n, Epilogue{Bias: bias})
			})
			p.Close()
		}
	}
}

func BenchmarkQuantizeU8(b *testing.B) {
	x := randSlice(rand.New(rand.NewPCG(1, 1)), 128*384)
	q := make([]uint8, len(x))
	for b.Loop() {
		QuantizeU8(x, q)
	}
	b.ReportMetric(float64(len(x))*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelem/s")
}
