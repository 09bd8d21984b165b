package measure

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// scenario describes the noise of the blocks of a simulated A/A experiment on the log scale.
type scenario struct {
	name    string
	sd      float64 // of one paired log ratio without drift
	rho     float64 // lag-1 autocorrelation of successive blocks
	rhoPair float64 // lag-1 autocorrelation of successive paired log ratios
	drift   float64 // linear, over the first 10 pairs
	spike   float64 // share of blocks that are 1.5 times too dear
	effect  float64 // true ln(B/A)
}

// simulate returns the paired log ratios of n pairs in the block order that Compare runs.
func (s scenario) simulate(rng *rand.Rand, seed uint64, n int) []float64 {
	sd := s.sd / math.Sqrt2
	if s.rho != 0 {
		sd /= math.Sqrt(1 - s.rho) // the difference of neighbours has variance 2σ²(1-ρ)
	}
	state := rng.NormFloat64()
	pairState := rng.NormFloat64()
	var d []float64
	for block, round := 0, 0; len(d) < n; round++ {
		q := order(seed, round, 1)[0]
		var x [4]float64
		for pos := range x {
			if block > 0 {
				state = s.rho*state + math.Sqrt(1-s.rho*s.rho)*rng.NormFloat64()
			}
			x[pos] = sd*state + s.drift*float64(block)/20
			if rng.Float64() < s.spike {
				x[pos] += math.Log(1.5)
			}
			if !q.baselineAt(pos) {
				x[pos] += s.effect
			}
			block++
		}
		for _, k := range []int{0, 2} {
			v := x[k+1] - x[k]
			if !q.baselineAt(k) {
				v = -v
			}
			if s.rhoPair != 0 {
				pairState = s.rhoPair*pairState + math.Sqrt(1-s.rhoPair*s.rhoPair)*rng.NormFloat64()
				v = s.sd * pairState
			}
			d = append(d, v)
		}
	}
	return d[:n]
}

// decide applies the rule that the pairs themselves set: 30 pairs, 10 where those are unmistakable, then until the
// half-width is at most precision (0: not asked for). asked tells whether the first look wanted 30 pairs, capped what it is at 10.
func (s scenario) decide(t *testing.T, rng *rand.Rand, seed uint64, precision float64) (r, capped Ratio, asked bool) {
	d := s.simulate(rng, seed, 60)
	for n := 10; ; n += 2 {
		if asked && n < 30 {
			continue
		}
		r, err := ratioOfLogs(d[:n], BasisCounter, seed)
		if err != nil {
			t.Fatal(err)
		}
		if n == 10 {
			capped, asked = r, r.Needed > 10
		}
		if n == len(d) || n >= r.Needed && (precision == 0 || r.HalfWidth() <= precision) {
			return r, capped, asked
		}
	}
}

// The settings of the rule were chosen on the streams (20, 26), (20, 27) and (5, 5) of the generator and on seeds below 1,000,000 of the
// order and the bootstrap; these judge it.
const (
	judgeSeed, judgeCalibration, judgePower, judgeAsked = 2027, 41, 43, 44
	judgeFrom                                           = 1_000_000
)

// calibration is a scenario and the band of its false differences.
type calibration struct {
	scenario
	lo, hi float64
}

// calibrations are the scenarios of an A/A experiment and the band that the share of false differences must lie in. 3.8
// to 6.3 % is the exact binomial 99 % band of 5 % at 2,000 experiments. Correlated and spiky noise may only be too
// cautious, or exceed 5 % by half. In all of them 30 pairs are asked for first.
var calibrations = []calibration{
	{scenario{name: "independent noise", sd: 0.03}, 0.038, 0.063},
	{scenario{name: "linear drift of 5 % per run", sd: 0.03, drift: 0.05}, 0.038, 0.063},
	{scenario{name: "blocks correlated by 0.3", sd: 0.03, rho: 0.3}, 0, 0.075},
	{scenario{name: "paired log ratios correlated by 0.3", sd: 0.03, rhoPair: 0.3}, 0, 0.075},
	{scenario{name: "2 % of blocks 1.5 times too dear", sd: 0.03, spike: 0.02}, 0, 0.075},
}

// experiments is how many A/A experiments of each scenario are run: WATTSHED_CALIBRATE, or a few.
func experiments(t *testing.T) (n int, full bool) {
	v := os.Getenv("WATTSHED_CALIBRATE")
	if v == "" {
		return 150, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 100 {
		t.Fatalf("WATTSHED_CALIBRATE=%q, want at least 100", v)
	}
	return n, true
}

// TestCalibrationAA runs the same artefact as both arms, many times, and counts how often a difference is claimed. Plain
// `go test` runs 150 experiments of each scenario with a wider band; WATTSHED_CALIBRATE=2000 (make calibrate) runs the
// full number, with the stopping rule at 2 % too, which takes a minute or two.
func TestCalibrationAA(t *testing.T) {
	n, full := experiments(t)
	precisions := []float64{0}
	if full {
		precisions = []float64{0, 0.02}
	}
	for _, c := range calibrations {
		t.Run(c.name, func(t *testing.T) {
			for _, precision := range precisions {
				c.judge(t, n, full, precision)
			}
		})
	}
}

// judge runs n A/A experiments of a scenario and checks what they claim and ask for.
func (c calibration) judge(t *testing.T, n int, full bool, precision float64) {
	rng := rand.New(rand.NewPCG(judgeSeed, judgeCalibration))
	wrong, pairs, asked, early := 0, 0, 0, 0
	for i := range n {
		r, capped, more := c.decide(t, rng, judgeFrom+uint64(i), precision)
		if r.Different() {
			wrong++
		}
		if capped.Different() {
			early++
		}
		if more {
			asked++
		}
		if r.N < r.Needed && r.N < 60 {
			t.Fatalf("%s: decided on %d pairs of %d", c.name, r.N, r.Needed)
		}
		pairs += r.N
	}
	lo, hi := c.lo, c.hi
	if !full { // 150 experiments: the exact binomial 99.9 % band of 5 % is 0.7 to 12 %
		lo, hi = min(lo, 0.006), 0.12
	}
	share := float64(wrong) / float64(n)
	t.Logf("%-36s precision %.2f: %.2f %% false differences, %.1f pairs, 30 pairs asked for in %.2f %%; where a cap ends it at 10: %.2f %%", c.name,
		precision, 100*share, float64(pairs)/float64(n), 100*float64(asked)/float64(n), 100*float64(early)/float64(n))
	if share < lo || share > hi {
		t.Errorf("%s, precision %v: %.2f %% false differences, want %.1f to %.1f %%", c.name, precision, 100*share, 100*lo, 100*hi)
	}
	if float64(early) > hi*float64(n) {
		t.Errorf("%s: %d of %d false differences at a cap of 10 pairs", c.name, early, n)
	}
	if asked != n {
		t.Errorf("%s: 30 pairs were asked for in %d of %d", c.name, asked, n)
	}
}

// TestAsksForThirty draws many more first looks of 10 pairs than a calibration has, at other scatters too: no run of the same artefact is
// let off with them. Of pairs correlated by 0.3 the bound for any scatter is a chance of 3 in 100,000, which is that of the t statistic alone; with
// the least width of ±10 % it is smaller the smaller the scatter is.
func TestAsksForThirty(t *testing.T) {
	n, full := experiments(t)
	if n *= 5; full {
		n *= 4
	}
	for _, c := range calibrations {
		rng := rand.New(rand.NewPCG(judgeSeed, judgeAsked))
		let := map[float64]int{}
		for _, sd := range []float64{0.01, 0.03, 0.1, 0.3} {
			c.sd = sd
			for i := range n {
				r, err := ratioOfLogs(c.simulate(rng, judgeFrom+uint64(i), 10), BasisCounter, 1)
				if err != nil {
					t.Fatal(err)
				}
				if r.Needed < 30 {
					let[sd]++
				}
			}
		}
		t.Logf("%-36s %d first looks at each scatter, let off with 10 pairs: %d, %d, %d and %d at 1, 3, 10 and 30 %%", c.name, n, let[0.01], let[0.03], let[0.1], let[0.3])
		// More than 6 of 40,000 at 3 in 100,000 have a chance of 1 in 4,000.
		if let[0.01]+let[0.03] > 0 || let[0.1] > 2+n/10_000 || let[0.3] > 2+n/10_000 {
			t.Errorf("%s: let off with 10 pairs: %v", c.name, let)
		}
	}
}

// TestIntervalChoice compares the bootstrap intervals that could be used from 20 pairs on, on the stream that the choice was made on; it
// judges only the one that is.
func TestIntervalChoice(t *testing.T) {
	n, full := experiments(t)
	if !full {
		t.Skip("compares intervals by simulation for a minute: set WATTSHED_CALIBRATE (make calibrate)")
	}
	for _, c := range calibrations {
		for _, pairs := range []int{20, 30} {
			rng := rand.New(rand.NewPCG(20, 27))
			wrong := map[string]int{}
			for i := range n {
				d := c.simulate(rng, uint64(i), pairs)
				mean, sd := meanSD(d)
				for name, ci := range bootstraps(d, mean, sd, uint64(i)) {
					if !ci.Contains(0) {
						wrong[name]++
					}
				}
			}
			s := ""
			for _, name := range []string{"percentile", "bca", "equal_tailed_t", "symmetric_t", "t"} {
				s += fmt.Sprintf("  %s %.2f %%", name, 100*float64(wrong[name])/float64(n))
			}
			t.Logf("%-36s %d pairs:%s", c.name, pairs, s)
			if c.lo > 0 && (float64(wrong["symmetric_t"]) < c.lo*float64(n) || float64(wrong["symmetric_t"]) > c.hi*float64(n)) {
				t.Errorf("%s, %d pairs: the symmetric studentised bootstrap is wrong in %d of %d", c.name, pairs, wrong["symmetric_t"], n)
			}
		}
	}
}

// bootstraps returns the candidates' 95 % intervals of the mean of d: percentile, BCa (Efron 1987), studentised by equal
// tails and by its absolute value, and Student's t.
func bootstraps(d []float64, mean, sd float64, seed uint64) map[string]Interval {
	const draws = 2000
	n := float64(len(d))
	rng := rand.New(rand.NewPCG(seed, 3))
	var means, ts []float64
	below := 0
	for range draws {
		x := make([]float64, len(d))
		for i := range x {
			x[i] = d[rng.IntN(len(d))]
		}
		m, s := meanSD(x)
		means = append(means, m)
		if m < mean {
			below++
		}
		if s > 0 {
			ts = append(ts, (m-mean)/s*math.Sqrt(n))
		}
	}
	slices.Sort(means)
	slices.Sort(ts)
	z0 := zQuantile(max(float64(below), 0.5) / draws)
	var s2, s3 float64 // the jackknife's acceleration of a mean
	for _, v := range d {
		u := v - mean
		s2 += u * u
		s3 += u * u * u
	}
	a := s3 / (6 * math.Pow(s2, 1.5))
	at := func(p float64) float64 {
		z := z0 + (z0+zQuantile(p))/(1-a*(z0+zQuantile(p)))
		return quantileSorted(means, distuv.UnitNormal.CDF(z))
	}
	se := sd / math.Sqrt(n)
	lo, hi, _, _, _ := bootstrapT(d, mean, sd, seed)
	tlo, thi, _, _, _ := tInterval(mean, se, n-1)
	return map[string]Interval{"percentile": {quantileSorted(means, 0.025), quantileSorted(means, 0.975)}, "bca": {at(0.025), at(0.975)},
		"equal_tailed_t": {mean - quantileSorted(ts, 0.975)*se, mean - quantileSorted(ts, 0.025)*se}, "symmetric_t": {lo, hi}, "t": {tlo, thi}}
}

// TestPower counts how often a true saving of 5 % is found with 10 and with 30 pairs.
func TestPower(t *testing.T) {
	n, full := experiments(t)
	sizes := []int{10}
	if n = max(n/2, 300); full {
		sizes = []int{10, 30, 60}
	}
	for _, sd := range []float64{0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10} {
		s := scenario{sd: sd, effect: math.Log(0.95)}
		rng := rand.New(rand.NewPCG(judgeSeed, judgePower))
		var found [3]int
		for i := range n {
			d := s.simulate(rng, judgeFrom+uint64(i), 60)
			for k, pairs := range sizes {
				r, err := ratioOfLogs(d[:pairs], BasisCounter, 1)
				if err != nil {
					t.Fatal(err)
				}
				if r.Different() && r.Value < 1 {
					found[k]++
				}
			}
		}
		pc := func(k int) float64 { return 100 * float64(found[k]) / float64(n) }
		t.Logf("SD %2.0f %%: found with 10 pairs %.0f %%, with 30 %.0f %%, with 60 %.0f %%", 100*sd, pc(0), pc(1), pc(2))
		// At SD 3 % and 10 pairs the non-central t distribution says 95 %; 90 % is asked for.
		if sd <= 0.03 && found[0] < n*9/10 {
			t.Errorf("SD %v: a 5 %% saving was found in %d of %d", sd, found[0], n)
		}
	}
}

// TestGroupedBlocksDrift shows what the interleaving is for: with all blocks of A before all of B a drift of 5 % is
// read as a difference.
func TestGroupedBlocksDrift(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	wrong := 0
	for range 100 {
		var d []float64
		for i := range 10 {
			a := 0.03/math.Sqrt2*rng.NormFloat64() + 0.05*float64(i)/20
			b := 0.03/math.Sqrt2*rng.NormFloat64() + 0.05*float64(10+i)/20
			d = append(d, b-a)
		}
		if r, err := ratioOfLogs(d, BasisCounter, 1); err != nil || !r.CI95.Contains(1) {
			wrong++
		}
	}
	if wrong < 50 { // the shift is 2.5 %, 2.6 standard errors: found in about two thirds
		t.Errorf("grouped blocks: drift read as a difference in only %d of 100", wrong)
	}
}
