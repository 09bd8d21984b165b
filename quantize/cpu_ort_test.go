//go:build !static

package quantize_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// hostReduces reports whether ONNX Runtime, on this machine, adds pairs of products of u8 by s8 in 16 bits, so that only weights of 7 bits are
// safe from saturation.
func hostReduces() bool {
	reduce, _ := quantize.HostCPU.ReduceRange(quantize.ONNXRuntimeCPU)
	return reduce
}

// int8Action is what a note says of a weight that was quantized to int8 by channel for this machine.
func int8Action() string {
	if hostReduces() {
		return "int8 (7 bits) per-channel"
	}
	return "int8 per-channel"
}

// sevenBits is by how much weights of 7 bits raise the error of a product of which both sides had 8: one side's is twice as large,
// sqrt((1+4)/2) in all.
const sevenBits = 1.59

// hostLimit is limit, an error of products with both sides in 8 bits, for files that are made for this machine.
func hostLimit(limit float64) float64 {
	if hostReduces() {
		return sevenBits * limit
	}
	return limit
}

// constant makes a tensor of one value.
func constant(v float32, shape ...int) *model.Tensor {
	n, _ := model.NumElements(shape)
	return model.FromSlice(shape, slices.Repeat([]float32{v}, n))
}

// TestSaturation: weights and activations as large as they come, so that every pair of products of 8-bit weights overflows 16 bits. Files for
// a CPU without VNNI have 7-bit weights and say why; in both runtimes, whatever this machine is, they are as near to the float
// model as rounding to 7 bits allows. Files for a CPU with VNNI are right in the native engine everywhere, whose kernels sum in 32 bits, and in
// ONNX Runtime where the machine has VNNI; where it has none the sums saturate, which is the reason that the note gives.
func TestSaturation(t *testing.T) {
	image := value("x", 1, 32, 8, 8)
	graphs := map[string]*model.Graph{
		"conv":   graphOf(values(image), values(value("y", 1, 16, 8, 8)), map[string]*model.Tensor{"w": constant(0.5, 16, 32, 1, 1)}, node("Conv", "y", "x", "w")),
		"matmul": graphOf(values(value("x", 8, 64)), values(value("y", 8, 32)), map[string]*model.Tensor{"w": constant(0.5, 64, 32)}, node("MatMul", "y", "x", "w")),
		"gemm":   graphOf(values(value("x", 8, 64)), values(value("y", 8, 32)), map[string]*model.Tensor{"w": constant(-0.5, 64, 32)}, node("Gemm", "y", "x", "w")),
	}
	for name, g := range graphs {
		shape := make([]int, len(g.Inputs[0].Type.Shape))
		for i, d := range g.Inputs[0].Type.Shape {
			shape[i] = int(d.Size)
		}
		feed := engine.Feed{"x": constant(3, shape...)}
		want, err := native(t, g).Run(context.Background(), feed)
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []string{"static", "dynamic"} {
			if mode == "dynamic" && name == "conv" {
				continue
			}
			for _, cpu := range []quantize.CPU{quantize.X86VNNI, quantize.X86AVX2} {
				q := g.Clone()
				var notes []model.Note
				if mode == "static" {
					notes, err = quantize.Static{CPU: cpu}.Apply(context.Background(), q, feedsOf(feed))
				} else {
					notes, err = quantize.Dynamic{CPU: cpu}.Apply(q)
				}
				if err != nil {
					t.Fatal(err)
				}
				said := ""
				for _, n := range notes {
					if strings.HasPrefix(n.Action, "reduce_range") {
						said = n.Action + ": " + n.Reason
					}
				}
				wanted := "reduce_range off: the CPU has avx512_vnni"
				if cpu == quantize.X86AVX2 {
					wanted = "reduce_range on: x86 without VNNI sums u8 x s8 products in saturating int16"
				}
				if !strings.HasPrefix(said, wanted) {
					t.Errorf("%s, %s for %s: %q, want %q", mode, name, cpu, said, wanted)
				}
				got, err := native(t, q).Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				// One value and one weight: both lie on the grid but for the rounding of scales.
				if e := relativeError(t, got, want); e > 5e-3 {
					t.Errorf("%s, %s for %s: the native engine is off by %.3g", mode, name, cpu, e)
				}
				e := relativeError(t, runORT(t, q, feed), want)
				if fits := cpu == quantize.X86AVX2 || !hostReduces(); fits && e > 5e-3 {
					t.Errorf("%s, %s for %s: ONNX Runtime is off by %.3g", mode, name, cpu, e)
				} else if !fits {
					t.Logf("%s, %s for %s on a CPU with %v: ONNX Runtime is off by %.3g", mode, name, cpu, kernel.Features(), e)
					if e < 0.05 {
						t.Errorf("%s, %s for %s: sums do not saturate, against the note", mode, name, cpu)
					}
				}
			}
		}
	}
}
