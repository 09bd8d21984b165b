package quantize_test

import (
	"context"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// outputs runs g on the native engine and returns the values of y for every feed.
func outputs(t *testing.T, g *model.Graph, feeds []engine.Feed) (all [][]float32) {
	t.Helper()
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, f := range feeds {
		out, err := s.Run(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		x, err := out["y"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	return all
}

// distance is the summed squared difference of outputs.
func distance(a, b [][]float32) float64 {
	sum := 0.0
	for i := range a {
		for j := range a[i] {
			sum += float64(a[i][j]-b[i][j]) * float64(a[i][j]-b[i][j])
		}
	}
	return sum
}

// quantized returns a statically quantized clone of g.
func quantized(t *testing.T, g *model.Graph, s quantize.Static, feeds []engine.Feed) (*model.Graph, []model.Note) {
	t.Helper()
	c := g.Clone()
	notes, err := s.Apply(context.Background(), c, feedsOf(feeds...))
	if err != nil {
		t.Fatal(err)
	}
	return c, notes
}

// scaled multiplies element i of t by factor(i).
func scaled(t *model.Tensor, factor func(i int) float64) *model.Tensor {
	x, err := t.Float32()
	if err != nil {
		panic(err)
	}
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(float64(v) * factor(i))
	}
	return model.FromSlice(t.Shape(), out)
}

// TestSmooth: an activation with two channels of outliers is quantized far better once their range is moved to the weights,
// by the factors of the paper's formula.
func TestSmooth(t *testing.T) {
	g := graphOf(values(value("x", unknown, 5, 32)), values(value("y", unknown, 5, 24)), map[string]*model.Tensor{"w": normal(1, 32, 24), "v": normal(2, 16, 32)},
		node("MatMul", "a", "x", "w"), &model.Node{Op: "Gemm", Name: "b", Inputs: []string{"flat", "v"}, Outputs: []string{"b"}, Attrs: []model.Attr{model.IntAttr("transB", 1)}},
		node("Reshape", "flat", "x", "rows"), node("Identity", "y", "a"))
	g.SetInitializer("rows", model.FromSlice([]int{2}, []int64{-1, 32}))
	g.Nodes[1], g.Nodes[2] = g.Nodes[2], g.Nodes[1]
	var feeds []engine.Feed
	for k := range 4 {
		feeds = append(feeds, engine.Feed{"x": scaled(normal(uint64(50+k), 2, 5, 32), func(i int) float64 {
			if i%32 == 3 || i%32 == 17 {
				return 60
			}
			return 1
		})})
	}
	want := outputs(t, g, feeds)
	plain, _ := quantized(t, g, quantize.Static{CPU: quantize.X86VNNI}, feeds)
	smooth, notes := quantized(t, g, quantize.Static{Smooth: 0.5, CPU: quantize.X86VNNI}, feeds)
	before, after := distance(want, outputs(t, plain, feeds)), distance(want, outputs(t, smooth, feeds))
	if after > before/4 {
		t.Errorf("squared error %g, %g smoothed: want a quarter at most", before, after)
	}
	factor, err := model.Data[float32](smooth.Initializer("x_smooth"))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := model.Data[float32](g.Initializer("w"))
	for j, f := range factor {
		var x, heaviest float64
		for _, feed := range feeds {
			v, _ := feed["x"].Float32()
			for i := j; i < len(v); i += 32 {
				x = max(x, math.Abs(float64(v[i])))
			}
		}
		for i := range 24 {
			heaviest = max(heaviest, math.Abs(float64(w[j*24+i])))
		}
		// sqrt(max|w|) / sqrt(max|x|), rounded to float32 twice
		if s := math.Sqrt(heaviest / x); math.Abs(float64(f)-s) > 1e-6*s {
			t.Errorf("channel %d: factor %v, want %v", j, f, s)
		}
	}
	if n := noteOf(notes, "w"); n.Action != "int8 per-channel" {
		t.Errorf("%+v", n)
	}
}

// TestEqualize: channels of very different size, which one scale for a weight cannot hold, are evened out; the model
// computes the same.
func TestEqualize(t *testing.T) {
	uneven := func(i int) float64 { return math.Exp2(float64(i % 7)) }
	g := graphOf(values(value("x", unknown, 4, 10, 10)), values(value("y", unknown, 6, unknown, unknown)), map[string]*model.Tensor{
		"w1": scaled(normal(1, 8, 4, 3, 3), func(i int) float64 { return uneven(i / 36) }), "b1": scaled(normal(2, 8), uneven),
		"w2": normal(3, 8, 1, 3, 3), "b2": normal(4, 8),
		"w3": scaled(normal(5, 6, 8, 1, 1), func(i int) float64 { return 1 / uneven(i%8) })},
		node("Conv", "a", "x", "w1", "b1"), node("Relu", "r", "a"), having(node("Conv", "b", "r", "w2", "b2"), model.IntAttr("group", 8)), node("Relu", "s", "b"), node("Conv", "y", "s", "w3"))
	feeds := staticFeeds(g, 4)
	want := outputs(t, g, feeds)
	plain, _ := quantized(t, g, quantize.Static{Granularity: quantize.PerTensor}, feeds)
	even, notes := quantized(t, g, quantize.Static{Granularity: quantize.PerTensor, Equalize: true}, feeds)
	before, after := distance(want, outputs(t, plain, feeds)), distance(want, outputs(t, even, feeds))
	if after > before/4 {
		t.Errorf("squared error %g, %g equalized: want a quarter at most", before, after)
	}
	if n := noteOf(notes, "(model)"); n.Action == "" {
		t.Error("no note")
	}
}

// TestBiasCorrection: inputs with a mean far from 0 turn the rounding of weights into a shift of every output; corrected,
// most of the shift is gone.
func TestBiasCorrection(t *testing.T) {
	yes := true // 7-bit weights: the effect is the larger
	for name, g := range map[string]*model.Graph{
		"conv":             graphOf(values(value("x", unknown, 8, 6, 6)), values(value("y", unknown, 12, unknown, unknown)), map[string]*model.Tensor{"w": normal(1, 12, 8, 3, 3), "b": normal(2, 12)}, node("Conv", "y", "x", "w", "b")),
		"grouped, no bias": graphOf(values(value("x", unknown, 8, 6, 6)), values(value("y", unknown, 12, unknown, unknown)), map[string]*model.Tensor{"w": normal(1, 12, 4, 3, 3)}, having(node("Conv", "y", "x", "w"), model.IntAttr("group", 2))),
		"gemm":             graphOf(values(value("x", unknown, 32)), values(value("y", unknown, 12)), map[string]*model.Tensor{"w": normal(1, 32, 12)}, node("Gemm", "y", "x", "w")),
		"matmul":           graphOf(values(value("x", unknown, 3, 32)), values(value("y", unknown, 3, 12)), map[string]*model.Tensor{"w": normal(1, 32, 12), "b": normal(2, 12)}, node("MatMul", "m", "x", "w"), node("Add", "y", "m", "b")),
	} {
		var feeds []engine.Feed
		for _, f := range staticFeeds(g, 6) {
			x, _ := f["x"].Float32()
			shifted := make([]float32, len(x))
			for i, v := range x {
				shifted[i] = v + 4
			}
			feeds = append(feeds, engine.Feed{"x": model.FromSlice(f["x"].Shape(), shifted)})
		}
		want := outputs(t, g, feeds)
		shift := func(s quantize.Static) float64 {
			q, _ := quantized(t, g, s, feeds)
			got := outputs(t, q, feeds)
			channels := 12
			inner := 1
			if name == "conv" || name == "grouped, no bias" {
				inner = len(got[0]) / (2 * channels)
			}
			sums := make([]float64, channels)
			for i := range got {
				for j := range got[i] {
					sums[j/inner%channels] += float64(got[i][j] - want[i][j])
				}
			}
			total := 0.0
			for _, v := range sums {
				total += v * v
			}
			return total
		}
		before, after := shift(quantize.Static{ReduceRange: &yes}), shift(quantize.Static{ReduceRange: &yes, BiasCorrection: true})
		if after > before/2 {
			t.Errorf("%s: squared shift %g, corrected %g: want half at most", name, before, after)
		}
	}
}

// TestAdaptiveRounding: on the calibration data the outputs are nearer than with weights rounded to nearest, whatever
// the geometry of the product; inputs are correlated, as those of real models are.
func TestAdaptiveRounding(t *testing.T) {
	yes := true
	conv := func(attrs ...model.Attr) *model.Node { return having(node("Conv", "y", "x", "w"), attrs...) }
	image := value("x", unknown, 8, 9, 7)
	out := values(value("y", unknown, unknown, unknown, unknown))
	for name, g := range map[string]*model.Graph{
		"matmul":     graphOf(values(value("x", unknown, 3, 32)), values(value("y", unknown, 3, 12)), map[string]*model.Tensor{"w": normal(1, 32, 12)}, node("MatMul", "y", "x", "w")),
		"gemm":       graphOf(values(value("x", unknown, 32)), values(value("y", unknown, 12)), map[string]*model.Tensor{"w": normal(1, 12, 32)}, having(node("Gemm", "y", "x", "w"), model.IntAttr("transB", 1))),
		"strides":    graphOf(values(image), out, map[string]*model.Tensor{"w": normal(1, 12, 8, 3, 2)}, conv(model.IntsAttr("strides", 2, 1), model.IntsAttr("pads", 1, 0, 2, 1))),
		"dilations":  graphOf(values(image), out, map[string]*model.Tensor{"w": normal(1, 12, 8, 2, 3)}, conv(model.IntsAttr("dilations", 2, 1))),
		"groups":     graphOf(values(image), out, map[string]*model.Tensor{"w": normal(1, 12, 4, 3, 3)}, conv(model.IntAttr("group", 2))),
		"same lower": graphOf(values(image), out, map[string]*model.Tensor{"w": normal(1, 12, 8, 2, 2)}, conv(model.StringAttr("auto_pad", "SAME_LOWER"))),
		"1-D":        graphOf(values(value("x", unknown, 8, 20)), values(value("y", unknown, unknown, unknown)), map[string]*model.Tensor{"w": normal(1, 12, 8, 3)}, conv()),
	} {
		var feeds []engine.Feed
		for _, f := range staticFeeds(g, 16) { // running sums: neighbours are alike
			x, _ := f["x"].Float32()
			walk := make([]float32, len(x))
			for i, v := range x {
				walk[i] = v
				if i > 0 {
					walk[i] += 0.9 * walk[i-1]
				}
			}
			feeds = append(feeds, engine.Feed{"x": model.FromSlice(f["x"].Shape(), walk)})
		}
		want := outputs(t, g, feeds)
		nearest, _ := quantized(t, g, quantize.Static{ReduceRange: &yes}, feeds)
		adapted, _ := quantized(t, g, quantize.Static{ReduceRange: &yes, AdaptRounding: true}, feeds)
		before, after := distance(want, outputs(t, nearest, feeds)), distance(want, outputs(t, adapted, feeds))
		t.Logf("%s: squared error %.4g, adapted %.4g", name, before, after)
		if after > 0.9*before { // the rest is the error of the activations
			t.Errorf("%s: squared error %g, adapted %g: want a tenth less", name, before, after)
		}
	}
}

// positive makes a tensor of numbers from 0.5 on.
func positive(seed uint64, shape ...int) *model.Tensor {
	t := normal(seed, shape...)
	x, _ := t.Float32()
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(math.Abs(float64(v))) + 0.5
	}
	return model.FromSlice(shape, out)
}

// staticFeeds makes n feeds of normal deviates; an unknown size is 2.
func staticFeeds(g *model.Graph, n int) []engine.Feed {
	var feeds []engine.Feed
	for k := range n {
		f := engine.Feed{}
		for _, v := range g.Inputs {
			shape := make([]int, len(v.Type.Shape))
			for i, d := range v.Type.Shape {
				shape[i] = max(int(d.Size), 2*int(-d.Size))
			}
			f[v.Name] = normal(uint64(100+k), shape...)
		}
		feeds = append(feeds, f)
	}
	return feeds
}

// having gives the node attributes.
func having(n *model.Node, attrs ...model.Attr) *model.Node {
	n.Attrs = attrs
	return n
}
