package engine

import (
	"fmt"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// prepMatMulIntegerToFloat packs a constant right-hand side: a matrix, or the matrices of a stack.
func prepMatMulIntegerToFloat(p *prep) (any, error) {
	t := p.constant(1)
	if t == nil || t.Rank() < 3 || t.Len() == 0 || !isByte(t) {
		return prepMatMulInteger(p)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	k, n := t.Shape()[t.Rank()-2], t.Shape()[t.Rank()-1]
	var all []*kernel.PackedS8
	for at := 0; at < len(raw); at += k * n {
		w := packInt8(t, raw[at:at+k*n], k, n)
		p.c.packed.Add(w.Bytes())
		all = append(all, w)
	}
	return all, nil
}

// stackedToFloat is MatMulIntegerToFloat by a stack of matrices: one scale and zero point of A, and one or one per column of B, for all.
func stackedToFloat(c *Call, a, b *model.Tensor) error {
	if !isByte(a) || !isByte(b) {
		return fmt.Errorf("element types %s and %s: %w", a.DType(), b.DType(), model.ErrUnsupported)
	}
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	bs, bz, err := scalesOf(c.Arg(3), c.Arg(5), b.DType(), s.n)
	if err != nil {
		return err
	}
	bias, err := biasOf(c, 6, s.n)
	if err != nil {
		return err
	}
	st, err := c.Need(2)
	if err != nil {
		return err
	}
	as, err := model.Data[float32](st)
	if err != nil {
		return err
	}
	x, err := unsigned(c, a)
	if err != nil {
		return err
	}
	az, err := zeroPoints(c, a, c.Arg(4))
	if err != nil {
		return err
	}
	if az == nil {
		az = []uint8{0}
		if a.DType() == model.Int8 {
			az = []uint8{128}
		}
	}
	if s.k == 0 {
		return errShape("matrix B", b, "at least one row")
	}
	if len(as) != 1 || len(az) != 1 {
		return fmt.Errorf("a stack of matrices with %d scales and %d zero points of A, want one: %w", len(as), len(az), model.ErrUnsupported)
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	y, err := b.Bytes()
	if err != nil {
		return err
	}
	var packed []*kernel.PackedS8
	if c.st != nil {
		packed, _ = c.st.state.([]*kernel.PackedS8)
	}
	c.Note("qgemm-"+kernel.Active().String(), s.macs(), int64(len(y)))
	l := newLoops(s.batch, s.sa, s.sb)
	n := l.inner()
	for i := range product(s.batch) {
		var o [2]int
		l.offsets(i/n, o[:])
		oa := o[0] + i%n*l.str[0][len(l.dims)-1]
		ob := o[1] + i%n*l.str[1][len(l.dims)-1]
		var w *kernel.PackedS8
		if ob < len(packed) {
			w = packed[ob]
		} else {
			w = packInt8(b, y[ob*s.k*s.n:(ob+1)*s.k*s.n], s.k, s.n)
		}
		kernel.QuantGemm(c.pool, s.m, x[oa*s.m*s.k:(oa+1)*s.m*s.k], s.k, as, az, w, bs, bz, z[i*s.m*s.n:(i+1)*s.m*s.n], s.n, kernel.Epilogue{Bias: bias})
	}
	return nil
}
