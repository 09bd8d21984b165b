package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// normRow is one row of a normalisation in float64, with what bounds the errors of the kernels in units: an error of off in
// every h, from the rounded mean, and one of rel |h|, from 1/sqrt(var + eps) and the product with it (see LayerNormRows).
type normRow struct {
	h        []float64 // (x - mean)/sqrt(var + eps)
	inv      float64
	off, rel float64
}

func newNormRow(x []float64, eps float64, center bool) *normRow {
	n := float64(len(x))
	var mean, size, variance float64
	for _, v := range x {
		mean, size = mean+v/n, size+math.Abs(v)/n
	}
	if !center {
		mean, size = 0, 0
	}
	for _, v := range x {
		variance += (v - mean) * (v - mean) / n
	}
	s := &normRow{inv: 1 / math.Sqrt(variance+eps)}
	for _, v := range x {
		s.h = append(s.h, (v-mean)*s.inv)
	}
	steps := n/lanes + 7
	s.off = unit * steps * size * s.inv
	s.rel = unit*(steps/2+6) + s.off*s.off
	return s
}

// bound is that of LayerNormRows at y = gamma h + beta.
func (s *normRow) bound(i int, gamma, y float64) float64 {
	return math.Abs(gamma)*s.slip(i) + unit*math.Abs(y)
}

// slip is the error of h.
func (s *normRow) slip(i int) float64 { return s.off + s.rel*math.Abs(s.h[i]) }

// gradBound is that of dx = inv (g - m1 - h m2), g = dy gamma, m1 = mean(g) (0 for RMS), m2 = mean(g h). The means are sums over 16
// partial sums, rounded n/16 + 5 times, of products rounded once, divided; m2 carries the errors of h, too. The subtraction of m1, the
// fused h m2 and the product with inv round once each.
func (s *normRow) gradBound(dy, gamma []float64, center bool) func(i int) float64 {
	n := float64(len(s.h))
	var m1, m2, size, dm1, dm2 float64
	for i, h := range s.h {
		g := dy[i] * gamma[i]
		m1, m2, size = m1+g/n, m2+g*h/n, size+math.Abs(g)/n
		dm2 += math.Abs(g) / n * (s.slip(i) + unit*(n/softmaxLanes+7)*math.Abs(h))
	}
	if dm1 = unit * (n/softmaxLanes + 7) * size; !center {
		m1, dm1 = 0, 0
	}
	return func(i int) float64 {
		g, h := dy[i]*gamma[i], s.h[i]
		in := g - m1 - h*m2
		return s.inv * (unit*math.Abs(g) + dm1 + math.Abs(h)*dm2 + s.slip(i)*math.Abs(m2) + unit*math.Abs(g-m1) + (2*unit+s.rel)*math.Abs(in))
	}
}

// TestNormRows compares both normalisations with the definition in float64, and the gradients with central differences.
func TestNormRows(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	eps := float64(float32(1e-5))
	share := map[string]float64{}
	for range 60 {
		n, rows := 2+r.IntN(100), 2
		x, res, gamma, beta, dy := normals(r, rows*n), normals(r, rows*n), normals(r, n), normals(r, n), normals(r, rows*n)
		y, sum, dx, mean, inv := make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows*n), make([]float32, rows), make([]float32, rows)
		LayerNormRows(y, x, res, sum, gamma, beta, rows, n, 1e-5, mean, inv)
		s, g, b, d := toF64(sum), toF64(gamma), toF64(beta), toF64(dy)
		dgamma, dbeta := make([]float32, n), make([]float32, n)
		check := func(what string, center bool, beta []float64) {
			all := func(x, gamma, beta []float64) []float64 {
				return append(layerNorm64(x[:n], gamma, beta, eps, center), layerNorm64(x[n:], gamma, beta, eps, center)...)
			}
			at := []*normRow{newNormRow(s[:n], eps, center), newNormRow(s[n:], eps, center)}
			total := 0.0 // of the magnitudes in the sum that is differentiated
			for i, v := range d {
				h := math.Abs(at[i/n].h[i%n] * g[i%n])
				if beta != nil {
					h += math.Abs(beta[i%n])
				}
				total += math.Abs(v) * h
			}
			want := all(s, g, beta)
			share[what] = max(share[what], within(t, what, y, want, func(i int) float64 { return at[i/n].bound(i%n, g[i%n], want[i]) }))
			// The two rows have a size of their own for the steps.
			for k, row := range at {
				bound := row.gradBound(d[k*n:][:n], g, center)
				want := gradient(s[k*n:][:n], 1/row.inv, func([]float64) float64 { return dot64(all(s, g, beta), d) })
				share[what+" dx"] = max(share[what+" dx"], within(t, what+" dx", dx[k*n:][:n], want, func(i int) float64 {
					return bound(i) + differenceError(2*rows*n, total, 1/row.inv)
				}))
			}
			// Two rows are added to 0, fused for gamma.
			slope := func(i int, row func(k int) float64) (v float64) {
				for k := range rows {
					v += math.Abs(d[k*n+i]) * row(k)
				}
				return v + differenceError(2*rows*n, total, 1)
			}
			share[what+" dgamma"] = max(share[what+" dgamma"], within(t, what+" dgamma", dgamma, gradient(g, 1, func(g []float64) float64 { return dot64(all(s, g, beta), d) }), func(i int) float64 {
				return slope(i, func(k int) float64 { return at[k].slip(i) + 2*unit*math.Abs(at[k].h[i]) })
			}))
			if beta != nil {
				within(t, what+" dbeta", dbeta, gradient(beta, 1, func(b []float64) float64 { return dot64(all(s, g, b), d) }), func(i int) float64 {
					return slope(i, func(int) float64 { return 2 * unit })
				})
			}
		}
		LayerNormGradRows(dx, dgamma, dbeta, dy, sum, gamma, rows, n, mean, inv)
		check("layer norm", true, b)

		RMSNormRows(y, sum, gamma, rows, n, 1e-5, inv)
		clear(dgamma)
		RMSNormGradRows(dx, dgamma, dy, sum, gamma, rows, n, inv)
		check("rms norm", false, nil)
	}
	t.Logf("of the bounds: %v", share)
}
