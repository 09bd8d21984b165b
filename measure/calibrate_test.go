package measure

import (
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
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

// decide applies the rule that the pairs themselves set: 10 pairs, and 30 where they are correlated or have outliers.
func (s scenario) decide(t *testing.T, rng *rand.Rand, seed uint64, precision float64) Ratio {
	d := s.simulate(rng, seed, 60)
	for n := 10; ; n += 2 {
		r, err := ratioOfLogs(d[:n], BasisCounter, seed)
		if err != nil {
			t.Fatal(err)
		}
		if n == len(d) || n >= r.Needed && (precision == 0 || r.HalfWidth() <= precision) {
			return r
		}
	}
}

// calibrations are the scenarios of an A/A experiment and the band that the share of false differences must lie in. 3.8
// to 6.3 % is the exact binomial 99 % band of 5 % at 2,000 experiments. Correlated and spiky noise may only be too
// cautious, or exceed 5 % by half.
var calibrations = []struct {
	scenario
	lo, hi float64
}{
	{scenario{name: "independent noise", sd: 0.03}, 0.038, 0.063},
	{scenario{name: "linear drift of 5 % per run", sd: 0.03, drift: 0.05}, 0.038, 0.063},
	{scenario{name: "blocks correlated by 0.3", sd: 0.03, rho: 0.3}, 0, 0.075},
	{scenario{name: "2 % of blocks 1.5 times too dear", sd: 0.03, spike: 0.02}, 0, 0.075},
}

// TestCalibrationAA runs the same artefact as both arms, many times, and counts how often the interval excludes 1. Plain
// `go test` runs 200 experiments of each scenario with a wider band; WATTSHED_CALIBRATE=2000 (make calibrate) runs the
// full number, with the stopping rule at 2 % too, which takes about a minute.
func TestCalibrationAA(t *testing.T) {
	n, full := 200, false
	if v := os.Getenv("WATTSHED_CALIBRATE"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 100 {
			t.Fatalf("WATTSHED_CALIBRATE=%q, want at least 100", v)
		}
		full = true
	}
	precisions := []float64{0}
	if full {
		precisions = []float64{0, 0.02}
	}
	for _, c := range calibrations {
		for _, precision := range precisions {
			rng := rand.New(rand.NewPCG(20, 26))
			wrong, pairs, asked := 0, 0, 0
			for i := range n {
				r := c.decide(t, rng, uint64(i), precision)
				if !r.CI95.Contains(1) {
					wrong++
				}
				if r.Needed > 10 {
					asked++
				}
				if r.N < r.Needed && r.N < 60 {
					t.Fatalf("%s: decided on %d pairs of %d", c.name, r.N, r.Needed)
				}
				pairs += r.N
			}
			lo, hi := c.lo, c.hi
			if !full { // 200 experiments: the exact binomial 99.9 % band of 5 % is 1 to 11 %
				lo, hi = min(lo, 0.01), 0.11
			}
			share := float64(wrong) / float64(n)
			t.Logf("%-34s precision %.2f: %.2f %% false differences, %.1f pairs, 30 pairs asked for in %.0f %%", c.name,
				precision, 100*share, float64(pairs)/float64(n), 100*float64(asked)/float64(n))
			if share < lo || share > hi {
				t.Errorf("%s, precision %v: %.2f %% false differences, want %.1f to %.1f %%", c.name, precision, 100*share, 100*lo, 100*hi)
			}
		}
	}
}

// TestPower counts how often a true saving of 5 % is found with 10 pairs.
func TestPower(t *testing.T) {
	for _, sd := range []float64{0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10} {
		s := scenario{sd: sd, effect: math.Log(0.95)}
		rng := rand.New(rand.NewPCG(5, 5))
		var found [3]int
		const n = 300
		for i := range n {
			d := s.simulate(rng, uint64(i), 60)
			for k, pairs := range []int{10, 18} {
				r, err := ratioOfLogs(d[:pairs], BasisCounter, 1)
				if err != nil {
					t.Fatal(err)
				}
				if r.CI95.Hi < 1 {
					found[k]++
				}
			}
		}
		t.Logf("SD %2.0f %%: found with 10 pairs %.0f %%, with 18 pairs %.0f %%", 100*sd, 100*float64(found[0])/n, 100*float64(found[1])/n)
		// At SD 3 % theory gives 99.8 %; 90 % is asked for.
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
