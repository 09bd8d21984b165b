package quantize

import (
	"context"
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// improve runs the helpers that change the float model before calibration; it reports whether the model changed, so that
// the plan must be made anew.
func (p *staticPlan) improve(ctx context.Context, feeds engine.Feeds) (changed bool, err error) {
	if p.Equalize {
		n, err := p.equalize()
		if err != nil {
			return false, err
		}
		p.before.remarks = append(p.before.remarks, model.Note{Weight: "(model)", Action: fmt.Sprintf("equalized %d pairs of convolutions", n),
			Reason: "pairs joined by nothing or Relu; other activations do not commute with scales"})
		changed = n > 0
	}
	if p.Smooth > 0 {
		n, err := p.smooth(ctx, feeds)
		if err != nil {
			return false, err
		}
		p.before.remarks = append(p.before.remarks, model.Note{Weight: "(model)", Action: fmt.Sprintf("smoothed %d activations", n),
			Reason: fmt.Sprintf("SmoothQuant with alpha %g: ranges moved from activations to the weights of MatMul and Gemm", p.Smooth)})
		changed = changed || n > 0
	}
	return changed, nil
}

// rowsOf returns the number of rows and columns of the weight of a MatMul or Gemm, and whether it is stored transposed.
func (p *staticPlan) rowsOf(n *planned) (rows, cols int, transposed bool) {
	shape := p.consts[n.In(1)].Shape()
	if n.Op == "Gemm" && n.Int("transB", 0) != 0 {
		return shape[1], shape[0], true
	}
	return shape[0], shape[1], false
}

// smooth moves ranges of activations into the weights of the products that read them: x/s and diag(s)W with
// s_j = max|x_j|^alpha / max|w_j|^(1-alpha) (Xiao et al., "SmoothQuant", arXiv:2211.10438, equation 4). The division is a
// Mul in front of the products. It returns the number of activations.
func (p *staticPlan) smooth(ctx context.Context, feeds engine.Feeds) (int, error) {
	groups := map[string][]*planned{}
	var names []string
	for _, name := range p.order {
		if g := p.smoothable(name); g != nil {
			groups[name] = g
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	most := map[string][]float32{}
	_, err := p.run(ctx, p.g, names, feeds, false, func(name string, shape []int, x []float32) error {
		k, _, _ := p.rowsOf(groups[name][0])
		if len(shape) == 0 || shape[len(shape)-1] != k {
			return fmt.Errorf("quantize: smoothing: value %q has shape %v, its weight %d rows", name, shape, k)
		}
		if most[name] == nil {
			most[name] = make([]float32, k)
		}
		m := most[name]
		for i := 0; i < len(x); i += k {
			for j, v := range x[i : i+k] {
				if v < 0 {
					v = -v
				}
				if v > m[j] {
					m[j] = v
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	done := 0
	for _, name := range names {
		if most[name] == nil {
			continue
		}
		if err := p.smoothOne(name, groups[name], most[name]); err != nil {
			return done, err
		}
		done++
	}
	return done, nil
}

// smoothable returns the products that read an activation when all its quantized readers are products with a matrix that
// nothing else reads, and stand in the graph that makes it.
func (p *staticPlan) smoothable(name string) []*planned {
	var group []*planned
	if p.acts[name].born {
		return nil // made in 8 bits: there is no float value to divide
	}
	for _, r := range p.readers[name] {
		if !r.on {
			continue
		}
		product := (r.Op == "MatMul" || r.Op == "Gemm") && p.consts[r.In(1)] != nil && p.consts[r.In(1)].Rank() == 2
		if !product || r.In(0) != name || r.graph != p.home[name] || p.home[r.In(1)] != r.graph || len(p.readers[r.In(1)]) != 1 {
			return nil
		}
		group = append(group, r)
	}
	return group
}

func (p *staticPlan) smoothOne(name string, group []*planned, most []float32) error {
	k := len(most)
	heaviest := make([]float32, k)
	for _, n := range group {
		rows, cols, transposed := p.rowsOf(n)
		x, err := p.consts[n.In(1)].Float32()
		if err != nil {
			return fmt.Errorf("quantize: weight %q: %w", n.In(1), err)
		}
		if rows != k {
			return fmt.Errorf("quantize: smoothing: the products of %q have %d and %d rows", name, k, rows)
		}
		for i, v := range x {
			j := i / cols
			if transposed {
				j = i % rows
			}
			heaviest[j] = max(heaviest[j], v, -v)
		}
	}
	scale, inverse := make([]float32, k), make([]float32, k)
	for j := range scale {
		s := math.Pow(float64(most[j]), p.Smooth) / math.Pow(float64(heaviest[j]), 1-p.Smooth)
		if most[j] == 0 || heaviest[j] == 0 || !(s > 1e-5 && s < 1e5) {
			s = 1
		}
		scale[j] = float32(s)
		inverse[j] = 1 / scale[j]
	}
	g := group[0].graph
	factor, smoothed := p.names.name(name+"_smooth"), p.names.name(name+"_smoothed")
	g.SetInitializer(factor, model.FromSlice([]int{k}, inverse))
	for i, n := range g.Nodes {
		if n == group[0].Node || i == len(g.Nodes)-1 { // in front of the first reader; nodes are sorted afterwards
			mul := &model.Node{Name: smoothed, Op: "Mul", Inputs: []string{name, factor}, Outputs: []string{smoothed}}
			g.Nodes = append(g.Nodes[:i:i], append([]*model.Node{mul}, g.Nodes[i:]...)...)
			break
		}
	}
	for _, n := range group {
		rows, cols, transposed := p.rowsOf(n)
		x, err := p.consts[n.In(1)].Float32()
		if err != nil {
			return err
		}
		out := make([]float32, len(x))
		for i, v := range x {
			j := i / cols
			if transposed {
				j = i % rows
			}
			out[i] = v * scale[j]
		}
		w := p.names.name(n.In(1) + "_smoothed")
		g.SetInitializer(w, model.FromSlice(p.consts[n.In(1)].Shape(), out))
		n.Inputs[0], n.Inputs[1] = smoothed, w
	}
	return g.TopoSort()
}
