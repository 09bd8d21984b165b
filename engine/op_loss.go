package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// lossOps are the losses and optimisers that ONNX defines.
func lossOps() map[string]opDef {
	t := qualify("", map[string]opDef{
		"NegativeLogLikelihoodLoss": float(func(c *Call) error { return lossCall(c, false) }),
		"SoftmaxCrossEntropyLoss":   float(func(c *Call) error { return lossCall(c, true) }),
	})
	for k, v := range qualify("ai.onnx.preview.training", map[string]opDef{
		"Adagrad": plain(opAdagrad), "Adam": plain(opAdam), "Momentum": plain(opMomentum),
	}) {
		t[k] = v
	}
	return t
}

// lossCall computes the loss of scores [N, C, ...] for targets [N, ...]; with soft set they go through LogSoftmax first.
func lossCall(c *Call, soft bool) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	tt, err := c.Need(1)
	if err != nil {
		return err
	}
	if x.Rank() < 2 || x.DType() != model.Float32 && x.DType() != model.Float64 {
		return errShape("scores", x, "[N C ...] of floats")
	}
	n, classes, plane := x.Shape()[0], x.Shape()[1], product(x.Shape()[2:])
	rest := append([]int{n}, x.Shape()[2:]...)
	if !sameShape(tt.Shape(), rest) {
		return errShape("target", tt, fmt.Sprint(rest))
	}
	target, err := ints(tt)
	if err != nil {
		return err
	}
	src, err := c.toFloat64(x)
	if err != nil {
		return err
	}
	logp := src
	if soft {
		logp = make([]float64, len(src))
		row, out := make([]float64, classes), make([]float64, classes)
		for i := range n * plane {
			base := i/plane*classes*plane + i%plane
			for k := range row {
				row[k] = src[base+k*plane]
			}
			logSoftmaxRow64(out, row)
			for k := range row {
				logp[base+k*plane] = out[k]
			}
		}
	}
	var weight []float64
	if t := c.Arg(2); t != nil {
		if weight, err = c.toFloat64(t); err != nil {
			return err
		}
		if len(weight) != classes {
			return errShape("weight", t, fmt.Sprintf("[%d]", classes))
		}
	}
	ignore, skips := int(c.Node.Int("ignore_index", 0)), c.Node.Attr("ignore_index") != nil
	loss := make([]float64, len(target))
	var total, mass float64
	for i, k := range target {
		if skips && k == ignore {
			continue
		}
		if k < 0 || k >= classes {
			return fmt.Errorf("target %d is outside of %d classes", k, classes)
		}
		w := 1.0
		if weight != nil {
			w = weight[k]
		}
		loss[i] = -w * logp[i/plane*classes*plane+k*plane+i%plane]
		total += loss[i]
		mass += w
	}
	shape, out := rest, loss
	switch r := c.Node.Str("reduction", "mean"); r {
	case "none":
	case "sum":
		shape, out = []int{}, []float64{total}
	case "mean":
		shape, out = []int{}, []float64{total / mass}
	default:
		return fmt.Errorf("reduction %q: %w", r, model.ErrUnsupported)
	}
	t, err := fromFloat64(x.DType(), shape, out, castRule{})
	if err != nil {
		return err
	}
	c.Set(0, t)
	if !soft || !c.Wants(1) {
		return nil
	}
	if t, err = fromFloat64(x.DType(), x.Shape(), logp, castRule{}); err == nil {
		c.Set(1, t)
	}
	return err
}

// optimizerCall reads R, T and k lists of tensors of equal number and calls f for each group.
func optimizerCall(c *Call, k int, f func(rate float64, step int64, v [][]float64) [][]float64) error {
	rt, err := c.Need(0)
	if err != nil {
		return err
	}
	st, err := c.Need(1)
	if err != nil {
		return err
	}
	rate, err := scalarFloat(rt)
	if err != nil {
		return err
	}
	step, err := scalarInt(st)
	if err != nil {
		return err
	}
	n := (c.NumIn() - 2) / k
	if n*k+2 != c.NumIn() {
		return fmt.Errorf("%d inputs", c.NumIn())
	}
	for i := range n {
		v := make([][]float64, k)
		for j := range v {
			t, err := c.Need(2 + j*n + i)
			if err != nil {
				return err
			}
			x, err := c.toFloat64(t)
			if err != nil {
				return err
			}
			if v[j] = append([]float64(nil), x...); len(x) != len(v[0]) {
				return errShape("input", t, fmt.Sprint(c.In[2+i].Shape()))
			}
		}
		for j, out := range f(rate, int64(step), v) {
			t, err := fromFloat64(c.In[2+i].DType(), c.In[2+i].Shape(), out, castRule{})
			if err != nil {
				return err
			}
			c.Set(j*n+i, t)
		}
	}
	return nil
}

// optimizerEpsilon is what Adagrad and Adam add to the divisor when the node does not say.
const optimizerEpsilon = 1e-6

func opAdagrad(c *Call) error {
	n := c.Node
	decay, eps, norm := float64(n.Float("decay_factor", 0)), float64(n.Float("epsilon", optimizerEpsilon)), float64(n.Float("norm_coefficient", 0))
	return optimizerCall(c, 3, func(rate float64, step int64, v [][]float64) [][]float64 {
		x, g, h := v[0], v[1], v[2]
		r := rate / (1 + float64(step)*decay)
		for i := range x {
			d := norm*x[i] + g[i]
			h[i] += d * d
			x[i] -= r * d / (math.Sqrt(h[i]) + eps)
		}
		return [][]float64{x, h}
	})
}

func opAdam(c *Call) error {
	n := c.Node
	a, b := float64(n.Float("alpha", 0.9)), float64(n.Float("beta", 0.999))
	eps, norm, post := float64(n.Float("epsilon", optimizerEpsilon)), float64(n.Float("norm_coefficient", 0)), float64(n.Float("norm_coefficient_post", 0))
	return optimizerCall(c, 4, func(rate float64, step int64, v [][]float64) [][]float64 {
		x, g, m, h := v[0], v[1], v[2], v[3]
		r := rate
		if step > 0 {
			r *= math.Sqrt(1-math.Pow(b, float64(step))) / (1 - math.Pow(a, float64(step)))
		}
		for i := range x {
			d := norm*x[i] + g[i]
			m[i] = a*m[i] + (1-a)*d
			h[i] = b*h[i] + (1-b)*d*d
			x[i] = (1 - post) * (x[i] - r*m[i]/(math.Sqrt(h[i])+eps))
		}
		return [][]float64{x, m, h}
	})
}

func opMomentum(c *Call) error {
	n := c.Node
	a, b, norm := float64(n.Float("alpha", 0)), float64(n.Float("beta", 0)), float64(n.Float("norm_coefficient", 0))
	nesterov := n.Str("mode", "standard") == "nesterov"
	return optimizerCall(c, 3, func(rate float64, step int64, v [][]float64) [][]float64 {
		x, g, m := v[0], v[1], v[2]
		scale := b
		if step == 0 {
			scale = 1
		}
		for i := range x {
			d := norm*x[i] + g[i]
			m[i] = a*m[i] + scale*d
			if nesterov {
				x[i] -= rate * (d + a*m[i])
			} else {
				x[i] -= rate * m[i]
			}
		}
		return [][]float64{x, m}
	})
}
