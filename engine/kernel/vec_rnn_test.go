package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func sig64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// lstm64 is one step of the ONNX definition on one row; it returns c and h.
func lstm64(z, p []float64) (c, h []float64) {
	n := len(p)
	for j := range n {
		i, o, f, g := sig64(z[j]), sig64(z[n+j]), sig64(z[2*n+j]), math.Tanh(z[3*n+j])
		cj := f*p[j] + i*g
		c, h = append(c, cj), append(h, o*math.Tanh(cj))
	}
	return c, h
}

// TestLSTM compares the step with the ONNX formula in float64, and its gradient with central differences.
func TestLSTM(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 50 {
		n, b := 1+r.IntN(40), 1+r.IntN(3)
		z, p, dh, dc := normals(r, 4*n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b)
		c, h := make([]float32, n*b), make([]float32, n*b)
		z64, p64, dh64, dc64 := toF64(z), toF64(p), toF64(dh), toF64(dc)
		LSTMGates(z, p, c, h, b, n)
		LSTMGatesGrad(z, p, c, dh, dc, b, n)
		for k := range b {
			zr, pr := z64[4*k*n:4*(k+1)*n], p64[k*n:(k+1)*n]
			wc, wh := lstm64(zr, pr)
			near(t, "c", c[k*n:(k+1)*n], wc, 1e-6)
			near(t, "h", h[k*n:(k+1)*n], wh, 1e-6)
			loss := func(z, p []float64) float64 {
				c, h := lstm64(z, p)
				return dot64(c, dc64[k*n:(k+1)*n]) + dot64(h, dh64[k*n:(k+1)*n])
			}
			near(t, "dz", z[4*k*n:4*(k+1)*n], gradient(zr, 1, func(z []float64) float64 { return loss(z, pr) }), 2e-6)
			near(t, "dcPrev", dc[k*n:(k+1)*n], gradient(pr, 1, func(p []float64) float64 { return loss(zr, p) }), 2e-6)
		}
	}
}

// gru64 is the element-wise part of one GRU step: for linear_before_reset 1, a += r*lin; h = (1-z) tanh(a) + z p.
func gru64(z, r, a, lin, p float64) float64 {
	n := math.Tanh(a + sig64(r)*lin)
	return (1-sig64(z))*n + sig64(z)*p
}

// TestGRU checks both forms: values against the formula in float64, gradients against central differences.
func TestGRU(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		n, b := 1+r.IntN(20), 1+r.IntN(3)
		zr, p, a, lin, dh := normals(r, 2*n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b)
		h, dz, dr := make([]float32, n*b), make([]float32, n*b), make([]float32, n*b)
		x := make([][]float64, n*b)
		for k := range x {
			i, j := k/n, k%n
			x[k] = []float64{float64(zr[2*i*n+j]), float64(zr[(2*i+1)*n+j]), float64(a[k]), float64(lin[k]), float64(p[k])}
		}
		d64 := toF64(dh)
		GRUGates(zr, p, nil, b, n)
		GRUOutput(zr, a, lin, p, h, b, n)
		GRUOutputGrad(zr, a, lin, p, dh, dz, dr, b, n)
		for k, v := range x {
			near(t, "h", h[k:k+1], []float64{gru64(v[0], v[1], v[2], v[3], v[4])}, 1e-6)
			g := gradient(v, 1, func(v []float64) float64 { return d64[k] * gru64(v[0], v[1], v[2], v[3], v[4]) })
			near(t, "gradients", []float32{dz[k], dr[k], a[k], lin[k], dh[k]}, g, 2e-6)
		}
	}
	// linear_before_reset 0: rh = r*hPrev and its gradient
	zr, p := []float32{0.3, -0.7}, []float32{0.9}
	rh, dr, dp := make([]float32, 1), make([]float32, 1), []float32{0.25}
	GRUGates(zr, p, rh, 1, 1)
	GRUResetGrad(zr, p, []float32{2}, dr, dp, 1, 1)
	s := sig64(float64(float32(-0.7)))
	near(t, "reset", []float32{rh[0], dr[0], dp[0]}, []float64{s * 0.9, 2 * 0.9 * s * (1 - s), 0.25 + 2*s}, 1e-6)
}

// TestOptimizers follows three steps of each optimizer in float64.
func TestOptimizers(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	n := 37
	w, m, v := normals(r, n), make([]float32, n), make([]float32, n)
	ws, vel := normals(r, n), make([]float32, n)
	w64, m64, v64, ws64, vel64 := toF64(w), make([]float64, n), make([]float64, n), toF64(ws), make([]float64, n)
	for step := 1; step <= 3; step++ {
		g := normals(r, n)
		AdamW(w, g, m, v, AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, Step: step})
		SGD(ws, g, vel, 0.1, 0.9, 0.01)
		for i, gi := range toF64(g) {
			m64[i] = 0.9*m64[i] + 0.1*gi
			v64[i] = 0.999*v64[i] + 0.001*gi*gi
			mh, vh := m64[i]/(1-math.Pow(0.9, float64(step))), v64[i]/(1-math.Pow(0.999, float64(step)))
			w64[i] -= 0.01 * 0.1 * w64[i]
			w64[i] -= 0.01 * mh / (math.Sqrt(vh) + 1e-8)
			vel64[i] = 0.9*vel64[i] + gi
			ws64[i] = ws64[i]*(1-0.1*0.01) - 0.1*vel64[i]
		}
	}
	// float32 betas differ from the decimal ones by 1e-8, which 1-beta2 amplifies to 5e-6 of a step of 0.01
	near(t, "AdamW", w, w64, 1e-6)
	near(t, "SGD", ws, ws64, 1e-6)
	plain := []float32{1}
	SGD(plain, []float32{2}, nil, 0.5, 0, 0)
	if plain[0] != 0 {
		t.Errorf("plain SGD gave %g, want 0", plain[0])
	}
	if ClipScale(25, 1) != 0.2 || ClipScale(0.25, 1) != 1 {
		t.Errorf("ClipScale = %g, %g", ClipScale(25, 1), ClipScale(0.25, 1))
	}
}
