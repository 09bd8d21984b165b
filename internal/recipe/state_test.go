package recipe

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// asset returns the path of a real model or file.
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

// running adds its input to a state: y = h + x, hn = h + x.
func running() *model.Graph {
	v := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1)}}
	}
	g := &model.Graph{Name: "running", Inputs: []*model.Value{v("x"), v("h")}, Outputs: []*model.Value{v("y"), v("hn")},
		Nodes: []*model.Node{{Op: "Add", Inputs: []string{"x", "h"}, Outputs: []string{"hn"}}, {Op: "Identity", Inputs: []string{"hn"}, Outputs: []string{"y"}}},
		Model: &model.Info{IRVersion: 8}}
	g.SetOpset("", 17)
	return g
}

func TestState(t *testing.T) {
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: running()}, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	same, _ := withState(s, nil)
	if same != s {
		t.Error("a session without state is wrapped")
	}
	w, restart := withState(s, map[string]string{"h": "hn"})
	in := engine.Feed{"x": model.FromSlice([]int{1}, []float32{2}), "h": model.FromSlice([]int{1}, []float32{0})}
	for _, want := range []float32{2, 4, 6, -1, 2, 4} {
		if want < 0 {
			restart()
			continue
		}
		out, err := w.Run(context.Background(), in, "y")
		if err != nil {
			t.Fatal(err)
		}
		y, err := model.Data[float32](out["y"])
		if err != nil || y[0] != want || len(out) != 1 {
			t.Errorf("y = %v with %d outputs, %v; want %v with one", y, len(out), err, want)
		}
	}
	if out, err := w.Run(context.Background(), in); err != nil || len(out) != 2 {
		t.Errorf("all outputs: %d, %v", len(out), err)
	}
	if h, _ := model.Data[float32](in["h"]); h[0] != 0 {
		t.Error("the caller's feed has changed")
	}
	for what, c := range map[string]struct {
		state map[string]string
		want  string
	}{"input": {map[string]string{"c": "hn"}, `no input "c"`}, "output": {map[string]string{"h": "cn"}, `no output "cn"`}, "none": {nil, ""}, "ok": {map[string]string{"h": "hn"}, ""}} {
		if err := checkState(c.state, running()); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestStateInRun checks that a model with state is scored and timed as a sequence that starts from zeros.
func TestStateInRun(t *testing.T) {
	dir := t.TempDir()
	g := running()
	g.SetInitializer("w", model.FromSlice([]int{1, 64}, make([]float32, 64)))
	g.Nodes = append(g.Nodes, &model.Node{Op: "Mul", Inputs: []string{"hn", "w"}, Outputs: []string{"z"}})
	g.Outputs = append(g.Outputs, &model.Value{Name: "z", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 64)}})
	if err := onnx.Save(filepath.Join(dir, "model.onnx"), g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	rec := parseIn(t, dir, `version: 1
model: model.onnx
inputs: {random: {seed: 2, n: 8}, state: {h: hn}}
target: {threads: 1}
measure: {pairs: 2, max_pairs: 2, block_seconds: 0.001, inputs: 4}
variants:
  - name: half
    stages: [{quantize: {scheme: fp16}}]
`)
	res, err := compute(context.Background(), rec, options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	if a := res.Variants[1].Accuracy; a.Value != 1 || a.N != 8 { // the only weights are zeros
		t.Errorf("fidelity %+v", a)
	}
	b, err := rec.bind(&source{name: "m", graph: g}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range b.timing {
		if h, err := model.Data[float32](f["h"]); err != nil || h[0] != 0 {
			t.Errorf("input %d starts from %v, %v", i, h, err)
		}
	}
	rec.Inputs.State = map[string]string{"h": "z", "x": "none"}
	if _, err := rec.bind(&source{name: "m", graph: g}, nil); err == nil {
		t.Error("a state from an output that is not there")
	}
}

// TestSilero runs the voice detector, an LSTM with state, through a whole recipe on both runtimes.
func TestSilero(t *testing.T) {
	path := asset(t, "M12/silero_vad_16k_sequence.onnx")
	lib := asset(t, "ort/libonnxruntime.so.1.32.0")
	means := map[string][]float64{}
	for _, runtime := range []string{"native", "ort"} {
		rec := parseIn(t, filepath.Dir(path), `version: 1
model: silero_vad_16k_sequence.onnx
inputs: {random: {seed: 1, n: 4}, shapes: {input: [50, 576], h: [1, 1, 128], c: [1, 1, 128]}, state: {h: hn, c: cn}}
target: {threads: 2, runtime: `+runtime+`}
measure: {pairs: 2, max_pairs: 2, block_seconds: 0.01, inputs: 2}
variants:
  - name: fp16
    stages: [{quantize: {scheme: fp16}}]
  - name: bf16
    stages: [{quantize: {scheme: bf16}}]
  - name: int8
    stages: [{quantize: {scheme: int8}}]
`)
		o := options(t.TempDir())
		o.Runtimes["ort"] = &ort.Runtime{Library: lib}
		res, err := Run(context.Background(), rec, o)
		if err != nil {
			t.Fatalf("%s: %v", runtime, err)
		}
		if html, err := os.ReadFile(filepath.Join(o.Out, "report.html")); err != nil || !strings.Contains(string(html), "silero") {
			t.Errorf("%s: no report of the model: %v", runtime, err)
		}
		if r := float64(res.Variants[3].File.Bytes) / float64(res.Variants[0].File.Bytes); r > 0.70 { // the LSTM; its convolutions stay float
			t.Errorf("%s: int8 has %.3f of the size", runtime, r)
		}
		if res.Target.Runtime != runtime {
			t.Errorf("target %+v", res.Target)
		}
		if said := strings.Contains(strings.Join(res.Warnings, "\n"), "expands half-size weights"); said != (runtime == "ort") {
			t.Errorf("%s: half-size weights are said to be expanded: %v", runtime, said)
		}
		for i, v := range res.Variants {
			means[runtime] = append(means[runtime], v.Accuracy.Value)
			histogram := false
			for _, n := range v.Notes {
				histogram = histogram || n.Stage == "target" && strings.Contains(n.Why, "LSTM")
			}
			if histogram != (runtime == "ort") {
				t.Errorf("%s, %s: histogram of operators %v", runtime, v.Name, histogram)
			}
			lstms := 0
			for op, n := range v.Ops {
				if strings.Contains(op, "LSTM") {
					lstms += n
				}
			}
			if lstms == 0 {
				t.Errorf("%s, %s: operators %v", runtime, v.Name, v.Ops)
			}
			// 11 and 8 bits of weights; 8 bits of weights and activations over a sequence of 4 runs.
			if least := []float64{1, 0.9999, 0.999, 0.999}[i]; !(v.Accuracy.Value >= least && v.Accuracy.Value <= 1) {
				t.Errorf("%s: fidelity of %s %v", runtime, v.Name, v.Accuracy.Value)
			}
			t.Logf("%s %s: %d bytes, fidelity %.6f", runtime, v.Name, v.File.Bytes, v.Accuracy.Value)
		}
	}
}

// TestRunORT runs the tiny recipe on ONNX Runtime: the same files as on the native runtime, and almost the same answers.
func TestRunORT(t *testing.T) {
	lib := asset(t, "ort/libonnxruntime.so.1.32.0")
	native, err := compute(context.Background(), tiny(t), options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	rec := parseIn(t, fixtureDir(t), strings.Replace(tinyRecipe, "{threads: 1}", "{threads: 1, runtime: ort}", 1))
	o := options(t.TempDir())
	o.Runtimes["ort"] = &ort.Runtime{Library: lib}
	res, err := compute(context.Background(), rec, o)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range res.Variants {
		if !reflect.DeepEqual(v.File, native.Variants[i].File) && i > 0 {
			t.Errorf("%s: file %+v, native %+v", v.Name, v.File, native.Variants[i].File)
		}
		// One example of 64 may lie on the border.
		if d := v.Accuracy.Value - native.Variants[i].Accuracy.Value; d > 1.01/64 || d < -1.01/64 {
			t.Errorf("%s: accuracy %v, native %v", v.Name, v.Accuracy.Value, native.Variants[i].Accuracy.Value)
		}
		if v.Profile != nil {
			t.Errorf("%s: a profile of a runtime that has none", v.Name)
		}
	}
}

// TestNoRuntime checks that a runtime that is not there is found out before any variant is made.
func TestNoRuntime(t *testing.T) {
	rec := parseIn(t, fixtureDir(t), strings.Replace(tinyRecipe, "{threads: 1}", "{threads: 1, runtime: ort}", 1))
	dir := filepath.Join(t.TempDir(), "out")
	o := options(dir)
	for _, rt := range []engine.Runtime{nil, &ort.Runtime{Library: filepath.Join(dir, "none.so")}} {
		o.Runtimes["ort"] = rt
		if rt == nil {
			delete(o.Runtimes, "ort")
		}
		if _, err := Run(context.Background(), rec, o); err == nil {
			t.Error("no error")
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("a folder is made for nothing: %v", err)
		}
	}
}
