package prune

import (
	"fmt"
	"math"
	"sort"

	"github.com/wattshed/wattshed/model"
)

// Unstructured drops the same fraction of every weight: those with the lowest scores, at equal score
// the later ones. Of n elements round(n*sparsity) are dropped.
type Unstructured struct{}

// Global drops the elements with the lowest scores over all weights together, at equal score the later
// ones, so that weights with small values lose more.
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

// keepHighest drops round(n*sparsity) of all the elements: every score below the threshold, and of
// those equal to it as many as are needed, the last ones.
func keepHighest(w []Scored, sparsity float64) ([]model.Bits, error) {
	total := 0
	for _, s := range w {
		total += len(s.Scores)
	}
	all := make([]float32, 0, total)
	for _, s := range w {
		for i, v := range s.Scores {
			if v != v {
				return nil, fmt.Errorf("prune: score %d of weight %q is not a number", i, s.Name)
			}
		}
		all = append(all, s.Scores...)
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	drop := int(math.Round(float64(total) * sparsity))
	out := make([]model.Bits, len(w))
	threshold := float32(math.Inf(1))
	if drop < total {
		threshold = all[drop]
	}
	below := sort.Search(len(all), func(i int) bool { return all[i] >= threshold })
	equalDrop := drop - below // how many of those equal to the threshold go
	for i := len(w) - 1; i >= 0; i-- {
		out[i] = model.NewBits(len(w[i].Scores))
		for j := len(w[i].Scores) - 1; j >= 0; j-- {
			v := w[i].Scores[j]
			switch {
			case v < threshold:
			case v == threshold && equalDrop > 0:
				equalDrop--
			default:
				out[i].Set(j)
			}
		}
	}
	return out, nil
}
