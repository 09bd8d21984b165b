package engine

import (
	"errors"
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// fusedOps are the operators that passes make.
func fusedOps() map[string]opDef {
	return qualify(fusedDomain, map[string]opDef{
		"MatMul":         {run: opEpilogueMatMul, prep: prepMatMul},
		"QuantMatMul":    {run: opQuantMatMul, prep: prepQuantMatMul},
		"QuantConvFloat": {run: opQuantConvFloat, prep: prepQuantConvFloat},
		"Conv":           {run: opConvResidual, prep: prepConv},
		"QuantGather":    plain(opQuantGather),
		"Attention":      float(opFusedAttention),
		"SiLU":           float(unary(kernel.SiLU, func(x float64) float64 { return x * sigmoid64(x) })),
	})
}

func (c *Call) act() kernel.Activation { return kernel.Activation(c.Node.Int(actAttr, 0)) }

// residual returns input i, which must have the shape of the output.
func (c *Call) residual(i int, shape []int, ep *kernel.Epilogue) error {
	t := c.Arg(i)
	if t == nil {
		return nil
	}
	if !sameShape(t.Shape(), shape) {
		return errShape("residual", t, fmt.Sprint(shape))
	}
	var err error
	ep.Residual, err = model.Data[float32](t)
	ep.LdR = shape[len(shape)-1]
	return err
}

// opEpilogueMatMul is act(A B + bias + residual).
func opEpilogueMatMul(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if a.DType() != model.Float32 {
		return typeError(a)
	}
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	ep := kernel.Epilogue{Act: c.act()}
	if ep.Bias, err = biasOf(c, 2, s.n); err != nil {
		return err
	}
	if err := c.residual(3, s.out, &ep); err != nil {
		return err
	}
	return matmulFloat32(c, a, b, s, ep)
}

// quantState is what prepQuantMatMul makes.
type quantState struct{ m quantMatrix }

func (*quantState) packedWeight() {}

func prepQuantMatMul(p *prep) (any, error) {
	w := p.constant(1)
	if w == nil {
		return nil, fmt.Errorf("the weights are no constant")
	}
	q, err := packBytes(p, w)
	if err != nil {
		return nil, err
	}
	st := &quantState{m: quantMatrix{q: q}}
	st.m.scale, st.m.zero, err = scalesOf(p.constant(3), p.constant(5), w.DType(), q.N)
	return st, err
}

// errUnfused says that a fused operator met a type or shapes that only the operators it stands for can compute: the plan runs
// again without passes.
var errUnfused = errors.New("the fused operator has no kernel for the type or the shapes")

// foundAttr marks operators of ONNX that a pass has put in the place of others, which take more.
const foundAttr = "wattshed.found"

// opQuantMatMul is act((qa - za) sa (W - zw) sw + bias + residual): qa, W, sa, sw, za, zw, bias, residual.
func opQuantMatMul(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	st, ok := c.st.state.(*quantState)
	if !ok {
		return fmt.Errorf("not prepared")
	}
	s, err := newMatmulShape(a.Shape(), c.In[1].Shape())
	if err != nil {
		return err
	}
	x, err := model.Data[uint8](a)
	if err != nil {
		return err
	}
	sa, err := vectors[float32](c, 1, 2)
	if err != nil {
		return err
	}
	za, err := vectors[uint8](c, 1, 4)
	if err != nil {
		return err
	}
	ep := kernel.Epilogue{Act: c.act()}
	if ep.Bias, err = biasOf(c, 6, s.n); err != nil {
		return err
	}
	if err := c.residual(7, s.out, &ep); err != nil {
		return err
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	c.Note("qgemm-"+kernel.Active().String(), s.macs(), st.m.q.Bytes())
	kernel.QuantGemm(c.pool, len(z)/s.n, x, s.k, sa[0], za[0], st.m.q, st.m.scale, st.m.zero, z, s.n, ep)
	return nil
}

// opFusedAttention is softmax(scale Q K^T + mask) V for every head of [B, S, heads*D] tensors.
func opFusedAttention(c *Call) error {
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
	add := func(b, h, lo int) ([]float32, int) {
		if mask == nil {
			return nil, 0
		}
		return mask[b*ms[0]+h*ms[1]+lo*ms[2]:], ms[2]
	}
	return c.attend(&q, &key, &val, &attendRule{scale: c.Node.Float("scale", 1), add: add, out: out, batch: s * h * dv, head: dv, pos: h * dv})
}

// attentionMask returns the mask with its strides over batch, heads and queries; keys are always contiguous.
func attentionMask(c *Call, b, h, s, k int) ([]float32, [3]int, error) {
	t := c.Arg(3)
	if t == nil {
		return nil, [3]int{}, nil
	}
	shape, want := t.Shape(), []int{b, h, s, k}
	if t.Rank() != 4 {
		return nil, [3]int{}, errShape("mask", t, fmt.Sprintf("one that broadcasts to %v", want))
	}
	for i, d := range shape {
		if d != 1 && d != want[i] {
			return nil, [3]int{}, errShape("mask", t, fmt.Sprintf("one that broadcasts to %v", want))
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
