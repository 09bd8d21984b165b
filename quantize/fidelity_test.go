//go:build !static

package quantize_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/tokenize"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// sentences returns the ids of the first line with at least 4 words of each text of the Brown corpus.
func sentences(t *testing.T) [][]int64 {
	t.Helper()
	file, err := os.Open(asset(t, "M1/all-minilm-l6-v2-tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tok, err := tokenize.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(asset(t, "D12/texts"), "c*"))
	var all [][]int64
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			for i, w := range words {
				words[i] = w[:strings.LastIndexByte(w, '/')]
			}
			if len(words) >= 4 {
				ids, _, _ := tok.Encode(strings.Join(words, " "), -1)
				all = append(all, ids)
				break
			}
		}
	}
	return all
}

// embeddings returns the mean of the token vectors of every sentence.
func embeddings(t *testing.T, g *model.Graph, sentences [][]int64) [][]float64 {
	t.Helper()
	s, err := onnxRuntime(t).Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var all [][]float64
	for _, ids := range sentences {
		n := len(ids)
		ones := slices.Repeat([]int64{1}, n)
		out, err := s.Run(context.Background(), engine.Feed{"input_ids": model.FromSlice([]int{1, n}, ids), "attention_mask": model.FromSlice([]int{1, n}, ones),
			"token_type_ids": model.FromSlice([]int{1, n}, make([]int64, n))})
		if err != nil {
			t.Fatal(err)
		}
		x, err := out["last_hidden_state"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		mean := make([]float64, len(x)/n)
		for i, v := range x {
			mean[i%len(mean)] += float64(v) / float64(n)
		}
		all = append(all, mean)
	}
	return all
}

func cosine(a, b []float64) float64 {
	var ab, aa, bb float64
	for i := range a {
		ab, aa, bb = ab+a[i]*b[i], aa+a[i]*a[i], bb+b[i]*b[i]
	}
	return ab / math.Sqrt(aa*bb)
}

// TestMiniLMFidelity compares sentence embeddings with those of the float model. On the same 500 sentences
// onnxruntime.quantization's quantize_dynamic (1.32.0, per_channel, MatMul and Gather) reaches a mean of 0.99283 and a
// first percentile of 0.98607 (testdata/PROVENANCE.md).
func TestMiniLMFidelity(t *testing.T) {
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	texts := sentences(t)
	if len(texts) != 500 {
		t.Fatalf("%d sentences, want 500", len(texts))
	}
	fifth := texts[:0:0] // enough for what is nearly exact
	for i := 0; i < len(texts); i += 5 {
		fifth = append(fifth, texts[i])
	}
	if testing.Short() {
		texts = fifth
	}
	want := embeddings(t, g, slices.Concat(texts, fifth))
	int8Mean := 0.99283 - 0.001
	if hostReduces() { // 7-bit weights, and ONNX Runtime's own quantizer, which keeps 8 bits, would saturate here
		int8Mean = 0.990
	}
	for _, c := range []struct {
		name     string
		apply    func(*model.Graph) ([]model.Note, error)
		texts    [][]int64
		want     [][]float64
		mean, p1 float64
	}{
		{"int8", quantize.Dynamic{}.Apply, texts, want, int8Mean, 0.98},
		// the same weights as MatMulNBitsQuantizer's, and so the same figure: 0.9723 for MatMul alone (testdata/PROVENANCE.md)
		{"int4", func(g *model.Graph) ([]model.Note, error) {
			return quantize.WeightOnly{Ops: []string{"MatMul"}}.Apply(context.Background(), g)
		}, fifth, want[len(texts):], 0.9723 - 0.003, 0.92},
		{"fp16", func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.Float16) }, texts, want, 0.9999, 0.9999},
		{"bf16", func(g *model.Graph) ([]model.Note, error) { return quantize.HalfWeights(g, model.BFloat16) }, fifth, want[len(texts):], 0.9995, 0.999},
		{"fp16 graph", func(g *model.Graph) ([]model.Note, error) { return quantize.HalfGraph(g, model.Float16) }, fifth, want[len(texts):], 0.9999, 0.999},
	} {
		h := g.Clone()
		if _, err := c.apply(h); err != nil {
			t.Fatal(err)
		}
		var cos []float64
		sum := 0.0
		for i, v := range embeddings(t, h, c.texts) {
			cos = append(cos, cosine(v, c.want[i]))
			sum += cos[i]
		}
		slices.Sort(cos)
		mean, p1 := sum/float64(len(cos)), cos[len(cos)/100]
		t.Logf("%s: cosine mean %.6f, first percentile %.6f, least %.6f", c.name, mean, p1, cos[0])
		if mean < c.mean || p1 < c.p1 {
			t.Errorf("%s: cosine mean %.6f, first percentile %.6f; want %g and %g", c.name, mean, p1, c.mean, c.p1)
		}
	}
}

// TestMiniLMGPTQ: of what rounding to nearest loses with 4 bits, GPTQ and AWQ win back 30 % at least. Calibration sees other
// sentences than those that are compared.
func TestMiniLMGPTQ(t *testing.T) {
	if os.Getenv("WATTSHED_LONG") == "" {
		t.Skip("`make test-quantize` runs it")
	}
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	texts := sentences(t)[128:]
	want := embeddings(t, g, texts)
	lost := map[quantize.Algorithm]float64{}
	for _, a := range []quantize.Algorithm{quantize.RTN, quantize.GPTQ, quantize.AWQ} {
		h, _ := weightOnly(t, g, quantize.WeightOnly{Algorithm: a, Feeds: miniLMFeeds(t, 128)})
		for i, v := range embeddings(t, h, texts) {
			lost[a] += (1 - cosine(v, want[i])) / float64(len(texts))
		}
	}
	t.Logf("mean distance of %d embeddings: %v", len(texts), lost)
	for _, a := range []quantize.Algorithm{quantize.GPTQ, quantize.AWQ} {
		if lost[a] > 0.7*lost[quantize.RTN] {
			t.Errorf("%s: %.4f, rounding to nearest %.4f", a, lost[a], lost[quantize.RTN])
		}
	}
}
