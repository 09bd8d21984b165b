//go:build !static

package ort_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// runtimeOf returns ONNX Runtime from the asset folder; without one the test is skipped, except in CI.
func runtimeOf(t *testing.T) *ort.Runtime {
	t.Helper()
	dir := os.Getenv("WATTSHED_ASSETS")
	found, _ := filepath.Glob(filepath.Join(dir, "ort", "libonnxruntime.so*"))
	if dir == "" || len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS has no ort/libonnxruntime.so")
		}
		t.Skip("WATTSHED_ASSETS has no ort/libonnxruntime.so")
	}
	return &ort.Runtime{Library: found[0]}
}

// double is y = x + x over a symbolic dimension.
func double() *model.Graph {
	value := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: -1, Param: "n"}}}}
	}
	return &model.Graph{Name: "double", Inputs: []*model.Value{value("x")}, Outputs: []*model.Value{value("y")},
		Nodes: []*model.Node{{Name: "add", Op: "Add", Inputs: []string{"x", "x"}, Outputs: []string{"y"}}},
		Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
}

func TestRun(t *testing.T) {
	rt := runtimeOf(t)
	s, err := rt.Load(context.Background(), engine.Artifact{Graph: double()}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if v := s.Inputs(); len(v) != 1 || v[0].Name != "x" || v[0].Type.DType != model.Float32 || v[0].Type.Shape.String() != "[n]" {
		t.Errorf("inputs %+v", v)
	}
	for _, x := range [][]float32{{1, 2, 3}, {}, {4}} {
		out, err := s.Run(context.Background(), engine.Feed{"x": model.FromSlice([]int{len(x)}, x)})
		if err != nil {
			t.Fatal(err)
		}
		y, err := out["y"].Float32()
		if err != nil || len(y) != len(x) {
			t.Fatalf("%v: got %v, %v", x, y, err)
		}
		for i := range x {
			if y[i] != 2*x[i] {
				t.Errorf("%v: got %v", x, y)
			}
		}
	}
	if info := s.Info(); info.Ops["Add"] != 1 || info.Version == "" {
		t.Errorf("info %+v", info)
	}
}

func TestErrors(t *testing.T) {
	rt := runtimeOf(t)
	ctx := context.Background()
	s, err := rt.Load(ctx, engine.Artifact{Graph: double()}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for want, feed := range map[string]engine.Feed{
		`input "x" is missing`: {},
		`no input "z"`:         {"x": model.Scalar(float32(1)), "z": model.Scalar(float32(1))},
		`is int64`:             {"x": model.FromSlice([]int{1}, []int64{1})},
		"rank":                 {"x": model.Scalar(float32(1))},
	} {
		if _, err := s.Run(ctx, feed); err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	for _, name := range []string{"cuda", "tensorrt", "webgpu", "nonesuch"} {
		_, err := rt.Load(ctx, engine.Artifact{Graph: double()}, engine.Options{Provider: name})
		if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), name) {
			t.Errorf("provider %s: got %v", name, err)
		}
	}
	g := double()
	g.Nodes[0].Op = "Nonesuch"
	if _, err := rt.Load(ctx, engine.Artifact{Graph: g}, engine.Options{}); err == nil || !strings.Contains(err.Error(), "Nonesuch") {
		t.Errorf("unknown operator: got %v", err)
	}
	if _, err := rt.Load(ctx, engine.Artifact{Path: filepath.Join(t.TempDir(), "none.onnx")}, engine.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: got %v", err)
	}
}

func TestMissingLibrary(t *testing.T) {
	rt := &ort.Runtime{Library: filepath.Join(t.TempDir(), "none.so")}
	if _, err := rt.Load(context.Background(), engine.Artifact{Graph: double()}, engine.Options{}); err == nil || !strings.Contains(err.Error(), "none.so") {
		t.Errorf("got %v", err)
	}
	t.Setenv(ort.EnvLibrary, t.TempDir())
	if _, err := ort.Find(); !errors.Is(err, ort.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// writeModel writes the doubling model.
func writeModel(t *testing.T, path string) {
	t.Helper()
	if err := onnx.Save(path, double(), onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}
