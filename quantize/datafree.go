package quantize

import (
	"fmt"
	"math"
)

// spreadOf is how many standard deviations a data-free range reaches: that of Nagel et al., arXiv:1906.04721, section 5.
const spreadOf = 6

// moment is what data-free calibration knows of a value: mean and mean square of its elements, and the range that they keep to.
type moment struct{ mean, square, lo, hi float64 }

// normalMoment returns the moments of values that are normal about mean, with the given standard deviation.
func normalMoment(mean, deviation float64) moment {
	return moment{mean, mean*mean + deviation*deviation, mean - spreadOf*deviation, mean + spreadOf*deviation}
}

// dataFree estimates the ranges of the named activations from the weights alone: inputs of the model are taken as standard
// normal, what BatchNormalization or LayerNormalization makes as normal with their scale and bias, products as sums of independent terms, and ranges
// reach six standard deviations within the bounds that activations keep. It fails on values of operators that it has no
// rule for.
func (p *staticPlan) dataFree(names []string) (*Calibration, error) {
	m := map[string]*moment{}
	for _, v := range p.g.Inputs {
		in := normalMoment(0, 1)
		in.lo, in.hi = -4, 4
		m[v.Name] = &in
	}
	for _, n := range p.topological() {
		if out := p.estimate(n, m); out != nil {
			for _, o := range n.Outputs {
				m[o] = out
			}
		}
	}
	c := &Calibration{Method: "six standard deviations", Source: "the weights alone, without data (inputs taken as standard normal)", Ranges: map[string]Interval{}}
	for _, name := range names {
		v := m[name]
		if v == nil {
			by := "the graph around"
			if n := p.maker[name]; n != nil {
				by = n.String()
			}
			return nil, fmt.Errorf("quantize: data-free calibration has no rule for the value %q of %s: %w", name, by, ErrNoFeeds)
		}
		c.Ranges[name] = Interval{float32(v.lo), float32(v.hi)}
	}
	return c, nil
}

// estimate returns the moments of what n makes, nil when it has no rule or knows too little.
func (p *staticPlan) estimate(n *planned, m map[string]*moment) *moment {
	if n.Op == "LayerNormalization" {
		return p.normalized(n)
	}
	x := m[n.In(0)]
	if norm, ok := p.before.norms[n.origin]; ok && (n.Op == "Conv" || n.Op == "ConvTranspose") {
		return &norm
	}
	switch n.Op {
	case "Conv", "ConvTranspose", "Gemm", "MatMul":
		return p.summed(n, x)
	case "Add", "Sum", "Mul", "Concat":
		return p.joined(n, m)
	}
	if x == nil {
		return nil
	}
	out := *x
	bound := func(lo, hi float64) *moment {
		out.lo, out.hi = min(max(out.lo, lo), hi), max(min(out.hi, hi), lo)
		d := math.Sqrt(max(out.square-out.mean*out.mean, 0))
		if lo == 0 && d > 0 && math.IsInf(hi, 1) { // a rectified normal
			a := out.mean / d
			density, share := math.Exp(-a*a/2)/math.Sqrt(2*math.Pi), math.Erfc(-a/math.Sqrt2)/2
			out.mean, out.square = out.mean*share+d*density, (x.square)*share+x.mean*d*density
		}
		out.mean = min(max(out.mean, out.lo), out.hi)
		return &out
	}
	switch n.Op {
	case "Relu":
		return bound(0, math.Inf(1))
	case "Clip":
		if b := p.clampBounds(n); b != nil {
			return bound(float64(b.Lo), float64(b.Hi))
		}
		return nil
	case "Sigmoid", "HardSigmoid", "Softmax":
		return &moment{0.5, 0.3, 0, 1}
	case "Tanh":
		return bound(-1, 1)
	case "HardSwish", "Gelu", "Elu", "LeakyRelu":
		return bound(-1, math.Inf(1))
	case "GlobalAveragePool", "AveragePool", "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Pad", "Identity", "Dropout", "Resize":
		return &out
	}
	return nil
}

// normalized returns the moments of a LayerNormalization's output.
func (p *staticPlan) normalized(n *planned) *moment {
	gamma, err1 := p.values(n.In(1))
	beta, err2 := p.values(n.In(2))
	if err1 != nil || err2 != nil || gamma == nil {
		return nil
	}
	return channelMoments(len(gamma), func(c int) (mean, deviation float64) {
		if beta != nil {
			mean = float64(beta[c%len(beta)])
		}
		return mean, math.Abs(float64(gamma[c]))
	})
}

// channelMoments joins those of channels that are normal each.
func channelMoments(n int, f func(c int) (mean, deviation float64)) *moment {
	out := moment{lo: math.Inf(1), hi: math.Inf(-1)}
	for c := range n {
		mean, d := f(c)
		v := normalMoment(mean, d)
		out.mean, out.square = out.mean+v.mean/float64(n), out.square+v.square/float64(n)
		out.lo, out.hi = min(out.lo, v.lo), max(out.hi, v.hi)
	}
	return &out
}

// summed returns the moments of a product with a constant weight: each output is a sum of independent terms.
func (p *staticPlan) summed(n *planned, x *moment) *moment {
	w, err := p.values(n.In(1))
	if err != nil || w == nil || x == nil || n.why != "" {
		return nil
	}
	bias, err := p.values(n.In(2))
	if err != nil {
		return nil
	}
	channels, of := p.outputOf(n)
	sums, squares := make([]float64, channels), make([]float64, channels)
	for i, v := range w {
		sums[of(i)] += float64(v)
		squares[of(i)] += float64(v) * float64(v)
	}
	variance := max(x.square-x.mean*x.mean, 0)
	return channelMoments(channels, func(c int) (mean, deviation float64) {
		if bias != nil {
			mean = float64(bias[c%len(bias)])
		}
		return mean + sums[c]*x.mean, math.Sqrt(squares[c] * variance)
	})
}

// outputOf returns the number of outputs of an anchor and which of them element i of its weight belongs to.
func (p *staticPlan) outputOf(n *planned) (int, func(i int) int) {
	shape := p.consts[n.In(1)].Shape()
	switch {
	case n.Op == "Conv":
		return shape[0], func(i int) int { return i / (p.consts[n.In(1)].Len() / shape[0]) }
	case n.Op == "ConvTranspose":
		return shape[1] * int(n.Int("group", 1)), channelOf(n.Node, shape)
	case n.Op == "Gemm" && n.Int("transB", 0) != 0:
		return shape[0], func(i int) int { return i / shape[1] }
	}
	last := shape[len(shape)-1]
	return last, func(i int) int { return i % last }
}

// joined returns the moments of a sum, a product or a concatenation of independent values, constants among them.
func (p *staticPlan) joined(n *planned, m map[string]*moment) *moment {
	var all []moment
	for _, in := range n.Inputs {
		if v, err := p.values(in); err == nil && len(v) > 0 {
			lo, hi, _ := extremesOf(v)
			c := moment{lo: float64(lo), hi: float64(hi)}
			for _, x := range v {
				c.mean, c.square = c.mean+float64(x)/float64(len(v)), c.square+float64(x)*float64(x)/float64(len(v))
			}
			all = append(all, c)
		} else if m[in] != nil {
			all = append(all, *m[in])
		} else {
			return nil
		}
	}
	out := all[0]
	for i, v := range all[1:] {
		switch n.Op {
		case "Concat":
			k := float64(i + 2)
			out = moment{out.mean + (v.mean-out.mean)/k, out.square + (v.square-out.square)/k, min(out.lo, v.lo), max(out.hi, v.hi)}
		case "Mul":
			ends := []float64{out.lo * v.lo, out.lo * v.hi, out.hi * v.lo, out.hi * v.hi}
			out = moment{out.mean * v.mean, out.square * v.square, min(ends[0], ends[1], ends[2], ends[3]), max(ends[0], ends[1], ends[2], ends[3])}
		default:
			sum := out.mean + v.mean
			d := math.Sqrt(max(out.square-out.mean*out.mean, 0) + max(v.square-v.mean*v.mean, 0))
			out = moment{sum, sum*sum + d*d, max(out.lo+v.lo, sum-spreadOf*d), min(out.hi+v.hi, sum+spreadOf*d)}
			out.lo, out.hi = min(out.lo, out.hi), max(out.lo, out.hi)
		}
	}
	return &out
}
