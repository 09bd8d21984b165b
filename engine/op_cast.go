package engine

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// castOps convert element types.
func castOps() map[string]opDef {
	return qualify("", map[string]opDef{
		"Cast": plain(opCast), "CastLike": plain(opCastLike), "BitCast": plain(opBitCast),
	})
}

// castRule are the attributes of Cast for narrow float types.
type castRule struct {
	saturate bool
	round    string // float8e8m0: "up" (default), "down" or "nearest"
}

func ruleOf(n *model.Node) castRule {
	return castRule{n.Int("saturate", 1) != 0, n.Str("round_mode", "up")}
}

func opCast(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	return castTo(c, x, model.DType(c.Node.Int("to", 0)))
}

func opCastLike(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	like, err := c.Need(1)
	if err != nil {
		return err
	}
	return castTo(c, x, like.DType())
}

// castTensor converts t to another element type by the rules of ONNX Cast.
func castTensor(t *model.Tensor, to model.DType, rule castRule) (*model.Tensor, error) {
	from := t.DType()
	switch {
	case from == to:
		return t, nil
	case from == model.String:
		return castFromString(t, to, rule)
	case to == model.String:
		return castToString(t)
	case from.IsFloat() && (to == model.Float16 || to == model.BFloat16) && from != model.Float64:
		if x, err := t.Float32(); err == nil {
			return model.FromFloat32(to, t.Shape(), x)
		}
	case (from == model.Float16 || from == model.BFloat16) && to == model.Float32:
		x, err := t.Float32()
		if err != nil {
			return nil, err
		}
		return model.FromSlice(t.Shape(), x), nil
	}
	if (from.IsInteger() || from == model.Bool) && (to.IsInteger() || to == model.Bool) {
		x, err := toInt64(t)
		if err != nil {
			return nil, err
		}
		if to.IsInteger() {
			return fromInt64(to, t.Shape(), x)
		}
		b := make([]bool, len(x))
		for i, v := range x {
			b[i] = v != 0
		}
		return model.FromSlice(t.Shape(), b), nil
	}
	x, err := toFloat64(t)
	if err != nil {
		return nil, err
	}
	return fromFloat64(to, t.Shape(), x, rule)
}

// Float64s returns the elements of a tensor of any numeric type as float64 (uint64 and int64 beyond 2^53 rounded).
func Float64s(t *model.Tensor) ([]float64, error) { return toFloat64(t) }

func toFloat64(t *model.Tensor) ([]float64, error) {
	switch d := t.DType(); d {
	case model.Float64:
		return model.Data[float64](t)
	case model.Float32:
		return widen[float32](t)
	case model.Uint64:
		return widen[uint64](t)
	case model.Float16, model.BFloat16:
		x, err := t.Float32()
		out := make([]float64, len(x))
		for i, v := range x {
			out[i] = float64(v)
		}
		return out, err
	default:
		if d.IsInteger() || d == model.Bool {
			x, err := toInt64(t)
			out := make([]float64, len(x))
			for i, v := range x {
				out[i] = float64(v)
			}
			return out, err
		}
		if table := miniTable(d); table != nil {
			raw, err := t.Bytes()
			if err != nil {
				return nil, err
			}
			out := make([]float64, t.Len())
			for i := range out {
				out[i] = table[code(raw, d.Bits(), i)]
			}
			return out, nil
		}
	}
	return nil, typeError(t)
}

// code returns element i of packed elements of the given bits.
func code(raw []byte, bits, i int) byte {
	if bits == 8 {
		return raw[i]
	}
	per := 8 / bits
	return raw[i/per] >> (i % per * bits) & (1<<bits - 1)
}

func setCode(raw []byte, bits, i int, v byte) {
	if bits == 8 {
		raw[i] = v
		return
	}
	per := 8 / bits
	raw[i/per] |= v & (1<<bits - 1) << (i % per * bits)
}

func widen[T number](t *model.Tensor) ([]float64, error) {
	x, err := model.Data[T](t)
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out, err
}

// toInt64 returns integers and bools; uint64 wraps.
func toInt64(t *model.Tensor) ([]int64, error) {
	switch d := t.DType(); d {
	case model.Int64:
		return model.Data[int64](t)
	case model.Int8:
		return widenInt[int8](t)
	case model.Int16:
		return widenInt[int16](t)
	case model.Int32:
		return widenInt[int32](t)
	case model.Uint8:
		return widenInt[uint8](t)
	case model.Uint16:
		return widenInt[uint16](t)
	case model.Uint32:
		return widenInt[uint32](t)
	case model.Uint64:
		return widenInt[uint64](t)
	case model.Bool:
		x, err := model.Data[bool](t)
		out := make([]int64, len(x))
		for i, v := range x {
			if v {
				out[i] = 1
			}
		}
		return out, err
	case model.Int4, model.Uint4, model.Int2, model.Uint2:
		raw, err := t.Bytes()
		if err != nil {
			return nil, err
		}
		out := make([]int64, t.Len())
		for i := range out {
			v := int64(code(raw, d.Bits(), i))
			if (d == model.Int4 || d == model.Int2) && v >= 1<<(d.Bits()-1) {
				v -= 1 << d.Bits()
			}
			out[i] = v
		}
		return out, nil
	}
	return nil, typeError(t)
}

func widenInt[T integer](t *model.Tensor) ([]int64, error) {
	x, err := model.Data[T](t)
	out := make([]int64, len(x))
	for i, v := range x {
		out[i] = int64(v)
	}
	return out, err
}

func narrow[T number, S int64 | float64](shape []int, x []S) *model.Tensor {
	out := make([]T, len(x))
	for i, v := range x {
		out[i] = T(v)
	}
	return model.FromSlice(shape, out)
}

// fromInt64 keeps the low bits.
func fromInt64(to model.DType, shape []int, x []int64) (*model.Tensor, error) {
	switch to {
	case model.Int64:
		return model.FromSlice(shape, x), nil
	case model.Int8:
		return narrow[int8](shape, x), nil
	case model.Int16:
		return narrow[int16](shape, x), nil
	case model.Int32:
		return narrow[int32](shape, x), nil
	case model.Uint8:
		return narrow[uint8](shape, x), nil
	case model.Uint16:
		return narrow[uint16](shape, x), nil
	case model.Uint32:
		return narrow[uint32](shape, x), nil
	case model.Uint64:
		return narrow[uint64](shape, x), nil
	case model.Int4, model.Uint4, model.Int2, model.Uint2:
		raw := make([]byte, to.Size(len(x)))
		for i, v := range x {
			setCode(raw, to.Bits(), i, byte(v))
		}
		return model.NewTensor(to, shape, raw)
	}
	return nil, fmt.Errorf("element type %s: %w", to, model.ErrUnsupported)
}

func fromFloat64(to model.DType, shape []int, x []float64, rule castRule) (*model.Tensor, error) {
	switch to {
	case model.Float64:
		return model.FromSlice(shape, x), nil
	case model.Float32:
		return narrow[float32](shape, x), nil
	case model.Float16, model.BFloat16:
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(v)
		}
		return model.FromFloat32(to, shape, y)
	case model.Bool:
		b := make([]bool, len(x))
		for i, v := range x {
			b[i] = v != 0
		}
		return model.FromSlice(shape, b), nil
	case model.Uint64:
		y := make([]uint64, len(x))
		for i, v := range x {
			if v < 0 {
				y[i] = uint64(int64(v))
			} else {
				y[i] = uint64(v)
			}
		}
		return model.FromSlice(shape, y), nil
	}
	if to.IsInteger() {
		y := make([]int64, len(x))
		for i, v := range x {
			if v == v {
				y[i] = int64(v)
			}
		}
		return fromInt64(to, shape, y)
	}
	if table := miniTable(to); table != nil {
		raw := make([]byte, to.Size(len(x)))
		enc := newMini(to, table, rule)
		for i, v := range x {
			setCode(raw, to.Bits(), i, enc(v))
		}
		return model.NewTensor(to, shape, raw)
	}
	return nil, fmt.Errorf("element type %s: %w", to, model.ErrUnsupported)
}

func castFromString(t *model.Tensor, to model.DType, rule castRule) (*model.Tensor, error) {
	s, err := t.Strings()
	if err != nil {
		return nil, err
	}
	if to.IsInteger() {
		x := make([]int64, len(s))
		for i, v := range s {
			if x[i], err = strconv.ParseInt(strings.TrimSpace(v), 10, 64); err != nil {
				return nil, fmt.Errorf("string %q is no integer", v)
			}
		}
		return fromInt64(to, t.Shape(), x)
	}
	x := make([]float64, len(s))
	for i, v := range s {
		if x[i], err = strconv.ParseFloat(strings.TrimSpace(v), 64); err != nil && !math.IsInf(x[i], 0) {
			return nil, fmt.Errorf("string %q is no number", v)
		}
	}
	return fromFloat64(to, t.Shape(), x, rule)
}

// castToString writes floats as C++ and NumPy do: the shortest digits that read back, with an exponent outside 1e-4
// to 1e16.
func castToString(t *model.Tensor) (*model.Tensor, error) {
	out := make([]string, t.Len())
	if t.DType().IsInteger() || t.DType() == model.Bool {
		x, err := toInt64(t)
		if err != nil {
			return nil, err
		}
		for i, v := range x {
			out[i] = strconv.FormatInt(v, 10)
		}
		return model.NewStrings(t.Shape(), out)
	}
	x, err := toFloat64(t)
	if err != nil {
		return nil, err
	}
	bits := 32
	if t.DType() == model.Float64 {
		bits = 64
	}
	for i, v := range x {
		switch {
		case math.IsNaN(v):
			out[i] = "NaN"
		case math.IsInf(v, 0):
			out[i] = strings.TrimPrefix(strings.ToUpper(strconv.FormatFloat(v, 'g', -1, 64)), "+")
		default:
			if a := math.Abs(v); a != 0 && (a < 1e-4 || a >= 1e16) {
				out[i] = strconv.FormatFloat(v, 'e', -1, bits)
			} else {
				out[i] = strconv.FormatFloat(v, 'f', -1, bits)
			}
		}
	}
	return model.NewStrings(t.Shape(), out)
}

func opBitCast(c *Call) error {
	x, err := c.Need(0)
	if err != nil {
		return err
	}
	t, err := x.View(model.DType(c.Node.Int("to", 0)))
	if err != nil {
		return err
	}
	c.Set(0, t)
	return nil
}
