package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// convFloatGraph is a Conv of one to three dimensions between quantized operands with a float result y, and a Relu behind it or not. Scales are
// powers of two and sums are below 2^24, so that floats hold every one of them exactly.
func convFloatGraph(r *rand.Rand) (*model.Graph, engine.Feed, string) {
	dims := 1 + r.IntN(3)
	groups := []int{1, 1, 2, 4}[r.IntN(4)]
	cin, cout := groups*(1+r.IntN(3)), groups*(1+r.IntN(6))
	xs, ws := []int{1 + r.IntN(2), cin}, []int{cout, cin / groups}
	pads := make([]int64, 2*dims)
	for i := range dims {
		k := 1 + r.IntN(3)
		xs, ws = append(xs, k+2+r.IntN(6)), append(ws, k)
		pads[i], pads[dims+i] = int64(r.IntN(k)), int64(r.IntN(k))
	}
	count := func(s []int) int {
		n := 1
		for _, d := range s {
			n *= d
		}
		return n
	}
	signed, uint8Weights, channels := r.IntN(2) == 0, r.IntN(3) == 0, r.IntN(2) == 0
	g := &model.Graph{Name: "c", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(xs...)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}}
	g.SetOpset("", 21)
	x := make([]float32, count(xs))
	for i := range x {
		x[i] = float32(r.IntN(300)-150) / 64
	}
	g.SetInitializer("xs", model.Scalar(float32(1.0/64)))
	if signed {
		g.SetInitializer("xz", model.Scalar(int8(r.IntN(21)-10)))
	} else {
		g.SetInitializer("xz", model.Scalar(uint8(r.IntN(256))))
	}
	n := count(ws)
	if uint8Weights {
		w := make([]uint8, n)
		for i := range w {
			w[i] = uint8(r.IntN(256))
		}
		g.SetInitializer("w", model.FromSlice(ws, w))
	} else {
		w := make([]int8, n)
		for i := range w {
			w[i] = int8(r.IntN(256) - 128)
		}
		g.SetInitializer("w", model.FromSlice(ws, w))
	}
	scales, shape := 1, []int{}
	if channels {
		scales, shape = cout, []int{cout}
	}
	s := make([]float32, scales)
	for i := range s {
		s[i] = float32(math.Ldexp(1, -6-r.IntN(3)))
	}
	g.SetInitializer("ws", model.FromSlice(shape, s))
	if uint8Weights {
		g.SetInitializer("wz", model.FromSlice(shape, slices.Repeat([]uint8{uint8(r.IntN(256))}, scales)))
	} else {
		g.SetInitializer("wz", model.FromSlice(shape, make([]int8, scales)))
	}
	b := make([]float32, cout)
	for i := range b {
		b[i] = float32(r.IntN(2000)-1000) / 64
	}
	axis := []model.Attr{model.IntAttr("axis", 0)}
	g.SetInitializer("b", model.FromSlice([]int{cout}, b))
	conv := &model.Node{Op: "Conv", Name: "conv", Inputs: []string{"xd", "wd"}, Outputs: []string{"y"}, Attrs: []model.Attr{model.IntsAttr("pads", pads...), model.IntAttr("group", int64(groups))}}
	g.Nodes = []*model.Node{{Op: "QuantizeLinear", Name: "q", Inputs: []string{"x", "xs", "xz"}, Outputs: []string{"xq"}}, {Op: "DequantizeLinear", Name: "dq", Inputs: []string{"xq", "xs", "xz"}, Outputs: []string{"xd"}},
		{Op: "DequantizeLinear", Name: "wdq", Inputs: []string{"w", "ws", "wz"}, Outputs: []string{"wd"}, Attrs: axis}, conv}
	if r.IntN(3) > 0 {
		conv.Inputs = append(conv.Inputs, "b")
	}
	if r.IntN(2) == 0 {
		conv.Outputs[0] = "c"
		g.Nodes = append(g.Nodes, &model.Node{Op: "Relu", Name: "relu", Inputs: []string{"c"}, Outputs: []string{"y"}})
	}
	return g, engine.Feed{"x": model.FromSlice(xs, x)}, fmt.Sprintf("x %v, w %v, groups %d, pads %v, signed %v, uint8 weights %v, channels %v", xs, ws, groups, pads, signed, uint8Weights, channels)
}

// TestQuantConvFloat: a convolution of quantized operands with a float result has integer sums, and the results of the operators themselves.
func TestQuantConvFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 4))
	for range 500 {
		g, feed, what := convFloatGraph(r)
		var y [2][]float32
		for i, o := range []engine.Options{{NoFusion: true, Threads: 1}, {Threads: 2, Exact: true}} {
			s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, o)
			if err != nil {
				t.Fatal(what, err)
			}
			if info := s.Info(); i == 1 && (info.Ops["wattshed.QuantConvFloat"] != 1 || info.Ops["Conv"]+info.Ops["wattshed.Conv"]+info.Ops["Relu"] != 0 || len(info.Warnings) > 0) {
				t.Fatalf("%s: operators %v, warnings %q", what, info.Ops, info.Warnings)
			}
			out, err := s.Run(context.Background(), feed)
			if err != nil {
				t.Fatal(what, err)
			}
			v, err := out["y"].Float32()
			if err != nil {
				t.Fatal(what, err)
			}
			y[i] = slices.Clone(v)
			s.Close()
		}
		for i := range y[0] {
			if y[0][i] != y[1][i] {
				t.Fatalf("%s: element %d is %v, want %v", what, i, y[1][i], y[0][i])
			}
		}
	}
}

// TestQuantConvFloatSums: a Conv whose integer sums may be beyond 32 bits stays one of floats. Here they are, of weights with zero points.
func TestQuantConvFloatSums(t *testing.T) {
	const taps = 33100
	for _, zero := range []uint8{0, 128} { // weights up to 255 or 127
		g := &model.Graph{Name: "c", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, taps, 1)}}},
			Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}}
		g.SetOpset("", 21)
		g.SetInitializer("s", model.Scalar(float32(1)))
		g.SetInitializer("xz", model.Scalar(uint8(0)))
		g.SetInitializer("wz", model.Scalar(zero))
		g.SetInitializer("w", model.FromSlice([]int{1, taps, 1}, bytes.Repeat([]uint8{255}, taps)))
		g.Nodes = []*model.Node{{Op: "QuantizeLinear", Name: "q", Inputs: []string{"x", "s", "xz"}, Outputs: []string{"xq"}}, {Op: "DequantizeLinear", Name: "dq", Inputs: []string{"xq", "s", "xz"}, Outputs: []string{"xd"}},
			{Op: "DequantizeLinear", Name: "wdq", Inputs: []string{"w", "s", "wz"}, Outputs: []string{"wd"}}, {Op: "Conv", Name: "conv", Inputs: []string{"xd", "wd"}, Outputs: []string{"y"}}}
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1, taps, 1}, slices.Repeat([]float32{255}, taps))})
		if err != nil {
			t.Fatal(err)
		}
		y, err := out["y"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		want := 255 * float64(255-zero) * taps
		if math.Abs(float64(y[0])-want) > want*taps*0x1p-24 || s.Info().Ops["wattshed.QuantConvFloat"] != int(zero/128) { // an addition of floats rounds by 2^-24 at most
			t.Errorf("zero point %d: %v, want %v; operators %v", zero, y[0], want, s.Info().Ops)
		}
		s.Close()
	}
}
