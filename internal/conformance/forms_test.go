//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// Forms of operators that models rarely have, where the runtimes once differed.

func TestContribForms(t *testing.T) {
	rt, r := reference(t), newSource(31)
	for n := range 24 {
		b, s, h, d := 1+r.IntN(3), 1+r.IntN(6), 2*(1+r.IntN(2)), 16
		lens, ids := make([]int32, b), make([]int64, b*s)
		for k := range lens {
			lens[k] = int32(s - 1)
		}
		for k := range ids {
			ids[k] = int64(r.IntN(50))
		}
		in := make([]*model.Tensor, 10)
		in[0], in[5], in[6] = r.floats(b, s, (h+4)*d), ints32(lens...), ints32(int32(s))
		in[7], in[8] = caches(64, d/2)
		in[9] = model.FromSlice([]int{b, s}, ids)
		attrs := []model.Attr{i("num_heads", int64(h)), i("kv_num_heads", 2)}
		all := one{name: fmt.Sprintf("GroupQueryAttention %d that sees all keys", n), domain: microsoft, op: "GroupQueryAttention", outputs: []model.DType{f32, f32, f32},
			inputs: in[:7], attrs: append([]model.Attr{i("causal", 0)}, attrs...)}
		all.check(t, rt, 2e-6)
		prompt := one{name: fmt.Sprintf("GroupQueryAttention %d with positions of a prompt", n), domain: microsoft, op: "GroupQueryAttention", outputs: []model.DType{f32, f32, f32},
			inputs: in, attrs: append([]model.Attr{i("do_rotary", 1)}, attrs...)}
		prompt.check(t, rt, 2e-6)

		keys := 1 + r.IntN(9)
		mask := make([]int32, 3*b+2) // ends, then where entries start among all queries and among all keys that are seen
		for k := range b {
			mask[k] = int32(1 + r.IntN(keys))
			mask[b+k+1], mask[2*b+k+2] = mask[b+k]+int32(s), mask[2*b+k+1]+mask[k]
		}
		o := one{name: fmt.Sprintf("MultiHeadAttention %d with lengths and offsets", n), domain: microsoft, op: "MultiHeadAttention", outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(b, s, h*d), r.floats(b, keys, h*d), r.floats(b, keys, h*d), nil, ints32(mask...)}, attrs: []model.Attr{i("num_heads", int64(h))}}
		o.check(t, rt, 2e-6)
		o = one{name: fmt.Sprintf("RotaryEmbedding %d of packed batches", n), domain: microsoft, op: "RotaryEmbedding", outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(b, s, h*d), in[9], in[7], in[8]}, attrs: []model.Attr{i("is_packed_batching", 1)}}
		o.check(t, rt, 1e-6)
		o = one{name: fmt.Sprintf("QLinearSoftmax %d without axis", n), domain: microsoft, op: "QLinearSoftmax", outputs: []model.DType{model.Uint8}, attrs: []model.Attr{i("opset", int64(11+n%3))},
			inputs: []*model.Tensor{quant(r).bytes(false, b, s, d), model.Scalar(float32(0.05)), model.Scalar(uint8(100)), model.Scalar(float32(1) / 256), model.Scalar(uint8(0))}}
		o.check(t, rt, 0)
	}
}

// What ONNX Runtime's optimizer writes into files, and averages of volumes of bytes.
func TestContribFused(t *testing.T) {
	rt, r := reference(t), newSource(33)
	acts := []struct {
		name   string
		params []float32
		gemm   []model.Attr
	}{
		{}, {name: "Relu"}, {name: "Tanh"}, {name: "Sigmoid"}, {name: "LeakyRelu", params: []float32{0.2}, gemm: []model.Attr{f("activation_alpha", 0.2)}},
		{name: "HardSigmoid", params: []float32{0.3, 0.4}, gemm: []model.Attr{f("activation_alpha", 0.3), f("activation_beta", 0.4)}}, {name: "Clip", params: []float32{-0.5, 0.7}},
	}
	for n := range 4 * len(acts) {
		act := acts[n%len(acts)]
		var attrs []model.Attr
		if act.name != "" {
			attrs = []model.Attr{model.StringAttr("activation", act.name)}
		}
		b, ch, out, size := 1+r.IntN(2), 1+r.IntN(20), 1+r.IntN(20), 3+r.IntN(6)
		o := one{name: fmt.Sprintf("FusedConv %d %s", n, act.name), domain: microsoft, op: "FusedConv", outputs: []model.DType{f32}, opset: int64(9 + 4*(n%2)),
			inputs: []*model.Tensor{r.floats(b, ch, size, size), r.floats(out, ch, 3, 3), r.floats(out), nil}, attrs: append([]model.Attr{model.IntsAttr("pads", 1, 1, 1, 1)}, attrs...)}
		if act.params != nil {
			o.attrs = append(o.attrs, model.Attr{Name: "activation_params", Kind: model.AttrFloats, Floats: act.params})
		}
		if n%3 == 0 {
			o.inputs[3] = r.floats(b, out, size, size)
		}
		if o.constant = []int{1, 2}; n%4 == 1 {
			o.inputs[2] = nil
		}
		o.check(t, rt, 1e-5) // the products of a kernel are added in another order
		if act.name != "" && act.name != "Clip" {
			o = one{name: fmt.Sprintf("FusedGemm %d %s", n, act.name), domain: microsoft, op: "FusedGemm", outputs: []model.DType{f32}, attrs: append(append([]model.Attr{f("alpha", 0.5), i("transB", 1)}, attrs...), act.gemm...),
				inputs: []*model.Tensor{r.floats(b, ch), r.floats(out, ch), r.floats(out)}}
			o.check(t, rt, 1e-5)
		}
		q := quant(r)
		x := []*model.Tensor{q.bytes(n%2 == 0, b, ch, size, size, size), q.scale(0.01), q.zero(n%2 == 0), q.scale(0.01), q.zero(n%2 == 0)}
		d := x[0].DType()
		o = one{name: fmt.Sprintf("QLinearAveragePool %d of volumes", n), domain: microsoft, op: "QLinearAveragePool", inputs: x, outputs: []model.DType{d},
			attrs: []model.Attr{model.IntsAttr("kernel_shape", 3, 2, 3), model.IntsAttr("pads", 1, 0, 1, 1, 1, 0), model.IntsAttr("strides", 1, 2, 2), i("count_include_pad", int64(n/2%2)), i("channels_last", int64(n/4%2))}}
		if n/4%2 == 1 {
			o.inputs[0] = q.bytes(n%2 == 0, b, size, size, size, ch)
		}
		o.constant = []int{1, 2, 3, 4}
		o.check(t, rt, 0)
		o.op, o.name, o.attrs = "QLinearGlobalAveragePool", "QLinearGlobalAveragePool of volumes", []model.Attr{i("channels_last", int64(n/4%2))}
		o.check(t, rt, 0)
	}
}

// Scan of opset 8 over entries of different lengths, in both directions.
func TestScanOfLengths(t *testing.T) {
	rt, r := reference(t), newSource(34)
	value := func(name string, w int) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: f32, Shape: model.Shape{{Size: int64(w)}}}}
	}
	for n := range 20 {
		b, s, w := 1+r.IntN(3), 1+r.IntN(6), 1+r.IntN(9)
		lens := make([]int64, b)
		for k := range lens {
			lens[k] = int64(1 + r.IntN(s))
		}
		body := &model.Graph{Name: "body", Inputs: []*model.Value{value("state", w), value("x", w)}, Outputs: []*model.Value{value("next", w), value("y", w)},
			Nodes: []*model.Node{{Name: "add", Op: "Add", Inputs: []string{"state", "x"}, Outputs: []string{"next"}}, {Name: "tanh", Op: "Tanh", Inputs: []string{"next"}, Outputs: []string{"y"}}}}
		o := one{name: fmt.Sprintf("Scan %d of %v of %d steps", n, lens, s), op: "Scan", opset: 8, outputs: []model.DType{f32, f32},
			inputs: []*model.Tensor{model.FromSlice([]int{b}, lens), r.floats(b, w), r.floats(b, s, w)},
			attrs:  []model.Attr{{Name: "body", Kind: model.AttrGraph, G: body}, i("num_scan_inputs", 1), model.IntsAttr("directions", int64(n%2))}}
		o.check(t, rt, 1e-6)
	}
}

func TestOperatorForms(t *testing.T) {
	rt, r := reference(t), newSource(32)
	for n := range 24 {
		m, k := 1+r.IntN(9), 1+r.IntN(9)
		o := one{name: fmt.Sprintf("Gemm %d of one column and a scalar C", n), op: "Gemm", outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(m, k), r.floats(k, 1), r.floats()}}
		if n%2 == 0 {
			o.constant = []int{1, 2}
		}
		o.check(t, rt, 1e-6)
		o = one{name: fmt.Sprintf("GridSample %d", n), op: "GridSample", outputs: []model.DType{f32}, inputs: []*model.Tensor{r.floats(1, 2, 1+r.IntN(5), 1+r.IntN(5)), r.floats(1, 4, 3, 2)},
			attrs: []model.Attr{model.StringAttr("mode", "bicubic"), model.StringAttr("padding_mode", "border"), i("align_corners", int64(n%2))}}
		o.check(t, rt, 1e-5) // positions are rounded to float32

		scales := func() *model.Tensor {
			v := []float32{1, 1, 0, 0}
			for k := range 2 {
				v[2+k] = []float32{0.3, 0.34, 0.5, 0.7, 1.5, 2.3, 3}[r.IntN(7)]
			}
			return model.FromSlice([]int{4}, v)
		}
		x := r.floats(1, 2, 4+r.IntN(20), 4+r.IntN(20))
		for _, coord := range []string{"half_pixel", "pytorch_half_pixel", "asymmetric"} {
			for _, mode := range []string{"nearest", "linear"} {
				o = one{name: fmt.Sprintf("Resize %d %s %s", n, mode, coord), op: "Resize", outputs: []model.DType{f32}, inputs: []*model.Tensor{x, nil, scales()},
					attrs: []model.Attr{model.StringAttr("mode", mode), model.StringAttr("coordinate_transformation_mode", coord), model.StringAttr("nearest_mode", "floor")}}
				o.check(t, rt, 1e-5)
			}
		}
		roi := model.FromSlice([]int{8}, []float32{0, 0, 0.1, 0.2, 1, 1, 0.8, 1.1})
		o = one{name: fmt.Sprintf("Resize %d of a region", n), op: "Resize", outputs: []model.DType{f32}, inputs: []*model.Tensor{x, roi, scales()},
			attrs: []model.Attr{model.StringAttr("mode", "linear"), model.StringAttr("coordinate_transformation_mode", "tf_crop_and_resize")}}
		o.check(t, rt, 1e-5)
	}
}
