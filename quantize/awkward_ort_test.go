//go:build !static

package quantize_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// everyScheme applies each of the stages of the package.
func everyScheme(feeds engine.Feeds) map[string]func(*model.Graph) ([]model.Note, error) {
	ctx := context.Background()
	m := map[string]func(*model.Graph) ([]model.Note, error){
		"fp16 weights": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) },
		"fp16 graph": func(g *model.Graph) ([]model.Note, error) {
			return quantize.Half{DType: model.Float16, Feeds: feeds}.Apply(ctx, g)
		},
		"dynamic int8":  func(g *model.Graph) ([]model.Note, error) { return quantize.Dynamic{}.Apply(g) },
		"dynamic uint8": func(g *model.Graph) ([]model.Note, error) { return quantize.Dynamic{DType: model.Uint8}.Apply(g) },
		"static int8":   func(g *model.Graph) ([]model.Note, error) { return quantize.Static{}.Apply(ctx, g, feeds) },
		"static, operators": func(g *model.Graph) ([]model.Note, error) {
			return quantize.Static{Format: quantize.QOperator}.Apply(ctx, g, feeds)
		},
		"static uint8": func(g *model.Graph) ([]model.Note, error) {
			return quantize.Static{Weights: model.Uint8}.Apply(ctx, g, feeds)
		},
		"static int16": func(g *model.Graph) ([]model.Note, error) {
			return quantize.Static{Activations: model.Int16}.Apply(ctx, g, feeds)
		},
		"fp8": func(g *model.Graph) ([]model.Note, error) {
			return quantize.QDQWeights{DType: model.Float8E4M3FN}.Apply(g)
		},
		"int16": func(g *model.Graph) ([]model.Note, error) { return quantize.QDQWeights{DType: model.Int16}.Apply(g) },
	}
	for _, a := range quantize.Algorithms {
		for _, f := range []quantize.Format{quantize.NBits, quantize.QDQ} {
			m["int4 "+string(a)+" "+string(f)] = func(g *model.Graph) ([]model.Note, error) {
				return quantize.WeightOnly{Algorithm: a, Format: f, Feeds: feeds}.Apply(ctx, g)
			}
		}
	}
	return m
}

// TestDegenerateWeights: weights that are all zero, all equal, subnormal, or have columns of these beside others go through every
// scheme: the result is finite, near the float model, and the same in both runtimes.
func TestDegenerateWeights(t *testing.T) {
	for name, fill := range map[string]func(i, j int, v float64) float64{
		"zeros":            func(i, j int, v float64) float64 { return 0 },
		"constant":         func(i, j int, v float64) float64 { return 0.37 },
		"denormals":        func(i, j int, v float64) float64 { return math.Ldexp(v, -135) },
		"a column of zero": func(i, j int, v float64) float64 { return v * float64(min(j, 1)) },
		"a denormal column": func(i, j int, v float64) float64 {
			if j == 3 {
				return math.Ldexp(v, -140)
			}
			return v
		},
	} {
		w := normal(1, 32, 24)
		x, _ := w.Float32()
		odd := make([]float32, len(x))
		for k, v := range x {
			odd[k] = float32(fill(k/24, k%24, float64(v)))
		}
		g := graphOf(values(value("x", unknown, 32)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": model.FromSlice([]int{32, 24}, odd), "v": normal(2, 32, 24), "u": normal(3, 24, 8)},
			node("MatMul", "a", "x", "w"), node("MatMul", "b", "x", "v"), node("Add", "s", "a", "b"), node("MatMul", "y", "s", "u"))
		feeds := staticFeeds(g, 4)
		want := outputs(t, g, feeds[:1])
		for scheme, apply := range everyScheme(feedsOf(feeds...)) {
			t.Run(name+"/"+scheme, func(t *testing.T) {
				q := g.Clone()
				if _, err := apply(q); err != nil {
					t.Fatal(err)
				}
				if err := model.Validate(q); err != nil {
					t.Fatal(err)
				}
				a, b, _, _ := reread(t, q, feeds[0])
				if db := noise(t, model.FromSlice(a.Shape(), want[0]), a); !(db > 14) { // two layers of 4 bits, 20 dB each
					t.Errorf("%.1f dB above the noise of quantization, want 14", db)
				}
				if db := noise(t, b, a); !(db > 40) { // sums on the border of two integers
					t.Errorf("native engine: %.1f dB from ONNX Runtime, want 40", db)
				}
			})
		}
	}
}

// TestQuantizedTwice: a model that is quantized in any of the styles is refused by every scheme, untouched, but for half-size weights
// beside the quantized ones.
func TestQuantizedTwice(t *testing.T) {
	g := graphOf(values(value("x", unknown, 32)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": normal(1, 32, 24), "u": normal(3, 24, 8)}, node("MatMul", "a", "x", "w"), node("MatMul", "y", "a", "u"))
	lstm := graphOf(values(value("x", 5, 1, 16)), values(value("y", unknown, unknown, unknown, unknown)), map[string]*model.Tensor{"w": normal(1, 1, 32, 16), "r": normal(2, 1, 32, 8)},
		having(node("LSTM", "y", "x", "w", "r"), model.IntAttr("hidden_size", 8)))
	feeds := feedsOf(staticFeeds(g, 2)...)
	styles := map[string]*model.Graph{}
	for name, apply := range everyScheme(feeds) {
		if name == "fp16 weights" || name == "fp16 graph" {
			continue
		}
		styles[name] = g.Clone()
		if _, err := apply(styles[name]); err != nil {
			t.Fatal(name, err)
		}
	}
	styles["DynamicQuantizeLSTM"] = lstm.Clone()
	if _, err := (quantize.Dynamic{}).Apply(styles["DynamicQuantizeLSTM"]); err != nil {
		t.Fatal(err)
	}
	conv := graphOf(values(value("x", 1, 4, 8, 8)), nil, map[string]*model.Tensor{"w": model.FromSlice([]int{4, 4, 3, 3}, make([]int8, 144)), "z": model.Scalar(uint8(0))},
		&model.Node{Name: "q", Op: "DynamicQuantizeLinear", Inputs: []string{"x"}, Outputs: []string{"q", "s", "z0"}}, node("ConvInteger", "y", "q", "w", "z0"))
	conv.Outputs = []*model.Value{{Name: "y", Type: model.Type{DType: model.Int32}}}
	styles["ConvInteger"] = conv
	for style, q := range styles {
		if len(quantize.Styles(q)) == 0 {
			t.Errorf("%s: no style is found", style)
		}
		for scheme, apply := range everyScheme(feeds) {
			if scheme == "fp16 graph" {
				continue // computes the float operators that are left in half precision
			}
			before := q.Clone()
			_, err := apply(q)
			if !errors.Is(err, quantize.ErrQuantized) {
				t.Errorf("%s, then %s: %v", style, scheme, err)
			}
			if len(q.Nodes) != len(before.Nodes) || len(q.Initializers()) != len(before.Initializers()) {
				t.Errorf("%s, then %s: the graph was changed", style, scheme)
			}
		}
	}
}
