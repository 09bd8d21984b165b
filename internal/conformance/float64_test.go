//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/internal/conformance"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// TestAgainstFloat64 runs every real float model in float32, with all passes, and in float64, without any: the largest
// difference is at most 1e-5 of the largest element of the output. A chain of n float32 additions errs by at most n 2^-24 of
// the sum of magnitudes, and by about sqrt(n) 2^-24 as a rule: 2e-6 for the longest sums here, a thousand terms.
func TestAgainstFloat64(t *testing.T) {
	dir := os.Getenv("WATTSHED_ASSETS")
	if dir == "" && os.Getenv("CI") == "" {
		t.Skip("WATTSHED_ASSETS is not set")
	}
	r := newSource(79)
	runs := assetRuns()
	runs = append(runs, assetRun{model: "M31/light_squeezenet.onnx", shapes: [][]int{{1, 3, 224, 224}}},
		assetRun{model: "M31/light_shufflenet.onnx", shapes: [][]int{{1, 3, 224, 224}}})
	seen := map[string]bool{}
	for _, a := range runs {
		if seen[a.model] || filepath.Dir(a.model) == "M3" || a.model == "M12/silero_vad_half.onnx" { // quantized, or of half-size weights
			continue
		}
		if a.shapes[0][0] == 1 && len(a.shapes[0]) == 2 && a.shapes[0][1] == 1 {
			continue // one token says little
		}
		seen[a.model] = true
		path := filepath.Join(dir, a.model)
		g, err := onnx.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		in := a.feed(r, s.Inputs())
		got, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatalf("%s: %v", a.model, err)
		}
		s.Close()
		conformance.Widen(t, g, model.Float64)
		exact := map[string]any{}
		for name, x := range in {
			exact[name] = conformance.Wide(t, x, model.Float64)
		}
		p, err := engine.Compile(g, engine.Options{NoFusion: true})
		if err != nil {
			t.Fatalf("%s: %v", a.model, err)
		}
		want, err := p.Exec(t.Context(), nil, exact)
		if err != nil {
			t.Fatalf("%s in float64: %v", a.model, err)
		}
		for name, x := range got {
			y := want[name].(*model.Tensor)
			if x.DType() == model.Float32 && y.DType() != model.Float64 {
				t.Errorf("%s %s: %s is no float64", a.model, name, y.DType())
			}
			share, err := differs(x, y)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s %v %s: %.2g of the largest", a.model, a.shapes[0], name, share)
			if !(share <= 1e-5) {
				t.Errorf("%s %s: differs by %g of the largest element", a.model, name, share)
			}
		}
	}
}

// differs returns max|got-want| / max|want|.
func differs(got, want *model.Tensor) (float64, error) {
	x, err := engine.Float64s(got)
	if err != nil {
		return 0, err
	}
	y, err := engine.Float64s(want)
	if err != nil {
		return 0, err
	}
	if len(x) != len(y) {
		return 0, fmt.Errorf("%d elements, want %d", len(x), len(y))
	}
	worst, largest := 0.0, 0.0
	for i := range y {
		d := math.Abs(x[i] - y[i])
		if d != d {
			d = math.Inf(1)
		}
		worst, largest = max(worst, d), max(largest, math.Abs(y[i]))
	}
	if worst == 0 {
		return 0, nil
	}
	return worst / largest, nil
}
