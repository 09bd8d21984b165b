//go:build !static

package quantize_test

import (
	"context"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// asset returns the path of a real model; without it the test is skipped, except in CI.
func asset(t testing.TB, path string) string {
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

// loadAsset returns a real model that the caller may change.
func loadAsset(t testing.TB, path string) *model.Graph {
	t.Helper()
	g, err := onnx.Load(asset(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return g.Clone()
}

// onnxRuntime returns ONNX Runtime from the asset folder.
func onnxRuntime(t testing.TB) *ort.Runtime {
	t.Helper()
	return &ort.Runtime{Library: asset(t, "ort/libonnxruntime.so.1.32.0")}
}

// session loads g into ONNX Runtime.
func session(t testing.TB, g *model.Graph) engine.Session {
	t.Helper()
	s, err := onnxRuntime(t).Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatalf("ONNX Runtime does not load the written model: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// runORT runs g in ONNX Runtime.
func runORT(t testing.TB, g *model.Graph, in engine.Feed) engine.Feed {
	t.Helper()
	out, err := session(t, g).Run(context.Background(), in)
	if err != nil {
		t.Fatalf("ONNX Runtime does not run the written model: %v", err)
	}
	return out
}

// feedFor makes one input for every model of the assets: sizes fixes the unknown dimensions in order.
func feedFor(t testing.TB, g *model.Graph, sizes ...int) engine.Feed {
	t.Helper()
	feed := engine.Feed{}
	for _, v := range g.Inputs {
		if g.Initializer(v.Name) != nil {
			continue
		}
		shape := make([]int, len(v.Type.Shape))
		at := sizes
		for i, d := range v.Type.Shape {
			if shape[i] = int(d.Size); d.Size <= 0 {
				shape[i], at = at[0], at[1:]
			}
		}
		n, err := model.NumElements(shape)
		if err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		h.Write([]byte(v.Name))
		rng := rand.New(rand.NewPCG(1, h.Sum64()))
		if v.Type.DType == model.Int64 {
			x := make([]int64, n)
			for i := range x {
				switch v.Name {
				case "attention_mask":
					x[i] = 1
				case "input_ids":
					x[i] = int64(rng.IntN(30000))
				case "sr":
					x[i] = 16000
				}
			}
			feed[v.Name] = model.FromSlice(shape, x)
			continue
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64()) * 0.3
		}
		feed[v.Name] = model.FromSlice(shape, x)
	}
	return feed
}

// relativeError returns the root mean square of got - want over that of want, over all outputs.
func relativeError(t testing.TB, got, want engine.Feed) float64 {
	t.Helper()
	var e2, w2 float64
	for name, w := range want {
		if got[name] == nil {
			t.Fatalf("output %q is missing", name)
		}
		if w.DType() != got[name].DType() {
			t.Fatalf("output %q is %s, want %s", name, got[name].DType(), w.DType())
		}
		a, err1 := got[name].Float32()
		b, err2 := w.Float32()
		if err1 != nil || err2 != nil || len(a) != len(b) {
			t.Fatalf("output %q: %d and %d elements, %v, %v", name, len(a), len(b), err1, err2)
		}
		for i := range a {
			d := float64(a[i]) - float64(b[i])
			e2 += d * d
			w2 += float64(b[i]) * float64(b[i])
		}
	}
	if e2 == 0 {
		return 0
	}
	return math.Sqrt(e2 / w2)
}
