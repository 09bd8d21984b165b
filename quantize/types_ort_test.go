//go:build !static

package quantize_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// recurrentGraph is an LSTM, GRU or RNN of both directions behind a table, with a product of its states.
func recurrentGraph(op string) *model.Graph {
	gates := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[op]
	ids := value("ids", 6, unknown)
	ids.Type.DType = model.Int64
	r := &model.Node{Name: "r", Op: op, Inputs: []string{"e", "w", "r", "b"}, Outputs: []string{"h"}, Attrs: []model.Attr{model.IntAttr("hidden_size", 16), model.StringAttr("direction", "bidirectional")}}
	return graphOf(values(ids), values(value("y", unknown, unknown, unknown, 5)), map[string]*model.Tensor{"table": normal(1, 200, 24), "w": scaled(normal(2, 2, gates*16, 24), tenth),
		"r": scaled(normal(3, 2, gates*16, 16), tenth), "b": scaled(normal(4, 2, 2*gates*16), tenth), "v": normal(5, 16, 5)},
		node("Gather", "e", "table", "ids"), r, node("MatMul", "y", "h", "v"))
}

func tenth(int) float64 { return 0.2 }

func recurrentFeed() engine.Feed {
	ids := make([]int64, 12)
	for i := range ids {
		ids[i] = int64(i * 17 % 200)
	}
	return engine.Feed{"ids": model.FromSlice([]int{6, 2}, ids)}
}

// convolutional has a Conv, a ConvTranspose, a Gemm and a MatMul.
func convolutional() *model.Graph {
	return graphOf(values(value("x", unknown, 8, 6, 6)), values(value("y", unknown, 12)), map[string]*model.Tensor{"c": normal(1, 8, 8, 3, 3), "t": normal(2, 8, 4, 2, 2), "g": normal(3, 20, 4), "m": normal(4, 20, 12)},
		having(node("Conv", "a", "x", "c"), model.IntsAttr("pads", 1, 1, 1, 1)), node("ConvTranspose", "b", "a", "t"), node("GlobalAveragePool", "p", "b"), node("Flatten", "f", "p"),
		having(node("Gemm", "h", "f", "g"), model.IntAttr("transB", 1)), node("MatMul", "y", "h", "m"))
}

// reread writes g to a file, reads it back and runs that in both runtimes: their outputs y and what ONNX Runtime made of it.
func reread(t *testing.T, g *model.Graph, feed engine.Feed) (native, other *model.Tensor, n, o engine.Info) {
	t.Helper()
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	back, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Validate(back); err != nil {
		t.Fatal(err)
	}
	run := func(r engine.Runtime, a engine.Artifact) (*model.Tensor, engine.Info) {
		s, err := r.Load(ctx, a, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Run(ctx, feed)
		if err != nil {
			t.Fatal(err)
		}
		x, err := out["y"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		return model.FromSlice(out["y"].Shape(), slices.Clone(x)), s.Info()
	}
	native, n = run(engine.Native{}, engine.Artifact{Graph: back})
	other, o = run(onnxRuntime(t), engine.Artifact{Path: path})
	return native, other, n, o
}

// TestTypesInRuntimes: weights in every type of the trio, read back and run by both runtimes, which agree to the rounding of
// float32 sums; each is as near the float model as its bits allow.
func TestTypesInRuntimes(t *testing.T) {
	for dtype, least := range map[model.DType]float64{ // decibels above the noise: 6 a bit less the range of a normal distribution, one a layer
		model.Int8: 30, model.Uint8: 30, model.Int16: 75, model.Uint16: 75, model.Int4: 7, model.Uint4: 8, model.Float8E4M3FN: 22, model.Float8E5M2: 16} {
		for name, g := range map[string]*model.Graph{"convolutional": convolutional(), "LSTM": recurrentGraph("LSTM"), "GRU": recurrentGraph("GRU"), "RNN": recurrentGraph("RNN")} {
			for _, granularity := range []quantize.Granularity{quantize.PerChannel, quantize.PerTensor} {
				t.Run(fmt.Sprint(dtype, "/", name, "/", granularity), func(t *testing.T) {
					feed := recurrentFeed()
					if name == "convolutional" {
						feed = engine.Feed{"x": normal(7, 3, 8, 6, 6)}
					}
					q := g.Clone()
					symmetric := dtype == model.Int8 || dtype == model.Int16 || dtype == model.Int4
					notes, err := quantize.QDQWeights{DType: dtype, Symmetric: symmetric, Granularity: granularity}.Apply(q)
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range notes {
						if n.Weight != "b" && n.Weight != "(model)" && n.Action != fmt.Sprintf("%s %s", dtype, granularity) {
							t.Errorf("%+v", n)
						}
					}
					a, b, info, _ := reread(t, q, feed)
					same := 90.0 // float32 sums in another order, over at most 200 terms
					if dtype.Bits() == 4 || dtype == model.Int8 || dtype == model.Uint8 {
						same = 40 // ONNX Runtime makes MatMulNBits of these, which rounds activations to 8 bits
					}
					if db := noise(t, b, a); db < same {
						t.Errorf("native engine: %.1f dB from ONNX Runtime, want %.0f", db, same)
					}
					want := model.FromSlice(a.Shape(), outputs(t, g, []engine.Feed{feed})[0])
					if db := noise(t, want, a); granularity == quantize.PerChannel && db < least {
						t.Errorf("%.1f dB above the noise of quantization, want %.0f", db, least)
					}
					if info.Ops["DequantizeLinear"] > 1 { // the rows of the table alone may be restored at run time
						t.Errorf("native engine: weights are restored at every run: %v", info.Ops)
					}
				})
			}
		}
	}
}

// TestDynamicRecurrent: GRU and RNN have no integer form in any runtime: the fallback stores their weights, and only bytes are
// gained, as the notes say; the LSTM and the product beside them run as integers.
func TestDynamicRecurrent(t *testing.T) {
	for _, dtype := range []model.DType{model.Int8, model.Uint8} {
		for _, op := range []string{"LSTM", "GRU", "RNN"} {
			t.Run(fmt.Sprint(dtype, "/", op), func(t *testing.T) {
				g := recurrentGraph(op)
				q := g.Clone()
				notes, err := quantize.Dynamic{DType: dtype}.Apply(q)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range []string{"w", "r"} {
					n := noteOf(notes, w)
					if !strings.HasPrefix(n.Action, dtype.String()+" ") || op != "LSTM" && !strings.HasPrefix(n.Reason, "fewer bytes, float products") {
						t.Errorf("%+v", n)
					}
				}
				a, b, native, other := reread(t, q, recurrentFeed())
				if db := noise(t, b, a); db < 40 { // sums on the border of two integers
					t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40", db)
				}
				if db := noise(t, model.FromSlice(a.Shape(), outputs(t, g, []engine.Feed{recurrentFeed()})[0]), a); db < 24 {
					t.Errorf("%.1f dB above the noise of quantization, want 24", db)
				}
				if op == "LSTM" {
					if other.Ops["DynamicQuantizeLSTM"] != 1 || len(native.Warnings) > 0 {
						t.Errorf("ONNX Runtime %v, native %v %q", other.Ops, native.Ops, native.Warnings)
					}
				} else if len(native.Warnings) != 1 || native.Warnings[0] != "qdq: 1 quantized "+op+" run in float: its weights are dequantized once, at load" {
					t.Errorf("native %v %q", native.Ops, native.Warnings)
				}
				t.Log(other.Ops)
			})
		}
	}
}

// TestStaticTypes: uint8 weights, signed and 16-bit activations, read back and run by both runtimes; 8-bit ones as integers.
func TestStaticTypes(t *testing.T) {
	ctx := context.Background()
	for name, s := range map[string]quantize.Static{"uint8 weights": {Weights: model.Uint8}, "uint8 weights, operators": {Weights: model.Uint8, Format: quantize.QOperator}, "int8 activations": {Activations: model.Int8},
		"int8 activations, operators": {Activations: model.Int8, Format: quantize.QOperator}, "uint16 activations": {Activations: model.Uint16}, "int16 activations": {Activations: model.Int16},
		"uint8 weights, one scale": {Weights: model.Uint8, Granularity: quantize.PerTensor}} {
		for of, c := range staticCases() {
			t.Run(name+"/"+of, func(t *testing.T) {
				feeds := staticFeeds(c.graph, 4)
				q, notes := quantized(t, c.graph, s, feeds)
				a, b, info, other := reread(t, q, feeds[0])
				if db := noise(t, b, a); db < 40 {
					t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40", db)
				}
				want := model.FromSlice(a.Shape(), outputs(t, c.graph, feeds[:1])[0])
				least := 24.0 // as in TestStaticInRuntimes
				if s.Granularity == quantize.PerTensor {
					least = 20 // grouped channels of unlike size share a scale
				}
				if db := noise(t, want, a); db < least {
					t.Errorf("%.1f dB above the noise of quantization, want %.0f", db, least)
				}
				if s.Activations.Bits() > 8 {
					if len(info.Warnings) == 0 {
						t.Error("float products of 16-bit activations go without a warning")
					}
					return
				}
				delete(info.Ops, "wattshed.FlipSign") // signed bytes to unsigned ones
				inIntegers(t, info, s.Format == quantize.QOperator && of == "matmul")
				expected := c.qdq
				if s.Format == quantize.QOperator {
					expected = c.qoperator
				}
				for op, n := range expected {
					if s.Activations == model.Int8 && s.Format == "" && of != "conv" {
						continue // ONNX Runtime turns signed activations into unsigned ones on x86 and then misses values read twice
					}
					if got := other.Ops[op]; got != n {
						t.Errorf("ONNX Runtime: %d %s, want %d; all: %v", got, op, n, other.Ops)
					}
				}
				if n := noteOf(notes, "w"); s.Weights == model.Uint8 && !strings.HasPrefix(n.Action, "uint8 ") {
					t.Errorf("%+v", n)
				}
			})
		}
	}
	for name, s := range map[string]quantize.Static{"tensorrt uint8": {Target: quantize.TensorRT, Weights: model.Uint8}, "tensorrt 16": {Target: quantize.TensorRT, Activations: model.Int16},
		"operators 16": {Format: quantize.QOperator, Activations: model.Int16}, "float activations": {Activations: model.Float8E4M3FN}, "int16 weights": {Weights: model.Int16}, "unknown CPU": {CPU: "z80"}} {
		if _, err := s.Apply(ctx, convolutional(), feedsOf(engine.Feed{"x": normal(7, 3, 8, 6, 6)})); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
