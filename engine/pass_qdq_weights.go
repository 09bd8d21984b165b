package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// scalesLeave is why operators stay apart whose scales have a product or a quotient that float32 does not hold: infinite, zero, or below the normal
// numbers, where digits are lost. The operators themselves multiply each scale with a number first, which is where such scales may still be good.
const scalesLeave = "its scales leave the range of float32"

// isNormal reports whether a product of scales is a finite number of full precision.
func isNormal(s float32) bool { return s >= 0x1p-126 && s <= math.MaxFloat32 }

// products returns the scales of products of x and weights; ok is false where one is not normal.
func products(x float32, w []float32) (s []float32, ok bool) {
	s = make([]float32, len(w))
	for i, v := range w {
		if s[i] = x * v; !isNormal(s[i]) {
			return nil, false
		}
	}
	return s, true
}

// weights returns constant quantized weights as signed bytes without zero point, with their scales, one or one per slice of the axis.
func (p *qdq) weights(name string, ax int) (w byteWeights, scale []float32, err error) {
	n := p.e.from(name, "DequantizeLinear")
	if n == nil {
		return w, nil, fmt.Errorf("the weights are not quantized")
	}
	t := p.e.constant(n.In(0))
	if q := p.e.from(n.In(0), "QuantizeLinear"); q != nil {
		t = p.evaluate(q)
	}
	if n.Int("block_size", 0) != 0 {
		return w, nil, fmt.Errorf("the weights are quantized in blocks")
	}
	w, scale, err = p.intWeights(t, n.In(1), n.In(2), ax)
	if err == nil && len(scale) > 1 && w.Rank() > 1 && p.e.version(n) >= 13 {
		if a, err := axis(int(n.Int("axis", 1)), w.Rank()); err != nil || a != ax {
			return w, nil, fmt.Errorf("the scales lie along another axis")
		}
	}
	return w, scale, err
}

// byteWeights are weights as signed bytes less a zero point, for all or for every slice of an axis; nil for 0.
type byteWeights struct {
	*model.Tensor
	zero []int8
}

// intWeights returns weights as signed bytes. Zero points are subtracted where that fits eight bits, which is faster.
func (p *qdq) intWeights(t *model.Tensor, scaleName, zeroName string, ax int) (w byteWeights, scale []float32, err error) {
	st := p.e.constant(scaleName)
	if t == nil || !isByte(t) || t.Len() == 0 || t.Rank() < 2 || st == nil || st.DType() != model.Float32 {
		return w, nil, fmt.Errorf("the weights are no constant bytes")
	}
	if st.Len() != 1 && (st.Rank() != 1 || st.Len() != t.Shape()[ax]) {
		return w, nil, fmt.Errorf("scales of shape %v do not fit weights %v", st.Shape(), t.Shape())
	}
	if scale, err = model.Data[float32](st); err != nil {
		return w, nil, err
	}
	for _, s := range scale {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return w, nil, fmt.Errorf("a scale of the weights is %v", s)
		}
	}
	raw, err := t.Bytes()
	if err != nil {
		return w, nil, err
	}
	flip := uint8(0)
	if t.DType() == model.Uint8 {
		flip = 0x80
	}
	zero := []int8{int8(flip)}
	if zeroName != "" {
		zt := p.e.constant(zeroName)
		if zt == nil || zt.DType() != t.DType() || zt.Len() != 1 && zt.Len() != t.Shape()[ax] {
			return w, nil, fmt.Errorf("the zero points of the weights do not fit")
		}
		z, err := zt.Bytes()
		if err != nil {
			return w, nil, err
		}
		zero = make([]int8, len(z))
		for i, v := range z {
			zero[i] = int8(v ^ flip)
		}
	}
	if t.DType() == model.Int8 && !slices.ContainsFunc(zero, func(z int8) bool { return z != 0 }) {
		return byteWeights{t, nil}, scale, nil
	}
	inner := product(t.Shape()[ax+1:])
	moved, plain, fits := make([]int8, len(raw)), make([]int8, len(raw)), true
	for i, b := range raw {
		plain[i] = int8(b ^ flip)
		v := int32(plain[i]) - int32(zero[i/inner%t.Shape()[ax]%len(zero)])
		moved[i], fits = int8(v), fits && v >= -128 && v <= 127
	}
	if fits {
		return byteWeights{model.FromSlice(t.Shape(), moved), nil}, scale, nil
	}
	return byteWeights{model.FromSlice(t.Shape(), plain), zero}, scale, nil
}

// bias returns the bias in units of xScale*wScale[j]; nil for none.
func (p *qdq) bias(name string, n int, xScale float32, wScale []float32) ([]int32, error) {
	if name == "" {
		return nil, nil
	}
	unit := func(i int) float64 { return float64(xScale) * float64(wScale[i%len(wScale)]) }
	if d := p.e.from(name, "DequantizeLinear"); d != nil {
		t, st := p.e.constant(d.In(0)), p.e.constant(d.In(1))
		if t == nil || st == nil || t.DType() != model.Int32 || t.Len() != n || st.DType() != model.Float32 || st.Len() != 1 && st.Len() != n || d.Int("block_size", 0) != 0 {
			return nil, fmt.Errorf("the bias is no constant of 32 bits")
		}
		if z := d.In(2); z != "" {
			if zt := p.e.constant(z); zt == nil || !allZero(zt) {
				return nil, fmt.Errorf("the bias has a zero point")
			}
		}
		b, err := model.Data[int32](t)
		if err != nil {
			return nil, err
		}
		s, err := model.Data[float32](st)
		if err != nil {
			return nil, err
		}
		out := make([]float64, n)
		for i, v := range b {
			out[i] = float64(v)
			if r := float64(s[i%len(s)]) / unit(i); math.Abs(r-1) > 1e-5 { // beyond the rounding of the product of the scales
				out[i] *= r
			}
		}
		return roundAll(out)
	}
	t := p.e.constant(name)
	if t == nil || t.DType() != model.Float32 || t.Len() != n {
		return nil, fmt.Errorf("the bias is no constant")
	}
	b, err := model.Data[float32](t)
	if err != nil {
		return nil, err
	}
	out := make([]float64, n)
	for i, v := range b {
		out[i] = float64(v) / unit(i)
	}
	return roundAll(out)
}

func allZero(t *model.Tensor) bool {
	v, err := toFloat64(t)
	for _, x := range v {
		if x != 0 {
			return false
		}
	}
	return err == nil
}

// roundAll rounds to int32.
func roundAll(x []float64) ([]int32, error) {
	out := make([]int32, len(x))
	for i, v := range x {
		if v = math.RoundToEven(v); !(math.Abs(v) < math.MaxInt32) {
			return nil, fmt.Errorf("a bias does not fit 32 bits")
		}
		out[i] = int32(v)
	}
	return out, nil
}
