package onnx

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is one record of a protobuf message. Its accessors note a wrong wire type in err.
type field struct {
	num protowire.Number
	typ protowire.Type
	u   uint64 // varint, fixed32 and fixed64
	b   []byte // length-delimited
	rec []byte // the whole record, tag included
	err *error
}

// each calls fn for every record of message b. It stops at the first error.
func each(b []byte, fn func(f field) error) error {
	var bad error
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fmt.Errorf("malformed protobuf: %w", protowire.ParseError(n))
		}
		f := field{num: num, typ: typ, err: &bad}
		m := 0
		switch typ {
		case protowire.VarintType:
			f.u, m = protowire.ConsumeVarint(b[n:])
		case protowire.Fixed32Type:
			var v uint32
			v, m = protowire.ConsumeFixed32(b[n:])
			f.u = uint64(v)
		case protowire.Fixed64Type:
			f.u, m = protowire.ConsumeFixed64(b[n:])
		case protowire.BytesType:
			f.b, m = protowire.ConsumeBytes(b[n:])
		case protowire.StartGroupType:
			m = protowire.ConsumeFieldValue(num, typ, b[n:])
		default:
			return fmt.Errorf("malformed protobuf: field %d has wire type %d", num, typ)
		}
		if m < 0 {
			return fmt.Errorf("malformed protobuf: field %d: %w", num, protowire.ParseError(m))
		}
		f.rec = b[: n+m : n+m]
		b = b[n+m:]
		if err := fn(f); err != nil {
			return err
		}
		if bad != nil {
			return bad
		}
	}
	return nil
}

func (f field) want(typ protowire.Type) bool {
	if f.typ == typ {
		return true
	}
	*f.err = fmt.Errorf("malformed protobuf: field %d has wire type %d, not %d", f.num, f.typ, typ)
	return false
}

func (f field) bytes() []byte {
	if !f.want(protowire.BytesType) {
		return nil
	}
	return f.b
}

func (f field) str() string { return string(f.bytes()) }

func (f field) int() int64 {
	if !f.want(protowire.VarintType) {
		return 0
	}
	return int64(f.u)
}

func (f field) float() float32 {
	if !f.want(protowire.Fixed32Type) {
		return 0
	}
	return math.Float32frombits(uint32(f.u))
}

// varints calls fn for every element of a repeated varint field, packed or not.
func (f field) varints(fn func(v uint64) error) error {
	if f.typ == protowire.VarintType {
		return fn(f.u)
	}
	b := f.bytes()
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return fmt.Errorf("malformed protobuf: field %d: %w", f.num, protowire.ParseError(n))
		}
		b = b[n:]
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

// countVarints returns the number of elements of a repeated varint field.
func (f field) countVarints() int {
	if f.typ == protowire.VarintType {
		return 1
	}
	n := 0
	for _, c := range f.bytes() {
		if c < 0x80 {
			n++
		}
	}
	return n
}

// ints appends the elements of a repeated varint field to dst.
func (f field) ints(dst []int64) ([]int64, error) {
	if dst == nil {
		dst = make([]int64, 0, f.countVarints())
	}
	err := f.varints(func(v uint64) error { dst = append(dst, int64(v)); return nil })
	return dst, err
}

// fixed returns the little-endian bytes of a repeated fixed-width field, packed or not.
func (f field) fixed(width int) ([]byte, error) {
	one := protowire.Fixed32Type
	if width == 8 {
		one = protowire.Fixed64Type
	}
	if f.typ == one {
		return f.rec[len(f.rec)-width:], nil
	}
	b := f.bytes()
	if len(b)%width != 0 {
		return nil, fmt.Errorf("malformed protobuf: field %d: %d bytes are no whole number of elements", f.num, len(b))
	}
	return b, nil
}

// floats appends the elements of a repeated float field to dst.
func (f field) floats(dst []float32) ([]float32, error) {
	b, err := f.fixed(4)
	if dst == nil {
		dst = make([]float32, 0, len(b)/4)
	}
	for ; len(b) >= 4; b = b[4:] {
		v, _ := protowire.ConsumeFixed32(b)
		dst = append(dst, math.Float32frombits(v))
	}
	return dst, err
}
