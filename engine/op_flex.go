package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// bodyOps run a body inside of an operator that is no loop over steps.
func bodyOps() map[string]opDef {
	return map[string]opDef{"ai.onnx.preview::FlexAttention": plain(opFlexAttention), "::SequenceMap": plain(opSequenceMap)}
}

// modified passes scores through the body called name, if the node has it.
func (c *Call) modified(name string, d model.DType, shape []int, v []float64) ([]float64, error) {
	if c.st == nil || c.st.bodies[name] == nil {
		return v, nil
	}
	if err := c.arena.room(8 * len(v)); err != nil {
		return nil, err
	}
	t, err := fromFloat64(d, shape, v, castRule{})
	if err != nil {
		return nil, err
	}
	outs, err := c.runBody(name, []slot{{t: t}})
	if err != nil {
		return nil, err
	}
	if len(outs) != 1 || outs[0].t == nil || !sameShape(outs[0].t.Shape(), shape) {
		return nil, fmt.Errorf("%s does not give one tensor of shape %v", name, shape)
	}
	w, err := c.wide(outs[0].t)
	if err != nil {
		return nil, err
	}
	out := append(Scratch[float64](c, len(w))[:0], w...)
	c.drop(outs...)
	return out, nil
}

// opFlexAttention is attention over [B, H, S, D] whose scores and probabilities pass through the bodies score_mod and
// prob_mod.
func opFlexAttention(c *Call) error {
	var v [3][]float64
	var n [3][]int
	for i := range v {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if t.Rank() != 4 {
			return errShape(fmt.Sprintf("input %d", i), t, "rank 4")
		}
		if v[i], err = c.wide(t); err != nil {
			return err
		}
		n[i] = t.Shape()
	}
	q, k := n[0], n[1]
	b, h, s, d, hk, keys, dv := q[0], q[1], q[2], q[3], k[1], k[2], n[2][3]
	if k[0] != b || n[2][0] != b || n[2][1] != hk || n[2][2] != keys || k[3] != d || hk == 0 || h%hk != 0 {
		return fmt.Errorf("shapes %v, %v and %v do not fit", q, k, n[2])
	}
	scale := float64(c.Node.Float("scale", 0))
	if c.Node.Attr("scale") == nil {
		scale = 1 / math.Sqrt(float64(d))
	}
	dtype := c.In[0].DType()
	inner := dtype
	if p := c.Node.Int("softmax_precision", 0); p != 0 {
		inner = model.DType(p)
	} else if isHalf(c.In[0]) {
		inner = model.Float32
	}
	shape := []int{b, h, s, keys}
	p, err := c.zeros(shape...)
	if err != nil {
		return err
	}
	err = c.each(b*h*s, keys*d, func(i int) {
		kv := i/(h*s)*hk + i/s%h/(h/hk)
		for j := range keys {
			sum := 0.0
			for e, x := range v[0][i*d : (i+1)*d] {
				sum += x * v[1][(kv*keys+j)*d+e]
			}
			p[i*keys+j] = sum * scale
		}
	})
	if err != nil {
		return err
	}
	if p, err = c.modified("score_mod", inner, shape, p); err != nil {
		return err
	}
	for i := range b * h * s {
		if keys > 0 {
			softmaxRow64(p[i*keys:(i+1)*keys], p[i*keys:(i+1)*keys])
		}
	}
	if p, err = c.modified("prob_mod", inner, shape, p); err != nil {
		return err
	}
	out, err := c.zeros(b, h, s, dv)
	if err != nil {
		return err
	}
	err = c.each(b*h*s, keys*dv, func(i int) {
		kv := i/(h*s)*hk + i/s%h/(h/hk)
		for j, w := range p[i*keys : (i+1)*keys] {
			for e := range dv {
				out[i*dv+e] += w * v[2][(kv*keys+j)*dv+e]
			}
		}
	})
	if err != nil {
		return err
	}
	return c.result(0, dtype, []int{b, h, s, dv}, out)
}

// opSequenceMap runs the body once for every element of the sequence; further inputs that are sequences are walked
// beside it, tensors are the same every time.
func opSequenceMap(c *Call) error {
	first, err := c.Seq(0)
	if err != nil {
		return err
	}
	lists := make([][]*model.Tensor, len(c.Node.Outputs))
	for k := range first {
		if c.eval != nil {
			if err := c.eval.ctx.Err(); err != nil {
				return err
			}
		}
		var args []slot
		for i, in := range c.in {
			if in.is != isSequence {
				args = append(args, in)
				continue
			}
			if len(in.seq) != len(first) {
				return fmt.Errorf("input %d has %d elements, want %d", i, len(in.seq), len(first))
			}
			args = append(args, slot{t: in.seq[k]})
		}
		outs, err := c.runBody("body", args)
		if err != nil {
			return fmt.Errorf("element %d: %w", k, err)
		}
		if len(outs) != len(lists) {
			return fmt.Errorf("the body gives %d outputs, want %d", len(outs), len(lists))
		}
		for i, o := range outs {
			if o.t == nil {
				return fmt.Errorf("output %d of the body is no tensor", i)
			}
			if o.buf != nil {
				c.arena.giveAway(o.buf)
			}
			lists[i] = append(lists[i], o.t)
		}
	}
	for i, l := range lists {
		c.put(i, slot{seq: append([]*model.Tensor{}, l...), is: isSequence})
	}
	return nil
}
