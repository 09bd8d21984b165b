package kernel

import (
	"math/rand/v2"
	"testing"
)

// randomTaps draws weights of 32 channels, of one of the kinds that split has ways for.
func randomTaps(rng *rand.Rand) [][32]int8 {
	w := make([][32]int8, []int{1, 2, 9, 25, 49, maxWideTaps, 1 + rng.IntN(maxWideTaps)}[rng.IntN(7)])
	limit := []int{1, 8, 20, 64, 128}[rng.IntN(5)]
	for t := range w {
		most := limit
		if rng.IntN(4) == 0 {
			most = 128
		}
		for ch := range w[t] {
			w[t][ch] = int8(rng.IntN(2*most) - most)
			switch rng.IntN(40) {
			case 0:
				w[t][ch] = 127
			case 1:
				w[t][ch] = -128
			}
		}
	}
	return w
}

// TestSplit: the two sums of a split make up the weights, their products fit 16 bits, and every way of splitting is met. Weights that fit one way or
// another are split.
func TestSplit(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 0))
	var factors [64]int
	for i := range cases(4000) {
		w := randomTaps(rng)
		pairs, factor := split(w)
		factors[factor]++
		most := 0
		for ch := range 32 {
			sum := 0
			for tap := range w {
				sum += max(int(w[tap][ch]), -int(w[tap][ch]))
			}
			most = max(most, sum)
		}
		if factor == 0 {
			if len(w) <= 25 || most <= mostSummed {
				t.Fatalf("case %d: %d taps with absolute values of up to %d are not split", i, len(w), most)
			}
			continue
		}
		for ch := range 32 {
			var sums [2]int
			made := make([]int, len(w))
			for k := range pairs {
				p := &pairs[k]
				if k > 0 && p.sums() > pairs[k-1].sums() {
					t.Fatalf("case %d: a pair of both sums comes behind one of A", i)
				}
				for s := range sums {
					var signs [2]int
					for j, v := range p.w[s][ch] {
						made[p.taps[j]] += int(v) * []int{1, factor}[s]
						sums[s] += max(int(v), -int(v))
						signs[0], signs[1] = signs[0]+max(int(v), 0), signs[1]-min(int(v), 0)
					}
					if max(signs[0], signs[1]) > 128 {
						t.Fatalf("case %d: weights of one sign in a pair add up to %v", i, signs)
					}
				}
			}
			if max(sums[0], sums[1]) > mostSummed {
				t.Fatalf("case %d: absolute values add up to %v", i, sums)
			}
			for tap, v := range made {
				if v != int(w[tap][ch]) {
					t.Fatalf("case %d, factor %d: tap %d of channel %d has %d, want %d", i, factor, tap, ch, v, w[tap][ch])
				}
			}
		}
	}
	for _, f := range []int{0, 1, 4, 8} {
		if factors[f] == 0 {
			t.Errorf("no split of factor %d: %v", f, factors)
		}
	}
}

// TestDepthwiseExtremes: the largest and the smallest sums that depthwise weights can make come out right.
func TestDepthwiseExtremes(t *testing.T) {
	for _, isa := range testLevels() {
		t.Run(isa.String(), func(t *testing.T) {
			defer Limit(isa)()
			rng := rand.New(rand.NewPCG(29, uint64(isa)))
			for i := range cases(600) {
				w := randomTaps(rng)
				ch := []int{4, 16, 32, 40, 96}[rng.IntN(5)]
				cfg := ConvU8Config{Cin: ch, Cout: ch, Groups: ch, KH: 1, KW: len(w), Scale: []float32{[]float32{1, 1e-2, 1e-4}[rng.IntN(3)]},
					ZeroX: uint8(rng.IntN(256)), ZeroY: uint8(rng.IntN(256)), Hi: 255}
				for c := range ch {
					for tap := range w {
						cfg.W = append(cfg.W, w[tap][c%32])
					}
				}
				// Every window of the input has its own bytes: the largest where weights are positive, or where they are negative.
				n := 1 + rng.IntN(6)
				g := &Window{H: 1, W: n * len(w), KH: 1, KW: len(w), SH: 1, SW: len(w), DH: 1, DW: 1, OH: 1, OW: n}
				x := make([]uint8, g.W*ch)
				for p := range g.W {
					for c := range ch {
						if (w[p%len(w)][c%32] > 0) == (p/len(w)%2 == 0) {
							x[p*ch+c] = 255
						}
					}
				}
				y := make([]uint8, n*ch)
				NewConvU8(cfg).Run(nil, 1, g, x, y)
				for at, v := range y {
					if want := elementByDefinition(&cfg, g, x, at); v != want {
						t.Fatalf("case %d, %s: element %d is %d, want %d", i, describe(&cfg, g, 1), at, v, want)
					}
				}
			}
		})
	}
}
