package onnx_test

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/wattshed/wattshed/model"
)

// diff returns the path of the first difference of two graphs, weights and all, or "". Floats are
// compared by their bits; nil and empty lists are equal, except shapes, where nil means unknown.
func diff(a, b *model.Graph) string {
	return diffValue("graph", reflect.ValueOf(a), reflect.ValueOf(b))
}

func diffValue(path string, a, b reflect.Value) string {
	switch x := a.Interface().(type) {
	case *model.Tensor:
		return diffTensor(path, x, b.Interface().(*model.Tensor))
	case *model.Graph:
		y := b.Interface().(*model.Graph)
		if (x == nil) != (y == nil) {
			return path + ": one is nil"
		}
		if x == nil {
			return ""
		}
		if !slices.Equal(x.Initializers(), y.Initializers()) {
			return path + ": initializer names differ"
		}
		for _, n := range x.Initializers() {
			if d := diffTensor(path+"."+n, x.Initializer(n), y.Initializer(n)); d != "" {
				return d
			}
			xx, yx := x.InitializerExtra(n), y.InitializerExtra(n)
			if d := diffValue(path+"."+n, reflect.ValueOf(xx), reflect.ValueOf(yx)); d != "" {
				return d
			}
		}
	case model.Shape:
		if (x == nil) != b.IsNil() {
			return path + ": one shape is unknown"
		}
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			if a.IsNil() != b.IsNil() {
				return path + ": one is nil"
			}
			return ""
		}
		return diffValue(path, a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			f := a.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			if d := diffValue(path+"."+f.Name, a.Field(i), b.Field(i)); d != "" {
				return d
			}
		}
	case reflect.Slice:
		if a.Len() != b.Len() {
			return fmt.Sprintf("%s: %d and %d entries", path, a.Len(), b.Len())
		}
		for i := range a.Len() {
			if d := diffValue(fmt.Sprintf("%s[%d]", path, i), a.Index(i), b.Index(i)); d != "" {
				return d
			}
		}
	case reflect.Float32:
		if math.Float32bits(float32(a.Float())) != math.Float32bits(float32(b.Float())) {
			return fmt.Sprintf("%s: %v and %v", path, a, b)
		}
	default:
		if !a.Equal(b) {
			return fmt.Sprintf("%s: %v and %v", path, a, b)
		}
	}
	return ""
}

func diffTensor(path string, a, b *model.Tensor) string {
	if a == nil || b == nil {
		if a != b {
			return path + ": one tensor is missing"
		}
		return ""
	}
	if a.DType() != b.DType() || !slices.Equal(a.Shape(), b.Shape()) {
		return fmt.Sprintf("%s: %s%v and %s%v", path, a.DType(), a.Shape(), b.DType(), b.Shape())
	}
	if a.DType() == model.String {
		x, err1 := a.Strings()
		y, err2 := b.Strings()
		if err1 != nil || err2 != nil || !slices.Equal(x, y) {
			return fmt.Sprintf("%s: strings differ (%v, %v)", path, err1, err2)
		}
		return ""
	}
	x, err1 := a.Bytes()
	y, err2 := b.Bytes()
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
		return fmt.Sprintf("%s: bytes differ (%v, %v)", path, err1, err2)
	}
	return ""
}
