package quantize

import (
	"context"
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
)

// Limits of adaptive rounding.
const (
	adaptInputs = 4608      // inputs of an output, at most: the second moments take their square
	adaptBudget = 256 << 20 // bytes of second moments at a time; more take another pass over the data
	adaptRows   = 512       // positions of one value that are looked at in one run, at most
	adaptSweeps = 6
	adaptDamp   = 0.02 // of the mean of the diagonal, added to it: calibration data are few
)

// inputMoments are the second moments E[x x'] of the inputs of a product, for each group of outputs.
type inputMoments struct {
	name   string // of the value
	like   *planned
	layout weightLayout
	groups int
	sums   []*moments // by group
	h      [][]float64
	row    []float32
}

func (m *inputMoments) bytes() int { return 8 * m.groups * m.layout.inputs * m.layout.inputs }

// adaptRounding rounds each weight up or down so that the outputs on the calibration data change least: for every output
// it minimizes (q*s-w)' E[x x'] (q*s-w) over q in {floor(w/s), ceil(w/s)}, starting from the nearest and turning single
// weights over while that lowers the error. This is the objective of Nagel et al., "Up or Down? Adaptive Rounding for
// Post-Training Quantization", arXiv:2004.10568, equation 13, by coordinate descent instead of their relaxation.
func (p *staticPlan) adaptRounding(ctx context.Context, feeds engine.Feeds) error {
	var todo []*planned
	left := 0
	for _, w := range p.weights {
		n := w.users[0]
		l := p.layout(n)
		if len(w.users) != 1 || n.Op == "ConvTranspose" || l.outputs == 0 || l.inputs > adaptInputs {
			left++
			continue
		}
		todo = append(todo, n)
	}
	pool := kernel.NewPool(p.Threads, 0)
	defer pool.Close()
	adapted := 0
	for len(todo) > 0 {
		size, k := 0, 0
		all := map[string]*inputMoments{}
		var names []string
		for ; k < len(todo); k++ {
			n := todo[k]
			key := geometry(n)
			if all[key] != nil {
				continue
			}
			l := p.layout(n)
			m := &inputMoments{name: n.In(0), like: n, layout: l, groups: l.outputs / l.group}
			if size += m.bytes(); size > adaptBudget && k > 0 {
				break
			}
			for range m.groups {
				m.sums = append(m.sums, newMoments(l.inputs))
			}
			all[key] = m
			names = append(names, m.name)
		}
		byName := map[string][]*inputMoments{}
		for _, m := range all {
			byName[m.name] = append(byName[m.name], m)
		}
		_, err := p.run(ctx, p.g, names, feeds, false, func(name string, shape []int, x []float32) error {
			for _, m := range byName[name] {
				m.observe(shape, x, pool)
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range all {
			m.damp(pool)
		}
		for _, n := range todo[:k] {
			if m := all[geometry(n)]; m.sums[0].rows > 0 {
				n.weight.adapt(p.layout(n), m)
				adapted++
			}
		}
		todo = todo[k:]
	}
	p.remark(fmt.Sprintf("rounded %d weights adaptively", adapted), fmt.Sprintf("each up or down so that the outputs change least; %d others to nearest", left+len(p.weights)-left-adapted))
	return nil
}

// geometry names what the second moments of the inputs of n depend on.
func geometry(n *planned) string {
	if n.Op != "Conv" {
		return "product " + n.In(0)
	}
	return fmt.Sprint("conv ", n.In(0), n.Ints("strides"), n.Ints("dilations"), n.Ints("pads"), n.Str("auto_pad", ""), n.Int("group", 1), n.weight.shape)
}

// damp makes the means of the sums and strengthens their diagonals.
func (m *inputMoments) damp(pool *kernel.Pool) {
	k := m.layout.inputs
	for _, sum := range m.sums {
		sum.flush(pool)
		mean, n := 0.0, float64(max(sum.rows, 1))
		for i := range sum.h {
			sum.h[i] /= n
		}
		for i := range k {
			mean += sum.h[i*k+i] / float64(k)
		}
		for i := range k {
			sum.h[i*k+i] += adaptDamp * mean
		}
		m.h = append(m.h, sum.h)
		sum.buf, sum.sum = nil, nil
	}
}

// observe adds rows of one value, spread evenly over it.
func (m *inputMoments) observe(shape []int, x []float32, pool *kernel.Pool) {
	k := m.layout.inputs
	if m.like.Op != "Conv" {
		if len(shape) == 0 || shape[len(shape)-1] != k {
			return
		}
		rows := len(x) / k
		step := (rows-1)/adaptRows + 1
		for r := 0; r < rows; r += step {
			m.sums[0].add(x[r*k:(r+1)*k], pool)
		}
		return
	}
	if len(shape) != len(m.like.weight.shape) {
		return
	}
	w := newWindows(m.like, shape)
	total := shape[0] * w.positions
	step := (total-1)/adaptRows + 1
	if m.row == nil {
		m.row = make([]float32, k)
	}
	for at := 0; at < total; at += step {
		for g, sum := range m.sums {
			w.patch(m.row, x, at/w.positions, g*m.layout.perGroup, at%w.positions)
			sum.add(m.row, pool)
		}
	}
}

// adapt turns weights over, output by output.
func (w *staticWeight) adapt(l weightLayout, m *inputMoments) {
	parallel(l.outputs, 1, func(first, last int) {
		k := l.inputs
		e, g := make([]float64, k), make([]float64, k)
		for c := first; c < last; c++ {
			h := m.h[c/l.group]
			s := float64(w.scale[c%len(w.scale)])
			clear(g)
			for j := range k {
				at := l.at(c, j)
				e[j] = float64(w.q[at])*s - float64(w.x[at])
			}
			for j, v := range e {
				if v != 0 {
					for i, u := range h[j*k : (j+1)*k] {
						g[i] += v * u
					}
				}
			}
			for range adaptSweeps {
				turned := 0
				for j := range k {
					at := l.at(c, j)
					d := s // to the other of the two integers next to the weight
					if e[j] > 0 {
						d = -s
					}
					q := float64(w.q[at]) + d/s
					if e[j] == 0 || math.Abs(q) > float64(Int8Range.Max) || 2*d*g[j]+d*d*h[j*k+j] >= 0 {
						continue
					}
					w.q[at], e[j] = int8(q), e[j]+d
					for i, u := range h[j*k : (j+1)*k] {
						g[i] += d * u
					}
					turned++
				}
				if turned == 0 {
					break
				}
			}
		}
	})
}
