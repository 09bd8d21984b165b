package engine

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// microsoftOps are operators of ONNX Runtime's own domain, as its contrib_ops documentation defines them.
func microsoftOps() map[string]opDef {
	return qualify("com.microsoft", map[string]opDef{
		"DynamicQuantizeLSTM":   {run: opDynamicQuantizeLSTM, prep: prepDynamicQuantizeLSTM},
		"MatMulIntegerToFloat":  {run: opMatMulIntegerToFloat, prep: prepMatMulIntegerToFloat},
		"DynamicQuantizeMatMul": {run: opDynamicQuantizeMatMul, prep: prepMatMulInteger},
		"Gelu":                  float(unary(kernel.GeluErf, gelu64)),
		"FastGelu":              float(opFastGelu),
		"BiasGelu":              float(opBiasGelu),
		"QuickGelu":             param(1.702, 0, quickGelu, func(x, a, _ float64) float64 { return x * sigmoid64(a*x) }),
		"QuantizeLinear":        plain(opQuantizeLinear),
		"DequantizeLinear":      plain(opDequantizeLinear),
	})
}

// quickGelu sets dst = x sigmoid(a x), as SiLU(a x)/a.
func quickGelu(dst, src []float32, a, _ float32) {
	if a == 0 {
		kernel.MulS(dst, src, 0.5)
		return
	}
	kernel.MulS(dst, src, a)
	kernel.SiLU(dst, dst)
	kernel.MulS(dst, dst, 1/a)
}

// scalesOf reads scales and zero points of a matrix of n columns: one each or n.
func scalesOf(scale, zero *model.Tensor, d model.DType, n int) ([]float32, []int8, error) {
	if scale == nil {
		return nil, nil, fmt.Errorf("the scale is missing")
	}
	s, err := model.Data[float32](scale)
	if err != nil {
		return nil, nil, err
	}
	if len(s) != 1 && len(s) != n {
		return nil, nil, errShape("scale", scale, fmt.Sprintf("1 or %d elements", n))
	}
	if zero == nil {
		if d == model.Uint8 {
			return s, []int8{-128}, nil
		}
		return s, nil, nil
	}
	if zero.DType() != d || zero.Len() != 1 && zero.Len() != n {
		return nil, nil, errShape("zero point", zero, fmt.Sprintf("1 or %d elements of type %s", n, d))
	}
	raw, err := zero.Bytes()
	if err != nil {
		return nil, nil, err
	}
	if d == model.Uint8 {
		return s, kernel.ShiftZero(raw), nil
	}
	return s, symmetric(asInt8(raw)), nil
}

// symmetric returns nil for zero points that are all 0.
func symmetric(z []int8) []int8 {
	for _, v := range z {
		if v != 0 {
			return z
		}
	}
	return nil
}

// prepDynamicQuantizeLSTM packs W [D, I, 4H] and R [D, H, 4H] with their scales.
func prepDynamicQuantizeLSTM(p *prep) (any, error) {
	st := &rnnState{quant: true}
	for i, into := range []*[]*quantMatrix{&st.w, &st.r} {
		t := p.constant(1 + i)
		if t == nil {
			return nil, fmt.Errorf("weights that are no constants: %w", model.ErrUnsupported)
		}
		if t.Rank() != 3 || !isByte(t) || t.Len() == 0 {
			return nil, errShape("weights", t, "[D K 4H] of bytes")
		}
		scale, zero := p.constant(8+2*i), p.constant(9+2*i)
		if scale == nil {
			return nil, fmt.Errorf("scales that are no constants: %w", model.ErrUnsupported)
		}
		var err error
		if *into, err = pack(p, t, "quantized gates", func() ([]*quantMatrix, int64, error) { return packQuantGates(t, scale, zero) }, scale, zero); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// packQuantGates packs one of the two weights of an LSTM, by direction.
func packQuantGates(t, scale, zero *model.Tensor) (out []*quantMatrix, size int64, err error) {
	raw, err := t.Bytes()
	if err != nil {
		return nil, 0, err
	}
	d, k, n := t.Shape()[0], t.Shape()[1], t.Shape()[2]
	if scale.Len() != d && scale.Len() != d*n {
		return nil, 0, errShape("scale", scale, fmt.Sprintf("[%d] or [%d %d]", d, d, n))
	}
	s, err := scale.Float32()
	if err != nil {
		return nil, 0, err
	}
	s = slices.Clone(s) // it may lie in a file of this session
	for j := range d {
		m := &quantMatrix{q: packInt8(t, raw[j*k*n:(j+1)*k*n], k, n)}
		per := len(s) / d
		m.scale = s[j*per : (j+1)*per]
		if t.DType() == model.Uint8 {
			m.zero = []int8{-128}
		}
		if zero != nil {
			z, err := zero.Bytes()
			if err != nil {
				return nil, 0, err
			}
			if len(z) != d && len(z) != d*n {
				return nil, 0, errShape("zero point", zero, fmt.Sprintf("[%d] or [%d %d]", d, d, n))
			}
			zp := len(z) / d
			if t.DType() == model.Uint8 {
				m.zero = kernel.ShiftZero(z[j*zp : (j+1)*zp])
			} else {
				m.zero = symmetric(slices.Clone(asInt8(z[j*zp : (j+1)*zp])))
			}
		}
		size += m.q.Bytes()
		out = append(out, m)
	}
	return out, size, nil
}

// opDynamicQuantizeLSTM is LSTM with int8 weights; the inputs of each product are quantized as one tensor: X up to the longest
// sequence, the hidden state of all batch entries in each step, without those that the step before did not compute because their
// sequences were over. ONNX Runtime 1.32 does so with one thread. With more it cuts a batch among them and quantizes the state in each
// part alone, so its numbers depend on how many there are. Without output Y its ranges keep the last states of sequences that are over.
// On x86 without VNNI it sums pairs of products in saturating 16 bits, which weights of 7 bits never reach.
func opDynamicQuantizeLSTM(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	if x.DType() != model.Float32 {
		return typeError(x)
	}
	return opLSTM[float32](c)
}

// packedS8 returns the packed right side: what prep made, or one made now.
func packedS8(c *Call, b *model.Tensor) (*kernel.PackedS8, error) {
	if c.st != nil {
		if w, ok := c.st.state.(*kernel.PackedS8); ok && w != nil {
			return w, nil
		}
	}
	if b.Rank() != 2 || !isByte(b) || b.Len() == 0 {
		return nil, fmt.Errorf("matrix B is %s%v, want a matrix of bytes: %w", b.DType(), b.Shape(), model.ErrUnsupported)
	}
	raw, err := b.Bytes()
	if err != nil {
		return nil, err
	}
	return packInt8(b, raw, b.Shape()[0], b.Shape()[1]), nil
}

// biasOf returns input i as a row of n elements, nil when it is omitted.
func biasOf(c *Call, i, n int) ([]float32, error) {
	t := c.Arg(i)
	if t == nil {
		return nil, nil
	}
	if t.Len() != n {
		return nil, errShape("bias", t, fmt.Sprintf("[%d]", n))
	}
	return model.Data[float32](t)
}

// opDynamicQuantizeMatMul: A, B, b_scale, b_zero, bias.
func opDynamicQuantizeMatMul(c *Call) error {
	a, err := c.Need(0)
	if err != nil {
		return err
	}
	b, err := c.Need(1)
	if err != nil {
		return err
	}
	w, err := packedS8(c, b)
	if err != nil {
		return err
	}
	s, err := newMatmulShape(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	bs, bz, err := scalesOf(c.Arg(2), c.Arg(3), b.DType(), s.n)
	if err != nil {
		return err
	}
	bias, err := biasOf(c, 4, s.n)
	if err != nil {
		return err
	}
	x, err := model.Data[float32](a)
	if err != nil {
		return err
	}
	z, err := Out[float32](c, 0, s.out)
	if err != nil || len(z) == 0 {
		return err
	}
	c.NoteISA("qgemm", s.macs(), w.Bytes())
	kernel.DynQuantGemm(c.pool, len(z)/s.n, x, s.k, w, bs, bz, z, s.n, kernel.Epilogue{Bias: bias})
	return nil
}

func opFastGelu(c *Call) error {
	if c.Arg(1) == nil {
		return unary(kernel.GeluTanh, geluTanh64)(c)
	}
	if err := arith(c, opAdd); err != nil {
		return err
	}
	return activateOut(c, kernel.ActGeluTanh)
}

func opBiasGelu(c *Call) error {
	if err := arith(c, opAdd); err != nil {
		return err
	}
	return activateOut(c, kernel.ActGeluErf)
}
