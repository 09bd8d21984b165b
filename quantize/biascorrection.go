package quantize

import (
	"context"
	"fmt"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// correctBiases takes from every bias what the rounding of the weights adds to the mean of the output: for channel c
// sum over inputs j of (q_cj*s_c - w_cj) * E[x_j], with the mean over calibration of each input channel (Nagel et al.,
// arXiv:1906.04721, section 4.2, with measured means). The bias of a MatMul is the constant that an Add behind it adds; a
// Conv or Gemm without bias gets one. Padding is not in the means.
func (p *staticPlan) correctBiases(ctx context.Context, feeds engine.Feeds) error {
	means, err := p.channelMeans(ctx, feeds)
	if err != nil {
		return err
	}
	done := 0
	for _, n := range p.nodes {
		if n.weight == nil || n.Op == "ConvTranspose" || means[n.In(0)] == nil {
			continue
		}
		l := p.layout(n)
		shift := make([]float64, l.outputs)
		for c := range shift {
			scale := n.weight.scale[c%len(n.weight.scale)]
			for k := range l.inputs {
				at := l.at(c, k)
				d := float64(n.weight.q[at])*float64(scale) - float64(n.weight.x[at])
				shift[c] += d * means[n.In(0)][l.channel(c, k)%len(means[n.In(0)])]
			}
		}
		if p.moveBias(n, shift) {
			done++
		}
	}
	p.remark(fmt.Sprintf("corrected %d biases", done), "the mean error that rounded weights add to each output was taken from its bias")
	return nil
}

// channelMeans returns the mean of every channel of the inputs of anchors: axis 1 of images and sequences of channels, the
// last axis of what is multiplied.
func (p *staticPlan) channelMeans(ctx context.Context, feeds engine.Feeds) (map[string][]float64, error) {
	type sum struct {
		s []float64
		n float64
	}
	conv := map[string]bool{}
	sums := map[string]*sum{}
	var names []string
	for _, n := range p.nodes {
		if n.weight != nil && sums[n.In(0)] == nil {
			sums[n.In(0)] = &sum{}
			names = append(names, n.In(0))
			conv[n.In(0)] = n.Op == "Conv" || n.Op == "ConvTranspose"
		}
	}
	_, err := p.run(ctx, p.g, names, feeds, false, func(name string, shape []int, x []float32) error {
		axis := len(shape) - 1
		if conv[name] {
			axis = 1
		}
		if axis < 0 || axis >= len(shape) || len(x) == 0 {
			return nil
		}
		channels, inner := shape[axis], 1
		for _, d := range shape[axis+1:] {
			inner *= d
		}
		m := sums[name]
		if m.s == nil {
			m.s = make([]float64, channels)
		}
		if len(m.s) != channels {
			return fmt.Errorf("quantize: bias correction: value %q has %d channels, then %d", name, len(m.s), channels)
		}
		for i := 0; i < len(x); i += inner {
			t := 0.0
			for _, v := range x[i : i+inner] {
				t += float64(v)
			}
			m.s[i/inner%channels] += t
		}
		m.n += float64(len(x) / channels)
		return nil
	})
	if err != nil {
		return nil, err
	}
	means := map[string][]float64{}
	for name, m := range sums {
		if m.n == 0 {
			continue
		}
		means[name] = m.s
		for c := range m.s {
			m.s[c] /= m.n
		}
	}
	return means, nil
}

// moveBias subtracts shift from the bias of n; false when it has no place for one.
func (p *staticPlan) moveBias(n *planned, shift []float64) bool {
	less := func(x []float32) []float32 {
		out := make([]float32, len(shift))
		for c := range out {
			v := 0.0
			if x != nil {
				v = float64(x[c])
			}
			out[c] = float32(v - shift[c])
		}
		return out
	}
	switch {
	case n.bias != nil:
		if len(n.bias.x) != len(shift) {
			return false
		}
		n.bias.x, n.bias.changed = less(n.bias.x), true
		return true
	case n.Op != "MatMul":
		for len(n.Inputs) < 3 {
			n.Inputs = append(n.Inputs, "")
		}
		n.Inputs[2] = p.names.name(n.Out(0) + "_bias")
		n.bias = &staticBias{x: less(nil), changed: true}
		return true
	}
	r := p.readers[n.Out(0)]
	if len(r) != 1 || r[0].Op != "Add" || r[0].on || p.pinned[n.Out(0)] || len(r[0].Inputs) != 2 {
		return false
	}
	at := 1
	if r[0].In(1) == n.Out(0) {
		at = 0
	}
	old, err := p.values(r[0].In(at))
	if err != nil || len(old) != len(shift) || p.consts[r[0].In(at)].Rank() != 1 {
		return false
	}
	name := p.names.name(r[0].In(at) + "_corrected")
	t := model.FromSlice([]int{len(shift)}, less(old))
	r[0].graph.SetInitializer(name, t)
	p.consts[name], p.home[name] = t, r[0].graph
	r[0].Inputs[at] = name
	return true
}

// weightLayout says where the weights of an output channel are.
type weightLayout struct {
	outputs, inputs int // inputs: of one output, a kernel's positions counted singly
	stride, step    int // of outputs and of inputs
	group           int // outputs a group
	perGroup        int // input channels a group
	kernel          int
}

func (l weightLayout) at(c, k int) int { return c*l.stride + k*l.step }

// channel returns the input channel of input k of output c.
func (l weightLayout) channel(c, k int) int { return c/l.group*l.perGroup + k/l.kernel }

// layout returns that of the weight of a Conv, Gemm or MatMul.
func (p *staticPlan) layout(n *planned) weightLayout {
	shape := n.weight.shape
	switch {
	case n.Op == "Conv":
		kernel := len(n.weight.x) / (shape[0] * shape[1])
		return weightLayout{shape[0], shape[1] * kernel, shape[1] * kernel, 1, max(shape[0]/int(n.Int("group", 1)), 1), shape[1], kernel}
	case n.Op == "Gemm" && n.Int("transB", 0) != 0:
		return weightLayout{shape[0], shape[1], shape[1], 1, shape[0], shape[1], 1}
	case len(shape) == 2:
		return weightLayout{shape[1], shape[0], 1, shape[1], shape[1], shape[0], 1}
	}
	return weightLayout{group: 1, kernel: 1} // a stack of matrices: nothing to correct
}
