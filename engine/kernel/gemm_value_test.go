package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestGemmAgainstFloat64 checks the value itself, of random terms and of equal ones, whose roundings add up. Tolerance: those that a term passes, of its
// chain and of the sums of chains, each of relative size 2^-24, of terms bounded by sum |a||b|. In one chain the equal terms here would lose three times as much.
func TestGemmAgainstFloat64(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, shape := range [][3]int{{37, 75, 300}, {5, 40, 2500}, {1, 160, 9216}, {2, 70, 4096}, {40, 33, 9216}} {
		m, n, k := shape[0], shape[1], shape[2]
		c := gemmCase{m: m, n: n, k: k, lda: k, ldb: n, ldc: n, a: randSlice(r, m*k), b: randSlice(r, k*n), c: make([]float32, m*n)}
		for v := range 2 {
			if v == 1 {
				x, y := r.Float32(), r.Float32()
				for i := range c.a {
					c.a[i] = x
				}
				for i := range c.b {
					c.b[i] = y
				}
			}
			for _, packed := range []bool{true, false} {
				got := c.run(nil, packed)
				for i := range m {
					for j := range n {
						var s, abs float64
						for q := range k {
							x := float64(c.at(i, q)) * float64(c.bt(q, j))
							s += x
							abs += math.Abs(x)
						}
						if d := math.Abs(float64(got[i*n+j]) - s); d > float64(min(k, 385+k/384))*0x1p-24*abs {
							t.Fatalf("%v: C[%d,%d] = %g, want %g", shape, i, j, got[i*n+j], s)
						}
					}
				}
			}
		}
	}
}

// TestGemmSpecialValues: a NaN or infinity stays in its row and column, and padding creates none.
func TestGemmSpecialValues(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		const m, n, k = 15, 37, 9
		a, b, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
		a[3*k+2] = float32(math.NaN())
		b[4*n+36] = float32(math.Inf(1))
		MatMulF32(nil, m, n, k, a, k, false, b, n, false, c, n, Epilogue{})
		for i := range m {
			for j := range n {
				nan := i == 3 || j == 36 // infinity times zero
				if v := c[i*n+j]; (v != v) != nan || (!nan && v != 0) {
					t.Fatalf("C[%d,%d] = %g", i, j, v)
				}
			}
		}
	})
}
