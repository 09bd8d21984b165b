//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestNormTypes: normalisations of every float type, with scales of fewer elements and with their statistics, which are float32 for half
// types too. The results of half types are rounded once here and there, so they may be a step of 2^-11 of an element apart.
func TestNormTypes(t *testing.T) {
	rt, r := reference(t), newSource(83)
	none := model.Invalid
	for n := range 60 {
		rows, cols := 1+r.IntN(5), 1+r.IntN(40)
		x, scale := r.floats(2, rows, cols), r.floats(cols)
		switch n % 4 {
		case 1:
			scale = r.floats(1)
		case 2:
			scale = r.floats(rows, 1)
		}
		to, tol := []model.DType{model.Float32, model.Float64, model.Float16}[n%3], []float64{2e-6, 1e-12, 0x1p-10}[n%3]
		x, scale = cast(t, x, to), cast(t, scale, to)
		rms := one{name: fmt.Sprintf("RMSNormalization %d of %s%v by %v", n, to, x.Shape(), scale.Shape()), op: "RMSNormalization", opset: 23,
			inputs: []*model.Tensor{x, scale}, outputs: []model.DType{to}}
		rms.check(t, rt, tol)
		layer := one{name: fmt.Sprintf("LayerNormalization %d of %s%v by %v", n, to, x.Shape(), scale.Shape()), op: "LayerNormalization", opset: 17,
			inputs: []*model.Tensor{x, scale, scale}, outputs: []model.DType{to, none, none}}
		if n%2 == 0 && to != model.Float64 { // ONNX Runtime has float64 statistics of float64
			layer.outputs = []model.DType{to, model.Float32, model.Float32}
		}
		layer.check(t, rt, tol)
	}
}

// cast rounds a tensor to a type.
func cast(t *testing.T, x *model.Tensor, to model.DType) *model.Tensor {
	t.Helper()
	if to == model.Float32 {
		return x
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	if to == model.Float64 {
		w := make([]float64, len(v))
		for i := range v {
			w[i] = float64(v[i])
		}
		return model.FromSlice(x.Shape(), w)
	}
	y, err := model.FromFloat32(to, x.Shape(), v)
	if err != nil {
		t.Fatal(err)
	}
	return y
}
