package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// convSums is a convolution of bytes with its weights, input i of the node, packed.
type convSums struct {
	conv *kernel.ConvSums
	i    int
}

func (s *convSums) packedInput(i int) bool { return i == s.i }

// prepConvInteger packs the weights of input i with the zero points of input z, where they are constant.
func prepConvInteger(i, z int) func(p *prep) (any, error) {
	return func(p *prep) (any, error) {
		s, err := prepConvSums(p, i, z)
		if s == nil {
			return nil, err
		}
		return s, err
	}
}

// byteZeros returns zero points as those of the signed bytes that a tensor of type d is packed as, nil when all are 0.
func byteZeros(d model.DType, zt *model.Tensor) ([]int8, error) {
	var z []int8
	if zt != nil {
		raw, err := zt.Bytes()
		if err != nil {
			return nil, err
		}
		if zt.DType() != d {
			return nil, fmt.Errorf("zero point of type %s: %w", zt.DType(), model.ErrType)
		}
		if z = asInt8(raw); d == model.Uint8 {
			z = kernel.ShiftZero(raw)
		}
	} else if d == model.Uint8 {
		z = []int8{-128}
	}
	if slices.ContainsFunc(z, func(v int8) bool { return v != 0 }) {
		return z, nil
	}
	return nil, nil
}

// packConvSums packs W [Cout, Cin/groups, kernel...] of bytes with zero points, one or one per output channel, for images of one to three
// dimensions.
func packConvSums(w, wz *model.Tensor, groups int) (*kernel.ConvSums, error) {
	if !isByte(w) || w.Rank() < 3 || w.Rank() > 5 || w.Len() == 0 || groups < 1 || w.Shape()[0]%groups != 0 {
		return nil, fmt.Errorf("weights %s%v in %d groups: %w", w.DType(), w.Shape(), groups, model.ErrUnsupported)
	}
	s := w.Shape()
	cfg := kernel.ConvSumsConfig{Cin: s[1] * groups, Cout: s[0], Groups: groups, KD: 1, KH: 1, KW: s[len(s)-1]}
	if len(s) > 3 {
		cfg.KH = s[len(s)-2]
	}
	if len(s) > 4 {
		cfg.KD = s[2]
	}
	raw, err := w.Bytes()
	if err != nil {
		return nil, err
	}
	if w.DType() == model.Uint8 {
		raw = slices.Clone(raw)
		kernel.FlipU8(raw, raw)
	}
	cfg.W = asInt8(raw)
	if cfg.ZeroW, err = byteZeros(w.DType(), wz); err != nil {
		return nil, err
	}
	if n := len(cfg.ZeroW); n > 1 && n != cfg.Cout {
		return nil, errShape("zero point", wz, fmt.Sprintf("one element or [%d]", cfg.Cout))
	}
	return kernel.NewConvSums(cfg), nil
}

// prepConvSums packs the weights of input i where they, and their zero points of input z, are constant and have kernels.
func prepConvSums(p *prep, i, z int) (*convSums, error) {
	w, wz := p.constant(i), p.constant(z)
	if w == nil || !isByte(w) || w.Rank() < 3 || w.Rank() > 5 || w.Len() == 0 || wz == nil && p.node.In(z) != "" {
		return nil, nil
	}
	groups := int(p.node.Int("group", 1))
	var zero []byte
	if wz != nil {
		var err error
		if zero, err = wz.Bytes(); err != nil {
			return nil, err
		}
	}
	return pack(p, w, fmt.Sprintf("sums of input %d in %d groups, less %x", i, groups, zero), func() (*convSums, int64, error) {
		c, err := packConvSums(w, wz, groups)
		if err != nil {
			return nil, 0, err
		}
		return &convSums{c, i}, c.Bytes(), nil
	})
}

// byteImages returns the images x [N, C, spatial...] of bytes as the convolution wants them, unsigned, and their zero point.
func byteImages(c *Call, q *kernel.ConvSums, x, xz *model.Tensor) ([]uint8, uint8, error) {
	src, err := unsigned(c, x)
	if err != nil {
		return nil, 0, err
	}
	zero := uint8(0)
	if x.DType() == model.Int8 {
		zero = 128
	}
	if xz != nil {
		z, err := zeroPoints(c, x, xz)
		if err != nil {
			return nil, 0, err
		}
		if len(z) != 1 {
			return nil, 0, errShape("zero point", xz, "one element")
		}
		zero = z[0]
	}
	n, ch, spatial, err := imageShape(x)
	if err != nil || q.ChannelsFirst() {
		return src, zero, err
	}
	plane := product(spatial)
	if plane == 1 || ch == 1 {
		return src, zero, nil
	}
	last := Scratch[uint8](c, len(src))
	rowsParallel(c.pool, n, plane*ch, func(lo, hi int) {
		for i := lo; i < hi; i++ {
			d, s := last[i*plane*ch:(i+1)*plane*ch], src[i*plane*ch:(i+1)*plane*ch]
			if ch < 8 {
				kernel.InterleaveU8(d, s, ch)
			} else {
				kernel.TransposeU8(d, s, ch, plane)
			}
		}
	})
	return last, zero, nil
}

// convOfBytes is a convolution of bytes that is ready to run.
type convOfBytes struct {
	*convCall
	sums   *kernel.ConvSums
	volume kernel.Volume
	bytes  []uint8
	zero   uint8
	wide   [2][]float64 // instead, of more than three dimensions or too far padded: images and weights less their zero points
}

// shifted returns x - zero as float64; zero may have one value per slice of the first dimension.
func shifted(x, zero *model.Tensor) ([]float64, error) {
	v, err := toFloat64(x)
	if err != nil || zero == nil {
		return v, err
	}
	z, err := toFloat64(zero)
	if err != nil {
		return nil, err
	}
	if len(z) != 1 && len(z) != x.Shape()[0] {
		return nil, errShape("zero point", zero, "one element or one per output channel")
	}
	per := max(1, len(v)/len(z))
	out := make([]float64, len(v))
	for i, e := range v {
		out[i] = e - z[min(i/per, len(z)-1)]
	}
	return out, nil
}

// newConvOfBytes reads the inputs; packed weights are found in the node's state, or made.
func newConvOfBytes(c *Call, x, w, xz, wz *model.Tensor) (*convOfBytes, error) {
	v, err := newConv(c, x, w, nil)
	if err != nil {
		return nil, err
	}
	if !isByte(x) {
		return nil, typeError(x)
	}
	b := &convOfBytes{convCall: v}
	var ok bool
	if b.volume, ok = v.w.volume(); !ok || w.Len() == 0 {
		if b.wide[0], err = shifted(x, xz); err == nil {
			b.wide[1], err = shifted(w, wz)
		}
		return b, err
	}
	if c.st != nil {
		if st, ok := c.st.state.(*convSums); ok && st != nil {
			b.sums = st.conv
		}
	}
	if b.sums == nil {
		if b.sums, err = packConvSums(w, wz, v.groups); err != nil {
			return nil, err
		}
	}
	if !mayPad(c, b.sums.Scratch(&b.volume), v.cin/v.groups*product(v.w.in)) {
		for _, w := range b.sums.Wide() { // the tensor may be kept in this form only
			b.wide[1] = append(b.wide[1], float64(w))
		}
		b.sums = nil
		b.wide[0], err = shifted(x, xz)
		return b, err
	}
	c.NoteISA("sums", v.macs(), b.sums.Bytes())
	b.bytes, b.zero, err = byteImages(c, b.sums, x, xz)
	return b, err
}

// run writes the sums, [N, Cout, spatial...].
func (b *convOfBytes) run(c *Call, y []int32) {
	if b.sums != nil {
		b.sums.Sums(c.pool, b.n, &b.volume, b.bytes, b.zero, y)
		return
	}
	sums := make([]float64, len(y)) // exact below 2^53
	if len(y) > 0 {
		convDirect(c.pool, sums, b.wide[0], b.wide[1], nil, b.convCall)
	}
	for i, s := range sums {
		y[i] = int32(int64(s))
	}
}

func opConvInteger(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	w, err := c.Need(1)
	if err != nil {
		return err
	}
	v, err := newConvOfBytes(c, x, w, c.Arg(2), c.Arg(3))
	if err != nil {
		return err
	}
	y, err := Out[int32](c, 0, v.outShape(c))
	if err == nil {
		v.run(c, y)
	}
	return err
}

func opQLinearConv(c *Call) error {
	var in [8]*model.Tensor
	for i := range in {
		var err error
		if in[i], err = c.Need(i); err != nil {
			return err
		}
	}
	v, err := newConvOfBytes(c, in[0], in[3], in[2], in[5])
	if err != nil {
		return err
	}
	xs, err := scalarFloat(in[1])
	if err != nil {
		return err
	}
	ws, err := toFloat64(in[4])
	if err != nil {
		return err
	}
	ys, err := scalarFloat(in[6])
	if err != nil {
		return err
	}
	if len(ws) != 1 && len(ws) != v.cout {
		return errShape("w_scale", in[4], fmt.Sprintf("[%d]", v.cout))
	}
	n, err := model.NumElements(v.outShape(c))
	if err != nil || n > maxTensorBytes/8 {
		return fmt.Errorf("output of shape %v is too large", v.outShape(c))
	}
	acc := Scratch[int32](c, n)
	v.run(c, acc)
	plane := max(1, product(v.w.out))
	if b := c.Arg(8); b != nil {
		bias, err := toInt64(b)
		if err != nil {
			return err
		}
		if len(bias) != v.cout {
			return errShape("B", b, fmt.Sprintf("[%d]", v.cout))
		}
		for i := range acc {
			acc[i] += int32(bias[i/plane%v.cout])
		}
	}
	return requantize(c, v.outShape(c), acc, func(i int) float64 {
		return xs * ws[i/plane%v.cout%len(ws)] / ys
	}, in[7], in[7].DType())
}

// convFloatState is what prepQuantConvFloat makes.
type convFloatState struct {
	convSums
	scale, bias []float32
}

// prepQuantConvFloat packs qa, W, sa, sw, za, zw, bias.
func prepQuantConvFloat(p *prep) (any, error) {
	s, err := prepConvSums(p, 1, 5)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("weights %q, input 1, are no constant bytes of rank 3 to 5, or their zero point %q, input 5, is no constant", p.node.In(1), p.node.In(5))
	}
	if p.constant(3) == nil {
		return nil, fmt.Errorf("scale %q of the weights, input 3, is no constant", p.node.In(3))
	}
	st := &convFloatState{convSums: *s}
	if st.scale, err = model.Data[float32](p.constant(3)); err != nil {
		return nil, err
	}
	if b := p.constant(6); b != nil {
		st.bias, err = model.Data[float32](b)
	}
	return st, err
}

// opQuantConvFloat is act(conv(qa - za, W - zw) sa sw + bias), in float32.
func opQuantConvFloat(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	st, ok := c.st.state.(*convFloatState)
	if !ok {
		return fmt.Errorf("weights %q, input 1, are not packed", c.Node.In(1))
	}
	sa, err := c.Need(2)
	if err != nil {
		return err
	}
	s, err := model.Data[float32](sa)
	if err != nil {
		return err
	}
	if len(s) != 1 {
		return errShape("scale", sa, "one element")
	}
	v, err := newConv(c, x, c.In[1], nil)
	if err != nil {
		return err
	}
	g, ok := v.w.volume()
	if !ok || !isByte(x) || !mayPad(c, st.conv.Scratch(&g), v.cin/v.groups*product(v.w.in)) {
		return errUnfused
	}
	src, zero, err := byteImages(c, st.conv, x, c.Arg(4))
	if err != nil {
		return err
	}
	y, err := Out[float32](c, 0, v.outShape(c))
	if err != nil || len(y) == 0 {
		return err
	}
	c.NoteISA("sums", v.macs(), st.conv.Bytes())
	st.conv.Float(c.pool, v.n, &g, src, zero, s[0], st.scale, st.bias, c.act(), y)
	return nil
}
