package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestBatchMatMul compares a batch of attention heads, interleaved and with a broadcast B, with one product at a time.
func TestBatchMatMul(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 1))
	for _, threads := range []int{1, 2, 5} {
		p := NewPool(threads, 0)
		for _, s := range []struct{ heads, m, n, k int }{{0, 3, 3, 3}, {1, 150, 150, 64}, {3, 5, 7, 8}, {4, 130, 130, 70}, {12, 70, 70, 33}} {
			x := Batch{M: s.m, N: s.n, K: s.k, LdA: s.heads*s.k + 1, LdB: s.heads*s.k + 2, LdC: s.n, TransB: true, Epilogue: Epilogue{Alpha: 0.5, Act: ActRelu}}
			x.A, x.B = randSlice(r, s.m*x.LdA), randSlice(r, s.n*x.LdB)
			x.C = make([]float32, s.heads*s.m*s.n)
			want := make([]float32, len(x.C))
			for h := range s.heads {
				x.OffA, x.OffB, x.OffC = append(x.OffA, h*s.k), append(x.OffB, h/2*s.k), append(x.OffC, h*s.m*s.n)
				MatMulF32(nil, s.m, s.n, s.k, x.A[h*s.k:], x.LdA, false, x.B[h/2*s.k:], x.LdB, true, want[h*s.m*s.n:], s.n, x.Epilogue)
			}
			BatchMatMulF32(p, &x)
			if at := sameBits(x.C, want); at >= 0 {
				t.Fatalf("%+v threads=%d: element %d is %g, want %g", s, threads, at, x.C[at], want[at])
			}
		}
		p.Close()
	}
}
