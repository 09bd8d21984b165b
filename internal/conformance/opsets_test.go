//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

func i64(v ...int64) *model.Tensor         { return model.FromSlice([]int{len(v)}, v) }
func list(n string, v ...int64) model.Attr { return model.IntsAttr(n, v...) }

// signatures are operators whose attributes became inputs, whose defaults changed or that got new attributes, as they are
// written in opset v of 7 to 22.
func signatures(r source, v int64) []one {
	var out []one
	x3, x4 := r.floats(2, 3, 4), r.floats(1, 2, 5, 6)
	// add appends an operator with one output; in are constant inputs behind the first.
	add := func(op string, x *model.Tensor, attrs []model.Attr, in ...*model.Tensor) *one {
		o := one{name: fmt.Sprintf("%s of opset %d (%d)", op, v, len(out)), op: op, opset: v, attrs: attrs, inputs: append([]*model.Tensor{x}, in...), outputs: []model.DType{x.DType()}}
		for k := range in {
			o.constant = append(o.constant, k+1)
		}
		out = append(out, o)
		return &out[len(out)-1]
	}
	// either writes integers as an attribute before opset since and as an input from then on.
	either := func(op, name string, since int64, x *model.Tensor, attrs []model.Attr, vals ...int64) *one {
		if v < since {
			return add(op, x, append(attrs, list(name, vals...)))
		}
		return add(op, x, attrs, i64(vals...))
	}
	for _, op := range []string{"Softmax", "LogSoftmax", "Hardmax"} {
		add(op, x3, nil)
		add(op, x3, []model.Attr{i("axis", 1)})
	}
	if v < 10 {
		add("Slice", x3, []model.Attr{list("starts", 0, -3), list("ends", 1, 100), list("axes", 0, 2)})
	} else {
		add("Slice", x3, nil, i64(3, -1), i64(-9, 0), i64(2, 1), i64(-1, -1))
	}
	lo, hi := model.Scalar(float32(-0.4)), model.Scalar(float32(0.3))
	if v < 11 {
		add("Clip", x3, []model.Attr{f("min", -0.4), f("max", 0.3)})
		add("Pad", x3, []model.Attr{list("pads", 0, 1, 0, 0, 0, 2), f("value", 1.5)})
		add("Pad", x3, []model.Attr{list("pads", 0, 1, 0, 0, 0, 2), model.StringAttr("mode", "reflect")})
	} else {
		add("Clip", x3, nil, lo, hi)
		add("Clip", x3, nil, lo)
		add("Pad", x3, nil, i64(0, 1, 0, 0, 0, 2), model.Scalar(float32(1.5)))
		add("Pad", x3, []model.Attr{model.StringAttr("mode", "edge")}, i64(0, 1, 0, 0, 0, 2))
	}
	if v >= 18 {
		add("Pad", x3, nil, i64(1, 2), model.Scalar(float32(2)), i64(1))
	}
	if v >= 19 {
		add("Pad", x3, []model.Attr{model.StringAttr("mode", "wrap")}, i64(0, 1, 1, 0, 2, 3))
	}
	either("Squeeze", "axes", 13, x4, nil, 0)
	add("Squeeze", x4, nil)
	either("Unsqueeze", "axes", 13, x3, nil, 0, 4)
	either("ReduceSum", "axes", 13, x3, nil, 1)
	add("ReduceSum", x3, []model.Attr{i("keepdims", 0)})
	for _, op := range []string{"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare"} {
		either(op, "axes", 18, x3, []model.Attr{i("keepdims", 0)}, 0, 2)
		add(op, x3, nil)
	}
	if v >= 18 {
		add("ReduceLogSum", model.FromSlice([]int{2, 2}, []int32{1, 2, 3, 40}), []model.Attr{i("noop_with_empty_axes", 1)})
	}
	o := either("Split", "split", 13, x3, []model.Attr{i("axis", 2)}, 1, 3)
	o.outputs = []model.DType{f32, f32}
	if v >= 18 {
		add("Split", x3, []model.Attr{i("axis", 1), i("num_outputs", 2)}).outputs = []model.DType{f32, f32}
	} else {
		add("Split", x3, []model.Attr{i("axis", 2)}).outputs = []model.DType{f32, f32}
	}
	if v < 12 {
		add("Dropout", x3, []model.Attr{f("ratio", 0.3)})
	} else {
		add("Dropout", x3, nil, model.Scalar(float32(0.3)))
	}
	if v < 10 {
		add("TopK", x3, []model.Attr{i("k", 2)}).outputs = []model.DType{f32, model.Int64}
	} else {
		add("TopK", x3, nil, i64(2)).outputs = []model.DType{f32, model.Int64}
	}
	if v >= 11 {
		add("TopK", x3, []model.Attr{i("largest", 0), i("axis", 0)}, i64(1)).outputs = []model.DType{f32, model.Int64}
		add("Gemm", r.floats(2, 4), []model.Attr{i("transB", 1)}, r.floats(3, 4))
		add("DepthToSpace", r.floats(1, 8, 2, 3), []model.Attr{i("blocksize", 2), model.StringAttr("mode", "CRD")})
		add("CumSum", x3, []model.Attr{i("exclusive", 1), i("reverse", 1)}, model.Scalar(int64(2)))
		add("GatherElements", x3, []model.Attr{i("axis", 1)}, model.FromSlice([]int{2, 1, 4}, []int64{0, -1, 2, 1, 0, 0, 1, -3}))
		add("Gather", x3, []model.Attr{i("axis", 1)}, i64(-1, 0))
	}
	add("Gemm", r.floats(2, 4), []model.Attr{i("transB", 1), f("alpha", 0.5), f("beta", 2)}, r.floats(3, 4), r.floats(3))
	add("BatchNormalization", x4, []model.Attr{f("epsilon", 1e-3)}, r.floats(2), r.floats(2), r.floats(2), model.FromSlice([]int{2}, []float32{0.5, 2}))
	out = append(out, windows(r, v)...)
	return out
}

// windows are convolutions, poolings, resizing, recurrent and other operators as they are written in opset v.
func windows(r source, v int64) []one {
	var out []one
	x4 := r.floats(1, 2, 7, 6)
	add := func(op string, x *model.Tensor, attrs []model.Attr, in ...*model.Tensor) *one {
		o := one{name: fmt.Sprintf("%s of opset %d [%d]", op, v, len(out)), op: op, opset: v, attrs: attrs, inputs: append([]*model.Tensor{x}, in...), outputs: []model.DType{x.DType()}}
		for k := range in {
			o.constant = append(o.constant, k+1)
		}
		out = append(out, o)
		return &out[len(out)-1]
	}
	kernel, strides := list("kernel_shape", 3, 3), list("strides", 2, 2)
	for _, op := range []string{"AveragePool", "MaxPool"} {
		add(op, x4, []model.Attr{kernel, model.StringAttr("auto_pad", "SAME_UPPER")})
		add(op, x4, []model.Attr{kernel, strides, list("pads", 1, 0, 1, 1)})
		if v >= 10 {
			add(op, x4, []model.Attr{kernel, strides, i("ceil_mode", 1)})
		}
		if v >= 10 && op == "MaxPool" || v >= 19 {
			add(op, x4, []model.Attr{kernel, list("dilations", 2, 2)})
		}
	}
	add("AveragePool", x4, []model.Attr{kernel, list("pads", 1, 1, 1, 1), i("count_include_pad", 1)})
	add("LpPool", x4, []model.Attr{kernel, i("p", 2)})
	add("Conv", x4, []model.Attr{strides, list("dilations", 2, 1), list("pads", 2, 1, 2, 1)}, r.floats(3, 2, 3, 3), r.floats(3))
	add("ConvTranspose", x4, []model.Attr{strides, list("output_padding", 1, 1)}, r.floats(2, 3, 3, 3))
	scales := model.FromSlice([]int{4}, []float32{1, 1, 2, 1.5})
	mode := func(s string) model.Attr { return model.StringAttr("mode", s) }
	switch {
	case v < 9:
		a := mode("nearest")
		add("Upsample", x4, []model.Attr{a, {Name: "scales", Kind: model.AttrFloats, Floats: []float32{1, 1, 2, 2}}})
	case v == 9:
		add("Upsample", x4, []model.Attr{mode("linear")}, scales)
	case v == 10:
		for _, s := range [][]float32{{1, 1, 2, 1.5}, {1, 1, 0.6, 0.3}, {1, 1, 0.7, 2}} {
			add("Resize", x4, []model.Attr{mode("nearest")}, model.FromSlice([]int{4}, s))
			add("Resize", x4, []model.Attr{mode("linear")}, model.FromSlice([]int{4}, s))
		}
	default:
		roi := model.FromSlice([]int{0}, []float32{})
		for _, ct := range []string{"half_pixel", "asymmetric", "align_corners"} {
			add("Resize", x4, []model.Attr{mode("linear"), model.StringAttr("coordinate_transformation_mode", ct)}, roi, scales)
			add("Resize", x4, []model.Attr{mode("nearest"), model.StringAttr("coordinate_transformation_mode", ct), model.StringAttr("nearest_mode", "floor")}, roi, scales)
		}
		add("Resize", x4, []model.Attr{mode("cubic")}, roi, scales)
	}
	if v >= 18 {
		add("Resize", x4, []model.Attr{mode("linear"), i("antialias", 1)}, nil, model.FromSlice([]int{4}, []float32{1, 1, 0.6, 0.5}))
		add("Resize", x4, []model.Attr{mode("linear"), list("axes", 2, 3)}, nil, nil, i64(9, 4))
	}
	for _, op := range []string{"LSTM", "GRU", "RNN"} {
		g := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[op]
		add(op, r.floats(4, 2, 3), []model.Attr{i("hidden_size", 5)}, r.floats(1, g*5, 3), r.floats(1, g*5, 5), r.floats(1, g*10)).outputs = []model.DType{f32, f32}
	}
	add("PRelu", x4, nil, r.floats(2, 1, 1))
	add("Sum", x4, nil, r.floats(1, 2, 7, 6))
	add("Flatten", x4, []model.Attr{i("axis", 2)})
	add("ArgMax", x4, []model.Attr{i("axis", 2), i("keepdims", 0)}).outputs = []model.DType{model.Int64}
	add("Reshape", x4, nil, i64(0, -1, 6))
	add("Pow", x4, nil, model.Scalar(float32(2)))
	if v >= 8 {
		add("Expand", x4, nil, i64(3, 2, 7, 6))
		add("Max", x4, nil, model.Scalar(float32(0.1)))
	}
	if v >= 9 {
		add("OneHot", i64(0, 2, 1), nil, model.Scalar(int64(4)), model.FromSlice([]int{2}, []float32{-1, 3})).outputs = []model.DType{f32}
		add("ConstantOfShape", i64(2, 3), nil).outputs = []model.DType{f32}
		add("Where", model.FromSlice([]int{2}, []bool{true, false}), nil, r.floats(3, 1), r.floats(2)).outputs = []model.DType{f32}
	}
	if v >= 12 {
		add("Pow", x4, nil, model.Scalar(int64(3)))
		add("ArgMax", x4, []model.Attr{i("select_last_index", 1)}).outputs = []model.DType{model.Int64}
		add("Einsum", r.floats(2, 3), []model.Attr{model.StringAttr("equation", "ij,jk->ik")}, r.floats(3, 4))
	}
	if v >= 14 {
		add("Reshape", r.floats(0, 3), []model.Attr{i("allowzero", 1)}, i64(3, 0))
		add("LSTM", r.floats(2, 4, 3), []model.Attr{i("hidden_size", 5)}, r.floats(1, 20, 3), r.floats(1, 20, 5)).outputs = []model.DType{f32, f32}
		add("Trilu", r.floats(4, 5), []model.Attr{i("upper", 0)}, model.Scalar(int64(1)))
	}
	if v >= 15 {
		add("Shape", x4, []model.Attr{i("start", 1), i("end", -1)}).outputs = []model.DType{model.Int64}
	}
	if v >= 17 {
		add("LayerNormalization", x4, []model.Attr{i("axis", 2)}, r.floats(7, 6), r.floats(7, 6))
	}
	if v >= 18 && v != 18 && v != 19 && v != 20 { // GroupNormalization-18 was withdrawn: its scale is per group
		add("GroupNormalization", r.floats(2, 4, 3), []model.Attr{i("num_groups", 2)}, r.floats(4), r.floats(4))
	}
	if v >= 20 {
		add("Gelu", x4, []model.Attr{model.StringAttr("approximate", "tanh")})
	}
	return out
}

// TestOldSignatures runs the same operators with the signatures of opset 7 to 22 in both runtimes.
func TestOldSignatures(t *testing.T) {
	rt, n := reference(t), 0
	for v := int64(7); v <= 22; v++ {
		for _, o := range signatures(newSource(uint64(v)), v) {
			o.check(t, rt, 5e-6)
			n++
		}
	}
	if n < 1000 {
		t.Errorf("%d cases", n)
	}
	t.Logf("%d cases", n)
}
