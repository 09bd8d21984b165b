package quantize

import (
	"fmt"
	"slices"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Scheme says how a whole tensor is quantized.
type Scheme struct {
	// DType is Int8, Uint8, Int4, Uint4, Int16, Uint16, Float8E4M3FN, Float8E5M2, Float16 or BFloat16. The float
	// types are symmetric; Float16 and BFloat16 have no scale, values are rounded as they are.
	DType     model.DType
	Symmetric bool
	// Granularity: PerTensor one scale; PerChannel one for each index of Axis; PerGroup one for every Group consecutive
	// indices of Axis, for each index of the other dimensions, the last group of an axis possibly shorter.
	Granularity Granularity
	Axis        int // may be negative, counted from the end
	Group       int
}

// PerGroup shares a scale among a few consecutive elements of one axis.
const PerGroup Granularity = "per-group"

// rangeOf returns the integer range of a quantized type.
func rangeOf(d model.DType) (Range, bool) {
	switch d {
	case model.Int8:
		return Int8Range, true
	case model.Uint8:
		return Uint8Range, true
	case model.Int16:
		return Int16Range, true
	case model.Uint16:
		return Uint16Range, true
	case model.Int4:
		return Int4Range, true
	case model.Uint4:
		return Uint4Range, true
	}
	return Range{}, false
}

// ChooseFloat8 returns the scale that maps the larger of |lo| and |hi| on the largest value of dtype (448 of
// Float8E4M3FN, 57344 of Float8E5M2), computed in float64; 1 where that is below the smallest normal float32.
// (compressed-tensors, calculate_qparams of float types.)
func ChooseFloat8(lo, hi float32, dtype model.DType) (Params, error) {
	f, ok := formatOf(dtype)
	if !ok {
		return Params{}, fmt.Errorf("quantize: %s is no 8-bit float type: %w", dtype, model.ErrUnsupported)
	}
	if lo-lo != 0 || hi-hi != 0 || lo > hi {
		return Params{}, fmt.Errorf("quantize: %v to %v is no finite range", lo, hi)
	}
	s := float64(max(-lo, hi, 0)) / float64(f.largest())
	if s < smallestScale {
		return Params{1, 0}, nil
	}
	return Params{float32(s), 0}, nil
}

// Grid is a Scheme with the parameters chosen for the tensors of one shape.
type Grid struct {
	Scheme
	Shape  []int    // of the data
	Params []Params // in the order of ScaleShape

	outer, size, inner int // the dimensions before Axis, Axis, and after it
}

// NewGrid returns the grid of a shape with all parameters {1, 0}. It fails on a scheme that makes no sense for it.
func (s Scheme) NewGrid(shape []int) (*Grid, error) {
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, fmt.Errorf("quantize: %w", err)
	}
	_, integer := rangeOf(s.DType)
	_, small := formatOf(s.DType)
	half := s.DType == model.Float16 || s.DType == model.BFloat16
	if !integer && !small && !half {
		return nil, fmt.Errorf("quantize: type %s: %w", s.DType, model.ErrUnsupported)
	}
	if half {
		s.Granularity = PerTensor
	}
	g := &Grid{Scheme: s, Shape: slices.Clone(shape), outer: 1, size: n, inner: 1}
	count := 1
	if s.Granularity != PerTensor {
		if g.Axis < 0 {
			g.Axis += len(shape)
		}
		if g.Axis < 0 || g.Axis >= len(shape) {
			return nil, fmt.Errorf("quantize: axis %d of shape %v", s.Axis, shape)
		}
		g.size = shape[g.Axis]
		for _, d := range shape[:g.Axis] {
			g.outer *= d
		}
		for _, d := range shape[g.Axis+1:] {
			g.inner *= d
		}
	}
	switch s.Granularity {
	case PerTensor:
	case PerChannel:
		count = g.size
	case PerGroup:
		if s.Group < 1 {
			return nil, fmt.Errorf("quantize: groups of %d elements", s.Group)
		}
		count = g.outer * g.groups() * g.inner
	default:
		return nil, fmt.Errorf("quantize: granularity %q: want %s, %s or %s", s.Granularity, PerTensor, PerChannel, PerGroup)
	}
	g.Params = make([]Params, count)
	for i := range g.Params {
		g.Params[i].Scale = 1
	}
	return g, nil
}

func (g *Grid) groups() int { return (g.size + g.Group - 1) / g.Group }

// ScaleShape returns the shape of scales and zero points as ONNX DequantizeLinear takes them: [], [D], or that of the
// data with the axis divided by Group.
func (g *Grid) ScaleShape() []int {
	switch g.Granularity {
	case PerTensor:
		return []int{}
	case PerChannel:
		return []int{g.size}
	}
	s := slices.Clone(g.Shape)
	s[g.Axis] = g.groups()
	return s
}

// ChooseParams returns the grid of x, a tensor of that shape, by ChooseParams of every part that shares a scale
// (ChooseFloat8 for the 8-bit floats). A part without elements or without range has {1, 0}. It fails on a value that
// is not finite.
func (s Scheme) ChooseParams(x []float32, shape []int) (*Grid, error) {
	g, err := s.NewGrid(shape)
	if err != nil {
		return nil, err
	}
	if err := g.fits(len(x)); err != nil {
		return nil, err
	}
	if g.DType == model.Float16 || g.DType == model.BFloat16 {
		return g, nil
	}
	lo, hi := make([]float32, len(g.Params)), make([]float32, len(g.Params))
	var check float32
	g.rows(func(at int, p0, step, n int) {
		if step == 0 {
			a, b := lo[p0], hi[p0]
			for _, v := range x[at : at+n] {
				check += v - v
				a, b = min(a, v), max(b, v)
			}
			lo[p0], hi[p0] = a, b
			return
		}
		for i, v := range x[at : at+n] {
			check += v - v
			lo[p0+i], hi[p0+i] = min(lo[p0+i], v), max(hi[p0+i], v)
		}
	})
	if check != 0 {
		at := slices.IndexFunc(x, func(v float32) bool { return v-v != 0 })
		return nil, fmt.Errorf("quantize: element %d is %v: %w", at, x[at], errNotFinite)
	}
	r, integer := rangeOf(g.DType)
	for i := range g.Params {
		if integer {
			g.Params[i], err = ChooseParams(lo[i], hi[i], r, g.Symmetric)
		} else {
			g.Params[i], err = ChooseFloat8(lo[i], hi[i], g.DType)
		}
		if err != nil {
			return nil, err
		}
	}
	return g, nil
}

func (g *Grid) fits(n int) error {
	if want := g.outer * g.size * g.inner; n != want {
		return fmt.Errorf("quantize: %d elements for shape %v", n, g.Shape)
	}
	return nil
}

// rows calls f for consecutive stretches of the data in order: n elements from at on, whose parameters are
// p0, p0+step, p0+2*step and so on.
func (g *Grid) rows(f func(at, p0, step, n int)) {
	switch g.Granularity {
	case PerTensor:
		f(0, 0, 0, g.outer*g.size*g.inner)
		return
	case PerChannel:
		for o := range g.outer {
			for d := range g.size {
				f((o*g.size+d)*g.inner, d, 0, g.inner)
			}
		}
		return
	}
	k := g.groups()
	for o := range g.outer {
		if g.inner == 1 {
			for b := range k {
				f(o*g.size+b*g.Group, o*k+b, 0, min(g.Group, g.size-b*g.Group))
			}
			continue
		}
		for d := range g.size {
			f((o*g.size+d)*g.inner, (o*k+d/g.Group)*g.inner, 1, g.inner)
		}
	}
}

// Quantize returns x as a tensor of the grid's type and shape: sat(RNE(x/Scale) + ZeroPoint) for integers, the quotient
// in float32; the quotient rounded to nearest even and saturated for 8-bit floats; x rounded to nearest even for
// Float16 and BFloat16, where a finite value that would become infinite is an error that names it. (ONNX
// QuantizeLinear, Cast.)
func (g *Grid) Quantize(x []float32) (*model.Tensor, error) {
	if err := g.fits(len(x)); err != nil {
		return nil, err
	}
	r, _ := rangeOf(g.DType)
	switch g.DType {
	case model.Int8:
		return model.FromSlice(g.Shape, quantizeAs[int8](g, x, r)), nil
	case model.Uint8:
		return model.FromSlice(g.Shape, quantizeAs[uint8](g, x, r)), nil
	case model.Int16:
		return model.FromSlice(g.Shape, quantizeAs[int16](g, x, r)), nil
	case model.Uint16:
		return model.FromSlice(g.Shape, quantizeAs[uint16](g, x, r)), nil
	case model.Int4, model.Uint4:
		raw := make([]byte, (len(x)+1)/2)
		if g.DType == model.Int4 {
			pack4(raw, quantizeAs[int8](g, x, r))
		} else {
			pack4(raw, quantizeAs[uint8](g, x, r))
		}
		return model.NewTensor(g.DType, g.Shape, raw)
	case model.Float16, model.BFloat16:
		if i := beyond(x, g.DType); i >= 0 {
			return nil, fmt.Errorf("quantize: element %d is %g, beyond the range of %s", i, x[i], shortName(g.DType))
		}
		t, _, err := toHalf(g.DType, g.Shape, x)
		return t, err
	}
	f, _ := formatOf(g.DType)
	raw := make([]byte, len(x))
	g.rows(func(at, p, step, n int) {
		for i, v := range x[at : at+n] {
			raw[at+i] = f.encode(v/g.Params[p+i*step].Scale, true)
		}
	})
	return model.NewTensor(g.DType, g.Shape, raw)
}

func quantizeAs[T Quantized](g *Grid, x []float32, r Range) []T {
	q := make([]T, len(x))
	g.rows(func(at, p, step, n int) {
		if step == 0 {
			Quantize(q[at:at+n], x[at:at+n], g.Params[p], r)
			return
		}
		for i, v := range x[at : at+n] {
			pi := g.Params[p+i]
			q[at+i] = T(roundClamped(v/pi.Scale, float32(r.Min-pi.ZeroPoint), float32(r.Max-pi.ZeroPoint)) + pi.ZeroPoint)
		}
	})
	return q
}

// Dequantize returns (q - ZeroPoint) * Scale of a tensor that Quantize made, in float32. (ONNX DequantizeLinear.)
func (g *Grid) Dequantize(q *model.Tensor) ([]float32, error) {
	if q.DType() != g.DType || !slices.Equal(q.Shape(), g.Shape) {
		return nil, fmt.Errorf("quantize: tensor %s%v for a grid of %s%v", q.DType(), q.Shape(), g.DType, g.Shape)
	}
	raw, err := q.Bytes()
	if err != nil {
		return nil, err
	}
	x := make([]float32, q.Len())
	switch g.DType {
	case model.Int8:
		err = dequantizeTensor[int8](g, x, q)
	case model.Uint8:
		err = dequantizeTensor[uint8](g, x, q)
	case model.Int16:
		err = dequantizeTensor[int16](g, x, q)
	case model.Uint16:
		err = dequantizeTensor[uint16](g, x, q)
	case model.Int4:
		v := make([]int8, len(x))
		unpackS4(v, raw)
		dequantizeAs(g, x, v)
	case model.Uint4:
		v := make([]uint8, len(x))
		unpackU4(v, raw)
		dequantizeAs(g, x, v)
	case model.Float16, model.BFloat16:
		h, err := model.Data[uint16](q)
		if err != nil {
			return nil, err
		}
		if g.DType == model.Float16 {
			kernel.F16ToF32(x, h)
		} else {
			kernel.BF16ToF32(x, h)
		}
	default:
		f, _ := formatOf(g.DType)
		t := f.table()
		g.rows(func(at, p, step, n int) {
			for i, c := range raw[at : at+n] {
				x[at+i] = t[c] * g.Params[p+i*step].Scale
			}
		})
	}
	return x, err
}

func dequantizeTensor[T Quantized](g *Grid, x []float32, t *model.Tensor) error {
	q, err := model.Data[T](t)
	if err != nil {
		return err
	}
	dequantizeAs(g, x, q)
	return nil
}

func dequantizeAs[T Quantized](g *Grid, x []float32, q []T) {
	g.rows(func(at, p, step, n int) {
		if step == 0 {
			Dequantize(x[at:at+n], q[at:at+n], g.Params[p])
			return
		}
		for i, v := range q[at : at+n] {
			pi := g.Params[p+i]
			x[at+i] = float32(int32(v)-pi.ZeroPoint) * pi.Scale
		}
	})
}

// Tensors returns scales (Float32) and zero points (of the quantized type) for ONNX QuantizeLinear and
// DequantizeLinear.
func (g *Grid) Tensors() (scale, zero *model.Tensor, err error) {
	s := make([]float32, len(g.Params))
	z := make([]int8, len(g.Params))
	wide := make([]int16, len(g.Params))
	for i, p := range g.Params {
		s[i], z[i], wide[i] = p.Scale, int8(p.ZeroPoint), int16(p.ZeroPoint)
	}
	shape := g.ScaleShape()
	switch g.DType.Bits() {
	case 4:
		raw := make([]byte, (len(z)+1)/2)
		pack4(raw, z)
		zero, err = model.NewTensor(g.DType, shape, raw)
	case 8:
		if zero, err = model.FromSlice(shape, z).View(g.DType); err != nil {
			return nil, nil, err
		}
	default:
		zero, err = model.FromSlice(shape, wide).View(g.DType)
	}
	return model.FromSlice(shape, s), zero, err
}
