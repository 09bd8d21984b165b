//go:build !static

package ort_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
)

// TestAccelerators runs MiniLM on three inputs through every provider for accelerators that this package names and compares it with the native
// runtime. The library is that of the provider's variable, or else that of the other tests; a provider that the library or this machine lacks is
// skipped with the reason that the runtime gives, where no variable asks for it. `make webgpu` sets that of WebGPU: on SwiftShader, a Vulkan
// driver for the CPU, it is right and slow: its times say nothing. GPUs may use shorter floats inside of a product: 1e-3 of the largest output.
func TestAccelerators(t *testing.T) {
	for _, a := range []struct{ provider, library string }{
		{"webgpu", "WATTSHED_WEBGPU"}, {"cuda", "WATTSHED_CUDA"}, {"tensorrt", "WATTSHED_TENSORRT"},
	} {
		t.Run(a.provider, func(t *testing.T) {
			rt, asked := &ort.Runtime{Library: os.Getenv(a.library)}, true
			if rt.Library == "" {
				rt, asked = runtimeOf(t), false
			}
			accelerated(t, rt, a.provider, asked)
		})
	}
}

// accelerated compares the outputs of one provider, which must be there where it is asked for.
func accelerated(t *testing.T, rt *ort.Runtime, provider string, asked bool) {
	path := filepath.Join(os.Getenv("WATTSHED_ASSETS"), "M1", "all-minilm-l6-v2.onnx")
	native, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close()
	gpu, err := rt.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Provider: provider})
	switch {
	case err != nil && asked:
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	defer gpu.Close()
	if info := gpu.Info(); info.Provider != provider {
		t.Errorf("provider %q", info.Provider)
	}
	for _, n := range []int{1, 7, 16} {
		feed := engine.Feed{}
		for _, v := range native.Inputs() {
			x := make([]int64, n)
			for i := range x {
				switch v.Name {
				case "input_ids":
					x[i] = int64(101 + 977*i*n%20000)
				case "attention_mask":
					x[i] = 1
				}
			}
			feed[v.Name] = model.FromSlice([]int{1, n}, x)
		}
		var got [2][]float32
		for i, s := range []engine.Session{gpu, native} {
			out, err := s.Run(t.Context(), feed)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 && n == 1 { // bound, with outputs that stay on the device until they are asked for
				out = bound(t, s, feed)
			}
			if got[i], err = out[native.Outputs()[0].Name].Float32(); err != nil {
				t.Fatal(err)
			}
		}
		largest, worst := 0.0, 0.0
		for i, v := range got[1] {
			largest = max(largest, math.Abs(float64(v)))
			worst = max(worst, math.Abs(float64(v-got[0][i])))
		}
		t.Logf("%d tokens: differs by %.2g of %.2g", n, worst, largest)
		if len(got[0]) != len(got[1]) || !(worst <= 1e-3*largest) {
			t.Errorf("%d tokens: differs by %g of %g", n, worst, largest)
		}
	}
}

// bound runs s twice on bound inputs and returns the outputs.
func bound(t *testing.T, s engine.Session, feed engine.Feed) engine.Feed {
	t.Helper()
	b, err := s.(engine.Binder).Bind(feed)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 {
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Outputs()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}
