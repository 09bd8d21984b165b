package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// fuseQuantGather joins (Cast(Gather(W, i)) - Cast(Gather(Z, i))) * Gather(S, i), a table of bytes with a scale and a zero
// point per row, into one QuantGather: W, indices, S, Z.
func fuseQuantGather(e *editor, n *model.Node) {
	if !n.Is("Mul") || len(n.Inputs) != 2 {
		return
	}
	for i := range 2 {
		centre, scale := e.from(n.In(i), "Sub"), e.from(n.In(1-i), "Gather")
		if centre == nil || scale == nil {
			continue
		}
		rows, cast := e.castGather(centre.In(0))
		zero, cast2 := e.castGather(centre.In(1))
		if rows == nil || zero == nil || rows.In(1) != scale.In(1) || zero.In(1) != scale.In(1) {
			continue
		}
		w, s, z := e.constant(rows.In(0)), e.constant(scale.In(0)), e.constant(zero.In(0))
		if w == nil || s == nil || z == nil || w.Rank() != 2 || !isByte(w) || z.DType() != w.DType() || s.DType() != model.Float32 {
			continue
		}
		each := []int{w.Shape()[0], 1}
		if !sameShape(s.Shape(), each) || !sameShape(z.Shape(), each) {
			continue
		}
		if rows.Int("axis", 0) != 0 || zero.Int("axis", 0) != 0 || scale.Int("axis", 0) != 0 || !e.inner(rows, zero, scale, cast, cast2, centre, n) {
			continue
		}
		e.replace(&model.Node{Name: n.Name, Op: "QuantGather", Domain: fusedDomain, Outputs: n.Outputs,
			Inputs: []string{rows.In(0), rows.In(1), scale.In(0), zero.In(0)}}, rows, zero, scale, cast, cast2, centre, n)
		return
	}
}

// castGather matches Cast(Gather(x, i)) to float32.
func (e *editor) castGather(name string) (gather, cast *model.Node) {
	cast = e.from(name, "Cast")
	if cast == nil || model.DType(cast.Int("to", 0)) != model.Float32 {
		return nil, nil
	}
	return e.from(cast.In(0), "Gather"), cast
}

// opQuantGather is Y[i...] = (W[i] - Z[i]) * S[i] over rows: W [R, N] of bytes, indices, S [R, 1], Z [R, 1].
func opQuantGather(c *Call) error {
	for i := range 4 {
		if _, err := c.Need(i); err != nil {
			return err
		}
	}
	w := c.In[0]
	idx, err := ints(c.In[1])
	if err != nil {
		return err
	}
	scale, err := model.Data[float32](c.In[2])
	if err != nil {
		return err
	}
	raw, err := w.Bytes()
	if err != nil {
		return err
	}
	zero, err := c.In[3].Bytes()
	if err != nil {
		return err
	}
	r, n := w.Shape()[0], w.Shape()[1]
	if len(scale) != r || len(zero) != r {
		return fmt.Errorf("%d scales and %d zero points for %d rows", len(scale), len(zero), r)
	}
	y, err := Out[float32](c, 0, append(append([]int{}, c.In[1].Shape()...), n))
	if err != nil {
		return err
	}
	signed := w.DType() == model.Int8
	for i, v := range idx {
		at, err := index(v, r)
		if err != nil {
			return err
		}
		dst, src := y[i*n:(i+1)*n], raw[at*n:(at+1)*n]
		if signed {
			kernel.DequantizeS8(dst, asInt8(src), scale[at], int8(zero[at]))
		} else {
			kernel.DequantizeU8(dst, src, scale[at], zero[at])
		}
	}
	return nil
}
