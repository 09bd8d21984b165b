//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLSTMCellWide wants the bits of the Go twin from the kernel that does turns, with turns among them that it leaves to the program, and what
// surrounds the results untouched; also where the cells are replaced.
func TestLSTMCellWide(t *testing.T) {
	if Active() < AVX2 {
		t.Skip("no assembly at the active level")
	}
	defer Limit(AVX2)()
	for seed := range uint64(cases(20000)) {
		r := rand.New(rand.NewPCG(seed, 17))
		n := 32 * (1 + r.IntN(5))
		in, intact := randomInput(r, 2)
		z, p, c, h := in(4*n), in(n), in(n), in(n)
		wantC, wantH := make([]float32, n), make([]float32, n)
		for i := range z {
			switch k := r.IntN(1000); {
			case k < 300:
				z[i] *= float32(math.Exp2(float64(r.IntN(30) - 24)))
			case k < 600:
				z[i] *= 4
			case k == 600 && seed%2 == 0:
				z[i] = specials[r.IntN(len(specials))]
			case k == 601 && seed%2 == 0:
				z[i] = math.Float32frombits(r.Uint32())
			case k == 602:
				z[i] = float32(math.Copysign(86, float64(z[i])))
			case k == 603:
				z[i] = float32(math.Copysign(0, float64(z[i])))
			}
			if i >= 3*n && seed%2 == 1 {
				z[i] = max(-43, min(43, z[i]))
			}
		}
		for i := range p {
			switch k := r.IntN(100); {
			case k < 10:
				p[i] = specials[r.IntN(len(specials))]
			case k < 20:
				p[i] = math.Float32frombits(r.Uint32())
			}
		}
		lstmCellGo(z[:n], z[n:2*n], z[2*n:3*n], z[3*n:], p, wantC, wantH)
		if seed%3 == 0 {
			c = p
		}
		if lstmCellWide(z[:n], z[n:2*n], z[2*n:3*n], z[3*n:], p, c, h) != n || !intact() {
			t.Fatalf("seed %d: not all units done, or wrote outside of its slices", seed)
		}
		for j := range n {
			for _, v := range [][2]float32{{c[j], wantC[j]}, {h[j], wantH[j]}} {
				if math.Float32bits(v[0]) != math.Float32bits(v[1]) && (v[0] == v[0] || v[1] == v[1]) {
					t.Fatalf("seed %d: unit %d of %d is %v, want %v (i %v o %v f %v g %v)", seed, j, n, v[0], v[1], z[j], z[n+j], z[2*n+j], z[3*n+j])
				}
			}
		}
	}
}
