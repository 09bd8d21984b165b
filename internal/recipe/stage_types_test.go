package recipe

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// TestEveryScheme applies every scheme in every mode that it has, reads the file back and runs it on the native engine.
func TestEveryScheme(t *testing.T) {
	in := filepath.Join(t.TempDir(), "mlp.onnx")
	if err := onnx.Save(in, perceptron(), onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	holds := map[string]model.DType{}
	for _, s := range Schemes {
		holds[s] = (&Quantize{Scheme: s}).dtype()
	}
	for _, scheme := range Schemes {
		for _, mode := range []string{"", "dynamic", "static", weightOnlyMode} {
			for _, storage := range []string{"", "graph"} {
				q := &Quantize{Scheme: scheme, Mode: mode, Storage: storage}
				if mode == "static" || mode == "" && strings.HasSuffix(scheme, "int16") {
					q.Calibration, q.Samples = "random", 4
				}
				if q.check() != nil {
					continue // refused with its reason: TestParseFaults
				}
				t.Run(scheme+"/"+mode+"/"+storage, func(t *testing.T) {
					out := filepath.Join(t.TempDir(), "out.onnx")
					inputs := &Recipe{Dir: ".", Target: TargetSpec{Batch: 1, Sequence: 8}}
					done, err := ApplyStage(context.Background(), Single{In: in, Out: out, Stage: q, Runtimes: natives, Inputs: inputs})
					if err != nil {
						t.Fatal(err)
					}
					g, err := onnx.Load(out)
					if err != nil {
						t.Fatal(err)
					}
					want := holds[scheme]
					if mode != weightOnlyMode && want.Bits() == 16 && !want.IsFloat() {
						want = model.Int8 // of weights; activations have the type of the scheme
					}
					if mode == weightOnlyMode && scheme == "int8" || scheme == "int4" {
						want = model.Uint8 // codes of MatMulNBits
					}
					found := false
					for _, w := range g.Weights() {
						found = found || w.Tensor.DType() == want
					}
					if !found {
						t.Errorf("no weight is %s; notes %+v", want, done.Notes)
					}
					s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Path: out}, engine.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					feeds, _, err := inputs.calibrating(&source{name: out, path: out, graph: g}, nil)("random", 2)
					if err != nil {
						t.Fatal(err)
					}
					for feed, err := range feeds.All() {
						if err != nil {
							t.Fatal(err)
						}
						if _, err := s.Run(context.Background(), feed); err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// perceptron has two products.
func perceptron() *model.Graph {
	f32 := func(name string, dims ...int) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(dims...)}}
	}
	g := &model.Graph{Inputs: []*model.Value{f32("x", 2, 32)}, Outputs: []*model.Value{f32("y", 2, 16)}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{{Op: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"h"}}, {Op: "Relu", Inputs: []string{"h"}, Outputs: []string{"r"}}, {Op: "Gemm", Inputs: []string{"r", "v"}, Outputs: []string{"y"}}}}
	r := rand.New(rand.NewPCG(6, 6))
	for name, shape := range map[string][]int{"v": {64, 16}, "w": {32, 64}} {
		x := make([]float32, shape[0]*shape[1])
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		g.SetInitializer(name, model.FromSlice(shape, x))
	}
	return g
}

// TestTargetCPU: what CPU a file is for decides on 7-bit weights, dynamic and static, and the note names it.
func TestTargetCPU(t *testing.T) {
	in := filepath.Join(fixtureDir(t), "model.onnx")
	for cpu, want := range map[quantize.CPU]string{quantize.X86VNNI: "reduce_range off", quantize.X86AVX2: "reduce_range on", quantize.ARM64: "reduce_range off"} {
		for _, mode := range []string{"dynamic", "static"} {
			q := &Quantize{Scheme: "int8", Mode: mode, TargetCPU: string(cpu)}
			if mode == "static" {
				q.Calibration, q.Samples = "random", 2
			}
			done, err := ApplyStage(context.Background(), Single{In: in, Out: filepath.Join(t.TempDir(), "o.onnx"), Stage: q, Runtimes: natives, Inputs: &Recipe{Dir: ".", Target: TargetSpec{Batch: 1, Sequence: 8}}})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, n := range done.Notes {
				found = found || n.Action == want && strings.Contains(n.Reason, "target CPU "+string(cpu))
			}
			if !found {
				t.Errorf("%s %s: %+v", cpu, mode, done.Notes)
			}
		}
	}
}
