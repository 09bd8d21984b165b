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
	return pack(p, t, "s8 stack", func() ([]*kernel.PackedS8, int64, error) {
		raw, err := t.Bytes()
		if err != nil {
			return nil, 0, err
		}
		k, n := t.Shape()[t.Rank()-2], t.Shape()[t.Rank()-1]
		var all []*kernel.PackedS8
		size := int64(0)
		for at := 0; at < len(raw); at += k * n {
			w := packInt8(t, raw[at:at+k*n], k, n)
			all, size = append(all, w), size+w.Bytes()
		}
		return all, size, nil
	})
}

// integerToFloat is what MatMulIntegerToFloat multiplies, but for the packed B.
type integerToFloat struct {
	shape  matmulShape
	x      []uint8 // A, as unsigned
	scales []float32
	zeros  []uint8 // of A
	bs     []float32
	bz     []int8
	bias   []float32
}

// integerToFloatOf reads the inputs of a node by A and B.
func integerToFloatOf(c *Call, a, b *model.Tensor) (t integerToFloat, err error) {
	if t.shape, err = newMatmulShape(a.Shape(), b.Shape()); err != nil {
		return t, err
	}
	if t.bs, t.bz, err = scalesOf(c.Arg(3), c.Arg(5), b.DType(), t.shape.n); err != nil {
		return t, err
	}
	if t.bias, err = biasOf(c, 6, t.shape.n); err != nil {
		return t, err
	}
	scale, err := c.Need(2)
	if err != nil {
		return t, err
	}
	if t.scales, err = model.Data[float32](scale); err != nil {
		return t, err
	}
	if !isByte(a) {
		return t, typeError(a)
	}
	if t.x, err = unsigned(c, a); err != nil {
		return t, err
	}
	if t.zeros, err = zeroPoints(c, a, c.Arg(4)); err != nil {
		return t, err
	}
	if t.zeros == nil {
		t.zeros = []uint8{0}
		if a.DType() == model.Int8 {
			t.zeros = []uint8{128}
		}
	}
	return t, nil
}

// opMatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero, b_zero, bias. A stack of matrices B takes one scale and zero point of A, and one or one
// per column of B, for all.
func opMatMulIntegerToFloat(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	if b.Rank() > 2 {
		return stackedToFloat(c, a, b)
	}
	w, err := packedS8(c, b)
	if err != nil {
		return err
	}
	t, err := integerToFloatOf(c, a, b)
	if err != nil {
		return err
	}
	z, err := Out[float32](c, 0, t.shape.out)
	if err != nil || len(z) == 0 {
		return err
	}
	m := len(z) / t.shape.n
	if len(t.scales) != 1 && len(t.scales) != m || len(t.zeros) != 1 && len(t.zeros) != m {
		return fmt.Errorf("%d scales and %d zero points of A: want one, or one for each of %d rows", len(t.scales), len(t.zeros), m)
	}
	c.NoteISA("qgemm", t.shape.macs(), w.Bytes())
	kernel.QuantGemm(c.pool, m, t.x, t.shape.k, t.scales, t.zeros, w, t.bs, t.bz, z, t.shape.n, kernel.Epilogue{Bias: t.bias})
	return nil
}

// stackedToFloat is MatMulIntegerToFloat by a stack of matrices.
func stackedToFloat(c *Call, a, b *model.Tensor) error {
	if !isByte(b) {
		return typeError(b)
	}
	t, err := integerToFloatOf(c, a, b)
	if err != nil {
		return err
	}
	s := t.shape
	if s.k == 0 {
		return errShape("matrix B", b, "at least one row")
	}
	if len(t.scales) != 1 || len(t.zeros) != 1 {
		return fmt.Errorf("a stack of matrices with %d scales and %d zero points of A, want one: %w", len(t.scales), len(t.zeros), model.ErrUnsupported)
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	packed, raw := []*kernel.PackedS8(nil), []byte(nil)
	if c.st != nil {
		packed, _ = c.st.state.([]*kernel.PackedS8)
	}
	if packed == nil {
		if raw, err = b.Bytes(); err != nil {
			return err
		}
	}
	c.NoteISA("qgemm", s.macs(), int64(b.ByteSize()))
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
			w = packInt8(b, raw[ob*s.k*s.n:(ob+1)*s.k*s.n], s.k, s.n)
		}
		kernel.QuantGemm(c.pool, s.m, t.x[oa*s.m*s.k:(oa+1)*s.m*s.k], s.k, t.scales, t.zeros, w, t.bs, t.bz, z[i*s.m*s.n:(i+1)*s.m*s.n], s.n, kernel.Epilogue{Bias: t.bias})
	}
	return nil
}
