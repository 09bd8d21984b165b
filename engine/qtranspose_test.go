package engine_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// transposedGraph is a random quantized ConvTranspose between DequantizeLinear and, if inner, QuantizeLinear.
func transposedGraph(r *rand.Rand, inner bool) (*model.Graph, engine.Feed, string) {
	dims, groups := 1+r.IntN(2), 1+r.IntN(2)
	cg, og := 1+r.IntN(9), 1+r.IntN(9)
	xs, ws := []int{1 + r.IntN(2), cg * groups}, []int{cg * groups, og}
	var strides, pads, ends, dilations, extra []int64
	for range dims {
		xs, ws = append(xs, 2+r.IntN(9)), append(ws, 2+r.IntN(3))
		strides, dilations = append(strides, int64(1+r.IntN(3))), append(dilations, int64(1+r.IntN(2)))
		pads, ends = append(pads, int64(r.IntN(2))), append(ends, int64(r.IntN(2)))
		extra = append(extra, int64(r.IntN(int(strides[len(strides)-1]))))
	}
	n := &model.Node{Op: "ConvTranspose", Inputs: []string{"xf", "wf", ""}, Outputs: []string{"yf"}, Attrs: []model.Attr{model.IntsAttr("strides", strides...),
		model.IntsAttr("pads", append(pads, ends...)...), model.IntsAttr("dilations", dilations...), model.IntsAttr("output_padding", extra...), model.IntAttr("group", int64(groups))}}
	bytes := func(shape []int) *model.Tensor {
		v := make([]uint8, prod(shape))
		for i := range v {
			v[i] = uint8(r.UintN(256))
		}
		return model.FromSlice(shape, v)
	}
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}}}, Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Uint8, Shape: model.FixedShape(xs...)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}}
	w := bytes(ws)
	signed := r.IntN(2) == 0
	scales := 1
	var axis []model.Attr
	if r.IntN(2) == 0 {
		scales, axis = og, []model.Attr{model.IntAttr("axis", 1)}
	}
	shape := []int{}
	if axis != nil {
		shape = []int{scales}
	}
	scale, zero := make([]float32, scales), make([]uint8, scales)
	for i := range scale {
		scale[i] = float32(1+r.IntN(100)) / 4096
		if !signed {
			zero[i] = uint8(r.UintN(256))
		}
	}
	zt := model.FromSlice(shape, zero)
	if signed {
		w, _ = w.View(model.Int8)
		zt, _ = zt.View(model.Int8)
	}
	for name, t := range map[string]*model.Tensor{"w": w, "ws": model.FromSlice(shape, scale), "wz": zt, "xs": model.Scalar(float32(1) / 64), "xz": model.Scalar(uint8(r.UintN(256))),
		"ys": model.Scalar(float32(1) / 8), "yz": model.Scalar(uint8(100))} {
		g.SetInitializer(name, t)
	}
	g.Nodes = []*model.Node{{Op: "DequantizeLinear", Inputs: []string{"x", "xs", "xz"}, Outputs: []string{"xf"}},
		{Op: "DequantizeLinear", Inputs: []string{"w", "ws", "wz"}, Outputs: []string{"wf"}, Attrs: axis}, n}
	if r.IntN(3) > 0 {
		n.Inputs[2] = "b"
		b := make([]float32, og*groups)
		for i := range b {
			b[i] = float32(r.NormFloat64())
		}
		g.SetInitializer("b", model.FromSlice([]int{len(b)}, b))
	}
	if inner {
		last := "yf"
		if r.IntN(2) == 0 {
			g.Nodes = append(g.Nodes, &model.Node{Op: "Relu", Inputs: []string{"yf"}, Outputs: []string{"yr"}})
			last = "yr"
		}
		g.Nodes = append(g.Nodes, &model.Node{Op: "QuantizeLinear", Inputs: []string{last, "ys", "yz"}, Outputs: []string{"yq"}},
			&model.Node{Op: "DequantizeLinear", Inputs: []string{"yq", "ys", "yz"}, Outputs: []string{"y"}})
	} else {
		n.Outputs[0] = "y"
	}
	return g, engine.Feed{"x": bytes(xs)}, fmt.Sprint(xs, ws, n.Attrs, signed, scales)
}

func prod(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// TestQuantTranspose compares transposed convolutions in integers with the float operator between DequantizeLinear and
// QuantizeLinear, which the operator tests hold to ONNX: 600 random shapes, strides, pads, dilations, groups and zero points.
func TestQuantTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	for k := range 600 {
		inner := k%2 == 0
		g, feed, what := transposedGraph(r, inner)
		var y [2][]float32
		for i, o := range []engine.Options{{NoFusion: true, Threads: 1}, {Threads: 2}} {
			s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, o)
			if err != nil {
				t.Fatal(what, err)
			}
			if info := s.Info(); i == 1 && (info.Ops["wattshed.QuantTranspose"] != 1 || len(info.Warnings) > 0) {
				t.Fatalf("%s: operators %v, warnings %q", what, info.Ops, info.Warnings)
			}
			out, err := s.Run(context.Background(), feed)
			if err != nil {
				t.Fatal(what, err)
			}
			v, _ := out["y"].Float32()
			y[i] = slices.Clone(v)
			s.Close()
		}
		if len(y[0]) != len(y[1]) {
			t.Fatalf("%s: %d elements, want %d", what, len(y[1]), len(y[0]))
		}
		// a step of the output where the float sum falls on the border of two integers; else the rounding of float32 sums of at
		// most 9*9 products of 255*255 steps of 1/64*100/4096
		tolerance := 2e-3
		if inner {
			tolerance = 0.126
		}
		off := 0
		for i := range y[0] {
			d := float64(y[0][i] - y[1][i])
			if d > tolerance || d < -tolerance {
				t.Fatalf("%s: element %d is %v, want %v", what, i, y[1][i], y[0][i])
			}
			if d != 0 {
				off++
			}
		}
		if inner && off*20 > len(y[0]) && off > 1 { // the bias is rounded to steps of the products, so single values move
			t.Errorf("%s: %d of %d differ by a step", what, off, len(y[0]))
		}
	}
}

// TestQuantizedInFloat: a quantized operator that runs in float is named in the warnings, with the reason.
func TestQuantizedInFloat(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 2))
	for want, change := range map[string]func(*model.Graph){
		"1 quantized Conv run in float: there is no integer kernel for 4 spatial dimensions": func(g *model.Graph) {
			g.Nodes[2].Op, g.Nodes[2].Attrs = "Conv", nil
			g.Inputs[0].Type.Shape = model.FixedShape(1, 1, 4, 4, 4, 4)
			g.SetInitializer("w", model.FromSlice([]int{1, 1, 2, 2, 2, 2}, make([]int8, 16)))
			g.SetInitializer("b", model.FromSlice([]int{1}, []float32{1}))
		},
		"1 quantized ConvTranspose run in float: the weights are quantized in blocks": func(g *model.Graph) {
			g.Model.Opsets[0].Version = 21
			g.Nodes[1].SetAttr(model.IntAttr("block_size", 1))
			g.Nodes[1].SetAttr(model.IntAttr("axis", 0))
			w := g.Initializer("w")
			s := make([]float32, w.Len())
			for i := range s {
				s[i] = 1
			}
			g.SetInitializer("ws", model.FromSlice(w.Shape(), s))
			g.SetInitializer("wz", model.FromSlice(w.Shape(), make([]int8, len(s))))
		},
		"1 quantized Conv run in float: its bias is no constant": func(g *model.Graph) {
			g.Nodes[2].Op, g.Nodes[2].Attrs = "Conv", nil
			g.Nodes = g.Nodes[:3]
			g.Nodes[2].Outputs[0] = "y"
			g.Inputs[0].Type.Shape = model.FixedShape(1, 1, 4, 4)
			g.Inputs = append(g.Inputs, &model.Value{Name: "given", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1)}})
			g.Nodes[2].Inputs = []string{g.Nodes[2].In(0), g.Nodes[2].In(1), "given"}
			g.SetInitializer("w", model.FromSlice([]int{1, 1, 2, 2}, make([]int8, 4)))
		},
	} {
		g, _, _ := transposedGraph(r, true)
		for g.Initializer("w").DType() != model.Int8 || g.Initializer("ws").Rank() != 0 {
			g, _, _ = transposedGraph(r, true)
		}
		change(g)
		s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{})
		if err != nil {
			t.Fatal(want, err)
		}
		if got := strings.Join(s.Info().Warnings, "\n"); got != "qdq: "+want {
			t.Errorf("warnings %q, want %q", got, want)
		}
		s.Close()
	}
}

// TestQuantTransposeLengths: scales, biases and zero points that do not fit the weights are errors of loading, not of a run.
func TestQuantTransposeLengths(t *testing.T) {
	for _, c := range []struct {
		name                       string
		scale, bias, zeros, groups int
		ok                         bool
	}{{"one scale", 1, 6, 1, 2, true}, {"a scale per channel", 6, 6, 3, 2, true}, {"no scale", 0, 6, 3, 2, false}, {"two scales", 2, 6, 3, 2, false},
		{"a short bias", 6, 5, 3, 2, false}, {"no zero points", 6, 6, 0, 2, false}, {"no groups", 6, 6, 3, 0, false}, {"groups that do not divide", 6, 6, 3, 3, false}} {
		g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}, {Domain: "wattshed", Version: 1}}},
			Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Uint8, Shape: model.FixedShape(1, 2, 2, 4)}}},
			Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Uint8}}}}
		g.Nodes = []*model.Node{{Op: "QuantTranspose", Domain: "wattshed", Inputs: []string{"x", "w", "s", "b", "z"}, Outputs: []string{"y"}, Attrs: []model.Attr{model.IntAttr("group", int64(c.groups))}}}
		for name, w := range map[string]*model.Tensor{"w": model.FromSlice([]int{4, 3, 1, 1}, make([]int8, 12)), "s": model.FromSlice([]int{c.scale}, make([]float32, c.scale)),
			"b": model.FromSlice([]int{c.bias}, make([]int32, c.bias)), "z": model.FromSlice([]int{c.zeros}, make([]int8, c.zeros))} {
			g.SetInitializer(name, w)
		}
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
		if err == nil {
			s.Close()
		}
		if (err == nil) != c.ok || err != nil && strings.Contains(err.Error(), "internal error") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestQuantizedAverageOfNothing: the average of no pixels, which is a NaN, is quantized as the operators one by one do it.
func TestQuantizedAverageOfNothing(t *testing.T) {
	b := newBuilder(1, 17)
	s, z := b.scalar(0.1), b.constant(model.Scalar(uint8(7)))
	dq := func(x string) string { return b.node("DequantizeLinear", []string{x, s, z}) }
	y := b.node("GlobalAveragePool", []string{dq(b.input("x", model.Uint8, model.Shape{{Size: 2}, {Size: 3}, {Size: -1}, {Size: 4}}))})
	b.output(dq(b.node("QuantizeLinear", []string{y, s, z})))
	var got [2][]float32
	for i, o := range []engine.Options{{}, {NoFusion: true}} {
		got[i] = run(t, load(t, b.g, o), engine.Feed{"x": model.FromSlice([]int{2, 3, 0, 4}, []uint8{})})
	}
	if len(got[0]) != 6 || !slices.Equal(got[0], got[1]) {
		t.Errorf("%v, want %v", got[0], got[1])
	}
}
