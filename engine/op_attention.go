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

// present makes output i: past joined with t, as [B, H, S, D]; t then views it.
func (t *headsTensor) present(c *Call, past, i int) error {
	p := c.Arg(past)
	if p == nil && !c.Wants(i) {
		return nil
	}
	before := 0
	var old []float32
	if p != nil {
		if p.Rank() != 4 || p.Shape()[0] != t.b || p.Shape()[1] != t.h || p.Shape()[3] != t.d {
			return errShape("the cache", p, fmt.Sprintf("[%d %d length %d]", t.b, t.h, t.d))
		}
		before = p.Shape()[2]
		var err error
		if old, err = model.Data[float32](p); err != nil {
			return err
		}
	}
	shape := []int{t.b, t.h, before + t.s, t.d}
	var out []float32
	if c.Wants(i) {
		var err error
		if out, err = Out[float32](c, i, shape); err != nil {
			return err
		}
	} else {
		out = Scratch[float32](c, product(shape))
	}
	n := (before + t.s) * t.d
	for b := range t.b {
		for h := range t.h {
			dst := out[(b*t.h+h)*n:]
			copy(dst[:before*t.d], old[min((b*t.h+h)*before*t.d, len(old)):])
			src := t.at(b, h)
			for s := range t.s {
				copy(dst[(before+s)*t.d:][:t.d], src[s*t.pos:][:t.d])
			}
		}
	}
	*t = headsTensor{v: out, b: t.b, h: t.h, s: before + t.s, d: t.d, batch: t.h * n, head: n, pos: t.d}
	return nil
}

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
	bias, err := attentionBias(c, &q, k.s, past)
	if err != nil {
		return err
	}
	shape, row := []int{q.b, q.h, q.s, v.d}, v.d
	if q.packed != 0 {
		shape, row = []int{q.b, q.s, q.h * v.d}, q.h*v.d
	}
	out, err := Out[float32](c, 0, shape)
	if err != nil {
		return err
	}
	var scores []float32
	if c.Wants(3) {
		if scores, err = Out[float32](c, 3, []int{q.b, q.h, q.s, k.s}); err != nil {
			return err
		}
	} else {
		scores = Scratch[float32](c, q.b*q.h*q.s*k.s)
	}
	if len(out) == 0 || k.s == 0 {
		clear(out)
		return nil
	}
	scale := n.Float("scale", 0)
	if n.Attr("scale") == nil {
		scale = float32(1 / math.Sqrt(float64(q.d)))
	}
	mode, softcap := n.Int("qk_matmul_output_mode", 0), n.Float("softcap", 0)
	work := scores
	if c.Wants(3) && mode != 3 {
		work = Scratch[float32](c, len(scores))
	}
	c.Note("attention-"+kernel.Active().String(), int64(q.b*q.h*q.s*k.s)*int64(q.d+v.d), 0)
	c.pool.Run(q.b*q.h, func(i int) {
		b, h := i/q.h, i%q.h
		size := q.s * k.s
		p := work[i*size : (i+1)*size]
		keep := func(m int64) {
			if c.Wants(3) && mode == m {
				copy(scores[i*size:(i+1)*size], p)
			}
		}
		kv := h / (q.h / k.h)
		kernel.MatMulF32(nil, q.s, k.s, q.d, q.at(b, h), q.pos, false, k.at(b, kv), k.pos, true, p, k.s, kernel.Epilogue{Alpha: scale})
		keep(0)
		if softcap > 0 {
			kernel.MulS(p, p, 1/softcap)
			kernel.Tanh(p, p)
			kernel.MulS(p, p, softcap)
		}
		keep(1)
		if bias != nil {
			kernel.Add(p, p, bias[i*size:(i+1)*size])
		}
		keep(2)
		softmaxMasked(p, q.s, k.s)
		at := (b*q.h + h) * q.s * v.d
		if q.packed != 0 {
			at = b*q.s*row + h*v.d
		}
		kernel.MatMulF32(nil, q.s, v.d, k.s, p, k.s, false, v.at(b, kv), v.pos, false, out[at:], row, kernel.Epilogue{})
	})
	return nil
}

// softmaxMasked is the softmax of rows; one that is -Inf throughout gives zeros.
func softmaxMasked(p []float32, rows, n int) {
	kernel.SoftmaxRows(p, p, rows, n, 1, nil)
	for r := range rows {
		if s := p[r*n : (r+1)*n]; s[0] != s[0] {
			clear(s)
		}
	}
}

// attentionBias returns what is added to the scores [B, H, S, K], nil when that is nothing: the mask, the causal frontier,
// the sliding window, and the padding behind nonpad_kv_seqlen.
func attentionBias(c *Call, q *headsTensor, keys, past int) ([]float32, error) {
	n := c.Node
	causal := n.Int("is_causal", 0) != 0
	left, right := int(n.Int("left_window_size", -1)), int(n.Int("right_window_size", -1))
	mask, lens := c.Arg(3), []int(nil)
	if t := c.Arg(6); t != nil {
		var err error
		if lens, err = ints(t); err != nil {
			return nil, err
		}
		if len(lens) != q.b {
			return nil, errShape("nonpad_kv_seqlen", t, fmt.Sprintf("[%d]", q.b))
		}
	}
	if mask == nil && !causal && left < 0 && right < 0 && lens == nil {
		return nil, nil
	}
	inf := float32(math.Inf(-1))
	bias := Scratch[float32](c, q.b*q.h*q.s*keys)
	clear(bias)
	if mask != nil {
		if err := spreadMask(bias, mask, []int{q.b, q.h, q.s, keys}); err != nil {
			return nil, err
		}
	}
	for b := range q.b {
		offset, valid := past, keys
		if lens != nil {
			valid = lens[b]
			if c.Arg(4) == nil {
				offset = valid - q.s
			}
		}
		for h := range q.h {
			for i := range q.s {
				row := bias[((b*q.h+h)*q.s+i)*keys:][:keys]
				for j := range row {
					d := i + offset - j
					if causal && d < 0 || left >= 0 && d > left || right >= 0 && -d > right || j >= valid {
						row[j] = inf
					}
				}
			}
		}
	}
	return bias, nil
}

// spreadMask broadcasts a bool or float mask, whose last dimension may be short, over the scores.
func spreadMask(bias []float32, mask *model.Tensor, want []int) error {
	have := mask.Shape()
	keys := want[3]
	if len(have) > 4 || len(have) == 0 || have[len(have)-1] > keys {
		return errShape("attn_mask", mask, fmt.Sprintf("one that broadcasts to %v", want))
	}
	w := have[len(have)-1]
	narrow := []int{want[0], want[1], want[2], w}
	if s, err := broadcastShape(have, narrow); err != nil || !sameShape(s, narrow) {
		return errShape("attn_mask", mask, fmt.Sprintf("one that broadcasts to %v", want))
	}
	v, err := toFloat64(mask)
	if err != nil {
		return err
	}
	inf := float32(math.Inf(-1))
	full := w == 1 && keys > 1 && false
	for i := range bias {
		if i%keys >= w && !full {
			bias[i] = inf
		}
	}
	eachBroadcast(narrow, [][]int{have}, func(i int, off []int) {
		m := float32(v[off[0]])
		if mask.DType() == model.Bool {
			if m != 0 {
				m = 0
			} else {
				m = inf
			}
		}
		bias[i/w*keys+i%w] = m
	})
	return nil
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
	copy(dst, x.v)
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
	inter := n.Int("interleaved", 0) != 0
	for b := range x.b {
		for s := range x.s {
			row := b*x.s + s
			if pos != nil {
				row = pos[row]
			}
			if row < 0 || half > 0 && row >= min(len(cache[0]), len(cache[1]))/half {
				return fmt.Errorf("position %d is outside of the cache", row)
			}
			co, si := cache[0][row*half:], cache[1][row*half:]
			for h := range x.h {
				at := b*x.batch + h*x.head + s*x.pos
				for j := range half {
					p, q := at+j, at+half+j
					if inter {
						p, q = at+2*j, at+2*j+1
					}
					a, z := x.v[p], x.v[q]
					dst[p], dst[q] = co[j]*a-si[j]*z, si[j]*a+co[j]*z
				}
			}
		}
	}
	return nil
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
