package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// contribMask reads mask_index (or key_padding_mask) in the forms that ONNX Runtime takes: [B] (the keys of an entry end
// there), [2B] (the ends, then the starts), [3B+2] (the ends, then offsets of packed sequences, which say nothing more), [B, K] or
// [B, S, K] (1 = look, 0 = not). It adds
// mask_filter_value to the scores of keys that are hidden; the causal frontier makes them the lowest number. Neither is -Inf.
func (c *Call) contribMask(t *model.Tensor, q *headsTensor, keys, past int, causal bool) (scoreChange, error) {
	filter := c.Node.Float("mask_filter_value", -10000)
	var rowsPer int // rows of add per entry: 0 none, 1 or q.s
	var add []float32
	if t != nil {
		v, err := ints(t)
		if err != nil {
			return nil, err
		}
		n := t.Shape()
		switch {
		case len(n) == 1 && (n[0] == q.b || n[0] == 2*q.b || n[0] == 3*q.b+2):
			rowsPer, add = 1, Scratch[float32](c, q.b*keys)
			for b := range q.b {
				start := 0
				if n[0] == 2*q.b {
					start = min(v[q.b+b], keys)
				}
				for j := range keys {
					add[b*keys+j] = 0
					if j >= v[b] || j < start {
						add[b*keys+j] = filter
					}
				}
			}
		case len(n) == 2 && n[0] == q.b && n[1] == keys, len(n) == 3 && n[0] == q.b && n[1] == q.s && n[2] == keys:
			rowsPer, add = 1, Scratch[float32](c, len(v))
			if len(n) == 3 {
				rowsPer = q.s
			}
			for i, m := range v {
				add[i] = 0
				if m <= 0 {
					add[i] = filter
				}
			}
		default:
			return nil, fmt.Errorf("mask of shape %v for %d entries, %d queries and %d keys: %w", n, q.b, q.s, keys, model.ErrUnsupported)
		}
	}
	if add == nil && !causal {
		return nil, nil
	}
	return func(b, _, lo, rows, from, n int, p []float32) {
		for r := range rows {
			row := p[r*n : (r+1)*n]
			if add != nil {
				at := b * keys
				if rowsPer > 1 {
					at = (b*q.s + lo + r) * keys
				}
				kernel.Add(row, row, add[at+from:][:n])
			}
			if causal {
				for j := max(0, past+lo+r+1-from); j < n; j++ {
					row[j] = -math.MaxFloat32
				}
			}
		}
	}, nil
}

// scoreChange is the mask of an attendRule.
type scoreChange = func(b, h, lo, rows, from, n int, p []float32)

// withBias adds a bias of the scores to a mask; both may be nil.
func withBias(mask scoreChange, bias func(b, h, s int) []float32) scoreChange {
	if bias == nil {
		return mask
	}
	return func(b, h, lo, rows, from, n int, p []float32) {
		if mask != nil {
			mask(b, h, lo, rows, from, n, p)
		}
		for r := range rows {
			kernel.Add(p[r*n:(r+1)*n], p[r*n:(r+1)*n], bias(b, h, lo+r)[from:from+n])
		}
	}
}

// scaleOr returns the attribute scale; 0 or none means 1/sqrt(size).
func (c *Call) scaleOr(size int) float32 {
	if s := c.Node.Float("scale", 0); s != 0 {
		return s
	}
	return float32(1 / math.Sqrt(float64(max(size, 1))))
}

// attendFlat makes output 0, [B, S, heads*size], of attention under a mask and a bias of the scores (input at).
func (c *Call) attendFlat(q, k, v *headsTensor, mask scoreChange, at int) error {
	var bias func(b, h, s int) []float32
	if t := c.Arg(at); t != nil {
		var err error
		if bias, err = scoreBias(t, q.b, q.h, q.s, k.s); err != nil {
			return err
		}
	}
	w := q.h * v.d
	out, err := Out[float32](c, 0, []int{q.b, q.s, w})
	if err != nil {
		return err
	}
	return c.attend(q, k, v, &attendRule{scale: c.scaleOr(q.d), mask: withBias(mask, bias), out: out, batch: q.s * w, head: v.d, pos: w})
}

// mhaInputs returns the heads of query, key and value of MultiHeadAttention, whichever of its layouts they have, and
// whether keys and values come ready from elsewhere ([B, heads, keys, size], for cross attention).
func mhaInputs(c *Call, heads int) (q, k, v headsTensor, ready bool, err error) {
	if heads < 1 {
		return q, k, v, false, fmt.Errorf("num_heads is %d", heads)
	}
	data := func(i, rank int) (x []float32, n []int, err error) {
		t, err := c.Need(i)
		if err != nil {
			return nil, nil, err
		}
		if t.Rank() != rank {
			return nil, nil, errShape(fmt.Sprintf("input %d", i), t, fmt.Sprintf("rank %d", rank))
		}
		x, err = model.Data[float32](t)
		return x, t.Shape(), err
	}
	qt, err := c.Need(0)
	if err != nil {
		return
	}
	if qt.Rank() == 5 { // [B, S, heads, 3, size]
		x, n, err := data(0, 5)
		if err != nil {
			return q, k, v, false, err
		}
		if n[2] != heads || n[3] != 3 || c.Arg(1) != nil || c.Arg(2) != nil {
			return q, k, v, false, errShape("query", qt, fmt.Sprintf("[B S %d 3 size], without key and value", heads))
		}
		part := func(i int) headsTensor { return spread(x, n[0], n[1], heads, n[4], heads*3*n[4], i*n[4], 3*n[4]) }
		return part(0), part(1), part(2), false, nil
	}
	if q, err = newHeads(c, 0, heads); err != nil {
		return
	}
	if q.packed == 0 {
		err = errShape("query", qt, "rank 3 or 5")
		return
	}
	kt, err := c.Need(1)
	if err != nil {
		return
	}
	switch kt.Rank() {
	case 5: // [B, K, heads, 2, size]
		x, n, err := data(1, 5)
		if err != nil {
			return q, k, v, false, err
		}
		if n[2] != heads || n[3] != 2 || c.Arg(2) != nil {
			return q, k, v, false, errShape("key", kt, fmt.Sprintf("[B K %d 2 size], without value", heads))
		}
		part := func(i int) headsTensor { return spread(x, n[0], n[1], heads, n[4], heads*2*n[4], i*n[4], 2*n[4]) }
		return q, part(0), part(1), false, nil
	case 4:
		ready = true
	}
	if k, err = newHeads(c, 1, heads); err != nil {
		return
	}
	v, err = newHeads(c, 2, heads)
	return q, k, v, ready, err
}

// opMultiHeadAttention is MultiHeadAttention of com.microsoft: query, key, value, bias, key_padding_mask, attention_bias,
// past_key, past_value.
func opMultiHeadAttention(c *Call) error {
	for i := 8; i < c.NumIn(); i++ {
		if c.Arg(i) != nil {
			return fmt.Errorf("input %d: %w", i, model.ErrUnsupported)
		}
	}
	if c.Wants(3) {
		return fmt.Errorf("output qk: %w", model.ErrUnsupported)
	}
	q, k, v, ready, err := mhaInputs(c, int(c.Node.Int("num_heads", 0)))
	if err != nil {
		return err
	}
	if t := c.Arg(3); t != nil {
		wq, wk, wv := q.h*q.d, k.h*k.d, v.h*v.d
		bias, err := biasOf(c, 3, wq+wk+wv)
		if err != nil {
			return err
		}
		q = q.biased(c, bias[:wq])
		if !ready {
			k, v = k.biased(c, bias[wq:wq+wk]), v.biased(c, bias[wq+wk:])
		}
	}
	past := 0
	if p := c.Arg(6); p != nil && p.Rank() == 4 {
		past = p.Shape()[2]
	}
	if err := k.present(c, 6, 1); err != nil {
		return err
	}
	if err := v.present(c, 7, 2); err != nil {
		return err
	}
	mask, err := c.contribMask(c.Arg(4), &q, k.s, past, c.Node.Int("unidirectional", 0) != 0)
	if err != nil {
		return err
	}
	return c.attendFlat(&q, &k, &v, mask, 5)
}

// opContribAttention is Attention of com.microsoft: input, weights, bias, mask_index, past, attention_bias. Queries, keys
// and values are input times the three parts of weights.
func opContribAttention(c *Call) error {
	n := c.Node
	heads := int(n.Int("num_heads", 0))
	if n.Int("do_rotary", 0) != 0 || n.Int("past_present_share_buffer", 0) != 0 || c.Arg(6) != nil {
		return fmt.Errorf("do_rotary, or past in a shared buffer: %w", model.ErrUnsupported)
	}
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	w, err := c.Need(1)
	if err != nil {
		return err
	}
	if x.Rank() != 3 || w.Rank() != 2 || w.Shape()[0] != x.Shape()[2] || heads < 1 {
		return fmt.Errorf("input %v and weights %v with %d heads do not fit", x.Shape(), w.Shape(), heads)
	}
	b, s, wide := x.Shape()[0], x.Shape()[1], w.Shape()[1]
	sizes := attrInts(n, "qkv_hidden_sizes")
	if sizes == nil {
		sizes = []int{wide / 3, wide / 3, wide / 3}
	}
	if len(sizes) != 3 || sizes[0] < 1 || sizes[2] < 1 || sizes[0]+sizes[1]+sizes[2] != wide || sizes[0] != sizes[1] || sizes[0]%heads != 0 || sizes[2]%heads != 0 {
		return fmt.Errorf("qkv_hidden_sizes %v do not fit %d columns and %d heads", sizes, wide, heads)
	}
	bias, err := biasOf(c, 2, wide)
	if err != nil {
		return err
	}
	src, err := model.Data[float32](x)
	if err != nil {
		return err
	}
	qkv := Scratch[float32](c, b*s*wide)
	if pw := c.packed(); pw != nil {
		pw.mul(c.pool, b*s, src, x.Shape()[2], qkv, wide, kernel.Epilogue{Bias: bias})
	} else {
		y, err := model.Data[float32](w)
		if err != nil {
			return err
		}
		kernel.MatMulF32(c.pool, b*s, wide, x.Shape()[2], src, x.Shape()[2], false, y, wide, false, qkv, wide, kernel.Epilogue{Bias: bias})
	}
	q := spread(qkv, b, s, heads, sizes[0]/heads, wide, 0, sizes[0]/heads)
	k := spread(qkv, b, s, heads, sizes[0]/heads, wide, sizes[0], sizes[0]/heads)
	v := spread(qkv, b, s, heads, sizes[2]/heads, wide, 2*sizes[0], sizes[2]/heads)
	past := 0
	if t := c.Arg(4); t != nil || c.Wants(1) {
		if k.d != v.d {
			return fmt.Errorf("a cache of keys of %d and values of %d: %w", k.d, v.d, model.ErrUnsupported)
		}
		if t != nil && t.Rank() == 5 {
			past = t.Shape()[3]
		}
		if k, v, err = c.presentPair(&k, &v, past); err != nil {
			return err
		}
	}
	mask, err := c.contribMask(c.Arg(3), &q, k.s, past, n.Int("unidirectional", 0) != 0)
	if err != nil {
		return err
	}
	return c.attendFlat(&q, &k, &v, mask, 5)
}

// presentPair makes output 1, [2, B, heads, past+S, size]: the keys and the values of input 4 with those of k and v behind them.
// It returns the heads of all keys and values.
func (c *Call) presentPair(k, v *headsTensor, past int) (headsTensor, headsTensor, error) {
	w := k.h * k.d
	both := spread(Scratch[float32](c, 2*k.b*k.s*w), 2*k.b, k.s, k.h, k.d, w, 0, k.d)
	for i, t := range []*headsTensor{k, v} {
		for b := range t.b {
			for s := range t.s {
				copy(both.v[((i*t.b+b)*t.s+s)*w:][:w], t.v[b*t.batch+s*t.pos:])
			}
		}
	}
	lens := make([]int, both.b)
	for i := range lens {
		lens[i] = past
	}
	all, err := c.extend(&both, []int{2, k.b}, 4, 1, lens, past+k.s)
	if err != nil {
		return all, all, err
	}
	keys, values := all, all
	keys.b, values.b = k.b, k.b
	values.v = all.v[min(k.b*all.batch, len(all.v)):]
	return keys, values, nil
}
