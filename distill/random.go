package distill

import "math/rand/v2"

// random is a seeded source of numbers whose sequence depends on the seed and the stream alone.
type random struct{ *rand.PCG }

// Streams of random numbers, so that no use shifts another.
const (
	streamInit  = 1
	streamOrder = 1 << 32 // + the epoch
	streamDrop  = 2 << 32 // + the step
)

func newRandom(seed, stream uint64) random { return random{rand.NewPCG(seed, stream)} }

// intn returns an integer in [0, n).
func (r random) intn(n int) int { return int(r.Uint64() % uint64(n)) }

// uniform fills x with numbers in [-a, a).
func (r random) uniform(x []float32, a float32) {
	for i := range x {
		u := float32(r.Uint64()>>40) / (1 << 23) // 24 bits: [0, 2)
		x[i] = a * (u - 1)
	}
}

// permutation returns the integers below n in random order (Fisher and Yates).
func (r random) permutation(n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	for i := n - 1; i > 0; i-- {
		j := r.intn(i + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}
