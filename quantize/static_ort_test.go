//go:build !static

package quantize_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// staticCase is a small graph with the operators that ONNX Runtime should run it with once it is quantized.
type staticCase struct {
	graph     *model.Graph
	qdq       map[string]int // after its optimisation
	qoperator map[string]int
}

func staticCases() map[string]staticCase {
	image, out := value("x", unknown, 8, 12, 12), func(rank int) []*model.Value {
		dims := make([]int, rank)
		for i := range dims {
			dims[i] = unknown
		}
		return values(value("y", dims...))
	}
	conv := func(attrs ...model.Attr) *model.Node { return having(node("Conv", "y", "x", "w", "b"), attrs...) }
	one := map[string]int{"QLinearConv": 1}
	pads := model.IntsAttr("pads", 1, 1, 1, 1)
	return map[string]staticCase{
		"conv":      {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3), "b": normal(2, 16)}, conv(pads)), one, one},
		"no bias":   {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3)}, node("Conv", "y", "x", "w")), one, one},
		"depthwise": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 1, 3, 3), "b": normal(2, 8)}, conv(pads, model.IntAttr("group", 8))), one, one},
		"grouped":   {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 4, 3, 3), "b": normal(2, 16)}, conv(pads, model.IntAttr("group", 2))), one, one},
		"1-D": {graphOf(values(value("x", unknown, 8, 30)), out(3), map[string]*model.Tensor{"w": normal(1, 16, 8, 3), "b": normal(2, 16)},
			conv(model.IntsAttr("pads", 1, 1))), one, one},
		"transposed": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 16, 3, 3), "b": normal(2, 16)},
			having(node("ConvTranspose", "y", "x", "w", "b"), model.IntsAttr("strides", 2, 2))), map[string]int{"ConvTranspose": 1}, map[string]int{"ConvTranspose": 1}},
		"transposed, grouped": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 4, 3, 3), "b": normal(2, 8)},
			having(node("ConvTranspose", "y", "x", "w", "b"), model.IntAttr("group", 2))), map[string]int{"ConvTranspose": 1}, map[string]int{"ConvTranspose": 1}},
		"transposed, 1-D": {graphOf(values(value("x", unknown, 8, 30)), out(3), map[string]*model.Tensor{"w": normal(1, 8, 16, 4), "b": normal(2, 16)},
			having(node("ConvTranspose", "y", "x", "w", "b"), model.IntsAttr("strides", 2), model.IntsAttr("pads", 1, 1))), map[string]int{"ConvTranspose": 1}, map[string]int{"ConvTranspose": 1}},
		"transposed, inside": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 8, 3, 3), "v": normal(2, 8, 16, 3, 3), "b": normal(3, 16), "w2": normal(4, 4, 16, 1, 1)},
			having(node("Conv", "a", "x", "w"), pads), having(node("ConvTranspose", "t", "a", "v", "b"), model.IntsAttr("strides", 2, 2), model.IntsAttr("output_padding", 1, 1)), node("Relu", "r", "t"), node("Conv", "y", "r", "w2")),
			map[string]int{"ConvTranspose": 1, "QLinearConv": 2}, map[string]int{"ConvTranspose": 1, "QLinearConv": 2}},
		"relu": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3), "b": normal(2, 16), "w2": normal(3, 4, 16, 1, 1)},
			having(node("Conv", "h", "x", "w", "b"), pads), node("Relu", "r", "h"), node("Conv", "y", "r", "w2")), map[string]int{"QLinearConv": 2, "Relu": 0}, map[string]int{"QLinearConv": 2, "Relu": 0}},
		"clip": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3), "lo": model.Scalar(float32(0)), "hi": model.Scalar(float32(6))},
			node("Conv", "h", "x", "w"), node("Clip", "y", "h", "lo", "hi")), map[string]int{"QLinearConv": 1, "Clip": 0}, map[string]int{"QLinearConv": 1, "Clip": 0}},
		"normalized": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3), "s": normal(2, 16), "t": normal(3, 16), "m": normal(4, 16), "v": positive(5, 16)},
			having(node("Conv", "h", "x", "w"), pads), node("BatchNormalization", "y", "h", "s", "t", "m", "v")), map[string]int{"QLinearConv": 1, "BatchNormalization": 0}, one},
		"residual": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 8, 3, 3), "w2": normal(2, 8, 8, 3, 3), "w3": normal(3, 4, 8, 1, 1)},
			having(node("Conv", "a", "x", "w"), pads), having(node("Conv", "b", "a", "w2"), pads), node("Sum", "s", "a", "b"), node("Relu", "r", "s"), node("Conv", "y", "r", "w3")),
			map[string]int{"QLinearConv": 3, "QLinearAdd": 1, "Relu": 0}, map[string]int{"QLinearConv": 3, "QLinearAdd": 1, "Relu": 0}},
		"excitation": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 8, 3, 3), "w2": normal(2, 8, 8, 1, 1), "w3": normal(3, 4, 8, 1, 1)},
			having(node("Conv", "a", "x", "w"), pads), node("GlobalAveragePool", "p", "a"), node("Conv", "c", "p", "w2"), node("Sigmoid", "g", "c"), node("Mul", "s", "a", "g"), node("Conv", "y", "s", "w3")),
			map[string]int{"QLinearConv": 3, "QLinearMul": 1, "QLinearGlobalAveragePool": 1, "QLinearSigmoid": 1}, map[string]int{"QLinearConv": 3, "QLinearMul": 1}},
		"branches": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 8, 1, 1), "w2": normal(2, 4, 8, 3, 3), "w3": normal(3, 4, 12, 1, 1)},
			having(node("Conv", "a", "x", "w")), having(node("Conv", "b", "x", "w2"), pads), having(node("Concat", "c", "a", "b"), model.IntAttr("axis", 1)),
			having(node("MaxPool", "m", "c"), model.IntsAttr("kernel_shape", 2, 2)), having(node("AveragePool", "v", "m"), model.IntsAttr("kernel_shape", 2, 2)), node("Conv", "y", "v", "w3")),
			map[string]int{"QLinearConv": 3, "QLinearConcat": 1, "QLinearAveragePool": 1}, map[string]int{"QLinearConv": 3, "QLinearConcat": 1, "QLinearAveragePool": 1}},
		"gemm": {graphOf(values(value("x", unknown, 32)), out(2), map[string]*model.Tensor{"w": normal(1, 32, 24), "b": normal(2, 24)}, node("Gemm", "y", "x", "w", "b")), map[string]int{"QGemm": 1}, map[string]int{"QGemm": 1}},
		"gemm, transposed": {graphOf(values(value("x", unknown, 32)), out(2), map[string]*model.Tensor{"w": normal(1, 24, 32), "b": normal(2, 24), "v": normal(3, 10, 24)},
			having(node("Gemm", "h", "x", "w", "b"), model.IntAttr("transB", 1)), node("Relu", "r", "h"), having(node("Gemm", "y", "r", "v"), model.IntAttr("transB", 1))),
			map[string]int{"QGemm": 2, "Relu": 0}, map[string]int{"QGemm": 2, "Relu": 0}},
		"matmul": {graphOf(values(value("x", unknown, 5, 32)), out(3), map[string]*model.Tensor{"w": normal(1, 32, 24), "b": normal(2, 24)}, node("MatMul", "h", "x", "w"), node("Add", "y", "h", "b")),
			map[string]int{"MatMulIntegerToFloat": 1}, map[string]int{"MatMulIntegerToFloat": 1}},
		"matmuls": {graphOf(values(value("x", unknown, 5, 32)), out(3), map[string]*model.Tensor{"w": normal(1, 32, 24), "v": normal(2, 24, 8)}, node("MatMul", "h", "x", "w"), node("MatMul", "y", "h", "v")),
			map[string]int{"QLinearMatMul": 1, "MatMulIntegerToFloat": 1}, map[string]int{"QLinearMatMul": 1, "MatMulIntegerToFloat": 1}},
		"classifier": {graphOf(values(image), out(2), map[string]*model.Tensor{"w": normal(1, 16, 8, 3, 3), "v": normal(2, 16, 10), "b": normal(3, 10)},
			node("Conv", "h", "x", "w"), node("HardSwish", "s", "h"), node("GlobalAveragePool", "p", "s"), node("Flatten", "f", "p"), node("Gemm", "l", "f", "v", "b"), having(node("Softmax", "y", "l"), model.IntAttr("axis", -1))),
			map[string]int{"QLinearConv": 1, "QGemm": 1, "QLinearGlobalAveragePool": 1, "Softmax": 1}, map[string]int{"QLinearConv": 1, "QGemm": 1}},
		"moves": {graphOf(values(image), out(4), map[string]*model.Tensor{"w": normal(1, 8, 8, 1, 1), "v": normal(2, 4, 3, 1, 1), "split": model.FromSlice([]int{2}, []int64{3, 5}), "s": model.FromSlice([]int{1}, []int64{2}), "e": model.FromSlice([]int{1}, []int64{9}), "axis": model.FromSlice([]int{1}, []int64{2})},
			node("Conv", "a", "x", "w"), &model.Node{Op: "Split", Name: "split", Inputs: []string{"a", "split"}, Outputs: []string{"a0", "a1"}, Attrs: []model.Attr{model.IntAttr("axis", 1)}},
			having(node("Transpose", "t", "a0"), model.IntsAttr("perm", 0, 1, 3, 2)), node("Slice", "c", "t", "s", "e", "axis"), node("Conv", "y", "c", "v")), map[string]int{"QLinearConv": 2}, map[string]int{"QLinearConv": 2}},
	}
}

// noise returns the ratio, in decibels, of the power of want to that of got's difference from it.
func noise(t *testing.T, want, got *model.Tensor) float64 {
	t.Helper()
	a, err1 := want.Float32()
	b, err2 := got.Float32()
	if err1 != nil || err2 != nil || len(a) != len(b) {
		t.Fatal(err1, err2, want.Shape(), got.Shape())
	}
	var power, diff float64
	for i := range a {
		power += float64(a[i]) * float64(a[i])
		diff += float64(a[i]-b[i]) * float64(a[i]-b[i])
	}
	return 10 * math.Log10(power/(diff+1e-30))
}

// inIntegers checks that the native engine computes a quantized graph in integers from one QuantizeLinear at its input to one
// DequantizeLinear, or a product with a float result, at its end. add allows the bias that MatMulIntegerToFloat has no input for.
func inIntegers(t *testing.T, info engine.Info, add bool) {
	t.Helper()
	for op, n := range info.Ops {
		switch op {
		case "QuantizeLinear":
			if n == 1 {
				continue
			}
		case "DequantizeLinear":
			if n == 1 {
				continue
			}
		case "Softmax", "Flatten", "Slice", "Split", "Transpose": // float by rule, and what moves bytes
			continue
		case "Add":
			if add && n == 1 {
				continue
			}
		case "com.microsoft.QGemm", "com.microsoft.MatMulIntegerToFloat":
			continue
		default:
			if strings.HasPrefix(op, "wattshed.Quant") || strings.HasPrefix(op, "wattshed.Channels") {
				continue
			}
		}
		t.Errorf("native engine: %d %s; all: %v", n, op, info.Ops)
	}
	if len(info.Warnings) > 0 {
		t.Errorf("native engine: warnings %q", info.Warnings)
	}
}

// TestStaticInRuntimes runs quantized graphs in ONNX Runtime and in the native engine: they are close to the float graph and
// to each other, and ONNX Runtime fuses them as intended.
func TestStaticInRuntimes(t *testing.T) {
	ctx := context.Background()
	for name, c := range staticCases() {
		for _, format := range []quantize.Format{quantize.QDQ, quantize.QOperator} {
			t.Run(fmt.Sprint(name, "/", format), func(t *testing.T) {
				feeds := staticFeeds(c.graph, 4)
				g := c.graph.Clone()
				if _, err := (quantize.Static{Format: format}).Apply(ctx, g, feedsOf(feeds...)); err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(g); err != nil {
					t.Fatal(err)
				}
				s, float := session(t, g), session(t, c.graph)
				want := c.qdq
				if format == quantize.QOperator {
					want = c.qoperator
				}
				for op, n := range want {
					if got := s.Info().Ops[op]; got != n {
						t.Errorf("%d %s after optimisation, want %d; all: %v", got, op, n, s.Info().Ops)
					}
				}
				native, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: g}, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer native.Close()
				inIntegers(t, native.Info(), format == quantize.QOperator && name == "matmul")
				for _, f := range feeds {
					y, err1 := float.Run(ctx, f)
					q, err2 := s.Run(ctx, f)
					if err1 != nil || err2 != nil {
						t.Fatal(err1, err2)
					}
					// 8 bits hold a normal distribution over +-4 sigma to 37 dB; each of up to three layers adds its share
					if db := noise(t, y["y"], q["y"]); db < 24 {
						t.Errorf("ONNX Runtime: %.1f dB above the noise of quantization, want 24", db)
					}
					n, err := native.Run(ctx, f)
					if err != nil {
						t.Fatal(err)
					}
					// the runtimes differ where a sum falls on the border of two integers
					if db := noise(t, q["y"], n["y"]); db < 40 {
						t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40", db)
					}
				}
			})
		}
	}
}

// TestStaticTables: beside the products, tables are kept in 8 bits and recurrent weights are quantized dynamically.
func TestStaticTables(t *testing.T) {
	ctx := context.Background()
	g := parse(t, "float.onnx")
	var feeds []engine.Feed
	for k := range 4 {
		ids := make([]int64, 10)
		for i := range ids {
			ids[i] = int64((k*131 + i*29) % 300)
		}
		feeds = append(feeds, engine.Feed{"ids": model.FromSlice([]int{2, 5}, ids)})
	}
	for _, format := range []quantize.Format{quantize.QDQ, quantize.QOperator} {
		q, notes := quantized(t, g, quantize.Static{Format: format}, feeds)
		for w, want := range map[string]string{"table": "uint8 per-row", "matmul.w": int8Action(), "gemm.w": int8Action(), "gemmT.w": int8Action(), "gemm.b": "int32",
			"lstm.w": int8Action(), "lstm.r": int8Action(), "lstm.b": model.Left} {
			if n := noteOf(notes, w); n.Action != want {
				t.Errorf("%s %s: %+v, want %s", format, w, n, want)
			}
		}
		if h := histogram(q); h["DynamicQuantizeLSTM"] != 1 || h["LSTM"] != 0 {
			t.Errorf("%s: operators %v", format, h)
		}
		want, got := outputs(t, g, feeds), outputs(t, q, feeds)
		power := 0.0
		for _, y := range want {
			for _, v := range y {
				power += float64(v) * float64(v)
			}
		}
		if d := distance(want, got); d > power/100 { // 20 dB: four layers of 8 bits, the recurrent one over 5 steps
			t.Errorf("%s: squared error %g of %g", format, d, power)
		}
		s := session(t, q)
		for _, f := range feeds {
			y, err := s.Run(ctx, f)
			if err != nil {
				t.Fatal(err)
			}
			ort, _ := y["y"].Float32()
			if d := distance([][]float32{ort}, outputs(t, q, []engine.Feed{f})); d > power/1000 {
				t.Errorf("%s: native engine and ONNX Runtime differ by %g of %g", format, d, power)
			}
		}
	}
}

// TestStaticPlaces: weights in Constant nodes, behind Identity, in branches, captured by them and read several times. What no
// calibration run reached stays in float; both runtimes still compute nearly the float model.
func TestStaticPlaces(t *testing.T) {
	for name, g := range placed() {
		for _, format := range []quantize.Format{quantize.QDQ, quantize.QOperator} {
			t.Run(fmt.Sprint(name, "/", format), func(t *testing.T) {
				feed := placedFeed(g)
				q := g.Clone()
				notes, err := quantize.Static{Format: format}.Apply(context.Background(), q, feedsOf(feed))
				if err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(q); err != nil {
					t.Fatal(err)
				}
				if n := noteOf(notes, "w"); name == "captured" && (n.Action != int8Action()+" and also kept in float" || n.Reason != "no calibration run reached it") {
					t.Errorf("the branch not taken reads a value that no run made: %+v", n)
				}
				want, err := session(t, g).Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				got, err := session(t, q).Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				if db := noise(t, want["y"], got["y"]); db < 24 {
					t.Errorf("ONNX Runtime: %.1f dB above the noise of quantization, want 24", db)
				}
				native := outputs(t, q, []engine.Feed{feed})
				ort, _ := got["y"].Float32()
				if db := noise(t, got["y"], model.FromSlice(got["y"].Shape(), native[0])); db < 40 {
					t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40: %v, %v", db, native[0][:4], ort[:4])
				}
			})
		}
	}
}

// TestStaticStack: a stack of matrices, as of experts, has one scale; both formats compute in the native engine what ONNX Runtime does.
func TestStaticStack(t *testing.T) {
	for _, rank := range []int{3, 4} {
		x, w := []int{3, 5, 24}, []int{3, 24, 12}
		if rank == 4 {
			x, w = []int{2, 1, 5, 24}, []int{1, 3, 24, 12}
		}
		g := graphOf(values(value("x", x...)), values(value("y", slices.Repeat([]int{unknown}, rank)...)), map[string]*model.Tensor{"w": normal(1, w...)}, node("MatMul", "y", "x", "w"))
		feeds := staticFeeds(g, 4)
		for _, format := range []quantize.Format{quantize.QDQ, quantize.QOperator} {
			q, _ := quantized(t, g, quantize.Static{Format: format}, feeds)
			a, b, info, _ := reread(t, q, feeds[0])
			if format == quantize.QOperator && info.Ops["com.microsoft.MatMulIntegerToFloat"]+info.Ops["MatMulIntegerToFloat"] != 1 {
				t.Errorf("operators %v", info.Ops)
			}
			if db := noise(t, runORT(t, g, feeds[0])["y"], a); db < 30 { // 7 bits of normal deviates, one product
				t.Errorf("rank %d, %s: %.1f dB above the noise of quantization, want 30", rank, format, db)
			}
			if db := noise(t, b, a); db < 90 { // the same integers, scales multiplied in another order
				t.Errorf("rank %d, %s: native engine: %.1f dB from ONNX Runtime, want 90", rank, format, db)
			}
		}
	}
}

// TestWideBias: with activations of 16 bits a bias that steps of the products cannot hold in int32 is right in both runtimes; ONNX Runtime
// would saturate a float one.
func TestWideBias(t *testing.T) {
	for _, size := range []float32{1, 1000} {
		bias := normal(2, 8)
		x, err := bias.Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range x {
			x[i] *= size
		}
		g := graphOf(values(value("x", 1, 4, 9, 9)), values(value("y", unknown, unknown, unknown, unknown)),
			map[string]*model.Tensor{"w": normal(1, 8, 4, 3, 3), "b": model.FromSlice([]int{8}, x), "v": normal(3, 4, 8, 1, 1)},
			node("Conv", "c", "x", "w", "b"), node("Relu", "r", "c"), node("Conv", "y", "r", "v"))
		feeds := staticFeeds(g, 4)
		for _, f := range feeds { // of a small range, as of pictures in 0..1 before small weights
			z, err := f["x"].Float32()
			if err != nil {
				t.Fatal(err)
			}
			for i := range z {
				z[i] *= 0.01
			}
			f["x"] = model.FromSlice([]int{1, 4, 9, 9}, z)
		}
		for _, granularity := range []quantize.Granularity{quantize.PerChannel, quantize.PerTensor} {
			for _, activations := range []model.DType{model.Uint16, model.Int16} {
				q, notes := quantized(t, g, quantize.Static{Activations: activations, Granularity: granularity}, feeds)
				if n := noteOf(notes, "b"); n.Action != map[float32]string{1: model.Left, 1000: "int32"}[size] {
					t.Errorf("%+v", n)
				}
				a, b, _, _ := reread(t, q, feeds[0])
				want := runORT(t, g, feeds[0])["y"]
				if db := noise(t, want, a); db < 30 {
					t.Errorf("%v, %s: native engine: %.1f dB above the noise of quantization, want 30", size, activations, db)
				}
				if db := noise(t, want, b); db < 30 {
					t.Errorf("%v, %s: ONNX Runtime: %.1f dB above the noise of quantization, want 30", size, activations, db)
				}
			}
		}
	}
}
