//go:build !static

package ort_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
)

// TestBind: a bound session computes what Run computes, run after run, on more than one binding at a time.
func TestBind(t *testing.T) {
	rt := runtimeOf(t)
	s, err := rt.Load(t.Context(), engine.Artifact{Graph: double()}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var bound []engine.Bound
	for n := 1; n <= 3; n++ {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(10*n + i)
		}
		b, err := s.(engine.Binder).Bind(engine.Feed{"x": model.FromSlice([]int{n}, x)})
		if err != nil {
			t.Fatal(err)
		}
		bound = append(bound, b)
	}
	for range 5 {
		for i, b := range bound {
			if err := b.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			out, err := b.Outputs()
			if err != nil {
				t.Fatal(err)
			}
			y, err := out["y"].Float32()
			if err != nil || len(y) != i+1 || y[i] != float32(2*(10*(i+1)+i)) {
				t.Errorf("binding %d: %v, %v", i, y, err)
			}
		}
	}
	if err := bound[0].Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bound[1].Run(ctx); err == nil {
		t.Error("a cancelled run succeeds")
	}
	if _, err := s.(engine.Binder).Bind(engine.Feed{}); err == nil || !strings.Contains(err.Error(), `input "x" is missing`) {
		t.Errorf("got %v", err)
	}
}

// same is a model whose output is its input, of type d.
func same(d model.DType) *model.Graph {
	value := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: d, Shape: model.Shape{{Size: 5}}}}
	}
	return &model.Graph{Name: "same", Inputs: []*model.Value{value("x")}, Outputs: []*model.Value{value("y")},
		Nodes: []*model.Node{{Name: "copy", Op: "Identity", Inputs: []string{"x"}, Outputs: []string{"y"}}},
		Model: &model.Info{IRVersion: 10, Opsets: []model.Opset{{Version: 21}}}}
}

// TestTypes: tensors of every type go in and come out as the same bytes.
func TestTypes(t *testing.T) {
	rt := runtimeOf(t)
	for _, d := range []model.DType{model.Float16, model.BFloat16, model.Float32, model.Float64, model.Int8, model.Uint8,
		model.Int16, model.Uint16, model.Int32, model.Uint32, model.Int64, model.Uint64, model.Bool} {
		s, err := rt.Load(t.Context(), engine.Artifact{Graph: same(d)}, engine.Options{Threads: 1, Spin: -1})
		if err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		raw := make([]byte, d.Size(5))
		for i := range raw {
			raw[i] = byte(17*i + 3)
			if d == model.Bool {
				raw[i] &= 1
			}
		}
		x, err := model.NewTensor(d, []int{5}, raw)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), engine.Feed{"x": x})
		if err != nil {
			t.Errorf("%s: %v", d, err)
			continue
		}
		got, err := out["y"].Bytes()
		if err != nil || string(got) != string(raw) || out["y"].DType() != d {
			t.Errorf("%s: %s % x, want % x (%v)", d, out["y"].DType(), got, raw, err)
		}
		s.Close()
	}
}

// TestFourBits: integers of four bits, two to a byte, go in and come out. ONNX Runtime has them in the quantizing operators
// only, so each is turned into a float on one way and made from one on the other.
func TestFourBits(t *testing.T) {
	rt := runtimeOf(t)
	for _, d := range []model.DType{model.Int4, model.Uint4} {
		g := same(d)
		g.Nodes[0].Op = "DequantizeLinear"
		g.Nodes[0].Inputs = []string{"x", "scale"}
		g.SetInitializer("scale", model.Scalar(float32(1)))
		g.Outputs[0].Type.DType = model.Float32
		in, err := rt.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		raw := []byte{0x21, 0x43, 0x07}
		x, err := model.NewTensor(d, []int{5}, raw)
		if err != nil {
			t.Fatal(err)
		}
		wide, err := in.Run(t.Context(), engine.Feed{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		if v, err := wide["y"].Float32(); err != nil || len(v) != 5 || v[0] != 1 || v[1] != 2 || v[3] != 4 || v[4] != 7 {
			t.Errorf("%s: %v, %v", d, v, err)
		}
		g = same(d)
		g.Inputs[0].Type.DType = model.Float32
		zero, err := model.NewTensor(d, []int{}, []byte{0})
		if err != nil {
			t.Fatal(err)
		}
		g.Nodes[0].Op = "QuantizeLinear"
		g.Nodes[0].Inputs = []string{"x", "scale", "zero"}
		g.SetInitializer("scale", model.Scalar(float32(1)))
		g.SetInitializer("zero", zero)
		out, err := rt.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		narrow, err := out.Run(t.Context(), engine.Feed{"x": wide["y"]})
		if err != nil {
			t.Fatal(err)
		}
		got, err := narrow["y"].Bytes()
		if err != nil || string(got[:2]) != string(raw[:2]) || got[2]&15 != 7 || narrow["y"].DType() != d {
			t.Errorf("%s: % x, want % x (%v)", d, got, raw, err)
		}
	}
}

// TestOptions: the optimisation level changes the graph that runs, an unknown one is refused, and errors of a node come
// whole.
func TestOptions(t *testing.T) {
	rt := runtimeOf(t)
	g := double()
	g.Nodes = append(g.Nodes, &model.Node{Name: "again", Op: "Identity", Inputs: []string{"y"}, Outputs: []string{"z"}},
		&model.Node{Name: "more", Op: "Relu", Inputs: []string{"z"}, Outputs: []string{"w"}})
	g.Outputs[0].Name = "w"
	for level, identities := range map[string]int{"none": 1, "basic": 0, "all": 0, "": 0} {
		s, err := rt.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1, Optimize: level})
		if err != nil {
			t.Fatal(err)
		}
		if info := s.Info(); info.Ops["Identity"] != identities || info.Ops["Add"] != 1 || len(info.Warnings) > 0 {
			t.Errorf("level %q: %v, %v", level, info.Ops, info.Warnings)
		}
		s.Close()
	}
	if _, err := rt.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Optimize: "most"}); err == nil || !strings.Contains(err.Error(), `"most"`) {
		t.Errorf("got %v", err)
	}
	bad := double()
	bad.Nodes[0].Inputs[1] = "c"
	bad.SetInitializer("c", model.FromSlice([]int{2}, []float32{1, 2}))
	s, err := rt.Load(t.Context(), engine.Artifact{Graph: bad}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{3}, []float32{1, 2, 3})})
	if err == nil || !strings.Contains(err.Error(), "Name:'add'") || !strings.Contains(err.Error(), "broadcast") {
		t.Errorf("an error of a node: %v", err)
	}
}

// TestOtherProviders: what the library has beside the providers that this package names is found by its name, in any case, with a warning.
func TestOtherProviders(t *testing.T) {
	rt := runtimeOf(t)
	have, err := rt.Providers()
	if err != nil {
		t.Fatal(err)
	}
	for _, full := range have {
		name := strings.ToLower(strings.TrimSuffix(full, "ExecutionProvider"))
		if slices.Contains([]string{"cpu", "cuda", "tensorrt", "webgpu"}, name) {
			continue
		}
		s, err := rt.Load(t.Context(), engine.Artifact{Graph: double()}, engine.Options{Threads: 1, Spin: -1, Provider: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info := s.Info(); info.Provider != name || len(info.Warnings) == 0 {
			t.Errorf("%s: %q, %v", name, info.Provider, info.Warnings)
		}
		s.Close()
	}
	_, err = rt.Load(t.Context(), engine.Artifact{Graph: double()}, engine.Options{Provider: "abacus"})
	if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), have[0]) {
		t.Errorf("no such provider: %v", err)
	}
}

// TestHistogramMissing: where the optimised graph cannot be had, the session says so instead of an empty histogram.
func TestHistogramMissing(t *testing.T) {
	rt := runtimeOf(t)
	path := filepath.Join(t.TempDir(), "m.onnx")
	writeModel(t, path)
	s, err := rt.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if info := s.Info(); info.Ops != nil || len(info.Warnings) != 1 || !strings.Contains(info.Warnings[0], "m.onnx") {
		t.Errorf("%v, %v", info.Ops, info.Warnings)
	}
}

// TestSearchOrder: the variable wins; then the active environment, PATH, the library path and the cache; newest first.
func TestSearchOrder(t *testing.T) {
	if _, err := os.Stat("/proc"); err != nil {
		t.Skip("the names of libraries of Linux")
	}
	root := t.TempDir()
	touch := func(parts ...string) string {
		p := filepath.Join(append([]string{root}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		return p
	}
	old, recent := touch("env", "lib", "python3.9", "site-packages", "onnxruntime", "capi", "libonnxruntime.so.1.9.0"),
		touch("env", "lib", "python3.12", "site-packages", "onnxruntime", "capi", "libonnxruntime.so.1.32.0")
	lib, cached := touch("ld", "libonnxruntime.so.1"), touch("cache", "wattshed", "onnxruntime", "onnxruntime-1.32.0", "libonnxruntime.so.1.32.0")
	named := touch("named", "libonnxruntime.so.1.9.0")
	newer := touch("named", "libonnxruntime.so.1.32.0")
	for k, v := range map[string]string{"VIRTUAL_ENV": filepath.Join(root, "env"), "CONDA_PREFIX": "", "HOME": filepath.Join(root, "home"), "PATH": root,
		"LD_LIBRARY_PATH": filepath.Join(root, "ld"), "XDG_CACHE_HOME": filepath.Join(root, "cache"), ort.EnvLibrary: ""} {
		t.Setenv(k, v)
	}
	list, err := ort.Candidates()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range list {
		if strings.HasPrefix(c.Path, root) {
			got = append(got, c.Path)
		}
	}
	if want := []string{recent, old, lib, cached}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for value, want := range map[string]string{named: named, filepath.Dir(named): newer} {
		t.Setenv(ort.EnvLibrary, value)
		if p, err := ort.Find(); p != want || err != nil {
			t.Errorf("$%s=%s: %s, %v", ort.EnvLibrary, value, p, err)
		}
	}
}
