package quantize_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// FuzzStages parses a model and runs every stage on it: none may panic, and a graph that was valid stays valid.
func FuzzStages(f *testing.F) {
	for _, name := range []string{"float.onnx", "per-channel.onnx"} {
		b, err := os.ReadFile("../testdata/quantize/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, g := range seeds() {
		var b bytes.Buffer
		if err := onnx.Write(&b, g, onnx.WriteOptions{}); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			return
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return
		}
		valid := model.Validate(g) == nil
		for name, apply := range map[string]func(*model.Graph) ([]model.Note, error){
			"per-channel": quantize.Dynamic{}.Apply,
			"per-tensor":  quantize.Dynamic{Granularity: quantize.PerTensor}.Apply,
			"fp16":        func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) },
			"bf16":        func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.BFloat16) },
			"fp16 graph":  func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, model.Float16) },
			"int4":        func(g *model.Graph) ([]model.Note, error) { return quantize.WeightOnly{}.Apply(t.Context(), g) },
			"int8 hqq": func(g *model.Graph) ([]model.Note, error) {
				return quantize.WeightOnly{Bits: 8, Algorithm: quantize.HQQ, Group: quantize.WholeChannel}.Apply(t.Context(), g)
			},
			"int4 qdq": func(g *model.Graph) ([]model.Note, error) {
				return quantize.WeightOnly{Format: quantize.QDQ}.Apply(t.Context(), g)
			},
			"bf16 graph": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, model.BFloat16) },
		} {
			c := g.Clone()
			if _, err := apply(c); err != nil || !valid {
				continue
			}
			if err := model.Validate(c); err != nil {
				t.Errorf("%s: a valid graph became one that is not: %v", name, err)
			}
		}
	})
}

// seeds are small models with bodies, captures and every operator that the stages rewrite.
func seeds() []*model.Graph {
	x := value("x", unknown, 8)
	cond := &model.Value{Name: "c", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}
	body := func(out string) *model.Graph {
		return bodyOf(nil, values(value(out, unknown, 8)), map[string]*model.Tensor{"v": normal(1, 8, 8)}, node("MatMul", "h"+out, "x", "v"), node("MatMul", out, "h"+out, "w"))
	}
	lstm := node("LSTM", "y", "x", "w", "r")
	lstm.Attrs = []model.Attr{model.IntAttr("hidden_size", 4)}
	return []*model.Graph{
		graphOf(values(x, cond), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": normal(2, 8, 8)}, node("Identity", "i", "w"),
			&model.Node{Name: "if", Op: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []model.Attr{
				{Name: "then_branch", Kind: model.AttrGraph, G: body("t")}, {Name: "else_branch", Kind: model.AttrGraph, G: body("e")}}}),
		graphOf(values(value("x", 3, 1, 5)), values(value("y", 3, 1, 1, 4)), map[string]*model.Tensor{"w": normal(3, 1, 16, 5), "r": normal(4, 1, 16, 4)}, lstm),
		graphOf(values(x), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": normal(5, 8, 8), "b": normal(6, 8)}, node("Gemm", "g", "x", "w", "b"), node("Pow", "y", "g", "b")),
	}
}
