package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// attentionOps are the operators of transformer blocks.
func attentionOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Attention": float(opAttention), "RotaryEmbedding": float(opRotaryEmbedding), "SwiGLU": float(opSwiGLU),
		"LinearAttention": float(opLinearAttention),
	})
}

// headsTensor is a tensor seen as [batch, heads, length, size] with strides in elements.
type headsTensor struct {
	v                        []float32
	b, h, s, d               int
	batch, head, pos, packed int // strides; packed is the row width of the rank 3 form
}

// newHeads views input i as heads: rank 4 as it is, rank 3 split by the given number.
func newHeads(c *Call, i, heads int) (headsTensor, error) {
	var t headsTensor
	x, err := c.Need(i)
	if err != nil {
		return t, err
	}
	if t.v, err = model.Data[float32](x); err != nil {
		return t, err
	}
	n := x.Shape()
	switch {
	case len(n) == 4:
		t.b, t.h, t.s, t.d = n[0], n[1], n[2], n[3]
		t.batch, t.head, t.pos = n[1]*n[2]*n[3], n[2]*n[3], n[3]
	case len(n) == 3 && heads > 0 && n[2]%heads == 0:
		t.b, t.h, t.s, t.d, t.packed = n[0], heads, n[1], n[2]/heads, n[2]
		t.batch, t.head, t.pos = n[1]*n[2], t.d, n[2]
	default:
		return t, errShape(fmt.Sprintf("input %d", i), x, fmt.Sprintf("rank 4, or rank 3 with %d heads", heads))
	}
	return t, nil
}

// at returns the rows of one head; the row stride is pos.
func (t *headsTensor) at(b, h int) []float32 { return t.v[min(b*t.batch+h*t.head, len(t.v)):] }

// opAttention is Attention of opset 23 and later: Q, K, V, attn_mask, past_key, past_value, nonpad_kv_seqlen.
func opAttention(c *Call) error {
	n := c.Node
	q, err := newHeads(c, 0, int(n.Int("q_num_heads", 0)))
	if err != nil {
		return err
	}
	kvHeads := int(n.Int("kv_num_heads", 0))
	k, err := newHeads(c, 1, kvHeads)
	if err != nil {
		return err
	}
	v, err := newHeads(c, 2, kvHeads)
	if err != nil {
		return err
	}
	past := 0
	if p := c.Arg(4); p != nil && p.Rank() == 4 {
		past = p.Shape()[2]
	}
	if err := k.present(c, 4, 1); err != nil {
		return err
	}
	if err := v.present(c, 5, 2); err != nil {
		return err
	}
	if k.b != q.b || v.b != q.b || k.h == 0 || q.h%k.h != 0 || v.h != k.h || k.d != q.d || k.s != v.s {
		return fmt.Errorf("inputs Q %v, K %v and V %v do not fit", c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape())
	}
	shape := []int{q.b, q.h, q.s, v.d}
	r := attendRule{batch: q.h * q.s * v.d, head: q.s * v.d, pos: v.d, softcap: n.Float("softcap", 0), scale: n.Float("scale", 0)}
	if q.packed != 0 {
		row := q.h * v.d
		shape = []int{q.b, q.s, row}
		r.batch, r.head, r.pos = q.s*row, v.d, row
	}
	if r.out, err = Out[float32](c, 0, shape); err != nil {
		return err
	}
	if n.Attr("scale") == nil {
		r.scale = float32(1 / math.Sqrt(float64(q.d)))
	}
	if c.Wants(3) {
		scores, err := Out[float32](c, 3, []int{q.b, q.h, q.s, k.s})
		if err != nil {
			return err
		}
		clear(scores) // of values without columns nothing is computed
		mode := n.Int("qk_matmul_output_mode", 0)
		r.keep = func(stage int64, b, h, lo int, p []float32) {
			if stage == mode {
				copy(scores[((b*q.h+h)*q.s+lo)*k.s:], p)
			}
		}
	}
	if err := attentionMasks(c, &r, &q, k.s, past); err != nil {
		return err
	}
	return c.attend(&q, &k, &v, &r)
}

// attentionMasks sets what hides keys from queries: attn_mask, the causal frontier, the sliding window, and the padding
// behind nonpad_kv_seqlen.
func attentionMasks(c *Call, r *attendRule, q *headsTensor, keys, past int) error {
	n := c.Node
	causal := n.Int("is_causal", 0) != 0
	left, right := int(n.Int("left_window_size", -1)), int(n.Int("right_window_size", -1))
	mask, lens := c.Arg(3), []int(nil)
	if t := c.Arg(6); t != nil {
		var err error
		if lens, err = ints(t); err != nil {
			return err
		}
		if len(lens) != q.b {
			return errShape("nonpad_kv_seqlen", t, fmt.Sprintf("[%d]", q.b))
		}
	}
	if mask == nil && !causal && left < 0 && right < 0 && lens == nil {
		return nil
	}
	width := keys
	var add func(b, h, s, from int, p []float32)
	if mask != nil {
		var err error
		if add, width, err = c.scoreMask(mask, []int{q.b, q.h, q.s, keys}); err != nil {
			return err
		}
	}
	// seen returns the keys that query i of entry b sees.
	seen := func(b, i int) (from, to int) {
		offset, to := past, width
		if lens != nil {
			to = min(to, lens[b])
			if c.Arg(4) == nil {
				offset = lens[b] - q.s
			}
		}
		if causal {
			to = min(to, i+offset+1)
		}
		if right >= 0 {
			to = min(to, i+offset+right+1)
		}
		if left >= 0 {
			from = max(0, i+offset-left)
		}
		return from, max(to, 0)
	}
	r.span = func(b, lo, rows int) (int, int) {
		from, _ := seen(b, lo)
		_, to := seen(b, lo+rows-1)
		return from, to
	}
	inf := float32(math.Inf(-1))
	r.mask = func(b, h, lo, rows, at, n int, p []float32) {
		for i := range rows {
			row := p[i*n : (i+1)*n]
			from, to := seen(b, lo+i)
			from = min(max(from-at, 0), n)
			to = min(max(to-at, from), n)
			for j := range from {
				row[j] = inf
			}
			if add != nil && to > from {
				add(b, h, lo+i, at+from, row[from:to])
			}
			for j := to; j < n; j++ {
				row[j] = inf
			}
		}
	}
	return nil
}

// scoreMask returns a function that adds a mask, which broadcasts to want [B, H, S, K], to the scores p of keys from on of
// one query: a float is added, a false hides the key. The last dimension may be shorter than K; it is returned.
func (c *Call) scoreMask(mask *model.Tensor, want []int) (add func(b, h, s, from int, p []float32), width int, err error) {
	have := mask.Shape()
	if len(have) > 4 || len(have) == 0 || have[len(have)-1] > want[3] {
		return nil, 0, errShape("attn_mask", mask, fmt.Sprintf("one that broadcasts to %v", want))
	}
	width = have[len(have)-1]
	narrow := []int{want[0], want[1], want[2], width}
	if s, err := broadcastShape(have, narrow); err != nil || !sameShape(s, narrow) {
		return nil, 0, errShape("attn_mask", mask, fmt.Sprintf("one that broadcasts to %v", want))
	}
	str := broadcastStrides(have, narrow)
	if mask.DType() == model.Bool {
		v, err := model.Data[bool](mask)
		inf := float32(math.Inf(-1))
		return func(b, h, s, from int, p []float32) {
			for j, m := range v[b*str[0]+h*str[1]+s*str[2]+from:][:len(p)] {
				if !m {
					p[j] = inf
				}
			}
		}, width, err
	}
	var v []float32
	if mask.DType() == model.Float32 {
		v, err = model.Data[float32](mask)
	} else if x, err2 := c.toFloat64(mask); err2 == nil {
		v = Scratch[float32](c, len(x))
		for i, e := range x {
			v[i] = float32(e)
		}
	} else {
		err = err2
	}
	return func(b, h, s, from int, p []float32) {
		kernel.Add(p, p, v[b*str[0]+h*str[1]+s*str[2]+from:][:len(p)])
	}, width, err
}

func opRotaryEmbedding(c *Call) error {
	n := c.Node
	x, err := newHeads(c, 0, int(n.Int("num_heads", 0)))
	if err != nil {
		return err
	}
	dst, err := Out[float32](c, 0, c.In[0].Shape())
	if err != nil {
		return err
	}
	rot := int(n.Int("rotary_embedding_dim", 0))
	if rot == 0 {
		rot = x.d
	}
	if rot < 0 || rot > x.d {
		return fmt.Errorf("rotary_embedding_dim %d of heads of %d", rot, x.d)
	}
	half := rot / 2
	var cache [2][]float32
	for i := range cache {
		t, err := c.Need(1 + i)
		if err != nil {
			return err
		}
		if cache[i], err = model.Data[float32](t); err != nil {
			return err
		}
		if t.Rank() == 0 || t.Shape()[t.Rank()-1] != half {
			return errShape("the cache", t, fmt.Sprintf("[... %d]", half))
		}
	}
	var pos []int
	if t := c.Arg(3); t != nil {
		if pos, err = ints(t); err != nil {
			return err
		}
		if len(pos) != x.b*x.s {
			return errShape("position_ids", t, fmt.Sprintf("[%d %d]", x.b, x.s))
		}
	}
	position := func(b, s int) int { return b*x.s + s }
	if pos != nil {
		position = func(b, s int) int { return pos[b*x.s+s] }
	}
	return rotary(dst, &x, cache[0], cache[1], half, n.Int("interleaved", 0) != 0, position)
}

func opSwiGLU(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if a.DType() != b.DType() || !sameShape(a.Shape(), b.Shape()) {
		return fmt.Errorf("inputs are %s%v and %s%v, want two of the same", a.DType(), a.Shape(), b.DType(), b.Shape())
	}
	x, err := c.toFloat64(a)
	if err != nil {
		return err
	}
	y, err := c.toFloat64(b)
	if err != nil {
		return err
	}
	alpha := float64(c.Node.Float("alpha", 1))
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = v * sigmoid64(alpha*v) * y[i]
	}
	t, err := fromFloat64(a.DType(), a.Shape(), out, castRule{})
	if err == nil {
		c.Set(0, t)
	}
	return err
}
