package engine

import (
	"fmt"
	"math"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// qlinearMicroOps are the QLinear operators of com.microsoft with scales that may come from anywhere; the pass qdq turns those with
// constant scales into the operators of qlinearOps. The arithmetic is that of ONNX Runtime on amd64. Signed bytes are moved by 128
// first, so that a sum within float32 rounding of a tie may go to the other side; sigmoid, softmax and averages may too, since
// their float32 parts are rounded in another order.
func qlinearMicroOps() map[string]opDef {
	return qualify("com.microsoft", map[string]opDef{
		"QLinearAdd": plain(opQLinearBinary), "QLinearMul": plain(opQLinearBinary), "QLinearConcat": plain(opQLinearConcat),
		"QLinearGlobalAveragePool": plain(opQLinearPool), "QLinearAveragePool": plain(opQLinearPool),
		"QLinearSigmoid": plain(opQLinearUnary), "QLinearLeakyRelu": plain(opQLinearUnary),
		"QLinearSoftmax": plain(opQLinearSoftmax), "QGemm": plain(opQGemm), "QLinearWhere": plain(opQLinearWhere),
	})
}

// qlinearTable is the table of QLinearSigmoid or QLinearLeakyRelu.
func qlinearTable(n *model.Node, x, out qvalue) (t [256]uint8) {
	f := dequantizeAll(x, nil)
	switch n.Op {
	case "QLinearSigmoid":
		kernel.Sigmoid(f, f)
	case "QLinearLeakyRelu":
		alpha := n.Float("alpha", 0.01)
		for i, v := range f {
			if v < 0 {
				f[i] = v * alpha
			}
		}
	}
	kernel.QuantizeLinearU8(f, t[:], out.scale, out.zero)
	return t
}

// quantized reads the scale at input i and the zero point behind it, which may be missing; d is the type of the values.
func (c *Call) quantized(i int, d model.DType) (v qvalue, err error) {
	st, err := c.Need(i)
	if err != nil {
		return v, err
	}
	s, err := model.Data[float32](st)
	if err != nil {
		return v, err
	}
	if len(s) != 1 {
		return v, errShape("scale", st, "one element")
	}
	v.scale, v.signed = s[0], d == model.Int8
	if v.signed {
		v.zero = 0x80
	}
	zt := c.Arg(i + 1)
	if zt == nil {
		return v, nil
	}
	raw, err := zt.Bytes()
	if err != nil {
		return v, err
	}
	if zt.DType() != d || len(raw) != 1 {
		return v, fmt.Errorf("zero point of type %s and %d elements: %w", zt.DType(), len(raw), model.ErrType)
	}
	v.zero ^= raw[0]
	return v, nil
}

// operand returns input i as unsigned bytes, with the scale and zero point that follow it.
func (c *Call) operand(i int) (t *model.Tensor, x []uint8, v qvalue, err error) {
	if t, err = c.Need(i); err != nil {
		return nil, nil, v, err
	}
	if !isByte(t) {
		return nil, nil, v, typeError(t)
	}
	if x, err = unsigned(c, t); err != nil {
		return nil, nil, v, err
	}
	v, err = c.quantized(i+1, t.DType())
	return t, x, v, err
}

// bytesOut makes output 0 of a byte type; done moves the unsigned bytes written to it by 128 if they are to be signed.
func (c *Call) bytesOut(d model.DType, shape []int) (dst []uint8, done func(), err error) {
	t, err := c.Alloc(0, d, shape)
	if err != nil {
		return nil, nil, err
	}
	dst, err = t.Bytes()
	return dst, func() {
		if d == model.Int8 {
			for i := range dst {
				dst[i] ^= 0x80
			}
		}
	}, err
}

func opQLinearBinary(c *Call) error {
	a, x, va, err := c.operand(0)
	if err != nil {
		return err
	}
	b, y, vb, err := c.operand(3)
	if err != nil {
		return err
	}
	if a.DType() != b.DType() {
		return typeError(b)
	}
	out, err := c.quantized(6, a.DType())
	if err != nil {
		return err
	}
	shape, err := broadcastShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(a.DType(), shape)
	if err != nil || len(dst) == 0 {
		return err
	}
	if !pairFits(c.Node.Op, va, vb, out, pairFinite) {
		return fmt.Errorf("the scales %v, %v and %v of inputs 1, 4 and 6 leave the range of float32", va.scale, vb.scale, out.scale)
	}
	add := kernel.NewAddU8(va.scale, vb.scale, out.scale, va.zero, vb.zero, out.zero, 0, 255)
	mul := kernel.NewMulU8(va.scale, vb.scale, out.scale, va.zero, vb.zero, out.zero, 0, 255)
	apply := add.Apply
	if c.Node.Op == "QLinearMul" {
		apply = mul.Apply
	}
	broadcastBytes(c, dst, x, y, a.Shape(), b.Shape(), shape, apply)
	done()
	return nil
}

func opQLinearConcat(c *Call) error {
	first, err := c.Need(2)
	if err != nil {
		return err
	}
	out, err := c.quantized(0, first.DType())
	if err != nil {
		return err
	}
	var parts []*model.Tensor
	for i := 2; i < c.NumIn(); i += 3 {
		t, x, v, err := c.operand(i)
		if err != nil {
			return err
		}
		if t.DType() != first.DType() {
			return typeError(t)
		}
		table := requantizeTable(v, out)
		y := make([]uint8, len(x))
		kernel.Lookup(y, x, &table)
		if v.signed {
			for k := range y {
				y[k] ^= 0x80
			}
		}
		part, err := model.NewTensor(t.DType(), t.Shape(), y)
		if err != nil {
			return err
		}
		parts = append(parts, part)
	}
	sub := &Call{Node: c.Node, Opset: c.Opset, In: parts, in: make([]slot, len(parts)), arena: c.arena, pool: c.pool}
	err = opConcat(sub)
	if err == nil {
		c.put(0, sub.out[0])
	}
	return err
}

// opQLinearPool averages planes or windows, channels first or last.
func opQLinearPool(c *Call) error {
	t, x, v, err := c.operand(0)
	if err != nil {
		return err
	}
	out, err := c.quantized(3, t.DType())
	if err != nil {
		return err
	}
	if t.Rank() < 3 || t.Rank() > 5 {
		return errShape("X", t, "rank 3 to 5")
	}
	if r := v.scale / out.scale; r-r != 0 {
		return fmt.Errorf("the scales %v and %v of inputs 1 and 3 leave the range of float32", v.scale, out.scale)
	}
	last := c.Node.Int("channels_last", 0) != 0
	n := *c.Node
	n.Attrs = append([]model.Attr(nil), n.Attrs...)
	n.SetAttr(model.FloatAttr("sx", v.scale))
	n.SetAttr(model.FloatAttr("sy", out.scale))
	n.SetAttr(model.IntAttr(wholeAttr, 1))
	setBytes(&n, map[string]uint8{"zx": v.zero, "zy": out.zero, "lo": 0, "hi": 255})
	u := model.FromSlice(t.Shape(), x)
	step := func(f OpFunc) error {
		s := &Call{Node: &n, Opset: c.Opset, In: []*model.Tensor{u}, in: make([]slot, 1), arena: c.arena, pool: c.pool}
		if err := f(s); err != nil {
			return err
		}
		u = s.out[0].t
		if b := s.out[0].buf; b != nil {
			c.bufs = append(c.bufs, b)
		}
		return nil
	}
	f := opQuantAveragePool
	switch {
	case n.Op == "QLinearGlobalAveragePool":
		f = opQuantGlobalAveragePool
	case t.Rank() == 5:
		f = opQuantAverageVolume
	}
	if !last {
		if err := step(opChannelsLast); err != nil {
			return err
		}
	}
	if err := step(f); err != nil {
		return err
	}
	if !last {
		if err := step(opChannelsFirst); err != nil {
			return err
		}
	}
	raw, err := u.Bytes()
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(t.DType(), u.Shape())
	if err != nil {
		return err
	}
	copy(dst, raw)
	done()
	return nil
}

func opQLinearUnary(c *Call) error {
	t, x, v, err := c.operand(0)
	if err != nil {
		return err
	}
	out, err := c.quantized(3, t.DType())
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(t.DType(), t.Shape())
	if err != nil {
		return err
	}
	table := qlinearTable(c.Node, v, out)
	kernel.Lookup(dst, x, &table)
	done()
	return nil
}

// opQGemm is alpha*A*B + C in integers: A, aScale, aZero, B, bScale, bZero, C, yScale, yZero; float32 without yScale.
func opQGemm(c *Call) error {
	at, _, va, err := c.operand(0)
	if err != nil {
		return err
	}
	bt, err := c.Need(3)
	if err != nil {
		return err
	}
	if at.Rank() != 2 || bt.Rank() != 2 || !isByte(bt) {
		return fmt.Errorf("shapes %v and %v are no matrices of bytes", at.Shape(), bt.Shape())
	}
	x, err := gemmOperand(at, c.Arg(2), c.Node.Int("transA", 0) != 0)
	if err != nil {
		return err
	}
	y, err := gemmOperand(bt, c.Arg(5), c.Node.Int("transB", 0) != 0)
	if err != nil {
		return err
	}
	bst, err := c.Need(4)
	if err != nil {
		return err
	}
	bs, err := model.Data[float32](bst)
	if err != nil {
		return err
	}
	m, k, n := x.rows, x.cols, y.cols
	if y.rows != k || len(bs) != 1 && len(bs) != n {
		return fmt.Errorf("shapes %v, %v and %d scales do not fit", at.Shape(), bt.Shape(), len(bs))
	}
	acc := make([]int32, m*n)
	for i := range m {
		for q := range k {
			v := x.v[i*k+q]
			for j, w := range y.v[q*n : (q+1)*n] {
				acc[i*n+j] += v * w
			}
		}
	}
	if ct := c.Arg(6); ct != nil {
		b, err := model.Data[int32](ct)
		if err != nil {
			return err
		}
		if len(b) != n && len(b) != 1 && len(b) != m*n {
			return errShape("C", ct, fmt.Sprintf("[%d]", n))
		}
		for i := range acc {
			acc[i] += b[i%len(b)]
		}
	}
	alpha := c.Node.Float("alpha", 1)
	scale := func(j int, ys float32) float32 {
		s := alpha * va.scale
		s *= bs[j%len(bs)]
		return s / ys
	}
	if c.Arg(7) == nil {
		z, err := Out[float32](c, 0, []int{m, n})
		for i := range z {
			z[i] = float32(acc[i]) * scale(i%n, 1)
		}
		return err
	}
	out, err := c.quantized(7, at.DType())
	if err != nil {
		return err
	}
	dst, done, err := c.bytesOut(at.DType(), []int{m, n})
	if err != nil {
		return err
	}
	for i, s := range acc {
		v := math.RoundToEven(float64(float32(s)*scale(i%n, out.scale))) + float64(out.zero)
		dst[i] = uint8(min(max(v, 0), 255))
	}
	done()
	return nil
}

// intMatrix is a matrix of integers less their zero points.
type intMatrix struct {
	rows, cols int
	v          []int32
}

// gemmOperand subtracts the zero point, one or one per column of the (transposed) matrix.
func gemmOperand(t, zero *model.Tensor, transposed bool) (m intMatrix, err error) {
	v, err := toInt64(t)
	if err != nil {
		return m, err
	}
	z := []int64{0}
	if zero != nil {
		if z, err = toInt64(zero); err != nil {
			return m, err
		}
	}
	m.rows, m.cols = t.Shape()[0], t.Shape()[1]
	if transposed {
		m.rows, m.cols = m.cols, m.rows
	}
	if len(z) != 1 && len(z) != m.cols {
		return m, errShape("zero point", zero, fmt.Sprintf("1 or %d elements", m.cols))
	}
	m.v = make([]int32, len(v))
	for i := range m.rows {
		for j := range m.cols {
			at := i*m.cols + j
			if transposed {
				at = j*m.rows + i
			}
			m.v[i*m.cols+j] = int32(v[at] - z[j%len(z)])
		}
	}
	return m, nil
}
