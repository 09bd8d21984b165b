package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// packInt8 packs a matrix [k, n] of signed or unsigned bytes.
func packInt8(t *model.Tensor, raw []byte, k, n int) *kernel.PackedS8 {
	if t.DType() == model.Int8 {
		return kernel.PackS8(k, n, asInt8(raw), n, false)
	}
	return kernel.PackU8(k, n, raw, n, false)
}

func asInt8(b []byte) []int8 { return bytesAs[int8](b) }

// prepMatMulInteger packs a constant matrix on the right.
func prepMatMulInteger(p *prep) (any, error) {
	t := p.constant(1)
	if t == nil || t.Rank() != 2 || t.Len() == 0 || t.DType() != model.Int8 && t.DType() != model.Uint8 {
		return nil, nil
	}
	return packBytes(p, t)
}

func packBytes(p *prep, t *model.Tensor) (*kernel.PackedS8, error) {
	return pack(p, t, "s8", func() (*kernel.PackedS8, int64, error) {
		raw, err := t.Bytes()
		if err != nil {
			return nil, 0, err
		}
		w := packInt8(t, raw, t.Shape()[0], t.Shape()[1])
		return w, w.Bytes(), nil
	})
}

func isByte(t *model.Tensor) bool { return t.DType() == model.Int8 || t.DType() == model.Uint8 }

// unsigned returns bytes as unsigned: signed ones are moved by 128.
func unsigned(c *Call, t *model.Tensor) ([]uint8, error) {
	raw, err := t.Bytes()
	if err != nil || t.DType() == model.Uint8 {
		return raw, err
	}
	out := Scratch[uint8](c, len(raw))
	for i, v := range raw {
		out[i] = v ^ 0x80
	}
	return out, nil
}

// integerProduct is sum (a - aZero)(b - bZero) of every matrix of a batch, in int32.
func integerProduct(c *Call, a, b, az, bz *model.Tensor, packed *kernel.PackedS8, s matmulShape, z []int32) error {
	if !isByte(a) || !isByte(b) {
		return fmt.Errorf("element types %s and %s: %w", a.DType(), b.DType(), model.ErrUnsupported)
	}
	x, err := unsigned(c, a)
	if err != nil {
		return err
	}
	zx, err := zeroPoints(c, a, az)
	if err != nil {
		return err
	}
	if a.DType() == model.Int8 && zx == nil {
		zx = []uint8{128}
	}
	var zy []uint8
	if bz != nil {
		if zy, err = bz.Bytes(); err != nil {
			return err
		}
	}
	y, err := b.Bytes()
	if err != nil {
		return err
	}
	if len(z) == 0 {
		return nil
	}
	if s.k == 0 {
		clear(z)
		return nil
	}
	l := newLoops(s.batch, s.sa, s.sb)
	n := l.inner()
	batch := product(s.batch)
	for i := range batch {
		var o [2]int
		l.offsets(i/n, o[:])
		oa := o[0] + i%n*l.str[0][len(l.dims)-1]
		ob := o[1] + i%n*l.str[1][len(l.dims)-1]
		w := packed
		if w == nil {
			w = packInt8(b, y[ob*s.k*s.n:(ob+1)*s.k*s.n], s.k, s.n)
		}
		za, err := perMatrix(zx, oa, s.m)
		if err != nil {
			return fmt.Errorf("zero points of A: %w", err)
		}
		zb, err := perMatrix(zy, ob, s.n)
		if err != nil {
			return fmt.Errorf("zero points of B: %w", err)
		}
		var signed []int8
		switch {
		case b.DType() == model.Int8:
			signed = asInt8(zb)
		case zb != nil:
			signed = kernel.ShiftZero(zb)
		default:
			signed = []int8{-128}
		}
		kernel.MatMulInteger(c.pool, s.m, x[oa*s.m*s.k:(oa+1)*s.m*s.k], s.k, za, w, signed, z[i*s.m*s.n:(i+1)*s.m*s.n], s.n)
	}
	return nil
}

// zeroPoints returns the zero points of a left matrix as those of unsigned bytes.
func zeroPoints(c *Call, a, az *model.Tensor) ([]uint8, error) {
	if az == nil {
		return nil, nil
	}
	if az.DType() != a.DType() {
		return nil, fmt.Errorf("zero point of type %s: %w", az.DType(), model.ErrType)
	}
	return unsigned(c, az)
}

// perMatrix picks the zero points of matrix i with n rows (or columns): one for all, n shared, or n of its own.
func perMatrix(z []uint8, i, n int) ([]uint8, error) {
	switch {
	case len(z) <= 1 || len(z) == n:
		return z, nil
	case len(z) >= (i+1)*n:
		return z[i*n : (i+1)*n], nil
	}
	return nil, fmt.Errorf("%d values for %d", len(z), n)
}

func opMatMulInteger(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	z, err := Out[int32](c, 0, s.out)
	if err != nil {
		return err
	}
	var w *kernel.PackedS8
	if c.st != nil {
		w, _ = c.st.state.(*kernel.PackedS8)
	}
	c.NoteISA("int8", s.macs(), int64(b.Len()))
	return integerProduct(c, a, b, c.Arg(2), c.Arg(3), w, s, z)
}

// requantize sets output 0 to saturate(round(acc*scale(i)) + zero) of type d, over the accumulators acc.
func requantize(c *Call, shape []int, acc []int32, scale func(i int) float64, zt *model.Tensor, d model.DType) error {
	zero := 0.0
	if zt != nil {
		var err error
		if zero, err = scalarFloat(zt); err != nil {
			return err
		}
	}
	lo, hi, _ := intRange(d)
	q := make([]int64, len(acc))
	for i, v := range acc {
		q[i] = int64(min(max(math.RoundToEven(float64(v)*scale(i))+zero, lo), hi))
	}
	t, err := fromInt64(d, shape, q)
	if err == nil {
		c.Set(0, t)
	}
	return err
}

func opQLinearMatMul(c *Call) error {
	var in [8]*model.Tensor
	for i := range in {
		var err error
		if in[i], err = c.Need(i); err != nil {
			return err
		}
	}
	a, b := in[0], in[3]
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	acc := make([]int32, product(s.out))
	if err := integerProduct(c, a, b, in[2], in[5], nil, s, acc); err != nil {
		return err
	}
	as, err := toFloat64(in[1])
	if err != nil {
		return err
	}
	bs, err := toFloat64(in[4])
	if err != nil {
		return err
	}
	ys, err := scalarFloat(in[6])
	if err != nil {
		return err
	}
	if len(as) != 1 && len(as) != s.m || len(bs) != 1 && len(bs) != s.n {
		return fmt.Errorf("scales of shapes %v and %v do not fit", in[1].Shape(), in[4].Shape())
	}
	return requantize(c, s.out, acc, func(i int) float64 {
		return as[i/s.n%s.m%len(as)] * bs[i%s.n%len(bs)] / ys
	}, in[7], in[7].DType())
}
