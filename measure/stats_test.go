package measure

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The expected figures of this file come from SciPy 1.17.1 and statsmodels 0.15.0 (scipy.stats.t.interval,
// ttest_1samp, linregress, skew; contingency_tables.mcnemar; proportion_confint; multipletests) and NumPy 2.4.6
// (percentile). They are printed to full double precision; 1e-9 relative covers the differences between libraries.

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
		t.Errorf("%s = %.15g, want %.15g", what, got, want)
	}
}

var (
	armA = []float64{10.2, 9.8, 10.5, 10.1, 9.9, 10.3, 10.0, 10.4, 9.7, 10.6}
	armB = []float64{9.1, 9.0, 9.6, 9.2, 8.8, 9.5, 9.1, 9.3, 8.9, 9.4}
)

func TestPairedRatioAgainstSciPy(t *testing.T) {
	r, err := PairedRatio(armA, armB, BasisCounter, 1)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "ratio", r.Value, 0.9054555106760214)
	near(t, "SD", r.SD, 0.014985835223646694)
	near(t, "slope p", r.SlopeP, 0.6417305327868057)
	near(t, "lag 1", r.Lag1, -0.4336581843013678)
	near(t, "skewness", skewness(r.LogsPer), -0.2714657894293174)
	if math.Abs(r.P-6.008134727792047e-09) > 1e-15 {
		t.Errorf("p = %v", r.P)
	}
	for i, want := range []float64{0.89580067, 0.91521441, 0.89762388, 0.91335547} { // printed to 8 digits
		if got := []float64{r.CI95.Lo, r.CI95.Hi, r.CI90.Lo, r.CI90.Hi}[i]; math.Abs(got-want) > 5e-9 {
			t.Errorf("bound %d = %.9f, want %.8f", i, got, want)
		}
	}
}

// TestRatioInvariantToGain: a meter that is wrong by a factor gives the same ratio.
func TestRatioInvariantToGain(t *testing.T) {
	r, _ := PairedRatio(armA, armB, BasisCounter, 1)
	for _, gain := range []float64{1e-6, 0.5, 1.3, 1e9} {
		var a, b []float64
		for i := range armA {
			a, b = append(a, armA[i]*gain), append(b, armB[i]*gain)
		}
		g, err := PairedRatio(a, b, BasisCounter, 1)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "ratio", g.Value, r.Value)
		near(t, "upper bound", g.CI95.Hi, r.CI95.Hi)
	}
}

func TestPairedRatioRefuses(t *testing.T) {
	for _, c := range [][2][]float64{{{1}, {1}}, {{1, 2}, {1}}, {{1, 0}, {1, 1}}, {{1, math.NaN()}, {1, 1}}, {{1, math.Inf(1)}, {1, 1}}, {{1, 1}, {1, -1}}} {
		if r, err := PairedRatio(c[0], c[1], BasisWall, 1); err == nil {
			t.Errorf("%v gave %+v", c, r)
		}
	}
	if r, err := PairedRatio([]float64{2, 2, 2}, []float64{1, 1, 1}, BasisWall, 1); err != nil || r.Value != 0.5 || r.HalfWidth() != 0 {
		t.Errorf("without spread: %+v, %v", r, err)
	}
}

func TestQuantiles(t *testing.T) {
	for n, want := range map[int]float64{2: 12.706204736174694, 10: 2.262157162798205, 20: 2.0930240544083087, 30: 2.045229642132703} {
		near(t, "t quantile", TQuantile(n), want)
	}
	x := []float64{10, 1, 3, 2, 4}
	for p, want := range map[float64]float64{0.5: 3, 0.95: 8.8, 0.99: 9.76, 0.1: 1.4, 0: 1, 1: 10} {
		near(t, "percentile", Percentile(x, p), want)
	}
	if !math.IsNaN(Percentile(nil, 0.5)) {
		t.Error("the percentile of nothing is a number")
	}
}

func TestMcNemarWilsonHolm(t *testing.T) {
	for _, c := range []struct {
		b, c       int
		exact, mid float64
	}{{3, 9, 0.14599609375, 0.09228515625}, {0, 5, 0.0625, 0.03125}, {10, 10, 1, 1}, {1, 0, 1, 0.5}, {25, 40, 0.08168153394154003, 0.06401750413722561}, {0, 0, 1, 1}} {
		exact, mid := mcNemar(c.b, c.c)
		near(t, "exact McNemar", exact, c.exact)
		near(t, "mid-p McNemar", mid, c.mid)
	}
	for _, c := range []struct {
		k, n   int
		lo, hi float64
	}{{0, 10, 0, 0.27753279986288926}, {10, 10, 0.7224672001371106, 1}, {45, 50, 0.7863976856252034, 0.9565242350681095},
		{81, 263, 0.2552885198782742, 0.36620957698280004}, {15, 148, 0.06238639953073628, 0.16048724172330803}} {
		w := Wilson(c.k, c.n)
		near(t, "Wilson", w.Lo, c.lo)
		near(t, "Wilson", w.Hi, c.hi)
	}
	for i, got := range Holm([]float64{.01, .04, .03, .005, .2, math.NaN()})[:5] {
		near(t, "Holm", got, []float64{0.04, 0.09, 0.09, 0.025, 0.2}[i])
	}
}

// TestNewcombe compares with the first example of Newcombe, Statistics in Medicine 17 (1998) 2635, table II, method 10:
// pairs 36, 12, 2, 0 give 0.0569 to 0.3404.
func TestNewcombe(t *testing.T) {
	ci := newcombe(36, 2, 12, 0)
	if math.Abs(ci.Lo-0.0569) > 5e-5 || math.Abs(ci.Hi-0.3404) > 5e-5 {
		t.Errorf("%+v", ci)
	}
}

func TestAccuracyDelta(t *testing.T) {
	var a, b []bool
	add := func(n int, x, y bool) {
		for range n {
			a, b = append(a, x), append(b, y)
		}
	}
	add(80, true, true)
	add(9, true, false)
	add(3, false, true)
	add(8, false, false)
	d, err := AccuracyDelta(a, b)
	if err != nil || d.Lost != 9 || d.Won != 3 || math.Abs(d.Value+0.06) > 1e-15 || !d.CI95.Contains(-0.06) || d.CI95.Hi-d.CI95.Lo > 0.2 {
		t.Errorf("%+v, %v", d, err)
	}
	near(t, "p", d.P, 0.14599609375)
	if _, err := AccuracyDelta(a, b[1:]); err == nil {
		t.Error("unpaired outcomes were accepted")
	}
}

func TestMeanDelta(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	var a, b []float64
	for range 400 {
		x := rng.NormFloat64()
		a, b = append(a, x), append(b, x-0.1+0.05*rng.NormFloat64())
	}
	d, err := MeanDelta(a, b, 1)
	// standard error 0.05/20 = 0.0025; the mean is within 5 of them, the interval 2·1.96 of them wide to 10 %
	if err != nil || math.Abs(d.Value+0.1) > 0.0125 || math.Abs((d.CI95.Hi-d.CI95.Lo)/(2*1.96*0.0025)-1) > 0.1 || d.P > 0.001 {
		t.Errorf("%+v, %v", d, err)
	}
	if same, err := MeanDelta(a, a, 1); err != nil || same.P != 1 || same.Value != 0 {
		t.Errorf("%+v, %v", same, err)
	}
}

func TestVerdicts(t *testing.T) {
	r := Ratio{Value: 0.5, CI90: Interval{0.48, 0.52}, CI95: Interval{0.47, 0.53}, Early: Interval{0.4, 0.62}, N: 30, Needed: 30}
	for limit, want := range map[float64]Verdict{0.6: Pass, 0.52: Pass, 0.5: Inconclusive, 0.47: Fail} {
		if got := r.AtMost(limit); got != want {
			t.Errorf("ratio 0.48-0.52 at most %v: %v", limit, got)
		}
	}
	if r.Equivalent(0.05) != Fail || (Ratio{N: 30, CI90: Interval{0.97, 1.02}}).Equivalent(0.05) != Pass || (Ratio{N: 30, CI90: Interval{0.97, 1.06}}).Equivalent(0.05) != Inconclusive {
		t.Error("equivalence")
	}
	// 29 pairs and fewer look at Early.
	r.N, r.Needed = 10, 10
	if r.AtMost(0.6) != Inconclusive || r.AtMost(0.63) != Pass || r.AtMost(0.39) != Fail || !r.Different() {
		t.Errorf("10 pairs: %v, %v", r.AtMost(0.6), r.AtMost(0.63))
	}
	if r.PairsToDecide(0.6) != 20 || r.PairsToDecide(0.63) != 0 {
		t.Errorf("%d and %d more pairs decide", r.PairsToDecide(0.6), r.PairsToDecide(0.63))
	}
	r.Needed = 30
	if r.MorePairs(0.5) != 20 {
		t.Errorf("10 pairs of 30: %d more", r.MorePairs(0.5))
	}
	// 30 pairs of half-width h = ln(0.52/0.48)/2 = 0.04 around 0.5: the limit 0.51 is ln(1.02) = 0.0198 away, 4.08 times as many.
	r.N = 30
	if m := r.PairsToDecide(0.51); m < 90 || m > 94 {
		t.Errorf("%d more pairs decide at most 0.51", m)
	}
	if m := r.PairsToDecide(0.5); m != 1e6 {
		t.Errorf("a limit at the value itself: %d more pairs", m)
	}
	// half-width 0.06 at 10 pairs: 0.02 needs 9 times as many
	w := Ratio{CI95: Interval{math.Exp(-0.06), math.Exp(0.06)}, N: 10, Needed: 10}
	if m := w.MorePairs(0.02); m < 80 || m > 81 {
		t.Errorf("%d more pairs", m)
	}
}

func TestBreakEven(t *testing.T) {
	// Without uncertainty: 100 J / 2 J.
	r, err := BreakEven(Estimate{100, 0}, Estimate{2, 0}, 0, 1.96)
	if err != nil || r.None || r.Value != 50 || r.CI95.Lo != 50 || r.CI95.Hi != 50 {
		t.Errorf("%+v, %v", r, err)
	}
	// A sure cost: the Fieller limits are those of the saving, turned over: 100/(2 ± 1.96·0.2).
	r, err = BreakEven(Estimate{100, 0}, Estimate{2, 0.04}, 0, 1.96)
	if err != nil || math.Abs(r.CI95.Lo-100/2.392) > 1e-9 || math.Abs(r.CI95.Hi-100/1.608) > 1e-9 {
		t.Errorf("%+v, %v", r, err)
	}
	for _, s := range []Estimate{{-1, 0}, {0, 0}, {1, 0.3}} {
		if r, err := BreakEven(Estimate{100, 1}, s, 0, 1.96); err != nil || !r.None || r.Reason == "" {
			t.Errorf("saving %+v: %+v, %v", s, r, err)
		}
	}
	for _, bad := range [][2]Estimate{{{1, -1}, {1, 1}}, {{1, 1}, {1, math.NaN()}}, {{-1, 0}, {1, 0}}} {
		if r, err := BreakEven(bad[0], bad[1], 0, 1.96); err == nil {
			t.Errorf("%+v gave %+v", bad, r)
		}
	}
}

// TestBreakEvenCovers simulates costs and savings: the interval covers the true ratio about 95 % of the time.
func TestBreakEvenCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 10))
	covered, n := 0, 4000
	for range n {
		c := Estimate{1000 + 50*rng.NormFloat64(), 2500}
		s := Estimate{2 + 0.3*rng.NormFloat64(), 0.09}
		r, err := BreakEven(c, s, 0, 1.959964)
		if err != nil {
			t.Fatal(err)
		}
		if r.None || r.CI95.Contains(500) { // an unbounded set covers
			covered++
		}
	}
	// exact binomial 99.9 % band of 95 % at 4,000 is 93.8 to 96.1 %
	if p := float64(covered) / float64(n); p < 0.938 || p > 0.961 {
		t.Errorf("coverage %.3f", p)
	}
}

func TestEnergyPerCorrect(t *testing.T) {
	joules := []Joules{1.0, 1.1, 0.9, 1.05, 0.95, 1.0}
	right := make([]bool, 200)
	for i := range 160 {
		right[i] = true
	}
	p, err := EnergyPerCorrect(joules, right, 1)
	if err != nil || math.Abs(float64(p.Joules)-1.25) > 1e-12 || !p.CI95.Contains(1.25) || p.CI95.Hi-p.CI95.Lo > 0.3 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := EnergyPerCorrect(joules, make([]bool, 5), 1); err != ErrNoneCorrect {
		t.Errorf("none correct: %v", err)
	}
	r, _ := PairedRatio(armA, armB, BasisCounter, 1)
	worse := append([]bool(nil), right...)
	for i := range 16 {
		worse[i] = false
	}
	pc, err := PerCorrectRatio(r, right, worse, 1)
	if err != nil || math.Abs(pc.Value-r.Value*160/144) > 1e-12 || !pc.CI95.Contains(pc.Value) || pc.HalfWidth() < r.HalfWidth() {
		t.Errorf("%+v, %v", pc, err)
	}
}
