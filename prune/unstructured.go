package prune

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// Unstructured drops the same fraction of every weight: those with the lowest scores, at equal score
// the later ones. Of n elements round(n*sparsity) are dropped, halves away from 0.
type Unstructured struct{}

// Global drops the elements with the lowest scores over all weights together, at equal score the later
// ones, so that weights with low scores lose more. Of n elements in all round(n*sparsity) are dropped.
type Global struct{}

var (
	_ Pattern = Unstructured{}
	_ Pattern = Global{}
)

// Name returns "unstructured".
func (Unstructured) Name() string { return "unstructured" }

// Name returns "global".
func (Global) Name() string { return "global" }

// Select keeps per weight its highest scores.
func (Unstructured) Select(w []Scored, sparsity float64) (model.Mask, map[string]string, error) {
	mask := model.Mask{}
	for _, s := range w {
		kept, err := keepHighest([]Scored{s}, sparsity)
		if err != nil {
			return nil, nil, err
		}
		mask[s.Name] = kept[0]
	}
	return mask, nil, nil
}

// Select keeps the highest scores over all weights.
func (Global) Select(w []Scored, sparsity float64) (model.Mask, map[string]string, error) {
	kept, err := keepHighest(w, sparsity)
	if err != nil {
		return nil, nil, err
	}
	mask := model.Mask{}
	for i, s := range w {
		mask[s.Name] = kept[i]
	}
	return mask, nil, nil
}

// keepHighest drops round(n*sparsity) of all the elements: every score below a threshold, and of
// those equal to it as many as are needed, the last ones.
func keepHighest(w []Scored, sparsity float64) ([]model.Bits, error) {
	total := 0
	for _, s := range w {
		total += len(s.Scores)
		for i, v := range s.Scores {
			if v != v {
				return nil, notANumber(s.Name, i)
			}
		}
	}
	drop := min(max(int(math.Round(float64(total)*sparsity)), 0), total)
	threshold, equalDrop := uint64(math.MaxUint32)+1, 0 // all of them
	if drop < total {
		t, below := nth(w, drop)
		threshold, equalDrop = uint64(t), drop-below
	}
	out := make([]model.Bits, len(w))
	for i := len(w) - 1; i >= 0; i-- {
		out[i] = model.NewBits(len(w[i].Scores))
		for j := len(w[i].Scores) - 1; j >= 0; j-- {
			switch k := uint64(key(w[i].Scores[j])); {
			case k < threshold:
			case k == threshold && equalDrop > 0:
				equalDrop--
			default:
				out[i].Set(j)
			}
		}
	}
	return out, nil
}

func notANumber(weight string, i int) error {
	return fmt.Errorf("prune: score %d of weight %q is not a number", i, weight)
}

// key maps floats to integers of the same order; the two zeros are one.
func key(v float32) uint32 {
	if v == 0 {
		return 1 << 31
	}
	b := math.Float32bits(v)
	if b>>31 != 0 {
		return ^b
	}
	return b | 1<<31
}

// nth returns the key of the score that would be at index n if all were sorted, and how many are below it: by
// counting the upper and then the lower half of the keys.
func nth(w []Scored, n int) (threshold uint32, below int) {
	var upper uint32
	for half := range 2 {
		counts := make([]int, 1<<16)
		for _, s := range w {
			for _, v := range s.Scores {
				switch k := key(v); {
				case half == 0:
					counts[k>>16]++
				case k>>16 == upper:
					counts[k&0xffff]++
				}
			}
		}
		at := uint32(0)
		for below+counts[at] <= n {
			below += counts[at]
			at++
		}
		if half == 0 {
			upper = at
		} else {
			threshold = upper<<16 | at
		}
	}
	return threshold, below
}
