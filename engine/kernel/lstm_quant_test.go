package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLSTMQuant compares bits with the operators that a step stands for, on every level: some steps in a row, scales and zero points for all
// columns and for each.
func TestLSTMQuant(t *testing.T) {
	for _, isa := range Levels() {
		restore := Limit(isa)
		for seed := range uint64(300) {
			r := rand.New(rand.NewPCG(seed, 12))
			b, hs := r.IntN(40), 1+r.IntN(70)
			if seed%3 == 0 {
				b, hs = 1+r.IntN(3), 32*(1+r.IntN(5))
			}
			if seed%10 == 1 { // more than one block of rows
				b, hs = 65+r.IntN(80), 1+r.IntN(40)
			}
			n := 4 * hs
			w := make([]int8, hs*n)
			for i := range w {
				w[i] = int8(r.IntN(256) - 128)
			}
			m := PackS8(hs, n, w, n, false)
			scale := make([]float32, []int{1, n}[r.IntN(2)])
			for i := range scale {
				scale[i] = (0.5 + r.Float32()) / 2000
			}
			var zero []int8
			if k := r.IntN(3); k > 0 {
				zero = make([]int8, []int{1, n}[k-1])
				for i := range zero {
					zero[i] = int8(r.IntN(256) - 128)
				}
			}
			h, c := normals(r, b*hs), normals(r, b*hs)
			wantH, wantC := append([]float32(nil), h...), append([]float32(nil), c...)
			l := NewLSTMQuant(b, m, scale, zero)
			for step := range 3 {
				gates := normals(r, b*n)
				sh, zh := RangeU8(wantH)
				q, z := make([]uint8, b*hs), make([]float32, b*n)
				QuantizeLinearU8(wantH, q, sh, zh)
				QuantGemm(nil, b, q, hs, []float32{sh}, []uint8{zh}, m, scale, zero, z, n, Epilogue{Residual: gates, LdR: n})
				LSTMCell(z, wantC, wantC, wantH, b, hs)
				l.Step(sh, zh, gates, c, h)
				for i := range h {
					if math.Float32bits(h[i]) != math.Float32bits(wantH[i]) || math.Float32bits(c[i]) != math.Float32bits(wantC[i]) {
						t.Fatalf("%s, seed %d: B%d H%d step %d: h[%d] = %v and c %v, want %v and %v", isa, seed, b, hs, step, i, h[i], c[i], wantH[i], wantC[i])
					}
				}
			}
			l.Close()
		}
		restore()
	}
}
