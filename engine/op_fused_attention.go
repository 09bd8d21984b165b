package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/model"
)

// opFusedAttention is softmax(scale Q K^T + mask) V for every head of [B, S, heads*D] tensors, or of those of rank 4 where there is
// a layout.
func opFusedAttention(c *Call) error {
	if layout := attrInts(c.Node, "layout"); len(layout) == 4 {
		return wholeAttention(c, layout)
	}
	var x [3][]float32
	for i := range x {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if t.Rank() != 3 {
			return errShape(fmt.Sprintf("input %d", i), t, "rank 3")
		}
		if t.DType() != model.Float32 {
			return errUnfused
		}
		if x[i], err = model.Data[float32](t); err != nil {
			return err
		}
	}
	h := int(c.Node.Int("heads", 1))
	qs, ks, vs := c.In[0].Shape(), c.In[1].Shape(), c.In[2].Shape()
	b, s, k := qs[0], qs[1], ks[1]
	if ks[0] != b || vs[0] != b || vs[1] != k || qs[2] != ks[2] || qs[2]%h != 0 || vs[2]%h != 0 {
		return fmt.Errorf("shapes %v, %v and %v do not fit %d heads", qs, ks, vs, h)
	}
	d, dv := qs[2]/h, vs[2]/h
	row, rowV := qs[2], vs[2]
	if at := attrInts(c.Node, "offsets"); at != nil { // three parts of one merged matrix
		d = int(c.Node.Int("size", 0))
		dv = d
		for i, o := range at {
			if o < 0 || d < 1 || o+h*d > row || row != rowV {
				return fmt.Errorf("columns %d of %d do not fit %d heads of %d", o, row, h, d)
			}
			x[i] = x[i][min(o, len(x[i])):]
		}
	}
	out, err := Out[float32](c, 0, []int{b, s, h * dv})
	if err != nil || len(out) == 0 {
		return err
	}
	if k == 0 { // sums of nothing
		clear(out)
		return nil
	}
	if d == 0 {
		return errUnfused
	}
	mask, ms, err := attentionMask(c, b, h, s, k)
	if err != nil {
		return err
	}
	q := headsTensor{v: x[0], b: b, h: h, s: s, d: d, batch: s * row, head: d, pos: row}
	key := headsTensor{v: x[1], b: b, h: h, s: k, d: d, batch: k * row, head: d, pos: row}
	val := headsTensor{v: x[2], b: b, h: h, s: k, d: dv, batch: k * rowV, head: dv, pos: rowV}
	r := fusedRule(c, mask, ms)
	r.out, r.batch, r.head, r.pos = out, s*h*dv, dv, h*dv
	return c.attend(&q, &key, &val, r)
}

// fusedRule returns the rule of a fused attention, without its output.
func fusedRule(c *Call, mask []float32, strides [3]int) *attendRule {
	add := func(b, h, lo int) ([]float32, int) {
		if mask == nil {
			return nil, 0
		}
		return mask[b*strides[0]+h*strides[1]+lo*strides[2]:], strides[2]
	}
	return &attendRule{scale: c.Node.Float("scale", 1), add: add, guard: c.Node.Int("guard", 0) != 0}
}

// wholeAttention is opFusedAttention on tensors of rank 4: of Q, K, V and the output, layout says whether they are [B, H, S, D] (0) or
// [B, S, H, D] (1). group heads of Q share one of K and V; one head of these is that of all.
func wholeAttention(c *Call, layout []int) error {
	var x [3]headsTensor
	for i := range x {
		t, err := c.Need(i)
		if err != nil {
			return err
		}
		if t.Rank() != 4 || t.DType() != model.Float32 {
			return errUnfused
		}
		if x[i], err = newHeads(c, i, 0); err != nil {
			return err
		}
		if n := t.Shape(); layout[i] == 1 {
			x[i] = spread(x[i].v, n[0], n[1], n[2], n[3], n[2]*n[3], 0, n[3])
		}
	}
	q, k, v := &x[0], &x[1], &x[2]
	group := int(c.Node.Int("group", 1))
	if k.b != q.b || v.b != q.b || v.h != k.h || k.d != q.d || k.s != v.s || k.h*group != q.h && (group != 1 || k.h != 1) || k.s == 0 || k.d == 0 || k.h == 0 {
		return errUnfused // products whose operands are repeated are left to MatMul
	}
	mask, ms, err := attentionMask(c, q.b, q.h, q.s, k.s)
	if err != nil {
		return err
	}
	r := fusedRule(c, mask, ms)
	shape := []int{q.b, q.h, q.s, v.d}
	r.batch, r.head, r.pos = q.h*q.s*v.d, q.s*v.d, v.d
	if layout[3] == 1 {
		shape[1], shape[2] = q.s, q.h
		r.head, r.pos = v.d, q.h*v.d
	}
	if r.out, err = Out[float32](c, 0, shape); err != nil {
		return err
	}
	return c.attend(q, k, v, r)
}

// attentionMask returns the mask with its strides over batch, heads and queries; keys are always contiguous.
func attentionMask(c *Call, b, h, s, k int) ([]float32, [3]int, error) {
	t := c.Arg(3)
	if t == nil {
		return nil, [3]int{}, nil
	}
	shape, want := []int{1, 1, 1, 1}, []int{b, h, s, k}
	if t.Rank() > 4 || t.DType() != model.Float32 {
		return nil, [3]int{}, errUnfused
	}
	copy(shape[4-t.Rank():], t.Shape())
	for i, d := range shape {
		if d != 1 && d != want[i] {
			return nil, [3]int{}, errUnfused // a mask of more entries than the queries repeats these
		}
	}
	m, err := model.Data[float32](t)
	if err != nil {
		return nil, [3]int{}, err
	}
	if shape[3] == 1 && k > 1 { // the same for all keys: spelled out
		wide := Scratch[float32](c, len(m)*k)
		for i, v := range m {
			for j := range k {
				wide[i*k+j] = v
			}
		}
		m, shape = wide, []int{shape[0], shape[1], shape[2], k}
	}
	str := broadcastStrides(shape, []int{b, h, s, k})
	return m, [3]int{str[0], str[1], str[2]}, nil
}
