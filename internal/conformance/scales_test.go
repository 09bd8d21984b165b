//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// extreme is op between DequantizeLinear of x, y or a constant, with scales s[0] and s[1], and, if it is quantized, QuantizeLinear with s[2].
func extreme(op string, quantized bool, s [3]float32) *qdqGraph {
	b := &qdqGraph{quant: quant{rand.New(rand.NewPCG(47, 0))}, feed: engine.Feed{}}
	b.g = &model.Graph{Name: fmt.Sprintf("%s, quantized %v, scales %v", op, quantized, s), Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
	xs, ws := []int{2, 4, 5, 5}, []int{4, 4, 3, 3}
	switch op {
	case "MatMul", "Gemm":
		xs, ws = []int{5, 8}, []int{8, 8}
	case "Add", "Mul":
		ws = xs
	}
	input := func(name string, scale float32) string {
		b.g.Inputs = append(b.g.Inputs, &model.Value{Name: name, Type: model.Type{DType: model.Uint8, Shape: model.FixedShape(xs...)}})
		b.feed[name] = b.bytes(false, xs...)
		raw, _ := b.feed[name].Bytes()
		for i := range raw[:len(raw)/2] { // the first entries are zeros
			raw[i] = 128
		}
		return b.node("DequantizeLinear", []string{name, b.constant(model.Scalar(scale)), b.constant(model.Scalar(uint8(128)))})
	}
	in := []string{input("x", s[0])}
	var attrs []model.Attr
	switch op {
	case "Add", "Mul":
		in = append(in, input("y", s[1]))
	case "AveragePool":
		attrs = []model.Attr{model.IntsAttr("kernel_shape", 2, 2)}
	case "GlobalAveragePool":
	default:
		in = append(in, b.node("DequantizeLinear", []string{b.constant(b.weights(ws...)), b.constant(model.Scalar(s[1])), b.constant(model.Scalar(int8(0)))}))
	}
	y, d := b.node(op, in, attrs...), f32
	if quantized {
		y, d = b.node("QuantizeLinear", []string{y, b.constant(model.Scalar(s[2])), b.constant(model.Scalar(uint8(100)))}), model.Uint8
	}
	b.g.Outputs = []*model.Value{{Name: y, Type: model.Type{DType: d}}}
	return b
}

// TestScalesBeyondFloat: quantized operators whose scales have products or quotients beyond float32 give what they give one by one in ONNX Runtime,
// which here fuses nothing: fused it multiplies the scales, too, and gives other values. Sums of 36 products of floats that ONNX Runtime adds in another
// order differ by 1e-6 of their largest at most; below the normal numbers every product is rounded to 2^-149. A byte may go to the other side of a tie.
func TestScalesBeyondFloat(t *testing.T) {
	rt := reference(t)
	for _, op := range []string{"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "AveragePool", "GlobalAveragePool"} {
		for _, quantized := range []bool{false, true} {
			for _, s := range [][3]float32{{1e-23, 1e-22, 1e-42}, {1e-25, 1e-25, 1e-45}, {1e-30, 1e-2, 1e-32}, {1e20, 1e20, 1e30}, {1e10, 1e15, 1e-14}, {1e-42, 1, 1e-42},
				{1e-42, 1e4, 1e-38}, {1, 1, 1e-42}, {0.02, 0.01, 0.03}} {
				if op == "ConvTranspose" && s[0] == 1e20 { // ONNX Runtime multiplies infinities by zeros
					continue
				}
				b := extreme(op, quantized, s)
				var y [2][]float64
				for k, r := range []engine.Runtime{rt, engine.Native{}} {
					m, err := r.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1, Optimize: [2]string{"none", ""}[k], Spin: -1})
					if err != nil {
						t.Fatal(b.g.Name, err)
					}
					out, err := m.Run(t.Context(), b.feed)
					if err != nil {
						t.Fatal(b.g.Name, err)
					}
					y[k], _ = engine.Float64s(out[b.g.Outputs[0].Name])
					if info := m.Info(); k == 1 && s[0] == 0.02 && quantized && len(info.Warnings) > 0 {
						t.Errorf("%s: %q", b.g.Name, info.Warnings)
					} else if k == 1 && s[0] == 1e20 && len(y[1]) > 0 && (op == "Conv" || op == "MatMul" || op == "Gemm" || op == "Mul" && quantized) && !strings.Contains(fmt.Sprint(info.Warnings), "range of float32") {
						t.Errorf("%s: warnings %q, operators %v", b.g.Name, info.Warnings, info.Ops)
					}
					m.Close()
				}
				largest := 0.0
				for _, v := range y[0] {
					if !math.IsInf(v, 0) {
						largest = max(largest, math.Abs(v))
					}
				}
				within := 1e-6*largest + 36*0x1p-149
				if quantized {
					within = 1
				}
				for i, v := range y[0] {
					if got := y[1][i]; got != v && !(math.Abs(got-v) <= within) {
						t.Errorf("%s: element %d is %v, want %v", b.g.Name, i, got, v)
						break
					}
				}
			}
		}
	}
}

// TestQuantizedNaN: a NaN is the lowest number of every type that it is quantized to; what is infinite, the lowest or the highest.
func TestQuantizedNaN(t *testing.T) {
	rt := reference(t)
	x := make([]float32, 41)
	for i := range x {
		x[i] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), float32(i)}[i%4]
	}
	nibble := func(d model.DType) *model.Tensor {
		z, err := model.NewTensor(d, []int{}, []byte{2})
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	for _, z := range []*model.Tensor{model.Scalar(int8(5)), model.Scalar(uint8(5)), model.Scalar(int16(5)), model.Scalar(uint16(5)), nibble(model.Int4), nibble(model.Uint4)} {
		for _, n := range []int{1, 41} {
			o := one{name: fmt.Sprintf("%d numbers as %s", n, z.DType()), op: "QuantizeLinear", opset: 21, outputs: []model.DType{z.DType()}, inputs: []*model.Tensor{model.FromSlice([]int{n}, x[:n]), model.Scalar(float32(0.5)), z}, constant: []int{1, 2}}
			o.check(t, rt, 0)
		}
	}
}
