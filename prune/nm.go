package prune

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// NM keeps the N highest scores of every M consecutive elements along the input axis (Mishra et al.
// 2021, "Accelerating Sparse Deep Neural Networks", for 2:4). A weight whose input axis is not a
// multiple of M is left.
type NM struct{ N, M int }

var _ Pattern = NM{}

// Name returns for example "2:4".
func (p NM) Name() string { return fmt.Sprintf("%d:%d", p.N, p.M) }

// Fraction returns 1 - N/M.
func (p NM) Fraction() float64 { return 1 - float64(p.N)/float64(p.M) }

// Select keeps N of every M; the fraction 1-N/M of the elements is dropped whatever sparsity says. At
// equal score the earlier element stays.
func (p NM) Select(w []Scored, _ float64) (model.Mask, map[string]string, error) {
	if p.N < 1 || p.M <= p.N || p.M > 64 {
		return nil, nil, fmt.Errorf("prune: pattern %s: want 0 < N < M <= 64", p.Name())
	}
	mask, left := model.Mask{}, map[string]string{}
	for _, s := range w {
		size := s.Shape[s.In]
		if size%p.M != 0 || size == 0 {
			left[s.Name] = fmt.Sprintf("input axis of %d is not a multiple of %d", size, p.M)
			continue
		}
		stride := 1
		for _, d := range s.Shape[s.In+1:] {
			stride *= d
		}
		b := model.NewBits(len(s.Scores))
		for base := 0; base < len(s.Scores); base += p.M * stride { // the input axis is a whole number of groups
			for inner := range stride {
				if i := p.group(s.Scores, base+inner, stride, b); i >= 0 {
					return nil, nil, notANumber(s.Name, i)
				}
			}
		}
		mask[s.Name] = b
	}
	return mask, left, nil
}

// group keeps the N highest of the M scores at first, first+stride, ...; it returns the index of a NaN
// or -1.
func (p NM) group(scores []float32, first, stride int, b model.Bits) int {
	for i := range p.M {
		at := first + i*stride
		v := scores[at]
		if v != v {
			return at
		}
		higher := 0
		for j := range p.M {
			if u := scores[first+j*stride]; u > v || u == v && j < i {
				higher++
			}
		}
		if higher < p.N {
			b.Set(at)
		}
	}
	return -1
}
