package measure

import "math/rand/v2"

// quad is the four blocks of one variant in one round: ABBA, or BAAB when Flip is set. Two pairs: positions 0, 1
// and 2, 3. A linear drift cancels in their sum.
type quad struct {
	variant int
	flip    bool
	pause   [4]float64 // share of a counter period to wait before each block
}

// baselineAt reports whether the block at position 0..3 is the baseline's.
func (q quad) baselineAt(pos int) bool { return (pos == 0 || pos == 3) != q.flip }

// order returns the quads of one round: every variant once, in random order, each by a coin ABBA or BAAB. It
// is a pure function of its arguments, so a resumed run goes on in the same order.
func order(seed uint64, round, variants int) []quad {
	rng := rand.New(rand.NewPCG(seed, 0x6f72646572000000+uint64(round)))
	qs := make([]quad, variants)
	for i, v := range rng.Perm(variants) {
		qs[i] = quad{variant: v, flip: rng.IntN(2) == 1}
		for k := range qs[i].pause {
			qs[i].pause[k] = rng.Float64()
		}
	}
	return qs
}
