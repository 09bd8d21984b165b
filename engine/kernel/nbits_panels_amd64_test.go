//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestNBitsPanels has one row and whole panels of weights in one block or two, for the kernels that take several panels in one call, of every number of
// bits and digits: with AVX2, fetching ahead and not, and with AVX-512 the bits of the Go twin, which TestNBitsStream compares with the formula.
func TestNBitsPanels(t *testing.T) {
	own := readsAhead
	defer func() { readsAhead = own }()
	r := rand.New(rand.NewPCG(4, 14))
	values := normals(r, 1<<14)
	for _, kind := range []struct{ n, bits, parts, block, whole int }{
		{17000, 4, 1, 32, 3}, {17000, 4, 3, 32, 1}, {19500, 4, 3, 64, 1}, {19500, 8, 1, 32, 5}, {17000, 8, 3, 32, 1}, {19500, 8, 3, 64, 1}, {17000, 8, 2, 32, 1},
		{8000, 4, 1, 64, 1},
	} {
		for i := range cases(kind.n) {
			k, n := 1+r.IntN(kind.block), kind.whole*PanelWidth+r.IntN(PanelWidth)
			if i%4 == 0 || kind.parts == 2 {
				k = kind.block + r.IntN(10)
			}
			p := PackNBits(randNBits(r, k, n, kind.bits, kind.block))
			a := values[r.IntN(len(values)-k):][:k]
			var want []float32
			run := func(isa ISA) {
				defer Limit(isa)()
				got := make([]float32, n+3)
				for q := range got {
					got[q] = -7
				}
				gemmNBits(nil, 1, a, k, p, got, n, kind.parts, Epilogue{})
				if isa == Generic {
					want = got
				}
				for j := range got {
					if math.Float32bits(got[j]) != math.Float32bits(want[j]) {
						t.Fatalf("%v, reads ahead %v: case %d of %+v, [%d %d], element %d: %v, the Go twin has %v", isa, readsAhead, i, kind, k, n, j, got[j], want[j])
					}
				}
			}
			for _, isa := range testLevels() {
				switch {
				case isa == AVX2:
					for _, readsAhead = range []bool{true, false} {
						run(isa)
					}
				case isa == Generic, isa == AVX512VNNI && kind.parts != 2:
					run(isa)
				}
			}
		}
	}
}
