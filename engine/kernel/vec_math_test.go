package kernel

import (
	"math"
	"testing"
)

// ulps returns |got-want| in units in the last place of float32 at want.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	switch {
	case math.IsNaN(want):
		if got != got {
			return 0
		}
		return math.Inf(1)
	case got == w:
		return 0
	case math.IsInf(float64(w), 0) || math.IsInf(float64(got), 0) || got != got:
		return math.Inf(1)
	}
	a := math.Abs(want)
	_, e := math.Frexp(a)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// sweep visits float32 values from lo to hi by their bits, both signs, dense enough for about n of them.
func sweep(n int, f func(x float32)) {
	step := uint32(math.MaxUint32/uint32(n)) | 1
	for u, i := uint32(0), 0; i < n; u, i = u+step, i+1 {
		f(math.Float32frombits(u))
	}
	for i := range n { // and the region where the functions bend
		f(float32(i-n/2) / float32(n/2) * 12)
		f(float32(i-n/2) / float32(n/2) * 110)
	}
}

func log1pExp(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// TestAccuracy holds each function to the bound in its doc comment, against package math in float64, whose own
// error (below 1e-15) does not show.
func TestAccuracy(t *testing.T) {
	sig := func(x float64) float64 {
		if x < 0 {
			return math.Exp(x) / (1 + math.Exp(x))
		}
		return 1 / (1 + math.Exp(-x))
	}
	for _, c := range []struct {
		name  string
		f     func(float32) float32
		want  func(float64) float64
		bound float64
	}{
		{"exp", expf, math.Exp, 1},
		{"log", logf, math.Log, 1},
		{"tanh", tanhf, math.Tanh, 2},
		{"sigmoid", sigmoidf, sig, 3},
		{"erf", erff, math.Erf, 2},
		{"softplus", softplusf, log1pExp, 2.5},
		{"silu", siluf, func(x float64) float64 { return x * sig(x) }, 4},
		{"expm1Neg", expm1Neg, func(x float64) float64 { return math.Expm1(math.Min(x, 0)) }, 2},
		{"sin", func(x float32) float32 { return sinQuadrant(x, 0) }, math.Sin, 1},
		{"cos", func(x float32) float32 { return sinQuadrant(x, 1) }, math.Cos, 1},
		{"pow1.7", func(x float32) float32 { return powf(x, 1.7) }, func(x float64) float64 { return math.Pow(x, float64(float32(1.7))) }, 1},
		{"pow-3", func(x float32) float32 { return powf(x, -3) }, func(x float64) float64 { return math.Pow(x, -3) }, 1},
	} {
		worst, at := 0.0, float32(0)
		sweep(400000, func(x float32) {
			if c.name == "expm1Neg" && x > 0 || c.name == "silu" && x < -87 {
				return
			}
			if u := ulps(c.f(x), c.want(float64(x))); u > worst {
				worst, at = u, x
			}
		})
		t.Logf("%s: worst %.3f ULP at %g", c.name, worst, at)
		if worst > c.bound {
			t.Errorf("%s(%g) = %g, want %g: %g ULP, bound %g", c.name, at, c.f(at), c.want(float64(at)), worst, c.bound)
		}
	}
}

// TestGeluAccuracy holds the two GELUs to their absolute bound, and to one in ULP for x >= -1: see GeluErf.
func TestGeluAccuracy(t *testing.T) {
	for _, c := range []struct {
		name string
		f    func(float32) float32
		want func(float64) float64
	}{
		{"erf", geluErff, func(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }},
		{"tanh", geluTanhf, func(x float64) float64 {
			return x / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}},
	} {
		worst, at, ulp, ulpAt := 0.0, float32(0), 0.0, float32(0)
		sweep(400000, func(x float32) {
			if x-x != 0 {
				return
			}
			want := c.want(float64(x))
			if e := math.Abs(float64(c.f(x))-want) / math.Max(1, float64(x)); !(e <= worst) {
				worst, at = e, x
			}
			if u := ulps(c.f(x), want); x >= -1 && !(u <= ulp) {
				ulp, ulpAt = u, x
			}
		})
		t.Logf("gelu %s: worst %.3g at %g, %.3g ULP at %g", c.name, worst, at, ulp, ulpAt)
		if !(worst <= 2.5e-7) {
			t.Errorf("gelu %s(%g) = %g, want %g", c.name, at, c.f(at), c.want(float64(at)))
		}
		if !(ulp <= 3) {
			t.Errorf("gelu %s(%g) = %g, want %g: %g ULP, bound 3", c.name, ulpAt, c.f(ulpAt), c.want(float64(ulpAt)), ulp)
		}
	}
}
