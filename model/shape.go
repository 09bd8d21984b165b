package model

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Dim is one dimension of a declared shape: a known size, or a symbolic Param, or unknown.
type Dim struct {
	Size  int64  // the size, or -1 when it is not known
	Param string // the name of a symbolic dimension, such as "batch"; may be empty

	Denotation string // ONNX denotation, such as "DATA_BATCH"; mostly empty
}

// Known reports whether the dimension has a fixed size.
func (d Dim) Known() bool { return d.Size >= 0 }

// String returns the size, the symbolic name, or "?".
func (d Dim) String() string {
	switch {
	case d.Size >= 0:
		return strconv.FormatInt(d.Size, 10)
	case d.Param != "":
		return d.Param
	}
	return "?"
}

// Shape is a declared shape. A nil Shape has unknown rank; an empty one is a scalar.
type Shape []Dim

// FixedShape returns a Shape of known sizes.
func FixedShape(sizes ...int) Shape {
	s := make(Shape, len(sizes))
	for i, n := range sizes {
		s[i] = Dim{Size: int64(n)}
	}
	return s
}

// Fixed returns the sizes and true when every dimension is known.
func (s Shape) Fixed() ([]int, bool) {
	if s == nil {
		return nil, false
	}
	out := make([]int, len(s))
	for i, d := range s {
		if !d.Known() {
			return nil, false
		}
		out[i] = int(d.Size)
	}
	return out, true
}

// String returns for example "[batch 128 ?]"; "[...]" for unknown rank.
func (s Shape) String() string {
	if s == nil {
		return "[...]"
	}
	parts := make([]string, len(s))
	for i, d := range s {
		parts[i] = d.String()
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// NumElements returns the product of the sizes; 1 for a scalar. It fails on a negative size and when
// the product does not fit an int.
func NumElements(shape []int) (int, error) {
	n := 1
	zero := false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("model: shape %v has a negative size", shape)
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("model: shape %v has too many elements", shape)
		}
		n *= d
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// Type is the declared type of a Value: a tensor's DType and Shape, or, for the rare value that is
// a sequence, an optional or a map, the protobuf bytes of its ONNX TypeProto in Raw.
type Type struct {
	DType DType // Invalid when not declared
	Shape Shape
	Raw   []byte // TypeProto of a non-tensor value, kept verbatim; nil for tensors

	Denotation string // ONNX denotation, such as "IMAGE"; mostly empty
}

// Value is a named edge of a Graph with what its file declares of it. Declarations may be missing or
// wrong: engines infer, they do not trust.
type Value struct {
	Name string
	Type Type
	Doc  string
	Meta []KV // metadata_props

	Extra []byte // unknown protobuf fields, kept verbatim
}

// KV is one entry of an ordered string map, as ONNX metadata_props are.
type KV struct{ Key, Value string }
