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

// convFloatGraph is a Conv of one to three dimensions between quantized operands with a float result y, and a Relu behind it or not: with strides,
// dilations, groups of one channel and of many, pads or auto_pad, sizes that are declared or not. Scales are powers of two and sums are below 2^24, so
// that floats hold every one of them exactly.
func convFloatGraph(r *rand.Rand) (*model.Graph, engine.Feed, string) {
	dims := 1 + r.IntN(3)
	groups := []int{1, 1, 2, 4, 7, 16}[r.IntN(6)]
	cin, cout := groups*(1+r.IntN(3)), groups*(1+r.IntN(6))
	switch r.IntN(5) {
	case 0: // depthwise
		cin, cout = groups, groups
	case 1:
		cin, cout = groups*(1+r.IntN(20)), groups*(1+r.IntN(40))
	}
	xs, ws := []int{1 + r.IntN(2), cin}, []int{cout, cin / groups}
	if r.IntN(20) == 0 {
		xs[0] = 0
	}
	pads, strides, dilations := make([]int64, 2*dims), make([]int64, dims), make([]int64, dims)
	auto := []string{"NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"}[r.IntN(6)]
	for i := range dims {
		k := 1 + r.IntN([]int{7, 4, 3}[dims-1])
		strides[i], dilations[i] = 1+r.Int64N(3), 1+r.Int64N(3)
		reach := int(dilations[i])*(k-1) + 1
		xs, ws = append(xs, max(1, reach-2)+r.IntN(8)), append(ws, k)
		pads[i], pads[dims+i] = r.Int64N(int64(k)+1), r.Int64N(int64(k)+1)
		if most := reach - xs[2+i]; auto != "NOTSET" {
			xs[2+i] += max(0, most)
		} else if short := int64(most) - pads[i] - pads[dims+i]; short > 0 {
			pads[i] += short
		}
	}
	attrs := []model.Attr{model.IntAttr("group", int64(groups)), model.IntsAttr("strides", strides...), model.IntsAttr("dilations", dilations...)}
	if auto == "NOTSET" {
		attrs = append(attrs, model.IntsAttr("pads", pads...))
	} else {
		attrs = append(attrs, model.StringAttr("auto_pad", auto))
	}
	count := func(s []int) int {
		n := 1
		for _, d := range s {
			n *= d
		}
		return n
	}
	least := 0 // weights are so much above -128 and below 127, and their zero points
	if taps := count(ws[1:]); taps > 200 {
		least = 128 - 128*200/taps
	}
	signed, uint8Weights, channels := r.IntN(2) == 0, r.IntN(3) == 0, r.IntN(2) == 0
	shape := model.FixedShape(xs...)
	if r.IntN(2) == 0 {
		for i := range shape {
			shape[i] = model.Dim{Size: -1}
		}
	}
	g := &model.Graph{Name: "c", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: shape}}},
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
			w[i] = uint8(least + r.IntN(256-2*least))
		}
		g.SetInitializer("w", model.FromSlice(ws, w))
	} else {
		w := make([]int8, n)
		for i := range w {
			w[i] = int8(least - 128 + r.IntN(256-2*least))
		}
		g.SetInitializer("w", model.FromSlice(ws, w))
	}
	scales, each := 1, []int{}
	if channels {
		scales, each = cout, []int{cout}
	}
	s := make([]float32, scales)
	for i := range s {
		s[i] = float32(math.Ldexp(1, -6-r.IntN(3)))
	}
	g.SetInitializer("ws", model.FromSlice(each, s))
	if uint8Weights {
		z := make([]uint8, scales)
		for i := range z {
			z[i] = uint8(least + r.IntN(256-2*least))
		}
		g.SetInitializer("wz", model.FromSlice(each, z))
	} else {
		g.SetInitializer("wz", model.FromSlice(each, make([]int8, scales)))
	}
	b := make([]float32, cout)
	for i := range b {
		b[i] = float32(r.IntN(2000)-1000) / 64
	}
	axis := []model.Attr{model.IntAttr("axis", 0)}
	g.SetInitializer("b", model.FromSlice([]int{cout}, b))
	conv := &model.Node{Op: "Conv", Name: "conv", Inputs: []string{"xd", "wd"}, Outputs: []string{"y"}, Attrs: attrs}
	g.Nodes = []*model.Node{{Op: "QuantizeLinear", Name: "q", Inputs: []string{"x", "xs", "xz"}, Outputs: []string{"xq"}}, {Op: "DequantizeLinear", Name: "dq", Inputs: []string{"xq", "xs", "xz"}, Outputs: []string{"xd"}},
		{Op: "DequantizeLinear", Name: "wdq", Inputs: []string{"w", "ws", "wz"}, Outputs: []string{"wd"}, Attrs: axis}, conv}
	if r.IntN(3) > 0 {
		conv.Inputs = append(conv.Inputs, "b")
	}
	if r.IntN(2) == 0 {
		conv.Outputs[0] = "c"
		g.Nodes = append(g.Nodes, &model.Node{Op: "Relu", Name: "relu", Inputs: []string{"c"}, Outputs: []string{"y"}})
	}
	return g, engine.Feed{"x": model.FromSlice(xs, x)}, fmt.Sprintf("x %v (%s), w %v, groups %d, strides %v, dilations %v, pads %v %s, signed %v, uint8 weights %v, channels %v", xs, shape, ws, groups, strides, dilations, pads, auto, signed, uint8Weights, channels)
}

// TestQuantConvFloat: a convolution of quantized operands with a float result has integer sums, and the results of the operators themselves.
func TestQuantConvFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 4))
	for range 1500 {
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
		if len(y[0]) != len(y[1]) {
			t.Fatalf("%s: %d elements, want %d", what, len(y[1]), len(y[0]))
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
