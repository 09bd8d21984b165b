package recipe

import (
	"math"
	"math/rand/v2"
	"testing"
)

// additive is a problem whose harms add up exactly, so that the least energy can be found by trying every mix.
type additive struct {
	share, ratio []float64
	harm         [][]float64
	budget       float64
	trials       int
}

func newAdditive(r *rand.Rand, units int) *additive {
	a := &additive{ratio: []float64{0.5, 0.3, 0.2}, budget: 0.2 + r.Float64()}
	sum := 0.0
	for range units {
		s := 0.1 + r.Float64()
		h := r.Float64() * r.Float64()
		a.share = append(a.share, s)
		a.harm = append(a.harm, []float64{h / 30, h / 4, h})
		sum += s
	}
	for i := range a.share {
		a.share[i] /= sum
	}
	return a
}

func (a *additive) outcome(m mix) outcome {
	harm, energy := 0.0, 0.0
	for u, s := range m {
		if s == keepFloat {
			energy += a.share[u]
			continue
		}
		harm += a.harm[u][s]
		energy += a.share[u] * a.ratio[s]
	}
	return outcome{accurate: harm <= a.budget, meets: harm <= a.budget, energy: energy}
}

func (a *additive) greedy(limit int) *greedy {
	return &greedy{share: a.share, ratio: a.ratio, can: func(int, int) bool { return true },
		harm: func(_ mix, u, s int) (float64, error) { return a.harm[u][s], nil },
		try:  func(m mix) (outcome, error) { a.trials++; return a.outcome(m), nil },
		left: func() bool { return a.trials < limit }}
}

// least is the least energy over all mixes that are accurate.
func (a *additive) least(m mix, u int) float64 {
	if u == len(m) {
		if o := a.outcome(m); o.accurate {
			return o.energy
		}
		return math.Inf(1)
	}
	best := math.Inf(1)
	for s := keepFloat; s < len(a.ratio); s++ {
		m[u] = s
		best = min(best, a.least(m, u+1))
	}
	return best
}

// Against every mix of seven units and four choices each. Greedy is not exact (this is a knapsack with choices): what it finds is at most
// a tenth of the baseline's energy above the least, and a few hundredths on average.
func TestGreedyAgainstAllMixes(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	const problems = 40
	total := 0.0
	for i := range problems {
		a := newAdditive(r, 7)
		start := mix{2, 2, 2, 2, 2, 2, 2}
		m, o, ok, err := a.greedy(200).search(start, a.outcome(start))
		if err != nil || !ok || !o.accurate || a.outcome(m) != o {
			t.Fatalf("problem %d: %v %v %v %v", i, m, o, ok, err)
		}
		gap := o.energy - a.least(make(mix, 7), 0)
		if gap > 0.1 {
			t.Errorf("problem %d: energy %.3f, %.3f above the least", i, o.energy, gap)
		}
		total += gap
	}
	if total/problems > 0.03 {
		t.Errorf("mean gap %.4f", total/problems)
	}
}

// The search ends when there is no time, and says that nothing is accurate where nothing is.
func TestGreedyLimits(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 2))
	a := newAdditive(r, 7)
	a.budget = 0.1
	start := mix{2, 2, 2, 2, 2, 2, 2}
	if _, _, _, err := a.greedy(3).search(start, a.outcome(start)); err != nil || a.trials > 3 {
		t.Errorf("%d trials, %v", a.trials, err)
	}
	a = newAdditive(r, 7)
	a.budget = -1 // not even float
	if _, _, ok, err := a.greedy(1000).search(start, a.outcome(start)); err != nil || ok {
		t.Errorf("an accurate mix was found where there is none: %v", err)
	}
}

// A unit of which no scheme changes anything counts as float: it is neither taken back nor taken for harmless.
func TestGreedyUselessUnit(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 3))
	a := newAdditive(r, 5)
	a.budget = 0.05
	g := a.greedy(200)
	g.harm = func(_ mix, u, s int) (float64, error) {
		if u == 2 {
			return math.Inf(1), nil
		}
		return a.harm[u][s], nil
	}
	a.harm[2] = []float64{0, 0, 0}
	start := mix{2, 2, 2, 2, 2}
	for _, list := range []func() ([]step, error){func() ([]step, error) { return g.gentler(start) }, func() ([]step, error) { return g.cheaper(start, map[[2]int]bool{}) }} {
		steps, err := list()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range steps {
			if s.unit == 2 || math.IsNaN(s.worth) {
				t.Errorf("step %+v", s)
			}
		}
	}
	if _, o, ok, err := g.search(start, a.outcome(start)); err != nil || !ok || !o.accurate {
		t.Errorf("%+v, %v, %v", o, ok, err)
	}
}

// A unit that a scheme makes dearer goes back to float at the end, though the scheme as a whole is cheaper.
func TestGreedyGivesBackWhatSavesNothing(t *testing.T) {
	for dear := 1; dear < 6; dear++ {
		a := &additive{share: []float64{0.3, 0.3, 0.2, 0.1, 0.05, 0.05}, ratio: []float64{0.5}, budget: 1, harm: make([][]float64, 6)}
		for u := range a.harm {
			a.harm[u] = []float64{0.01}
		}
		a.share[dear], a.share[0] = 0.02, a.share[0]+a.share[dear]-0.02 // little time, and more of it under the scheme
		g := a.greedy(200)
		g.share = a.share
		cost := func(m mix) outcome {
			o := a.outcome(m)
			if m[dear] != keepFloat {
				o.energy += 0.05
			}
			return o
		}
		g.try = func(m mix) (outcome, error) { a.trials++; return cost(m), nil }
		start := mix{0, 0, 0, 0, 0, 0}
		m, o, ok, err := g.search(start, cost(start))
		if err != nil || !ok || m[dear] != keepFloat || o.energy >= cost(start).energy {
			t.Errorf("unit %d: %v, %+v, %v, %v after %d trials", dear, m, o, ok, err, a.trials)
		}
	}
}
