package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// TestMiniLMRun takes a sentence encoder of 90 MB through `wattshed run` with real sentences: every variant is written, scored and
// reported, dynamic int8 is small enough and faithful enough as a file, and ONNX Runtime runs every written file with the outputs that
// the native engine has.
func TestMiniLMRun(t *testing.T) {
	path, tokenizer := assetPath(t, "M1/all-minilm-l6-v2.onnx"), assetPath(t, "M1/all-minilm-l6-v2-tokenizer.json")
	lib := assetPath(t, "ort/libonnxruntime.so.1.32.0")
	dir := t.TempDir()
	list, err := exec.Command("sh", "../../testdata/minilm/sentences.sh", assetPath(t, "D12/texts")).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(list), "\n")
	if len(lines) < 500 {
		t.Fatalf("%d sentences", len(lines))
	}
	var some strings.Builder
	for i := 0; i < 500; i += 10 { // TestMiniLMFidelity of quantize takes all of them
		some.WriteString(lines[i])
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write("sentences.txt", some.String())
	write("recipe.yaml", fmt.Sprintf(`version: 1
model: %s
task: {kind: fidelity, data: sentences.txt}
inputs: {tokenizer: %s, max_length: 256, pooling: mean}
target: {batch: 1, sequence: 128}
measure: {pairs: 2, max_pairs: 2, precision: 1, block_seconds: 0.05, inputs: 2}
variants:
  - {name: fp16, stages: [{quantize: {scheme: fp16}}]}
  - {name: bf16, stages: [{quantize: {scheme: bf16}}]}
  - {name: int8, stages: [{quantize: {scheme: int8, mode: dynamic, granularity: per-channel, ops: [MatMul, Gemm, Gather]}}]}
  - {name: pruned-50, stages: [{prune: {criterion: magnitude, sparsity: 0.5}}]}
  - {name: pruned-2-4, stages: [{prune: {criterion: magnitude, pattern: "2:4"}}]}
gates: {size_ratio: "<= 1.001"}
`, path, tokenizer))
	out := filepath.Join(dir, "report")
	if code, _, msg := call("run", filepath.Join(dir, "recipe.yaml"), "--out", out, "--quiet"); code != 0 {
		t.Fatalf("exit %d: %s", code, msg)
	}
	b, err := os.ReadFile(filepath.Join(out, "result.json"))
	if err != nil {
		t.Fatal(err)
	}
	var res reports.Result
	if err := json.Unmarshal(b, &res); err != nil {
		t.Fatal(err)
	}
	// File sizes: two bytes of four and a graph; a quarter and the scales; the same. Cosines: the rounding of 11 and of 8 bits of
	// mantissa; what 500 sentences have to reach with int8, less 0.002 for a tenth of them; without recovery pruning has no promise.
	//
	// Differences to ONNX Runtime, root mean square (relative to that of the outputs) and largest (to the largest). Float: sums in
	// another order, the tolerance of the engine for this model. Bf16: where it is fast, the native engine rounds activations to 8 bits of mantissa
	// too, 2^-9 each, which grows to half a hundredth over six layers. Int8: a last bit before a product moves an activation to the next of
	// its 256 steps now and then, which is as far as the product rounds anyway. So two runtimes are closer to each other than int8 is to
	// float: at most 0.6 of that distance on the same 128 tokens, which are random and hence far from what the model knows.
	limits := map[string]struct{ size, cosine, rms, largest float64 }{
		"fp16":       {0.51, 0.9999, 1e-4, 1e-4},
		"bf16":       {0.51, 0.9995, 1e-2, 5e-3},
		"int8":       {0.27, 0.99, 0.6 * distance(t, path, filepath.Join(out, "variants", "int8.onnx")), 6e-2},
		"pruned-50":  {1.001, 0, 1e-4, 1e-4},
		"pruned-2-4": {1.001, 0, 1e-4, 1e-4},
	}
	if len(res.Variants) != len(limits)+1 {
		t.Fatalf("%d variants", len(res.Variants))
	}
	base := res.Variants[0].File.Bytes
	for _, v := range res.Variants[1:] {
		l := limits[v.Name]
		file := filepath.Join(out, filepath.FromSlash(v.File.Path))
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if r := float64(info.Size()) / float64(base); r > l.size {
			t.Errorf("%s: %.4f of the size, at most %g", v.Name, r, l.size)
		}
		if v.Accuracy.N != 50 || v.Accuracy.Value < l.cosine {
			t.Errorf("%s: cosine %.5f of %d sentences, at least %g of 50", v.Name, v.Accuracy.Value, v.Accuracy.N, l.cosine)
		}
		rms, largest := differences(t, file, &ort.Runtime{Library: lib})
		t.Logf("%s: %d bytes, cosine %.6f, difference to ONNX Runtime %.2g (root mean square), %.2g of the largest output", v.Name, info.Size(), v.Accuracy.Value, rms, largest)
		if !(rms <= l.rms && largest <= l.largest) {
			t.Errorf("%s: native and ONNX Runtime differ by %.3g (root mean square) and %.3g of the largest output, want at most %g and %g", v.Name, rms, largest, l.rms, l.largest)
		}
	}
}

// TestReadmeRecipe carries out the recipe of RECIPE.md of a sentence encoder on ONNX Runtime, measured for less long. Two pairs
// decide no gate on energy, so the run ends with 4.
func TestReadmeRecipe(t *testing.T) {
	t.Setenv("WATTSHED_ORT", assetPath(t, "ort/libonnxruntime.so.1.32.0"))
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "minilm"), 0o755); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"model.onnx": "M1/all-minilm-l6-v2.onnx", "tokenizer.json": "M1/all-minilm-l6-v2-tokenizer.json"} {
		if err := os.Symlink(assetPath(t, from), filepath.Join(dir, "minilm", to)); err != nil {
			t.Fatal(err)
		}
	}
	_, blocks := page(t, "internal/recipe/RECIPE.md")
	text := ""
	for _, b := range blocks {
		if b.lang == "yaml" && strings.Contains(b.text, "model: minilm/model.onnx") {
			text = regexp.MustCompile(`(?m)^measure: .*$`).ReplaceAllString(b.text, "measure: {pairs: 2, max_pairs: 2, precision: 1, block_seconds: 0.05, inputs: 2}")
		}
	}
	for name, s := range map[string]string{"recipe.yaml": text, "sentences.txt": "A small model answers sooner.\nIt takes less energy as well.\nWhat it loses is measured too.\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "report")
	code, text, msg := call("run", filepath.Join(dir, "recipe.yaml"), "--out", out, "--quiet")
	if code != exitInconclusive || !strings.Contains(text, "pruned-2-4") {
		t.Fatalf("exit %d: %s%s", code, text, msg)
	}
	if _, err := os.Stat(filepath.Join(out, "report.html")); err != nil {
		t.Error(err)
	}
}

// differences runs 128 tokens on the native engine and on another runtime. It returns the root mean square difference relative to that
// of the outputs, and the largest one relative to the largest output.
func differences(t *testing.T, path string, other engine.Runtime) (rms, largest float64) {
	t.Helper()
	return apart(runTokens(t, path, engine.Native{}), runTokens(t, path, other))
}

// distance is the root mean square of the difference that two files make in the native engine.
func distance(t *testing.T, a, b string) float64 {
	t.Helper()
	rms, _ := apart(runTokens(t, b, engine.Native{}), runTokens(t, a, engine.Native{}))
	return rms
}

// runTokens runs a model on 128 random tokens and returns its first output.
func runTokens(t *testing.T, path string, rt engine.Runtime) []float32 {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 9))
	ids, ones := make([]int64, 128), make([]int64, 128)
	for i := range ids {
		ids[i], ones[i] = rng.Int64N(30000)+100, 1
	}
	s, err := rt.Load(context.Background(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed := engine.Feed{}
	for _, in := range s.Inputs() {
		x := ones
		switch in.Name {
		case "input_ids":
			x = ids
		case "token_type_ids":
			x = make([]int64, len(ids))
		}
		feed[in.Name] = model.FromSlice([]int{1, len(ids)}, x)
	}
	got, err := s.Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	x, err := got[s.Outputs()[0].Name].Float32()
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), x...)
}

// apart compares a with b: root mean square relative to that of b, and the largest difference relative to the largest of b.
func apart(a, b []float32) (rms, largest float64) {
	worst, top, sum, all := 0.0, 0.0, 0.0, 0.0
	for i := range a {
		d, x := math.Abs(float64(a[i])-float64(b[i])), math.Abs(float64(b[i]))
		worst, top = max(worst, d), max(top, x)
		sum, all = sum+d*d, all+x*x
	}
	return math.Sqrt(sum / all), worst / top
}
