package measure

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// TestDistributions: the same figures as gonum's distributions, whose package is too large to link for them.
func TestDistributions(t *testing.T) {
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12*max(1, math.Abs(want)) { // both are a few operations on the same special function
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	for _, nu := range []float64{1, 2, 3, 4.5, 9, 19, 30, 1000} {
		x := distuv.StudentsT{Sigma: 1, Nu: nu}
		for _, p := range []float64{0.001, 0.025, 0.05, 0.3, 0.5, 0.7, 0.95, 0.975, 0.999} {
			near("t quantile", tQuantile(p, nu), x.Quantile(p))
		}
		for _, v := range []float64{0, 0.1, -1.5, 2.2, 40} {
			near("t two-sided", tTwoSided(v, nu), 2*x.CDF(-math.Abs(v)))
		}
	}
	for _, p := range []float64{1e-9, 0.025, 0.5, 0.975} {
		near("normal quantile", zQuantile(p), distuv.UnitNormal.Quantile(p))
	}
	for _, n := range []int{1, 2, 7, 100, 1120} {
		for _, p := range []float64{0.1, 0.5, 0.97} {
			for k := -1; k <= n; k += 1 + n/9 {
				near("binomial", binomialCDF(k, n, p), distuv.Binomial{N: float64(n), P: p}.CDF(float64(k)))
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 37)
	for i := range x {
		x[i] = 1e6 + rng.NormFloat64()
	}
	m, sd := meanSD(x)
	wantM, wantSD := stat.MeanStdDev(x, nil)
	near("mean", m, wantM)
	near("standard deviation", sd, wantSD)
}
