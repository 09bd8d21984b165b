//go:build !static

package quantize_test

import (
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// BenchmarkMiniLM quantizes the 22 million weights of a 90 MB model.
func BenchmarkMiniLM(b *testing.B) {
	g := loadAsset(b, "M1/all-minilm-l6-v2.onnx")
	for name, apply := range map[string]func(*model.Graph) ([]model.Note, error){
		"int8-per-channel": quantize.Dynamic{}.Apply,
		"int8-per-tensor":  quantize.Dynamic{Granularity: quantize.PerTensor}.Apply,
		"fp16-weights":     func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) },
		"bf16-weights": func(g *model.Graph) ([]model.Note, error) {
			g.SetOpset("", 13)
			return quantize.HalfWeights(g, model.BFloat16)
		},
		"fp16-graph": func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, model.Float16) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(90387606)
			for b.Loop() {
				if _, err := apply(g.Clone()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
