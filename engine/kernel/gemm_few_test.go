package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestGemmFewRows has products of few rows by four whole panels and more, for the kernels of two and of four panels, mostly of one row, in float32,
// half precision and bfloat16 in pairs: the bits of the Go twin, which TestGemmBits, TestGemmHalfBits and TestGemmBF16 compare with the definition.
func TestGemmFewRows(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 12))
	for i := range cases(26000) {
		c := gemmCase{m: 1, n: (4+r.IntN(2))*PanelWidth + 1 + r.IntN(PanelWidth), k: 1 + r.IntN(4), transB: r.IntN(4) == 0}
		switch {
		case i%13 > 10: // every number of rows
			c.m = 2 + r.IntN(11)
		case i%13 == 10:
			c.m = 2 + i/13%2
		}
		switch i % 200 {
		case 0:
			c.k = r.IntN(100)
		case 1, 2, 3: // several chains
			c.k = 385 + r.IntN(500)
		}
		c.fill(r)
		full := PackF32(c.k, c.n, c.b, c.ldb, c.transB)
		var half [2]*PackedHalf
		for kind := range half {
			h := make([]uint16, len(c.b))
			if HalfKind(kind) == BF16 {
				F32ToBF16(h, c.b)
			} else {
				F32ToF16(h, c.b)
			}
			half[kind] = PackHalf(HalfKind(kind), c.k, c.n, h, c.ldb, c.transB)
		}
		var want [4][]float32
		for _, isa := range floatLevels() {
			restore := Limit(isa)
			var got [3][]float32
			for v := range got {
				got[v] = append([]float32(nil), c.c...)
			}
			GemmF32(nil, c.m, c.a, c.lda, full, got[0], c.ldc, c.ep)
			GemmHalf(nil, c.m, c.a, c.lda, half[F16], got[1], c.ldc, c.ep)
			GemmHalf(nil, c.m, c.a, c.lda, half[BF16], got[2], c.ldc, c.ep)
			restore()
			for v := range got {
				if isa == Generic {
					want[v] = got[v]
				} else if at := sameBits(got[v], want[v]); at >= 0 {
					t.Fatalf("%v: case %d, way %d, %v: element %d is %g, want %g", isa, i, v, c, at, got[v][at], want[v][at])
				}
			}
		}
		for _, way := range bf16Ways() {
			if !way.pairs {
				continue
			}
			if got := c.runBF16(nil, half[BF16], way); way.isa == Generic {
				want[3] = got
			} else if at := sameBits(got, want[3]); at >= 0 {
				t.Fatalf("%v: case %d %v: element %d is %g, the twin has %g", way, i, c, at, got[at], want[3][at])
			}
		}
	}
}
