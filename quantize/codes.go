package quantize

import (
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// codes are the 8-bit integers that the weights of a dynamic product become.
type codes struct {
	dtype     model.DType // Int8 or Uint8
	r         Range       // that scales are chosen for and values clipped to
	symmetric bool        // one zero point: 0 of int8, 128 of uint8
}

// codesOf returns those of a type: int8 is symmetric, of 7 bits where reduced, uint8 asymmetric.
func codesOf(dtype model.DType, reduced bool) codes {
	switch {
	case dtype == model.Uint8:
		return codes{model.Uint8, Uint8Range, false}
	case reduced:
		return codes{model.Int8, sevenBits, true}
	}
	return codes{model.Int8, Int8Range, true}
}

// params chooses parameters for each of the extents.
func (c codes) params(e extents) ([]Params, error) { return e.params(c.r, c.symmetric) }

// put sets out to the codes of x, all of the same parameters.
func (c codes) put(out []byte, x []float32, p Params) {
	lo, hi := float32(c.r.Min-p.ZeroPoint), float32(c.r.Max-p.ZeroPoint)
	out = out[:len(x)]
	for i, v := range x {
		out[i] = byte(roundClamped(v/p.Scale, lo, hi) + p.ZeroPoint)
	}
}

// columnCodes are the parameters of consecutive columns, spread out for putRow.
type columnCodes struct{ scale, lo, hi, zero []float32 }

func (c codes) spread(p []Params, n int) columnCodes {
	s := columnCodes{scale: make([]float32, n)}
	for j := range s.scale {
		s.scale[j] = p[j%len(p)].Scale
	}
	if c.dtype == model.Int8 {
		return s
	}
	s.lo, s.hi, s.zero = make([]float32, n), make([]float32, n), make([]float32, n)
	for j := range s.scale {
		z := p[j%len(p)].ZeroPoint
		s.lo[j], s.hi[j], s.zero[j] = float32(c.r.Min-z), float32(c.r.Max-z), float32(z)
	}
	return s
}

// putRow sets out to the codes of a row, each element with the parameters of its column.
func (c codes) putRow(out []byte, row []float32, s columnCodes) {
	scale := s.scale[:len(row)]
	out = out[:len(row)]
	if s.zero == nil {
		kernel.ColumnCodes(out, row, scale, int8(c.r.Min), int8(c.r.Max))
		return
	}
	for j, v := range row {
		out[j] = byte(roundClamped(v/scale[j], s.lo[j], s.hi[j]) + int32(s.zero[j]))
	}
}

// tensor returns codes as a tensor.
func (c codes) tensor(shape []int, q []byte) (*model.Tensor, error) {
	return model.FromSlice(shape, q).View(c.dtype)
}

// zeros returns the zero points as a tensor.
func (c codes) zeros(shape []int, params []Params) (*model.Tensor, error) {
	z := make([]byte, len(params))
	for i, p := range params {
		z[i] = byte(p.ZeroPoint)
	}
	return c.tensor(shape, z)
}
