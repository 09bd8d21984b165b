//go:build amd64 && !noasm

package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLSTMQuantKernel wants the bits of the Go twin, and what surrounds the results untouched.
func TestLSTMQuantKernel(t *testing.T) {
	if Active() < AVX2 {
		t.Skip("no assembly at the active level")
	}
	for seed := range uint64(cases(20000)) {
		r := rand.New(rand.NewPCG(seed, 13))
		n := 1 + r.IntN(80)
		in, _ := randomInput(r, int(seed%3))
		gates, scale, p := in(4*n), in(4*n), in(n)
		sums, colSum := make([]int32, 4*n), make([]int32, 4*n)
		for i := range sums {
			sums[i], colSum[i] = int32(r.IntN(1<<23)-1<<22), int32(r.IntN(1<<16)-1<<15)
		}
		az, as := int32(r.IntN(256)), in(1)[0]
		z, wantC, wantH := make([]float32, 4*n), make([]float32, n), make([]float32, n)
		for i := range z {
			f := float32(as * scale[i])
			z[i] = float32(float32(sums[i]-az*colSum[i])*f) + gates[i]
		}
		lstmCellGo(z[:n], z[n:2*n], z[2*n:3*n], z[3*n:], p, wantC, wantH)
		for _, isa := range floatLevels() {
			if isa < AVX2 {
				continue
			}
			out, intact := randomInput(r, 2)
			c, h := out(n), out(n)
			restore := Limit(isa)
			ok := lstmQuantVec(&gates[0], &sums[0], &colSum[0], &scale[0], &p[0], &c[0], &h[0], n, math.Float32frombits(uint32(az)), as)
			restore()
			if !ok || !intact() {
				t.Fatalf("%s, seed %d: ran %v, or wrote outside of its slices", isa, seed, ok)
			}
			for j := range n {
				for _, v := range [][2]float32{{c[j], wantC[j]}, {h[j], wantH[j]}} {
					if math.Float32bits(v[0]) != math.Float32bits(v[1]) && (v[0] == v[0] || v[1] == v[1]) {
						t.Fatalf("%s, seed %d: unit %d of %d is %v, want %v", isa, seed, j, n, v[0], v[1])
					}
				}
			}
		}
	}
}
