package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/model"
)

// gqa is one call of GroupQueryAttention.
type gqa struct {
	q, k, v headsTensor
	total   []int // keys of each entry, those of the cache included
	prompt  bool  // the cache is empty
	length  int   // positions of the cache that is made
}

// past is the number of positions of entry b that come from the cache.
func (g *gqa) past(b int) int {
	if g.prompt {
		return 0
	}
	return g.total[b] - g.q.s
}

// newGQA reads query, key and value, or all three packed in the query, and the lengths.
func newGQA(c *Call) (*gqa, error) {
	heads, kvHeads := int(c.Node.Int("num_heads", 0)), int(c.Node.Int("kv_num_heads", 0))
	x, err := c.Need(0)
	if err != nil {
		return nil, err
	}
	if x.Rank() != 3 || heads < 1 || kvHeads < 1 || heads%kvHeads != 0 {
		return nil, fmt.Errorf("query %v with %d and %d heads does not fit", x.Shape(), heads, kvHeads)
	}
	g := &gqa{}
	if c.Arg(1) == nil && c.Arg(2) == nil {
		b, s, w := x.Shape()[0], x.Shape()[1], x.Shape()[2]
		if w%(heads+2*kvHeads) != 0 {
			return nil, errShape("query", x, fmt.Sprintf("[B S %d*size]", heads+2*kvHeads))
		}
		d := w / (heads + 2*kvHeads)
		v, err := model.Data[float32](x)
		if err != nil {
			return nil, err
		}
		g.q = spread(v, b, s, heads, d, w, 0, d)
		g.k = spread(v, b, s, kvHeads, d, w, heads*d, d)
		g.v = spread(v, b, s, kvHeads, d, w, (heads+kvHeads)*d, d)
	} else {
		if g.q, err = newHeads(c, 0, heads); err != nil {
			return nil, err
		}
		if g.k, err = newHeads(c, 1, kvHeads); err != nil {
			return nil, err
		}
		if g.v, err = newHeads(c, 2, kvHeads); err != nil {
			return nil, err
		}
	}
	q := &g.q
	if g.k.packed == 0 || g.v.packed == 0 || g.k.b != q.b || g.v.b != q.b || g.k.s != q.s || g.v.s != q.s || g.k.d != q.d || g.v.d != q.d {
		return nil, fmt.Errorf("query, key and value do not fit")
	}
	lens, err := c.Need(5)
	if err != nil {
		return nil, err
	}
	if g.total, err = ints(lens); err != nil {
		return nil, err
	}
	longest, err := c.Need(6)
	if err != nil {
		return nil, err
	}
	most, err := scalarInt(longest)
	if err != nil {
		return nil, err
	}
	if len(g.total) != q.b {
		return nil, errShape("seqlens_k", lens, fmt.Sprintf("[%d]", q.b))
	}
	g.prompt = most == q.s
	for b, n := range g.total {
		if n < 0 || n >= most || !g.prompt && n+1 < q.s {
			return nil, fmt.Errorf("seqlens_k[%d] is %d, with %d new of %d positions at most", b, n, q.s, most)
		}
		g.total[b] = n + 1
	}
	g.length = most
	return g, nil
}

// turn applies the rotary embedding to queries and keys: cos_cache, sin_cache, position_ids are inputs 7 to 9.
func (g *gqa) turn(c *Call) error {
	var cache [2][]float32
	half := 0
	for i := range cache {
		t, err := c.Need(7 + i)
		if err != nil {
			return err
		}
		if cache[i], err = model.Data[float32](t); err != nil {
			return err
		}
		if t.Rank() != 2 || 2*t.Shape()[1] > g.q.d || i == 1 && t.Shape()[1] != half {
			return errShape("the cache", t, fmt.Sprintf("[positions %d]", g.q.d/2))
		}
		half = t.Shape()[1]
	}
	position := func(b, s int) int { return g.past(b) + s }
	if t := c.Arg(9); t != nil {
		ids, err := ints(t)
		if err != nil {
			return err
		}
		if len(ids) != g.q.b*g.q.s {
			return errShape("position_ids", t, fmt.Sprintf("[%d %d]", g.q.b, g.q.s))
		}
		position = func(b, s int) int {
			if g.prompt { // of a first prompt the first position counts alone, as the operator's description says
				return ids[0] + s
			}
			return ids[b*g.q.s+s]
		}
	}
	for _, t := range []*headsTensor{&g.q, &g.k} {
		w := t.h * t.d
		x := t.biased(c, make([]float32, w)) // a copy without gaps
		out := x
		out.v = Scratch[float32](c, len(x.v))
		if err := rotary(out.v, &x, cache[0], cache[1], half, c.Node.Int("rotary_interleaved", 0) != 0, position); err != nil {
			return err
		}
		*t = out
	}
	return nil
}

// cached makes output out: the cache of input in, [B, heads, length, size], with the new positions of t behind those that
// each entry has; what no entry has is 0. It fails for a total length that cache and new positions together do not reach.
func (g *gqa) cached(c *Call, t *headsTensor, in, out int) (headsTensor, error) {
	lens, before := make([]int, t.b), 0
	for b := range lens {
		lens[b] = g.past(b)
	}
	if p := c.Arg(in); p != nil && p.Rank() == 4 {
		before = p.Shape()[2]
	}
	if g.length > before+t.s {
		return *t, fmt.Errorf("total_sequence_length is %d, with %d new positions behind a cache of %d", g.length, t.s, before)
	}
	h, err := c.extend(t, []int{t.b}, in, out, lens, max(before, g.length))
	h.s = g.length
	return h, err
}

// opGroupQueryAttention is GroupQueryAttention of com.microsoft: query, key, value, past_key, past_value, seqlens_k,
// total_sequence_length, cos_cache, sin_cache, position_ids, attention_bias, head_sink. Entry b has seqlens_k[b]+1 keys, of which
// the last are the new ones; a query sees those up to its own, or all of them where causal is 0.
func opGroupQueryAttention(c *Call) error {
	n := c.Node
	for i := 12; i < c.NumIn(); i++ {
		if c.Arg(i) != nil {
			return fmt.Errorf("input %d: %w", i, model.ErrUnsupported)
		}
	}
	if c.Wants(3) {
		return fmt.Errorf("output qk: %w", model.ErrUnsupported)
	}
	if n.Int("sliding_window_cache", 0) != 0 {
		return fmt.Errorf("sliding_window_cache: %w", model.ErrUnsupported)
	}
	g, err := newGQA(c)
	if err != nil {
		return err
	}
	if n.Int("do_rotary", 0) != 0 {
		if err := g.turn(c); err != nil {
			return err
		}
	}
	k, err := g.cached(c, &g.k, 3, 1)
	if err != nil {
		return err
	}
	v, err := g.cached(c, &g.v, 4, 2)
	if err != nil {
		return err
	}
	q := &g.q
	var bias func(b, h, s int) []float32
	if t := c.Arg(10); t != nil {
		if bias, err = scoreBias(t, q.b, q.h, q.s, k.s); err != nil {
			return err
		}
	}
	var sink []float32
	if t := c.Arg(11); t != nil {
		if sink, err = biasOf(c, 11, q.h); err != nil {
			return err
		}
	} else if n.Int("smooth_softmax", 0) > 0 {
		sink = make([]float32, q.h)
	}
	window, causal := int(n.Int("local_window_size", -1)), n.Int("causal", 1) != 0
	if !causal && window >= 0 {
		return fmt.Errorf("local_window_size is %d with causal 0", window)
	}
	inf := float32(math.Inf(-1))
	seen := func(b, i int) (from, to int) {
		if !causal {
			return 0, g.total[b]
		}
		to = min(g.past(b)+i+1, k.s)
		if window >= 0 {
			from = max(0, to-window)
		}
		return from, to
	}
	span := func(b, lo, rows int) (int, int) {
		from, _ := seen(b, lo)
		_, to := seen(b, lo+rows-1)
		return from, to
	}
	frontier := func(b, _, lo, rows, at, n int, p []float32) {
		for r := range rows {
			row := p[r*n : (r+1)*n]
			from, to := seen(b, lo+r)
			for j := range row {
				if at+j < from || at+j >= to {
					row[j] = inf
				}
			}
		}
	}
	w := q.h * q.d
	out, err := Out[float32](c, 0, []int{q.b, q.s, w})
	if err != nil {
		return err
	}
	return c.attend(q, &k, &v, &attendRule{scale: c.scaleOr(q.d), softcap: n.Float("softcap", 0), mask: withBias(frontier, bias),
		span: span, sink: sink, out: out, batch: q.s * w, head: q.d, pos: w})
}

// opContribRotary is RotaryEmbedding of com.microsoft: input, position_ids ([1], the first position, or [B, S]),
// cos_cache, sin_cache.
func opContribRotary(c *Call) error {
	n := c.Node
	var cache [2][]float32
	half := 0
	for i := range cache {
		t, err := c.Need(2 + i)
		if err != nil {
			return err
		}
		if cache[i], err = model.Data[float32](t); err != nil {
			return err
		}
		if t.Rank() != 2 || i == 1 && t.Shape()[1] != half {
			return errShape("the cache", t, "[positions size/2]")
		}
		half = t.Shape()[1]
	}
	in, err := c.Need(0)
	if err != nil {
		return err
	}
	heads := int(n.Int("num_heads", 0))
	if heads == 0 && in.Rank() == 3 && half > 0 {
		heads = in.Shape()[2] / (2 * half)
	}
	x, err := newHeads(c, 0, heads)
	if err != nil {
		return err
	}
	if 2*half > x.d {
		return fmt.Errorf("a cache of %d for heads of %d", half, x.d)
	}
	pt, err := c.Need(1)
	if err != nil {
		return err
	}
	ids, err := ints(pt)
	if err != nil {
		return err
	}
	var position func(b, s int) int
	switch {
	case pt.Rank() == 1 && len(ids) == 1:
		position = func(_, s int) int { return ids[0] + s }
	case len(ids) == x.b*x.s:
		position = func(b, s int) int { return ids[b*x.s+s] }
	default:
		return errShape("position_ids", pt, fmt.Sprintf("[1] or [%d %d]", x.b, x.s))
	}
	dst, err := Out[float32](c, 0, in.Shape())
	if err != nil {
		return err
	}
	return rotary(dst, &x, cache[0], cache[1], half, n.Int("interleaved", 0) != 0, position)
}
