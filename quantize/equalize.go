package quantize

import (
	"math"

	"github.com/wattshed/wattshed/model"
)

// Limits of the iteration of equalize.
const (
	equalizeRounds = 20
	equalizeEnough = 1e-3 // largest change of a scale that counts as none
)

// pairOfConvs are two convolutions, one of which reads what the other makes, directly or through a Relu.
type pairOfConvs struct{ first, second *planned }

// equalize rescales the channels between two convolutions so that both weights use their ranges alike: the output
// channels and biases of the first are divided by s_i = sqrt(r1_i/r2_i), with r1_i and r2_i the largest magnitudes of the
// weights of channel i in the first and the second, and the input channels of the second multiplied by it. Relu lets
// positive factors through, so the function of the model stays. Pairs are visited in turn until nothing changes (Nagel
// et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721, section 4.1). It
// returns the number of pairs.
func (p *staticPlan) equalize() (int, error) {
	pairs := p.convPairs()
	values := map[string][]float32{}
	get := func(name string) ([]float32, error) {
		if v := values[name]; v != nil || name == "" {
			return v, nil
		}
		x, err := p.consts[name].Float32()
		if err != nil {
			return nil, err
		}
		values[name] = append([]float32(nil), x...)
		return values[name], nil
	}
	for range equalizeRounds {
		most := 0.0
		for _, pair := range pairs {
			w1, err1 := get(pair.first.In(1))
			b1, err2 := get(pair.first.In(2))
			w2, err3 := get(pair.second.In(1))
			for _, err := range []error{err1, err2, err3} {
				if err != nil {
					return 0, err
				}
			}
			most = max(most, p.equalizePair(pair, w1, b1, w2))
		}
		if most < equalizeEnough {
			break
		}
	}
	for _, n := range p.nodes {
		for i, in := range n.Inputs {
			if v := values[in]; v != nil && i > 0 {
				name := p.names.name(in + "_equalized")
				p.home[in].SetInitializer(name, model.FromSlice(p.consts[in].Shape(), v))
				n.Inputs[i] = name
			}
		}
	}
	return len(pairs), nil
}

// convPairs finds the pairs whose weights nothing else reads.
func (p *staticPlan) convPairs() []pairOfConvs {
	var pairs []pairOfConvs
	own := func(n *planned) bool {
		for _, in := range n.Inputs[1:] {
			if in != "" && len(p.readers[in]) != 1 {
				return false
			}
		}
		return n.on && n.Op == "Conv"
	}
	for _, n := range p.nodes {
		if n.Op != "Conv" || !own(n) {
			continue
		}
		m := p.maker[n.In(0)]
		if m != nil && m.Op == "Relu" && len(p.readers[m.Out(0)]) == 1 && !p.pinned[m.Out(0)] {
			m = p.maker[m.In(0)]
		}
		if m == nil || !own(m) || len(p.readers[m.Out(0)]) != 1 || p.pinned[m.Out(0)] || m.graph != n.graph {
			continue
		}
		shape, group := p.consts[n.In(1)].Shape(), int(n.Int("group", 1))
		if p.consts[m.In(1)].Shape()[0] == shape[1]*group {
			pairs = append(pairs, pairOfConvs{m, n})
		}
	}
	return pairs
}

// equalizePair rescales the weights in place and returns the largest |log s|.
func (p *staticPlan) equalizePair(pair pairOfConvs, w1, b1, w2 []float32) float64 {
	channels := p.consts[pair.first.In(1)].Shape()[0]
	inner := len(w1) / channels
	shape, group := p.consts[pair.second.In(1)].Shape(), int(pair.second.Int("group", 1))
	kernel := len(w2) / (shape[0] * shape[1])
	inputOf := func(i int) int { // the input channel that element i of w2 multiplies
		out, in := i/(kernel*shape[1]), i/kernel%shape[1]
		return out/(shape[0]/group)*shape[1] + in
	}
	r1, r2 := make([]float32, channels), make([]float32, channels)
	for i, v := range w1 {
		r1[i/inner] = max(r1[i/inner], v, -v)
	}
	for i, v := range w2 {
		c := inputOf(i)
		r2[c] = max(r2[c], v, -v)
	}
	most := 0.0
	s := make([]float32, channels)
	for c := range s {
		s[c] = 1
		if r1[c] > 0 && r2[c] > 0 {
			s[c] = float32(min(max(math.Sqrt(float64(r1[c])/float64(r2[c])), 1e-4), 1e4))
			most = max(most, math.Abs(math.Log(float64(s[c]))))
		}
	}
	for i := range w1 {
		w1[i] /= s[i/inner]
	}
	for c := range b1 {
		b1[c] /= s[c]
	}
	for i := range w2 {
		w2[i] *= s[inputOf(i)]
	}
	return most
}
