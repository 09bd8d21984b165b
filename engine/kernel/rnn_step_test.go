package kernel

import (
	"math/rand/v2"
	"testing"
)

// TestLSTMStep: the bits of GemmF32 with Accumulate and LSTMUnits at every level, of states whose products are one chain and of those with several.
func TestLSTMStep(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 5))
		for _, hs := range []int{32, 160, 384, 416, 512, 800} {
			w := PackF32(hs, 4*hs, randSlice(r, 4*hs*hs), 4*hs, false)
			before, gates, cell := randSlice(r, hs), randSlice(r, 4*hs), randSlice(r, hs)
			from := PanelWidth * r.IntN(hs/PanelWidth)
			n := PanelWidth * (1 + r.IntN((hs-from)/PanelWidth))
			var out [2][3][]float32
			for way := range out {
				g, c, h := append([]float32(nil), gates...), make([]float32, hs), make([]float32, hs)
				if way == 0 {
					LSTMStep(w, before, g, cell, c, h, from, n)
				} else {
					sums := append([]float32(nil), gates...)
					GemmF32(nil, 1, before, hs, w, sums, 4*hs, Epilogue{Accumulate: true})
					for q := range 4 {
						copy(g[q*hs+from:][:n], sums[q*hs+from:])
					}
					LSTMUnits(g, cell, c, h, from, n)
				}
				out[way] = [3][]float32{g, c, h}
			}
			for k := range out[0] {
				if at := sameBits(out[0][k], out[1][k]); at >= 0 {
					t.Fatalf("h %d, units %d to %d: element %d of result %d is %g, want %g", hs, from, from+n, at, k, out[0][k][at], out[1][k][at])
				}
			}
		}
	})
}
