// Package dense hands weights out as *tensor.Dense of gorgonia.org/tensor, the container that other Go programs
// pass tensors in, and takes them back. It is a package of its own so that only programs which want that container link it.
package dense

import (
	"fmt"

	// gorgonia.org/tensor refuses to start on a Go release that this package does not know, unless it is pinned to the
	// version in go.mod, which checks nothing. The import keeps the pin in go.mod alive.
	_ "go4.org/unsafe/assume-no-moving-gc"
	"gorgonia.org/tensor"

	"github.com/wattshed/wattshed/model"
)

// From returns t as a *tensor.Dense of the same shape, the container that other Go programs pass tensors in. For
// float32, float64, integers of 8 to 64 bits and bool the Dense is over the tensor's own memory, without a copy: a
// write to it is seen by every graph that shares t, and stays in this process where the memory is a mapped
// file (Mapping is copy-on-write). Strings are copied. Every other type, half and packed ones among them, comes as
// its raw bytes, a Dense of uint8 of one dimension, for which t.DType says what they are; Float32 converts them.
//
// It fails when t cannot be read.
func From(t *model.Tensor) (*tensor.Dense, error) {
	if t.DType() == model.String {
		s, err := t.Strings()
		if err != nil {
			return nil, err
		}
		return newDense(t.Shape(), append([]string(nil), s...)), nil
	}
	if err := t.Keep(); err != nil {
		return nil, err
	}
	switch t.DType() {
	case model.Float32:
		return denseOf[float32](t)
	case model.Float64:
		return denseOf[float64](t)
	case model.Int8:
		return denseOf[int8](t)
	case model.Int16:
		return denseOf[int16](t)
	case model.Int32:
		return denseOf[int32](t)
	case model.Int64:
		return denseOf[int64](t)
	case model.Uint8:
		return denseOf[uint8](t)
	case model.Uint16:
		return denseOf[uint16](t)
	case model.Uint32:
		return denseOf[uint32](t)
	case model.Uint64:
		return denseOf[uint64](t)
	case model.Bool:
		return denseOf[bool](t)
	}
	raw, err := t.Bytes()
	if err != nil {
		return nil, err
	}
	return newDense([]int{len(raw)}, raw), nil
}

func denseOf[T model.Element](t *model.Tensor) (*tensor.Dense, error) {
	data, err := model.Data[T](t)
	if err != nil {
		return nil, err
	}
	return newDense(t.Shape(), data), nil
}

func newDense[T model.Element | string](shape []int, data []T) *tensor.Dense {
	if len(shape) == 0 {
		return tensor.New(tensor.WithShape(), tensor.WithBacking(data))
	}
	if len(data) == 0 {
		data = []T{}
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}

// Tensor returns a model.Tensor over the memory of d, without a copy, for the element types of Element; strings are
// copied. d must be contiguous and in row-major order, and must not be changed afterwards. It fails for other
// layouts and types.
func Tensor(d *tensor.Dense) (*model.Tensor, error) {
	if d.RequiresIterator() || d.DataOrder().IsColMajor() || d.IsMasked() || d.IsView() && !d.IsNativelyAccessible() {
		return nil, fmt.Errorf("dense: a tensor of shape %v that is not contiguous: %w", d.Shape(), model.ErrUnsupported)
	}
	shape := append([]int{}, d.Shape()...)
	switch data := d.Data().(type) {
	case []float32:
		return fromDense(shape, data)
	case []float64:
		return fromDense(shape, data)
	case []int8:
		return fromDense(shape, data)
	case []int16:
		return fromDense(shape, data)
	case []int32:
		return fromDense(shape, data)
	case []int64:
		return fromDense(shape, data)
	case []uint8:
		return fromDense(shape, data)
	case []uint16:
		return fromDense(shape, data)
	case []uint32:
		return fromDense(shape, data)
	case []uint64:
		return fromDense(shape, data)
	case []bool:
		return fromDense(shape, data)
	case []string:
		return model.NewStrings(shape, append([]string(nil), data...))
	}
	return fromScalar(shape, d)
}

// fromScalar takes a Dense of rank 0, whose data is a bare value, and one of Go's int.
func fromScalar(shape []int, d *tensor.Dense) (*model.Tensor, error) {
	switch v := d.Data().(type) {
	case float32:
		return fromDense(shape, []float32{v})
	case float64:
		return fromDense(shape, []float64{v})
	case int8:
		return fromDense(shape, []int8{v})
	case int16:
		return fromDense(shape, []int16{v})
	case int32:
		return fromDense(shape, []int32{v})
	case int64:
		return fromDense(shape, []int64{v})
	case uint8:
		return fromDense(shape, []uint8{v})
	case uint16:
		return fromDense(shape, []uint16{v})
	case uint32:
		return fromDense(shape, []uint32{v})
	case uint64:
		return fromDense(shape, []uint64{v})
	case bool:
		return fromDense(shape, []bool{v})
	case string:
		return model.NewStrings(shape, []string{v})
	case int:
		return fromDense(shape, []int64{int64(v)})
	case []int:
		out := make([]int64, len(v))
		for i, x := range v {
			out[i] = int64(x)
		}
		return fromDense(shape, out)
	}
	return nil, fmt.Errorf("dense: a tensor of %v: %w", d.Dtype(), model.ErrUnsupported)
}

func fromDense[T model.Element](shape []int, data []T) (*model.Tensor, error) {
	n, err := model.NumElements(shape)
	if err != nil {
		return nil, err
	}
	if n != len(data) {
		return nil, fmt.Errorf("dense: shape %v over %d elements", shape, len(data))
	}
	return model.FromSlice(shape, data), nil
}
