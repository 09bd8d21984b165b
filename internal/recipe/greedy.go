package recipe

import (
	"cmp"
	"math"
	"slices"
)

// mix says which scheme every unit takes: an index into the schemes, or keepFloat.
type mix []int

const keepFloat = -1

// outcome is what a trial of a mix showed.
type outcome struct {
	accurate bool    // the accuracy holds, by its whole interval
	meets    bool    // so does the rest of the budget, as far as a trial can tell
	energy   float64 // per inference against the baseline
}

// greedy looks for the mix with the least energy that is accurate. Units are what is decided on together, such as a weight with its
// readers. Harm is the error that a unit causes when it alone takes a scheme; harms are taken to add up, which is why every
// decision is tried and the ranking is made anew around each mix that was accepted.
type greedy struct {
	share []float64 // of the baseline's time, by unit
	ratio []float64 // energy of the units under a scheme against float, by scheme
	can   func(unit, scheme int) bool
	// harm is the error of the outputs when unit u of the mix takes scheme s, relative to the baseline's outputs.
	harm func(around mix, u, s int) (float64, error)
	try  func(mix) (outcome, error)
	left func() bool // is there time for another trial?
}

// step is a change of one unit.
type step struct {
	unit, scheme int
	worth        float64
}

// search starts from a mix that was tried and returns the last accurate one that it came to. ok is false where none was accurate.
func (g *greedy) search(start mix, first outcome) (best mix, found outcome, ok bool, err error) {
	best, found = start, first
	if !first.accurate {
		if best, found, ok, err = g.backOff(start); err != nil || !ok {
			return best, found, ok, err
		}
	}
	if best, found, err = g.push(best, found); err == nil {
		best, found, err = g.ease(best, found)
	}
	return best, found, true, err
}

// ease gives units back to float that a scheme does not make cheaper, such as products that are too small for it: half of them first,
// those with the least to save before others, then fewer while that costs energy. What is tried last saves energy, or is one unit.
func (g *greedy) ease(m mix, now outcome) (mix, outcome, error) {
	var list []step
	for u, s := range m {
		if s == keepFloat {
			continue
		}
		h, err := g.harm(m, u, s)
		if err != nil {
			return m, now, err
		}
		if !math.IsInf(h, 1) { // else it is float already
			list = append(list, step{u, keepFloat, g.price(u, keepFloat, s)})
		}
	}
	slices.SortStableFunc(list, func(a, b step) int { return cmp.Compare(a.worth, b.worth) })
	for batch := (len(list) + 1) / 2; batch > 0 && len(list) > 1 && g.left(); batch = min(batch, (len(list)+1)/2) {
		next := apply(m, list[:batch])
		o, err := g.try(next)
		if err != nil {
			return m, now, err
		}
		if o.accurate && o.energy < now.energy {
			m, now, list = next, o, list[batch:]
		} else {
			batch /= 2
		}
	}
	return m, now, nil
}

// backOff gives units gentler schemes, the most harmful for what they save first, and finds by bisection how few of them must be.
// What is accurate then stays so with more of them, or the bisection ends at one that is not the fewest.
func (g *greedy) backOff(from mix) (mix, outcome, bool, error) {
	for g.left() {
		steps, err := g.gentler(from)
		if err != nil || len(steps) == 0 {
			return nil, outcome{}, false, err
		}
		var best mix
		var found outcome
		lo, hi := 0, len(steps)+1 // lo steps are too few; hi are enough, or not tried
		for hi-lo > 1 && g.left() {
			k := (lo + hi) / 2
			m := apply(from, steps[:k])
			o, err := g.try(m)
			if err != nil {
				return nil, outcome{}, false, err
			}
			if o.accurate {
				best, found, hi = m, o, k
			} else {
				lo = k
			}
		}
		if best != nil {
			return best, found, true, nil
		}
		from = apply(from, steps)
	}
	return nil, outcome{}, false, nil
}

func apply(m mix, steps []step) mix {
	m = slices.Clone(m)
	for _, s := range steps {
		m[s.unit] = s.scheme
	}
	return m
}

// gentler lists for every unit that is not float the cheapest scheme that does at most a quarter of its harm, the most harm
// taken back per energy first.
func (g *greedy) gentler(m mix) ([]step, error) {
	var steps []step
	for u, s := range m {
		if s == keepFloat {
			continue
		}
		now, err := g.harm(m, u, s)
		if err != nil {
			return nil, err
		}
		if math.IsInf(now, 1) {
			continue // the scheme changes nothing of the unit: it is float already
		}
		best, left := keepFloat, 0.0
		for t := range g.ratio {
			if t == s || !g.can(u, t) || best != keepFloat && g.ratio[t] >= g.ratio[best] || g.ratio[t] >= 1 {
				continue
			}
			h, err := g.harm(m, u, t)
			if err != nil {
				return nil, err
			}
			if h <= now/4 {
				best, left = t, h
			}
		}
		steps = append(steps, step{u, best, (now - left) / g.price(u, best, s)})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(b.worth, a.worth) })
	return steps, nil
}

// price is the energy between two schemes of a unit; never 0, so that units without a share of time are ranked by harm.
func (g *greedy) price(u, dear, cheap int) float64 {
	return max(g.share[u]*(g.cost(dear)-g.cost(cheap)), 1e-6)
}

func (g *greedy) cost(scheme int) float64 {
	if scheme == keepFloat {
		return 1
	}
	return g.ratio[scheme]
}

// push gives units cheaper schemes, the least harm per energy saved first, in batches that double while they hold and halve while
// they do not; a step that does not hold alone is given up.
func (g *greedy) push(m mix, now outcome) (mix, outcome, error) {
	given := map[[2]int]bool{}
	batch := 1
	for g.left() {
		steps, err := g.cheaper(m, given)
		if err != nil || len(steps) == 0 {
			return m, now, err
		}
		batch = min(batch, len(steps))
		next := apply(m, steps[:batch])
		o, err := g.try(next)
		if err != nil {
			return m, now, err
		}
		switch {
		case o.accurate && o.energy < now.energy:
			m, now, batch = next, o, 2*batch
		case batch == 1:
			given[[2]int{steps[0].unit, steps[0].scheme}] = true
		default:
			batch = max(1, batch/2)
		}
	}
	return m, now, nil
}

// cheaper lists for every unit the cheaper scheme that costs the least harm per energy saved, best first.
func (g *greedy) cheaper(m mix, given map[[2]int]bool) ([]step, error) {
	var steps []step
	for u, s := range m {
		best := step{worth: math.Inf(1)}
		var now float64
		if s != keepFloat {
			var err error
			if now, err = g.harm(m, u, s); err != nil {
				return nil, err
			}
			if math.IsInf(now, 1) {
				s, now = keepFloat, 0 // the scheme changes nothing of the unit
			}
		}
		for t := range g.ratio {
			if t == s || g.ratio[t] >= g.cost(s) || !g.can(u, t) || given[[2]int{u, t}] {
				continue
			}
			h, err := g.harm(m, u, t)
			if err != nil {
				return nil, err
			}
			if math.IsInf(h, 1) {
				continue
			}
			if w := max(h-now, 0) / g.price(u, s, t); w < best.worth {
				best = step{u, t, w}
			}
		}
		if !math.IsInf(best.worth, 1) {
			steps = append(steps, best)
		}
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.worth, b.worth) })
	return steps, nil
}
