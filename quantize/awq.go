package quantize

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// awqSteps is the number of exponents between 0 and 1 that are tried.
const awqSteps = 20

// awqScale returns the factors of the inputs for an exponent: (mean |x|)^alpha over the geometric mean of their least
// and largest.
func awqScale(m *moments, alpha float64) []float32 {
	s := make([]float64, m.k)
	lo, hi := math.Inf(1), 0.0
	for i, v := range m.abs {
		s[i] = 1e-4
		if v > 0 {
			s[i] = max(power(v/float64(m.rows), alpha), s[i])
		}
		lo, hi = min(lo, s[i]), max(hi, s[i])
	}
	out := make([]float32, m.k)
	for i, v := range s {
		out[i] = float32(v / math.Sqrt(lo*hi))
	}
	return out
}

// awqGroup returns the weights that are multiplied by the same activation as w and by no other, in the order of the
// plan: they share the factors.
func (p *weightOnlyPlan) awqGroup(w *weightPlan) []*weightPlan {
	if len(w.forms) != 1 {
		return nil
	}
	names, all := w.sources(p.top, w.forms[0].form)
	if len(names) != 1 || !all {
		return nil
	}
	var group []*weightPlan
	for _, v := range p.weights {
		if v.why != "" || len(v.forms) != 1 || v.forms[0].form == table {
			continue
		}
		if other, all := v.sources(p.top, v.forms[0].form); all && slices.Equal(names, other) {
			group = append(group, v)
		}
	}
	return group
}

// share gives the weights of a group the factors of their inputs, nil for none.
func (p *weightOnlyPlan) share(group []*weightPlan, scale []float32) {
	var inverse *model.Tensor
	if scale != nil {
		inv := make([]float32, len(scale))
		for i, v := range scale {
			inv[i] = 1 / v
		}
		inverse = model.FromSlice([]int{len(inv)}, inv)
	}
	for _, v := range group {
		p.factors[v.Weight], v.forms[0].inverse = scale, inverse
	}
}

// awq quantizes w after its inputs are multiplied by factors that grow with how large their activations are, which are
// divided by them in front of the product; the exponent is the one of 21 that leaves the least error in the outputs of
// all products of these activations. Then the extremes of each group are shrunk where that leaves less error in what
// the group adds to the output.
//
// (Lin, Tang, Tang, Yang, Dang, Han: AWQ, 2023: auto_scale and auto_clip.)
func (p *weightOnlyPlan) awq(w *weightPlan, s *stored, x []float32, m *moments) (*blocks, error) {
	group := p.awqGroup(w)
	scale, ok := p.factors[w.Weight]
	if !ok && group != nil {
		var err error
		if scale, err = p.awqSearch(group, m); err != nil {
			return nil, err
		}
		p.share(group, scale)
	}
	k := s.nbits.k
	wt := x
	if s.form == columns {
		wt = flipped(x, k, s.n)
	}
	h := m.h
	if scale != nil {
		wt = scaled(wt, k, scale)
		h = make([]float64, k*k)
		for i := range k {
			for j := range k {
				h[i*k+j] = m.h[i*k+j] / (float64(scale[i]) * float64(scale[j]))
			}
		}
	}
	b, err := s.quantize(wt, false)
	if err != nil {
		return nil, err
	}
	s.fill(b, wt, func(_, lo, hi int, part []float32) Params { return s.clip(part, h, lo) })
	return b, nil
}

// clip returns the parameters of a group that begins at input lo with the least error in what it adds to the output.
func (f nbits) clip(x []float32, h []float64, lo int) Params {
	var least, most float32
	for _, v := range x {
		least, most = min(least, v), max(most, v)
	}
	d := make([]float64, len(x))
	return f.searchBy(least, most, func(p Params) float64 {
		for i, v := range f.roundings(x, p) {
			d[i] = v
		}
		e := 0.0
		for i, v := range d {
			at := (lo+i)*f.k + lo
			e += v * dot(h[at:at+len(d)], d)
		}
		return e
	})
}

// awqSearch returns the best factors for a group of weights, nil when none are better than all 1.
func (p *weightOnlyPlan) awqSearch(group []*weightPlan, m *moments) ([]float32, error) {
	h := single(m.h)
	weights := make([][]float32, len(group))
	for i, w := range group {
		x, err := w.Tensor.Float32()
		if err != nil {
			return nil, fmt.Errorf("quantize: weight %q: %w", w.Name, err)
		}
		if weights[i] = x; w.forms[0].form == columns {
			weights[i] = flipped(x, m.k, w.forms[0].n)
		}
	}
	var best []float32
	least := math.Inf(1)
	for step := range awqSteps + 1 {
		scale := awqScale(m, float64(step)/awqSteps)
		if step == 0 {
			scale = slices.Repeat([]float32{1}, m.k)
		}
		total := 0.0
		for i, w := range group {
			f := w.forms[0].nbits
			b, err := f.quantize(scaled(weights[i], m.k, scale), false)
			if err != nil {
				return nil, nil // the weight that is not finite is left when its turn comes
			}
			d := make([]float32, len(weights[i]))
			parallel(f.n, grainElements/f.k+1, func(lo, hi int) {
				for j := lo; j < hi; j++ {
					row := d[j*f.k : (j+1)*f.k]
					b.output(row, j)
					for t, v := range weights[i][j*f.k : (j+1)*f.k] {
						row[t] = row[t]/scale[t] - v
					}
				}
			})
			for _, e := range quadratic(d, f.n, f.k, h) {
				total += e
			}
		}
		if total < least {
			least, best = total, scale
			if step == 0 {
				best = nil
			}
		}
	}
	return best, nil
}

// scaled returns w, [n][k], with the inputs multiplied by s.
func scaled(w []float32, k int, s []float32) []float32 {
	out := make([]float32, len(w))
	parallel(len(w)/k, grainElements/k+1, func(lo, hi int) {
		for j := lo; j < hi; j++ {
			for i, v := range w[j*k : (j+1)*k] {
				out[j*k+i] = v * s[i]
			}
		}
	})
	return out
}
