package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLSTMCell holds every level to the bound that LSTMCell states, with pre-activations of all magnitudes.
func TestLSTMCell(t *testing.T) {
	const u, least = 0x1p-24, 0x1p-148
	for _, isa := range Levels() {
		restore := Limit(isa)
		r := rand.New(rand.NewPCG(9, 9))
		for range cases(20000) {
			n := 1 + r.IntN(40)
			z, p, c, h := normals(r, 4*n), normals(r, n), make([]float32, n), make([]float32, n)
			for i := range z {
				z[i] *= float32(math.Exp2(float64(r.IntN(30) - 24)))
			}
			if r.IntN(4) == 0 { // what is left is subnormal
				clear(p)
				for j := range n {
					z[j], z[n+j] = -104+20*r.Float32(), -104+20*r.Float32()
				}
			}
			LSTMCell(z, p, c, h, 1, n)
			for j := range n {
				f, ig := sig64(float64(z[2*n+j])), sig64(float64(z[j]))*math.Tanh(float64(z[3*n+j]))
				fc := f * float64(p[j])
				if d := math.Abs(float64(c[j]) - fc - ig); !(d <= u*(32*math.Abs(ig)+16*math.Abs(fc)+math.Abs(fc+ig))+least) {
					t.Fatalf("%s: c = %v, want %v", isa, c[j], fc+ig)
				}
				want := sig64(float64(z[n+j])) * math.Tanh(float64(c[j]))
				if !(math.Abs(float64(h[j])-want) <= u*32*math.Abs(want)+least) {
					t.Fatalf("%s: h = %v, want %v", isa, h[j], want)
				}
			}
		}
		restore()
	}
}
