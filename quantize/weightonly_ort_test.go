//go:build !static

package quantize_test

import (
	"context"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestBlocksInRuntime runs 1,000 random matrices through ONNX Runtime's MatMulNBits with the unit matrix as activations:
// what comes out are the weights that codes, scales and zero points stand for, bit for bit, as every sum has one term.
func TestBlocksInRuntime(t *testing.T) {
	rt := onnxRuntime(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for range 1000 {
		k, n, group, bits, symmetric := 1+rng.IntN(80), 1+rng.IntN(20), 16<<rng.IntN(4), 4<<rng.IntN(2), rng.IntN(2) == 0
		x := randomTensor(rng, k*n)
		g := graphOf(values(value("x", unknown, k)), values(value("y", unknown, n)), map[string]*model.Tensor{"w": model.FromSlice([]int{k, n}, x)}, node("MatMul", "y", "x", "w"))
		h, _ := weightOnly(t, g, quantize.WeightOnly{Bits: bits, Group: group, Symmetric: symmetric})
		_, _, _, w, err := quantize.QuantizeNBits(x, k, n, group, bits, symmetric, true)
		if err != nil {
			t.Fatal(err)
		}
		s, err := rt.Load(context.Background(), engine.Artifact{Graph: h}, engine.Options{Threads: 1, Spin: -1})
		if err != nil {
			t.Fatal(err)
		}
		unit := make([]float32, k*k)
		for i := range k {
			unit[i*k+i] = 1
		}
		out, err := s.Run(context.Background(), engine.Feed{"x": model.FromSlice([]int{k, k}, unit)})
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		y, _ := out["y"].Float32()
		for i := range k {
			for j := range n {
				if y[i*n+j] != w[j*k+i] {
					t.Fatalf("%d x %d, group %d, %d bits, symmetric %v: weight %d,%d is %v, want %v", k, n, group, bits, symmetric, i, j, y[i*n+j], w[j*k+i])
				}
			}
		}
		own, err := native(t, h).Run(context.Background(), engine.Feed{"x": model.FromSlice([]int{k, k}, unit)})
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range own["y"].Shape() {
			if v != out["y"].Shape()[i] {
				t.Fatal(own["y"].Shape())
			}
		}
		z, _ := own["y"].Float32()
		largest := 0.0
		for _, v := range y {
			largest = max(largest, math.Abs(float64(v)))
		}
		for i := range z { // the native engine subtracts zero*scale from code*scale: two roundings of at most twice the largest weight
			if math.Abs(float64(z[i])-float64(y[i])) > 0x1p-22*largest {
				t.Fatalf("%d x %d, group %d, %d bits, symmetric %v: native engine: element %d is %v, want %v", k, n, group, bits, symmetric, i, z[i], y[i])
			}
		}
	}
}

// weightOnlyLimit bounds the relative RMS error of a product whose weights are normal deviates in groups of 32: the range
// of 32 deviates is 4.2 on average, a step of it 4.2/15, its rounding error that over sqrt(12): 8 %, and 3 products in
// a row sqrt(3) of it. At 8 bits a 17th.
const weightOnlyLimit = 0.16

// TestWeightOnlyInRuntime runs weights in unusual places in ONNX Runtime.
func TestWeightOnlyInRuntime(t *testing.T) {
	for name, g := range placed() {
		if name == "table of rank 3" {
			continue // left, see TestWeightOnlyLeaves
		}
		feed := placedFeed(g)
		want := runORT(t, g, feed)
		for _, o := range []quantize.WeightOnly{{}, {Symmetric: true}, {Bits: 8, Group: 16}, {Group: quantize.WholeChannel}, {Algorithm: quantize.HQQ}, {Algorithm: quantize.HQQ, Bits: 8}, {Algorithm: quantize.HQQ, Format: quantize.QDQ, Bits: 8},
			{Format: quantize.QDQ}, {Format: quantize.QDQ, Symmetric: true}, {Format: quantize.QDQ, Bits: 8, Group: 128}, {Format: quantize.QDQ, Group: quantize.WholeChannel}} {
			h, notes := weightOnly(t, g, o)
			for _, n := range notes {
				if n.Action == model.Left && n.Weight != "b" {
					t.Errorf("%s %+v: %+v", name, o, n)
				}
			}
			for _, w := range h.Weights() {
				if w.Tensor.DType() == model.Float32 && w.Tensor.Len() >= 64*64 {
					t.Errorf("%s %+v: float weight %q is still there", name, o, w.Name)
				}
			}
			limit := weightOnlyLimit
			if o.Bits == 8 {
				limit /= 10
			}
			out := runORT(t, h, feed)
			if e := relativeError(t, out, want); e > limit || e == 0 {
				t.Errorf("%s %+v: relative error %.3g, want at most %.3g, and not 0", name, o, e, limit)
			}
			got, err := native(t, h).Run(context.Background(), feed)
			if err != nil {
				t.Fatalf("%s %+v: %v", name, o, err)
			}
			// the same weights in float32, summed in another order; ONNX Runtime fuses DequantizeLinear and MatMul to products
			// of activations in 8 bits (accuracy level 4), a step of 1/127 of the largest of 32
			tolerance := 1e-5
			if o.Format == quantize.QDQ {
				tolerance = 1e-2
			}
			if e := relativeError(t, got, out); e > tolerance {
				t.Errorf("%s %+v: native engine and ONNX Runtime differ by %.2g", name, o, e)
			}
		}
	}
}

// TestTablesInRuntime looks up every row of 1,000 random tables with ONNX Runtime's GatherBlockQuantized: the weights that
// codes, scales and zero points stand for, bit for bit.
func TestTablesInRuntime(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 1000 {
		k, n, group, bits, symmetric := 2*(20+rng.IntN(60)), 128+rng.IntN(80), 16<<rng.IntN(4), 4<<rng.IntN(2), rng.IntN(2) == 0
		x := randomTensor(rng, k*n)
		ids := &model.Value{Name: "i", Type: model.Type{DType: model.Int64, Shape: model.Shape{{Size: unknown}}}}
		g := graphOf(values(ids), values(value("y", unknown, k)), map[string]*model.Tensor{"w": model.FromSlice([]int{n, k}, x)}, node("Gather", "y", "w", "i"))
		h, _ := weightOnly(t, g, quantize.WeightOnly{Bits: bits, Group: group, Symmetric: symmetric})
		_, _, _, w, err := quantize.QuantizeNBits(x, k, n, group, bits, symmetric, false)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]int64, n)
		for i := range all {
			all[i] = int64(i)
		}
		feed := engine.Feed{"i": model.FromSlice([]int{n}, all)}
		y := runORT(t, h, feed)["y"]
		if want := model.FromSlice([]int{n, k}, w); !sameTensor(y, want) {
			t.Fatalf("%d x %d, group %d, %d bits, symmetric %v%s", n, k, group, bits, symmetric, firstDifference(y, want))
		}
		got, err := native(t, h).Run(context.Background(), feed)
		if err != nil {
			t.Fatal(err)
		}
		if !sameTensor(got["y"], y) {
			t.Fatalf("%d x %d, group %d, %d bits, symmetric %v: native engine%s", n, k, group, bits, symmetric, firstDifference(got["y"], y))
		}
	}
}

// TestCalibratedInRuntime runs what GPTQ and AWQ make of weights in unusual places, in both formats.
func TestCalibratedInRuntime(t *testing.T) {
	for name, g := range placed() {
		if name == "table of rank 3" {
			continue
		}
		feed := placedFeed(g)
		want := runORT(t, g, feed)
		feeds := engine.Feeds{N: 1, All: func() iter.Seq2[engine.Feed, error] {
			return func(yield func(engine.Feed, error) bool) { yield(feed, nil) }
		}}
		for _, o := range []quantize.WeightOnly{{Algorithm: quantize.GPTQ}, {Algorithm: quantize.AWQ, Symmetric: true}, {Algorithm: quantize.AWQ, Format: quantize.QDQ},
			{Algorithm: quantize.GPTQ, Format: quantize.QDQ, Bits: 8}} {
			o.Feeds = feeds
			h, notes := weightOnly(t, g, o)
			unseen := 0
			for _, n := range notes {
				if strings.Contains(n.Reason, "in a body, are not seen") {
					unseen++
				}
			}
			if inBody := name == "in branches" || name == "captured"; inBody != (unseen > 0) {
				t.Errorf("%s %s: notes %+v", name, o.Algorithm, notes)
			}
			if e := relativeError(t, runORT(t, h, feed), want); e > weightOnlyLimit || e == 0 {
				t.Errorf("%s %s %s: relative error %.3g, want at most %.3g, and not 0", name, o.Algorithm, o.Format, e, weightOnlyLimit)
			}
		}
	}
}

// TestTwoFormsWithInputs: a weight that a MatMul and, transposed, a Gemm read has inputs of two sizes; GPTQ and AWQ see those of each form.
func TestTwoFormsWithInputs(t *testing.T) {
	g := graphOf(values(value("x", unknown, 96)), values(value("y", unknown, 96)), map[string]*model.Tensor{"w": normal(1, 96, 48)},
		node("MatMul", "a", "x", "w"), having(node("Gemm", "y", "a", "w"), model.IntAttr("transB", 1)))
	feeds := staticFeeds(g, 60)
	want := runORT(t, g, feeds[0])
	for _, format := range []quantize.Format{quantize.NBits, quantize.QDQ} {
		for _, algorithm := range []quantize.Algorithm{quantize.GPTQ, quantize.AWQ} {
			h, notes := weightOnly(t, g, quantize.WeightOnly{Algorithm: algorithm, Format: format, Feeds: feedsOf(feeds...)})
			if n := noteOf(notes, "w"); n.Action == model.Left || n.Reason != "" && algorithm == quantize.AWQ {
				t.Errorf("%s %s: %+v", algorithm, format, n)
			}
			if e := relativeError(t, runORT(t, h, feeds[0]), want); e > weightOnlyLimit || e == 0 {
				t.Errorf("%s %s: relative error %.3g, want at most %.3g, and not 0", algorithm, format, e, weightOnlyLimit)
			}
		}
	}
}
