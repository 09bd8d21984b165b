package quantize_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

func parse(t testing.TB, name string) *model.Graph {
	t.Helper()
	g, err := onnx.Load("../testdata/quantize/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return g.Clone()
}

func sameTensor(a, b *model.Tensor) bool {
	x, err1 := a.Bytes()
	y, err2 := b.Bytes()
	return err1 == nil && err2 == nil && a.DType() == b.DType() && model.FixedShape(a.Shape()...).String() == model.FixedShape(b.Shape()...).String() &&
		bytes.Equal(x, y)
}

// TestDynamicAsQuantizer compares every integer, scale and zero point with those that onnxruntime.quantization writes for
// the same model. A table is quantized by row here and as a whole there, so it is compared per tensor only.
func TestDynamicAsQuantizer(t *testing.T) {
	for _, granularity := range []quantize.Granularity{quantize.PerChannel, quantize.PerTensor} {
		want := parse(t, string(granularity)+".onnx")
		got := parse(t, "float.onnx")
		notes, err := quantize.Dynamic{Granularity: granularity, CPU: quantize.X86VNNI}.Apply(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []string{"table", "matmul.w", "gemm.w", "gemmT.w", "lstm.w", "lstm.r"} {
			if n := noteOf(notes, w); n.Action == model.Left {
				t.Errorf("%s %s: left: %s", granularity, w, n.Reason)
			}
			if w == "table" && granularity == quantize.PerChannel {
				continue
			}
			ours, theirs := w, w
			if w == "gemmT.w" {
				ours, theirs = w+"_transposed", w+"_Transposed"
			}
			for _, part := range []string{"_quantized", "_scale", "_zero_point"} {
				a, b := got.Initializer(ours+part), want.Initializer(theirs+part)
				if a == nil || b == nil || !sameTensor(a, b) {
					t.Errorf("%s %s: differs from onnxruntime.quantization", granularity, ours+part)
				}
			}
			if got.Initializer(w) != nil {
				t.Errorf("%s %s: the float weight is still there", granularity, w)
			}
		}
		for _, w := range []string{"gemm.b", "lstm.b"} {
			if n := noteOf(notes, w); n.Action != model.Left || n.Reason != "a vector" && n.Reason != "input 3 of the LSTM, no matrix" {
				t.Errorf("%s %s: %+v", granularity, w, n)
			}
		}
	}
}

// TestDynamicError checks the distance of every weight from what is stored: at most half a scale.
func TestDynamicError(t *testing.T) {
	w := normal(1, 40, 30)
	g := graphOf(values(value("x", unknown, 40)), values(value("y", unknown, 30)), map[string]*model.Tensor{"w": w}, node("MatMul", "y", "x", "w"))
	if _, err := (quantize.Dynamic{CPU: quantize.X86VNNI}).Apply(g); err != nil {
		t.Fatal(err)
	}
	x, _ := w.Float32()
	q, err1 := model.Data[int8](g.Initializer("w_quantized"))
	s, err2 := model.Data[float32](g.Initializer("w_scale"))
	if err1 != nil || err2 != nil || len(s) != 30 {
		t.Fatal(err1, err2, len(s))
	}
	for j := range s {
		top := 0
		for i := range 40 {
			v := int(q[i*30+j])
			top = max(top, v, -v)
			// half a step, and the rounding of the division and of the product
			if d := math.Abs(float64(x[i*30+j]) - float64(v)*float64(s[j])); d > 0.5*float64(s[j])*(1+1e-5) {
				t.Errorf("weight %d,%d: %v from %v steps of %v", i, j, d, v, s[j])
			}
		}
		if top != 127 {
			t.Errorf("column %d: largest magnitude %d, want 127", j, top)
		}
	}
}

func TestDynamicLeaves(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	x := values(value("x", 4, 16))
	out := values(value("y", unknown, unknown))
	gemm := func(attrs ...model.Attr) []*model.Node {
		n := node("Gemm", "y", "x", "w", "b")
		n.Attrs = attrs
		return []*model.Node{n}
	}
	for name, c := range map[string]struct {
		weights map[string]*model.Tensor
		nodes   []*model.Node
		why     string
	}{
		"nan":      {map[string]*model.Tensor{"w": with(normal(1, 16, 16), 37, nan)}, []*model.Node{node("MatMul", "y", "x", "w")}, "holds a value that is not finite"},
		"infinite": {map[string]*model.Tensor{"w": with(normal(1, 16, 16), 255, inf)}, []*model.Node{node("MatMul", "y", "x", "w")}, "holds a value that is not finite"},
		"infinite, transposed": {map[string]*model.Tensor{"w": with(normal(1, 16, 16), 0, inf), "b": normal(2, 16)},
			gemm(model.IntAttr("transB", 1)), "holds a value that is not finite"},
		"left-hand side": {map[string]*model.Tensor{"w": normal(1, 16, 4)}, []*model.Node{node("MatMul", "y", "w", "x")}, "input 0 of MatMul, not its right-hand side"},
		"stack":          {map[string]*model.Tensor{"w": normal(1, 3, 16, 4)}, []*model.Node{node("MatMul", "y", "x", "w")}, "a stack of matrices, of rank 3"},
		"vector":         {map[string]*model.Tensor{"w": normal(1, 16)}, []*model.Node{node("MatMul", "y", "x", "w")}, "a vector"},
		"empty":          {map[string]*model.Tensor{"w": normal(1, 16, 0)}, []*model.Node{node("MatMul", "y", "x", "w")}, "empty"},
		"alpha":          {map[string]*model.Tensor{"w": normal(1, 16, 16), "b": normal(2, 16)}, gemm(model.FloatAttr("alpha", 0.5)), "Gemm with alpha 0.5"},
		"beta":           {map[string]*model.Tensor{"w": normal(1, 16, 16), "b": normal(2, 16)}, gemm(model.FloatAttr("beta", 2)), "Gemm with beta 2"},
		"transA":         {map[string]*model.Tensor{"w": normal(1, 4, 16), "b": normal(2, 16)}, gemm(model.IntAttr("transA", 1)), "Gemm with transA"},
		"bias matrix":    {map[string]*model.Tensor{"b": normal(1, 16, 16), "w": normal(2, 16, 16)}, gemm(), "input 2 of Gemm, not its right-hand side"},
		"other operator": {map[string]*model.Tensor{"w": normal(1, 4, 16)}, []*model.Node{node("Mul", "y", "x", "w")}, "read by Mul, which has no dynamic int8 form"},
		"other domain": {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{{Op: "MatMul", Domain: "com.example", Inputs: []string{"x", "w"}, Outputs: []string{"y"}}},
			"read by com.example.MatMul"},
		"also read otherwise": {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{node("MatMul", "a", "x", "w"), node("Transpose", "b", "w"), node("MatMul", "y", "a", "b")},
			"read by Transpose, which has no dynamic int8 form"},
		"an output": {map[string]*model.Tensor{"y": normal(1, 16, 16)}, []*model.Node{node("MatMul", "z", "x", "y")}, "an output of the graph"},
		"an output behind Identity": {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{node("Identity", "y", "w"), node("MatMul", "z", "x", "w")},
			"an output of the graph"},
		"unread": {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{node("Relu", "y", "x")}, "no node reads it"},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(x, out, c.weights, c.nodes...)
			before := g.Clone()
			notes, err := quantize.Dynamic{}.Apply(g)
			w := "w"
			switch name {
			case "bias matrix":
				if err != nil {
					t.Fatal(err)
				}
				w = "b"
			case "an output":
				w = "y"
				fallthrough
			default:
				if !errors.Is(err, quantize.ErrNothing) {
					t.Fatalf("got %v, want ErrNothing", err)
				}
				if len(g.Nodes) != len(before.Nodes) || g.Nodes[0].Op != before.Nodes[0].Op || len(g.Initializers()) != len(before.Initializers()) {
					t.Error("the graph was changed")
				}
			}
			if n := noteOf(notes, w); n.Action != model.Left || n.Reason != c.why || n.BytesBefore != n.BytesAfter {
				t.Errorf("%+v, want %q", n, c.why)
			}
		})
	}
}

// TestDynamicLSTMPairs: an LSTM is quantized as a whole or not at all.
func TestDynamicLSTMPairs(t *testing.T) {
	lstm := func(attrs ...model.Attr) *model.Node {
		n := &model.Node{Name: "lstm", Op: "LSTM", Inputs: []string{"x", "w", "r"}, Outputs: []string{"y"}}
		n.Attrs = append([]model.Attr{model.IntAttr("hidden_size", 8)}, attrs...)
		return n
	}
	w, r := normal(1, 1, 32, 6), normal(2, 1, 32, 8)
	for name, c := range map[string]struct {
		w, r   *model.Tensor
		node   *model.Node
		ww, wr string
	}{
		"layout":   {w, r, lstm(model.IntAttr("layout", 1)), "LSTM with layout 1", "LSTM with layout 1"},
		"nan":      {w, with(r, 3, float32(math.NaN())), lstm(), `the other matrix of the LSTM, "r", is left: holds a value that is not finite`, "holds a value that is not finite"},
		"computed": {w, nil, lstm(), "the other matrix of the LSTM is computed", ""},
	} {
		weights := map[string]*model.Tensor{"w": c.w}
		in := values(value("x", 3, 1, 6))
		if c.r != nil {
			weights["r"] = c.r
		} else {
			in = append(in, value("r", 1, 32, 8))
		}
		g := graphOf(in, values(value("y", 3, 1, 1, 8)), weights, c.node)
		notes, err := quantize.Dynamic{}.Apply(g)
		if !errors.Is(err, quantize.ErrNothing) || g.Nodes[0].Op != "LSTM" {
			t.Errorf("%s: %v, %s", name, err, g.Nodes[0].Op)
		}
		if a, b := noteOf(notes, "w").Reason, noteOf(notes, "r").Reason; a != c.ww || b != c.wr {
			t.Errorf("%s: reasons %q and %q, want %q and %q", name, a, b, c.ww, c.wr)
		}
	}
}

// TestQuantizedAlready: all styles are recognised, in bodies too, and refused.
func TestQuantizedAlready(t *testing.T) {
	for op, want := range map[string]string{
		"MatMulInteger": "dynamic int8 (MatMulInteger)", "ConvInteger": "ConvInteger", "DynamicQuantizeLSTM": "DynamicQuantizeLSTM",
		"DequantizeLinear": "QDQ", "QLinearConv": "QOperator", "QGemm": "QOperator", "MatMulNBits": "block-wise weights",
	} {
		body := bodyOf(nil, values(value("b", 1)), nil, node(op, "b", "x"))
		outer := &model.Node{Op: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []model.Attr{{Name: "then_branch", Kind: model.AttrGraph, G: body}}}
		for _, g := range []*model.Graph{graphOf(values(value("x", 1)), nil, nil, node(op, "y", "x")), graphOf(values(value("x", 1)), nil, nil, outer)} {
			if s := quantize.Styles(g); len(s) != 1 || s[0] != want {
				t.Errorf("%s: styles %q, want %q", op, s, want)
			}
			if _, err := (quantize.Dynamic{}).Apply(g); !errors.Is(err, quantize.ErrQuantized) || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v", op, err)
			}
		}
	}
	if s := quantize.Styles(graphOf(nil, nil, nil, node("MatMul", "y", "x", "w"))); s != nil {
		t.Errorf("float model: styles %q", s)
	}
}

func TestDynamicSettings(t *testing.T) {
	g := func(opset int64) *model.Graph {
		g := graphOf(values(value("x", 1, 16)), values(value("y", 1, 16)), map[string]*model.Tensor{"w": normal(1, 16, 16)}, node("MatMul", "y", "x", "w"))
		g.Model.Opsets[0].Version = opset
		return g
	}
	for want, err := range map[string]error{
		"granularity": func() error { _, err := quantize.Dynamic{Granularity: "per-row"}.Apply(g(17)); return err }(),
		"\"Conv\"":    func() error { _, err := quantize.Dynamic{Ops: []string{"MatMul", "Conv"}}.Apply(g(17)); return err }(),
		"opset 28":    func() error { _, err := quantize.Dynamic{}.Apply(g(28)); return err }(),
		"opset 6":     func() error { _, err := quantize.Dynamic{}.Apply(g(6)); return err }(),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if _, err := (quantize.Dynamic{Ops: []string{"Gather"}}).Apply(g(17)); !errors.Is(err, quantize.ErrNothing) {
		t.Errorf("MatMul not asked for: %v", err)
	}
	old := g(9)
	notes, err := quantize.Dynamic{}.Apply(old)
	if err != nil || old.Opset("") != 13 || noteOf(notes, "(model)").Action != "opset 9 to 13" {
		t.Errorf("opset 9: %v, opset %d, %+v", err, old.Opset(""), notes)
	}
}
