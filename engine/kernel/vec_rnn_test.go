package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func sig64(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// approx is a number in float64 with a bound of the error that float32 arithmetic has made in it: of the first order, in which the errors of
// operands pass on times the derivative and every rounding adds unit times the result. What is of second order, some 20 units of those, is
// in the 1e-4 that slack adds.
type approx struct{ x, err float64 }

const slack = 1 + 1e-4

func exactly(x float32) approx { return approx{float64(x), 0} }

// rounded adds n roundings.
func (a approx) rounded(n float64) approx { return approx{a.x, a.err + n*unit*math.Abs(a.x)} }

// plus is not rounded, so that plus(times) is a fused multiply-add before rounded(1).
func (a approx) plus(b approx) approx { return approx{a.x + b.x, a.err + b.err} }

func (a approx) minus(b approx) approx { return approx{a.x - b.x, a.err + b.err} }

// times is not rounded either.
func (a approx) times(b approx) approx {
	return approx{a.x * b.x, a.err*math.Abs(b.x) + math.Abs(a.x)*b.err}
}

// sigmoid is within 3 ULP, each of which is at most 2 units.
func (a approx) sigmoid() approx {
	s := sig64(a.x)
	return approx{s, s * (1 - s) * a.err}.rounded(6)
}

// tanh is within 2 ULP.
func (a approx) tanh() approx {
	t := math.Tanh(a.x)
	return approx{t, (1 - t*t) * a.err}.rounded(4)
}

// slope is s (1-s), of a sigmoid: a difference and a product.
func (a approx) slope() approx {
	v := a.x * (1 - a.x)
	return approx{v, math.Abs(1-2*a.x)*a.err + 2*unit*math.Abs(v)}
}

// slopeTanh is 1 - t^2, fused.
func (a approx) slopeTanh() approx {
	return approx{1 - a.x*a.x, 2 * math.Abs(a.x) * a.err}.rounded(1)
}

// holds wants got[i] within the bound of the error of[i], and more, of want[i], and returns the largest share of the bounds.
func holds(t *testing.T, what string, got []float32, want []float64, more float64, of ...approx) float64 {
	t.Helper()
	return within(t, what, got, want, func(i int) float64 { return slack*of[i].err + more })
}

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

// TestLSTM compares the step with the ONNX formula in float64, and its gradient with central differences of it, unit by unit, as no unit
// depends on another. Third derivatives are below 20 (|dc| (1 + |p|) + |dh|), the largest being that of h by the forget gate, at
// most 2 (|p|/4)^3 + 3 |p|/4 |p|/10 + |p|/8, below 5 where |p| is below 4.5, as it is here.
func TestLSTM(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	share := map[string]float64{}
	for range 50 {
		n, b := 1+r.IntN(40), 1+r.IntN(3)
		z, p, dh, dc := normals(r, 4*n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b)
		c, h := make([]float32, n*b), make([]float32, n*b)
		var in, grad [][]float32 // of every unit: z and cPrev, dh and dc
		for u := range n * b {
			at := u/n*4*n + u%n
			in = append(in, []float32{z[at], z[at+n], z[at+2*n], z[at+3*n], p[u]})
			grad = append(grad, []float32{dh[u], dc[u]})
		}
		LSTMGates(z, p, c, h, b, n)
		LSTMGatesGrad(z, p, c, dh, dc, b, n)
		for u, x := range in {
			i, o, f, g, p := exactly(x[0]).sigmoid(), exactly(x[1]).sigmoid(), exactly(x[2]).sigmoid(), exactly(x[3]).tanh(), exactly(x[4])
			cell := f.times(p).plus(i.times(g).rounded(1)).rounded(1)
			th := cell.tanh()
			wc, wh := lstm64(toF64(x[:4]), toF64(x[4:]))
			share["c"] = max(share["c"], holds(t, "c", c[u:u+1], wc, 0, cell))
			share["h"] = max(share["h"], holds(t, "h", h[u:u+1], wh, 0, o.times(th).rounded(1)))

			dh, dc0 := exactly(grad[u][0]), exactly(grad[u][1])
			d := dh.times(o).rounded(1).times(th.slopeTanh()).plus(dc0).rounded(1)
			product := func(a, b, s approx) approx { return a.times(b).rounded(1).times(s).rounded(1) }
			want := gradient(toF64(x), 1, func(x []float64) float64 {
				c, h := lstm64(x[:4], x[4:])
				return dc0.x*c[0] + dh.x*h[0]
			})
			at := u/n*4*n + u%n
			more := differenceError(2, math.Abs(dc0.x)*(1+math.Abs(p.x))+math.Abs(dh.x), 1)
			share["gradient"] = max(share["gradient"], holds(t, "gradient", []float32{z[at], z[at+n], z[at+2*n], z[at+3*n], dc[u]}, want, more,
				product(d, g, i.slope()), product(dh, th, o.slope()), product(d, p, f.slope()), product(d, i, g.slopeTanh()), d.times(f).rounded(1)))
		}
	}
	t.Logf("of the bounds: %v", share)
}

// gru64 is the element-wise part of one GRU step: for linear_before_reset 1, a += r*lin; h = (1-z) tanh(a) + z p.
func gru64(z, r, a, lin, p float64) float64 {
	n := math.Tanh(a + sig64(r)*lin)
	return (1-sig64(z))*n + sig64(z)*p
}

// TestGRU checks both forms: values against the formula in float64, gradients against central differences. Third derivatives are below
// 20 |dh| (1 + |p|): that by the reset gate is at most what TestLSTM says of the forget gate, with linear for p.
func TestGRU(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	share := map[string]float64{}
	one := exactly(1)
	for range 50 {
		n, b := 1+r.IntN(20), 1+r.IntN(3)
		zr, p, a, lin, dh := normals(r, 2*n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b), normals(r, n*b)
		h, dz, dr := make([]float32, n*b), make([]float32, n*b), make([]float32, n*b)
		var in [][]float32
		for k := range n * b {
			i, j := k/n, k%n
			in = append(in, []float32{zr[2*i*n+j], zr[(2*i+1)*n+j], a[k], lin[k], p[k], dh[k]})
		}
		GRUGates(zr, p, nil, b, n)
		GRUOutput(zr, a, lin, p, h, b, n)
		GRUOutputGrad(zr, a, lin, p, dh, dz, dr, b, n)
		for k, x := range in {
			v, d := toF64(x[:5]), exactly(x[5])
			zk, rk, lk, pk := exactly(x[0]).sigmoid(), exactly(x[1]).sigmoid(), exactly(x[3]), exactly(x[4])
			ak := rk.times(lk).plus(exactly(x[2])).rounded(1).tanh()
			apart := pk.minus(ak).rounded(1)
			share["h"] = max(share["h"], holds(t, "h", h[k:k+1], []float64{gru64(v[0], v[1], v[2], v[3], v[4])}, 0, zk.times(apart).plus(ak).rounded(1)))

			want := gradient(v, 1, func(v []float64) float64 { return d.x * gru64(v[0], v[1], v[2], v[3], v[4]) })
			dn := d.times(one.minus(zk).rounded(1)).rounded(1).times(ak.slopeTanh()).rounded(1)
			share["gradient"] = max(share["gradient"], holds(t, "gradient", []float32{dz[k], dr[k], a[k], lin[k], dh[k]}, want,
				differenceError(2, math.Abs(d.x)*(1+math.Abs(pk.x)), 1),
				d.times(apart).rounded(1).times(zk.slope()).rounded(1), dn.times(lk).rounded(1).times(rk.slope()).rounded(1), dn, dn.times(rk).rounded(1), d.times(zk).rounded(1)))
		}
	}
	t.Logf("of the bounds: %v", share)
	// linear_before_reset 0: rh = r*hPrev and its gradient
	zr, p := []float32{0.3, -0.7}, []float32{0.9}
	rh, dr, dp := make([]float32, 1), make([]float32, 1), []float32{0.25}
	s, h, two := exactly(zr[1]).sigmoid(), exactly(p[0]), exactly(2)
	GRUGates(zr, p, rh, 1, 1)
	GRUResetGrad(zr, p, []float32{2}, dr, dp, 1, 1)
	holds(t, "reset", []float32{rh[0], dr[0], dp[0]}, []float64{s.x * h.x, 2 * h.x * s.x * (1 - s.x), 0.25 + 2*s.x}, 0,
		s.times(h).rounded(1), two.times(h).rounded(1).times(s.slope()).rounded(1), two.times(s).plus(exactly(0.25)).rounded(1))
}

// TestOptimizers follows three steps of each optimizer in float64, from the constants as float32 has them. The constants derived from them
// are rounded once, and so is every operation, a fused one as a whole; the errors are those of approx, each carried on to the next step.
func TestOptimizers(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	n := 37
	w, m, v := normals(r, n), make([]float32, n), make([]float32, n)
	ws, vel := normals(r, n), make([]float32, n)
	start := func(x []float32) (out []approx) {
		for _, v := range x {
			out = append(out, exactly(v))
		}
		return out
	}
	wa, ma, va, wsa, vela := start(w), start(m), start(v), start(ws), start(vel)
	p := AdamWParams{LR: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1}
	number := func(x float64) approx { return approx{x, 0}.rounded(1) }
	b1, b2, lr, eps, decay := exactly(p.Beta1), exactly(p.Beta2), float64(p.LR), float64(p.Eps), 1-float64(p.LR)*float64(p.WeightDecay)
	rate, mu, shrink := exactly(0.1), exactly(0.9), number(1-float64(float32(0.1))*float64(float32(0.01)))
	share := map[string]float64{}
	for step := 1; step <= 3; step++ {
		g := normals(r, n)
		p.Step = step
		AdamW(w, g, m, v, p)
		SGD(ws, g, vel, 0.1, 0.9, 0.01)
		c1, c2 := number(-lr/(1-math.Pow(b1.x, float64(step)))), number(1/(1-math.Pow(b2.x, float64(step))))
		for i := range g {
			gi := exactly(g[i])
			ma[i] = number(1 - b1.x).times(gi).plus(b1.times(ma[i]).rounded(1)).rounded(1)
			va[i] = number(1 - b2.x).times(gi).rounded(1).times(gi).plus(b2.times(va[i]).rounded(1)).rounded(1)
			mean := va[i].times(c2).rounded(1)
			root := approx{math.Sqrt(mean.x), mean.err / 2 / math.Sqrt(mean.x)}.rounded(1).plus(approx{eps, 0}).rounded(1)
			quotient := approx{ma[i].x / root.x, ma[i].err/root.x + math.Abs(ma[i].x)*root.err/(root.x*root.x)}.rounded(1)
			wa[i] = c1.times(quotient).plus(wa[i].times(number(decay)).rounded(1)).rounded(1)
			vela[i] = mu.times(vela[i]).rounded(1).plus(gi).rounded(1)
			wsa[i] = shrink.times(wsa[i]).rounded(1).minus(rate.times(vela[i])).rounded(1)
		}
		for what, x := range map[string]struct {
			got  []float32
			want []approx
		}{"AdamW": {w, wa}, "AdamW m": {m, ma}, "AdamW v": {v, va}, "SGD": {ws, wsa}, "SGD velocity": {vel, vela}} {
			want := make([]float64, n)
			for i, a := range x.want {
				want[i] = a.x
			}
			share[what] = max(share[what], holds(t, what, x.got, want, 0, x.want...))
		}
	}
	t.Logf("of the bounds: %v", share)
	plain := []float32{1}
	SGD(plain, []float32{2}, nil, 0.5, 0, 0)
	if plain[0] != 0 {
		t.Errorf("plain SGD gave %g, want 0", plain[0])
	}
	if ClipScale(25, 1) != 0.2 || ClipScale(0.25, 1) != 1 {
		t.Errorf("ClipScale = %g, %g", ClipScale(25, 1), ClipScale(0.25, 1))
	}
}
