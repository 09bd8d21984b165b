package measure

import (
	"math/rand/v2"
	"slices"
	"sort"
)

// ArmIntervals are the 95 % intervals of what one arm says without its partner: latencies in seconds, throughput in inferences per
// second. They come from a bootstrap over its blocks, since calls within a block are alike.
type ArmIntervals struct {
	P50, P95, P99, Mean, Throughput Interval
	Blocks                          int
}

// Bounds of the block bootstrap.
const (
	minBlocks  = 6           // fewer blocks have no interval
	armDraws   = 1000        // draws,
	armWork    = 100_000_000 // and fewer, where samples times draws would be more
	leastDraws = 200
)

// blockIntervals draws whole blocks with replacement; nil below six of them. seed fixes the draws.
func blockIntervals(blocks []Block, seed uint64) *ArmIntervals {
	type sample struct {
		v     float64
		block int
	}
	var all []sample
	sums := make([]float64, len(blocks))
	for k, b := range blocks {
		for _, d := range b.Samples {
			all = append(all, sample{d.Seconds(), k})
			sums[k] += d.Seconds()
		}
	}
	if len(blocks) < minBlocks || len(all) == 0 {
		return nil
	}
	sort.Slice(all, func(i, j int) bool { return all[i].v < all[j].v })
	rng := rand.New(rand.NewPCG(seed, 0x61726d)) // stream "arm"
	draws := min(armDraws, max(leastDraws, armWork/len(all)))
	var out [5][]float64 // p50, p95, p99, mean, throughput
	weight := make([]int, len(blocks))
	for range draws {
		clear(weight)
		n, sum, wall, inferences := 0, 0.0, 0.0, 0
		for range blocks {
			k := rng.IntN(len(blocks))
			weight[k]++
			n += len(blocks[k].Samples)
			sum += sums[k]
			wall += blocks[k].Wall.Seconds()
			inferences += blocks[k].Inferences
		}
		if n == 0 || wall <= 0 {
			continue
		}
		seen, q := 0, 0
		for _, s := range all {
			seen += weight[s.block]
			for q < 3 && float64(seen) > float64(n-1)*[3]float64{0.50, 0.95, 0.99}[q] {
				out[q] = append(out[q], s.v)
				q++
			}
			if q == 3 {
				break
			}
		}
		out[3] = append(out[3], sum/float64(n))
		out[4] = append(out[4], float64(inferences)/wall)
	}
	ends := func(x []float64) Interval {
		slices.Sort(x)
		return Interval{quantileSorted(x, 0.025), quantileSorted(x, 0.975)}
	}
	if len(out[4]) == 0 {
		return nil
	}
	return &ArmIntervals{P50: ends(out[0]), P95: ends(out[1]), P99: ends(out[2]), Mean: ends(out[3]), Throughput: ends(out[4]), Blocks: len(blocks)}
}
