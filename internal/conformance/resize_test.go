//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// Resize of integers is cut off, so that every bit of its sums shows: in all forms that ONNX Runtime has the results are the same.
func TestResizeIntegers(t *testing.T) {
	rt, r := reference(t), newSource(41)
	draw := func(d model.DType, shape []int) *model.Tensor {
		x := quant(r).bytes(d == model.Int8, shape...)
		if d == model.Int32 {
			b, _ := model.Data[uint8](x)
			w := make([]int32, len(b))
			for k := range w {
				w[k] = (int32(b[k]) - 128) << r.IntN(23)
			}
			return model.FromSlice(shape, w)
		}
		return x
	}
	scale := func() float32 { return []float32{0.3, 0.34, 0.5, 0.71, 0.9, 1, 1.1, 1.5, 1.7, 2, 2.3, 3}[r.IntN(12)] }
	coords := []string{"half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"}
	for n := range 240 {
		d := []model.DType{model.Uint8, model.Int8, model.Int32}[n%3]
		form := [][]float32{{1, 1, scale(), scale()}, {1, 1.3, scale() + 0.6, 1}, {scale(), scale()}, {scale(), scale(), scale()}, {1, 1, scale(), scale(), scale()}}[n/3%5]
		shape := make([]int, len(form))
		for k := range shape {
			shape[k] = 3 + r.IntN(6)
		}
		if n%2 == 0 && len(form) < 4 { // an axis of few elements keeps its size
			form[0] = 1.1
		}
		coord := coords[r.IntN(len(coords))]
		o := one{name: fmt.Sprintf("Resize %d of %s%v by %v %s", n, d, shape, form, coord), op: "Resize", outputs: []model.DType{d}, opset: 19,
			inputs: []*model.Tensor{draw(d, shape), nil, model.FromSlice([]int{len(form)}, form)},
			attrs:  []model.Attr{model.StringAttr("mode", "linear"), model.StringAttr("coordinate_transformation_mode", coord)}}
		o.check(t, rt, 0)
		roi := make([]float32, 2*len(form))
		for k, s := range form {
			if roi[len(form)+k] = 1; s != 1 {
				roi[k], roi[len(form)+k] = r.Float32()*0.6-0.2, 1.3-r.Float32()*0.6
			}
		}
		o.inputs[1], o.attrs = model.FromSlice([]int{len(roi)}, roi), []model.Attr{o.attrs[0], model.StringAttr("coordinate_transformation_mode", "tf_crop_and_resize"), f("extrapolation_value", 7.6)}
		if o.name += " of a region"; n/3%5 == 0 && form[2] != 1 {
			o.check(t, rt, 0)
		}
		if d == model.Int8 { // ONNX Runtime clips signed bytes to 0 to 255 here
			b, _ := model.Data[int8](o.inputs[0])
			for k := range b {
				b[k] &= 0x7f
			}
		}
		for _, mode := range []string{"linear", "cubic"} {
			if o.name = fmt.Sprintf("Resize %d of %s%v by %v %s %s, stretched", n, d, shape, form, mode, coord); mode == "cubic" && (len(form)%2 == 1 || d == model.Int8) {
				continue
			}
			o.inputs[1], o.attrs = nil, []model.Attr{model.StringAttr("mode", mode), model.StringAttr("coordinate_transformation_mode", coord), i("antialias", 1), i("exclude_outside", int64(n/2%2))}
			o.check(t, rt, 0)
		}
	}
}
