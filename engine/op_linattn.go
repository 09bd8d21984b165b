package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// opLinearAttention runs the recurrence of LinearAttention-27 step by step.
func opLinearAttention(c *Call) error {
	n := c.Node
	hq, hk := int(n.Int("q_num_heads", 0)), int(n.Int("kv_num_heads", 0))
	rule := n.Str("update_rule", "gated_delta")
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if !gated && !delta && rule != "linear" || hq < 1 || hk < 1 || hq%hk != 0 {
		return fmt.Errorf("update_rule %q with %d and %d heads: %w", rule, hq, hk, model.ErrUnsupported)
	}
	q, err := newHeads(c, 0, hq)
	if err != nil {
		return err
	}
	k, err := newHeads(c, 1, hk)
	if err != nil {
		return err
	}
	v, err := newHeads(c, 2, hk)
	if err != nil {
		return err
	}
	if k.b != q.b || v.b != q.b || k.s != q.s || v.s != q.s || k.d != q.d || q.packed == 0 {
		return fmt.Errorf("query %v, key %v and value %v do not fit", c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	}
	var decay, beta []float32
	dn, bn := 0, 0
	for _, o := range []struct {
		want bool
		i    int
		v    *[]float32
		n    *int
	}{{gated, 4, &decay, &dn}, {delta, 5, &beta, &bn}} {
		t := c.Arg(o.i)
		if o.want != (t != nil) {
			return fmt.Errorf("update_rule %q and input %d do not fit", rule, o.i)
		}
		if t == nil {
			continue
		}
		if *o.v, err = model.Data[float32](t); err != nil {
			return err
		}
		if t.Rank() != 3 || t.Shape()[0] != q.b || t.Shape()[1] != q.s {
			return errShape(fmt.Sprintf("input %d", o.i), t, fmt.Sprintf("[%d %d n]", q.b, q.s))
		}
		*o.n = t.Shape()[2]
	}
	if gated && dn != hk && dn != hk*k.d || delta && bn != hk && bn != 1 {
		return fmt.Errorf("decay of width %d or beta of width %d does not fit %d heads of %d", dn, bn, hk, k.d)
	}
	size := k.d * v.d
	state, err := Out[float32](c, 1, []int{q.b, hk, k.d, v.d})
	if err != nil {
		return err
	}
	clear(state)
	if t := c.Arg(3); t != nil {
		old, err := model.Data[float32](t)
		if err != nil {
			return err
		}
		if len(old) != len(state) {
			return errShape("past_state", t, fmt.Sprint([]int{q.b, hk, k.d, v.d}))
		}
		copy(state, old)
	}
	out, err := Out[float32](c, 0, []int{q.b, q.s, hq * v.d})
	if err != nil {
		return err
	}
	scale := n.Float("scale", 0)
	if scale == 0 {
		scale = float32(1 / math.Sqrt(float64(k.d)))
	}
	group := hq / hk
	updates := 1 + group // of the state, or products with it, for every token
	if gated {
		updates++
	}
	if delta {
		updates++
	}
	return c.each(q.b*hk, q.s*k.d*updates*(6+v.d/16), func(i int) {
		b, h := i/hk, i%hk
		st := state[i*size : (i+1)*size]
		add := make([]float32, v.d)
		for t := range q.s {
			kt, vt := k.at(b, h)[t*k.pos:][:k.d], v.at(b, h)[t*v.pos:][:v.d]
			copy(add, vt)
			if gated {
				for d := range k.d {
					at := (b*q.s+t)*dn + h
					if dn != hk {
						at = (b*q.s+t)*dn + h*k.d + d
					}
					row := st[d*v.d : (d+1)*v.d]
					kernel.MulS(row, row, float32(math.Exp(float64(decay[at]))))
				}
			}
			if delta {
				for d, e := range kt {
					kernel.Axpy(-e, st[d*v.d:(d+1)*v.d], add)
				}
				kernel.MulS(add, add, beta[(b*q.s+t)*bn+h%bn])
			}
			for d, e := range kt {
				kernel.Axpy(e, add, st[d*v.d:(d+1)*v.d])
			}
			for g := range group {
				o := out[(b*q.s+t)*hq*v.d+(h*group+g)*v.d:][:v.d]
				clear(o)
				for d, e := range q.at(b, h*group+g)[t*q.pos:][:q.d] {
					kernel.Axpy(scale*e, st[d*v.d:(d+1)*v.d], o)
				}
			}
		}
	})
}

// opCausalConv is a depthwise convolution that looks back only, with the last inputs carried from call to call.
func opCausalConv(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	w, err := c.Need(1)
	if err != nil {
		return err
	}
	if x.Rank() != 3 || w.Rank() != 3 || w.Shape()[0] != x.Shape()[1] || w.Shape()[1] != 1 || w.Shape()[2] < 1 {
		return fmt.Errorf("input %v and weight %v do not fit", x.Shape(), w.Shape())
	}
	b, ch, l, k := x.Shape()[0], x.Shape()[1], x.Shape()[2], w.Shape()[2]
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	wt, err := model.Data[float32](w)
	if err != nil {
		return err
	}
	bias, err := biasOf(c, 2, ch)
	if err != nil {
		return err
	}
	n := l + k - 1
	padded := Scratch[float32](c, b*ch*n)
	clear(padded)
	if t := c.Arg(3); t != nil {
		old, err := model.Data[float32](t)
		if err != nil {
			return err
		}
		if len(old) != b*ch*(k-1) {
			return errShape("past_state", t, fmt.Sprint([]int{b, ch, k - 1}))
		}
		for r := range b * ch {
			copy(padded[r*n:], old[r*(k-1):(r+1)*(k-1)])
		}
	}
	dst, err := Out[float32](c, 0, x.Shape())
	if err != nil {
		return err
	}
	state, err := Out[float32](c, 1, []int{b, ch, k - 1})
	if err != nil {
		return err
	}
	for r := range b * ch {
		p := padded[r*n : (r+1)*n]
		copy(p[k-1:], src[r*l:(r+1)*l])
		for i := range l {
			var s float32
			for j, e := range wt[r%ch*k : (r%ch+1)*k] {
				s += p[i+j] * e
			}
			if bias != nil {
				s += bias[r%ch]
			}
			dst[r*l+i] = s
		}
		copy(state[r*(k-1):(r+1)*(k-1)], p[l:])
	}
	switch a := c.Node.Str("activation", "none"); a {
	case "none":
	case "silu", "swish":
		kernel.SiLU(dst, dst)
	default:
		return fmt.Errorf("activation %q: %w", a, model.ErrUnsupported)
	}
	return nil
}
