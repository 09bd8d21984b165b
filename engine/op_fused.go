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
	c.NoteISA("qgemm", s.macs(), st.m.q.Bytes())
	kernel.QuantGemm(c.pool, len(z)/s.n, x, s.k, sa[0], za[0], st.m.q, st.m.scale, st.m.zero, z, s.n, ep)
	return nil
}
