package recipe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/distill"
	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/prune"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/reports"
)

var natives = map[string]engine.Runtime{"native": engine.Native{}}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// only checks that a folder holds these names and no others.
func only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("the folder holds %q, want %q", got, names)
	}
}

func TestApplyStage(t *testing.T) {
	in := filepath.Join(fixtureDir(t), "model.onnx")
	for _, st := range []Stage{&Quantize{Scheme: "fp16"}, &Quantize{Scheme: "bf16"}, &Quantize{Scheme: "int8"}, &Prune{Sparsity: 0.5}, &Prune{Pattern: "2:4"}} {
		dir := t.TempDir()
		out := filepath.Join(dir, "out.onnx")
		done, err := ApplyStage(context.Background(), Single{In: in, Out: out, Stage: st, Runtimes: natives, Digest: true})
		if err != nil {
			t.Errorf("%v: %v", st.Options(), err)
			continue
		}
		n, sum, err := fileDigest(out)
		if err != nil || n != done.BytesAfter || sum != done.SHA256 || done.BytesBefore == 0 || len(done.Notes) == 0 {
			t.Errorf("%v: %+v, %v", st.Options(), done, err)
		}
		if q, ok := st.(*Quantize); ok && done.BytesAfter >= done.BytesBefore {
			t.Errorf("%s: %d bytes of %d", q.Scheme, done.BytesAfter, done.BytesBefore)
		}
		if g, err := onnx.Load(out); err != nil {
			t.Error(err)
		} else if c, err := CountWeights(g); err != nil || c.Parameters == 0 || c.Nonzero > c.Parameters {
			t.Errorf("%+v, %v", c, err)
		}
		only(t, dir, "out.onnx")
	}
}

func TestApplyStageRefuses(t *testing.T) {
	model := filepath.Join(fixtureDir(t), "model.onnx")
	dir := t.TempDir()
	in := filepath.Join(dir, "in.onnx")
	copyFile(t, model, in)
	if err := os.Link(in, filepath.Join(dir, "hard.onnx")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("in.onnx", filepath.Join(dir, "soft.onnx")); err != nil {
		t.Skip(err)
	}
	before, err := os.ReadFile(in)
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"in.onnx", "hard.onnx", "soft.onnx", "./../" + filepath.Base(dir) + "/in.onnx"} {
		_, err := ApplyStage(context.Background(), Single{In: in, Out: dir + "/" + out, Stage: &Quantize{Scheme: "fp16"}, Runtimes: natives})
		if !errors.Is(err, ErrSameFile) {
			t.Errorf("output %s: %v", out, err)
		}
	}
	half := filepath.Join(dir, "half.onnx")
	if _, err := ApplyStage(context.Background(), Single{In: in, Out: half, Stage: &Quantize{Scheme: "int8"}, Runtimes: natives}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	broken := filepath.Join(dir, "broken.onnx")
	if err := os.WriteFile(broken, before[:len(before)/2], 0o644); err != nil {
		t.Fatal(err)
	}
	names := []string{"broken.onnx", "half.onnx", "hard.onnx", "in.onnx", "soft.onnx"}
	for what, c := range map[string]struct {
		ctx     context.Context
		in, out string
		stage   Stage
		is      error
	}{
		"quantized already": {in: half, out: "x.onnx", stage: &Quantize{Scheme: "int8"}, is: quantize.ErrQuantized},
		"nothing to do":     {in: half, out: "x.onnx", stage: &Prune{Sparsity: 0.5, Ops: []string{"Conv"}}},
		"no such model":     {in: filepath.Join(dir, "none.onnx"), out: "x.onnx", stage: &Quantize{Scheme: "fp16"}, is: os.ErrNotExist},
		"half a model":      {in: broken, out: "x.onnx", stage: &Quantize{Scheme: "fp16"}},
		"no such folder":    {in: in, out: "none/x.onnx", stage: &Quantize{Scheme: "fp16"}, is: os.ErrNotExist},
		"a folder":          {in: in, out: ".", stage: &Quantize{Scheme: "fp16"}},
		"bad setting":       {in: in, out: "x.onnx", stage: &Prune{Sparsity: 7}},
		"no training data":  {in: in, out: "x.onnx", stage: &Distill{}},
		"canceled":          {ctx: ctx, in: in, out: "x.onnx", stage: &Quantize{Scheme: "fp16"}, is: context.Canceled},
	} {
		if c.ctx == nil {
			c.ctx = context.Background()
		}
		_, err := ApplyStage(c.ctx, Single{In: c.in, Out: filepath.Join(dir, c.out), Stage: c.stage, Runtimes: natives})
		if err == nil || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: error %v", what, err)
		}
		only(t, dir, names...)
	}
	if after, err := os.ReadFile(in); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the input has changed: %v", err)
	}
}

// TestApplyStageExternal refuses an output whose name is that of the input's data.
func TestApplyStageExternal(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "in.onnx")
	g, err := distill.Arch{Kind: "logistic", Vocabulary: 64, Embedding: 64, Classes: 2}.Graph(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := onnx.Save(in, g, onnx.WriteOptions{External: true}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(in + ".data")
	if err != nil || len(before) == 0 {
		t.Fatalf("%d bytes, %v", len(before), err)
	}
	if _, err := ApplyStage(context.Background(), Single{In: in, Out: in + ".data", Stage: &Quantize{Scheme: "fp16"}, Runtimes: natives}); !errors.Is(err, ErrSameFile) {
		t.Errorf("output that holds the input's data: %v", err)
	}
	if after, err := os.ReadFile(in + ".data"); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the input's data have changed: %v", err)
	}
}

func TestUnwritableFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Create(filepath.Join(dir, "x")); err == nil { // root writes everywhere
		f.Close()
		t.Skip("this user writes to every folder")
	}
	in := filepath.Join(fixtureDir(t), "model.onnx")
	if _, err := ApplyStage(context.Background(), Single{In: in, Out: filepath.Join(dir, "o.onnx"), Stage: &Quantize{Scheme: "fp16"}, Runtimes: natives}); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
	if _, err := Run(context.Background(), tiny(t), options(filepath.Join(dir, "out"))); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

// TestDistillStage trains by the command's way: an interrupted one goes on, with the same bytes.
func TestDistillStage(t *testing.T) {
	fix := fixtureDir(t)
	in := filepath.Join(fix, "model.onnx")
	training, err := TrainingFor(in, filepath.Join(fix, "train.jsonl"), filepath.Join(fix, "validation.jsonl"), "text", "label", nil, engine.Native{})
	if err != nil {
		t.Fatal(err)
	}
	student := func() Stage {
		return &Distill{Student: &StudentSpec{Embedding: 4, Hidden: 4, Pooling: "max"}, Epochs: 3, Batch: 16}
	}
	dir := t.TempDir()
	whole, err := ApplyStage(context.Background(), Single{In: in, Out: filepath.Join(dir, "whole.onnx"), Stage: student(), Runtimes: natives, Training: training, Threads: 2, Digest: true})
	if err != nil {
		t.Fatal(err)
	}
	only(t, dir, "whole.onnx")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s := Single{In: in, Out: filepath.Join(dir, "x.onnx"), Stage: student(), Runtimes: natives, Training: training, Threads: 1, Digest: true,
		Progress: func(_ string, done, total int) {
			if done > total/2 {
				cancel()
			}
		}}
	if _, err := ApplyStage(ctx, s); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	only(t, dir, "whole.onnx", "x.onnx.training")
	first := 0
	s.Progress = func(_ string, done, _ int) {
		if first == 0 {
			first = done
		}
	}
	again, err := ApplyStage(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	only(t, dir, "whole.onnx", "x.onnx")
	if again.SHA256 != whole.SHA256 {
		t.Error("an interrupted training ends with other bytes")
	}
	if first <= 6 { // 96 examples in batches of 16
		t.Errorf("the second part begins at step %d: the finished epoch is done again", first)
	}
}

func TestTrain(t *testing.T) {
	fix := fixtureDir(t)
	want, err := os.ReadFile(filepath.Join(fix, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := filepath.Join(dir, "model.onnx")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	spec := trainSpec(fix, out)
	spec.Progress = func(_ string, done, _ int) {
		if done == 8 {
			cancel()
		}
	}
	if _, err := Train(ctx, spec); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	only(t, dir, "model.onnx.training")
	spec.Progress, spec.Threads = nil, 2
	res, err := Train(context.Background(), spec)
	if err != nil {
		t.Fatal(err)
	}
	only(t, dir, "model.onnx")
	got, err := os.ReadFile(out)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("an interrupted training with two threads ends with other bytes: %v", err)
	}
	if res.Report.Resumed != 1 || len(res.Report.Epochs) != 3 || int64(len(got)) != res.Bytes || strings.Join(res.Labels, " ") != "ham spam" {
		t.Errorf("%+v", res)
	}

	one := filepath.Join(dir, "one.jsonl")
	if err := os.WriteFile(one, []byte(`{"text":"a","label":"x"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*TrainSpec){
		"one label":  func(s *TrainSpec) { s.Data = one },
		"no data":    func(s *TrainSpec) { s.Data = filepath.Join(dir, "none.jsonl") },
		"no field":   func(s *TrainSpec) { s.Text = "body" },
		"validation": func(s *TrainSpec) { s.Validation = one },
		"epochs":     func(s *TrainSpec) { s.Epochs = 0 },
		"folder":     func(s *TrainSpec) { s.Out = filepath.Join(dir, "none", "m.onnx"); s.Data = one },
		"arch":       func(s *TrainSpec) { s.Arch.Hidden = 0 },
		"builtin":    func(s *TrainSpec) { s.Data = "builtin:spam/none"; s.Builtin = os.DirFS(dir) },
	} {
		s := trainSpec(fix, filepath.Join(dir, "x.onnx"))
		change(&s)
		if _, err := Train(context.Background(), s); err == nil {
			t.Errorf("%s: no error", what)
		}
		only(t, dir, "model.onnx", "one.jsonl")
	}
}

func TestMeasureFiles(t *testing.T) {
	res, err := Run(context.Background(), tiny(t), options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	fix := fixtureDir(t)
	dir := t.TempDir()
	half := filepath.Join(dir, "model.onnx")
	if _, err := ApplyStage(context.Background(), Single{In: filepath.Join(fix, "model.onnx"), Out: half, Stage: &Quantize{Scheme: "fp16"}, Runtimes: natives}); err != nil {
		t.Fatal(err)
	}
	rec := func() *Recipe {
		return &Recipe{Model: filepath.Join(fix, "model.onnx"), Dir: ".", Inputs: InputsSpec{Random: &RandomSpec{Seed: new(uint64(3)), N: 4}},
			Target: TargetSpec{Sequence: 8, Threads: 1}, Measure: MeasureSpec{Pairs: 2, MaxPairs: 2, BlockSeconds: 0.002}}
	}
	m := rec()
	got, err := Measure(context.Background(), m, []string{half, half}, options(""))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Variants) != 0 {
		t.Error("the caller's recipe was changed")
	}
	if len(got.Variants) != 3 || got.Variants[1].Name != "model.onnx" || got.Variants[2].Name != "model.onnx (2)" {
		t.Fatalf("variants %v", got.Variants)
	}
	for i, v := range got.Variants {
		if v.Cost != nil || v.Accuracy == nil || v.Accuracy.Metric != "cosine to the baseline" || v.Latency.N == 0 || (v.Latency.Ratio == nil) != (i == 0) {
			t.Errorf("%s: %+v", v.Name, v)
		}
		if i > 0 && !(v.Accuracy.Value > 0.999 && v.Accuracy.Value <= 1) { // fp16 has 11 bits
			t.Errorf("fidelity of fp16 %v", v.Accuracy.Value)
		}
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(strings.Join(got.Warnings, "\n"), "not an accuracy") {
		t.Errorf("warnings %q", got.Warnings)
	}
	alone, err := Measure(context.Background(), rec(), nil, options(""))
	if err != nil {
		t.Fatal(err)
	}
	if len(alone.Variants) != 1 || alone.Variants[0].Accuracy != nil || alone.Variants[0].Latency.N == 0 {
		t.Errorf("one model: %+v", alone.Variants)
	}
	for what, change := range map[string]func(*Recipe){
		"runtime":  func(r *Recipe) { r.Target.Runtime = "tflite" },
		"absent":   func(r *Recipe) { r.Target.Runtime = "ort" },
		"batch":    func(r *Recipe) { r.Target.Batch = -1 },
		"sequence": func(r *Recipe) { r.Target.Sequence = -1 },
		"model":    func(r *Recipe) { r.Model = "none.onnx" },
		"builtin":  func(r *Recipe) { r.Model = "builtin:other" },
		"zone":     func(r *Recipe) { r.Carbon.Zone = "XYZ" },
	} {
		r := rec()
		change(r)
		if _, err := Measure(context.Background(), r, nil, options("")); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	compareWith(t, res)
}

// compareWith compares a result with itself, and with one that is twice as slow.
func compareWith(t *testing.T, a *reports.Result) {
	t.Helper()
	diffs, err := CompareResults(a, a)
	if err != nil || len(diffs) != len(a.Variants) {
		t.Fatalf("%d differences, %v", len(diffs), err)
	}
	for _, d := range diffs {
		if d.Size != "1.0000" || d.Ratio == nil || d.Ratio.Value != 1 || d.Ratio.CI95[0] > 1 || d.Ratio.CI95[1] < 1 {
			t.Errorf("with itself: %+v", d)
		}
	}
	b := *a
	b.Variants = append([]reports.Variant(nil), a.Variants[1:3]...)
	slow := *b.Variants[0].Latency
	slow.Samples = nil
	for _, s := range b.Variants[0].Latency.Samples {
		slow.Samples = append(slow.Samples, 2*s)
	}
	b.Variants[0].Latency, b.Variants[1].Latency, b.Variants[1].Accuracy = &slow, nil, nil
	diffs, err = CompareResults(a, &b)
	if err != nil || len(diffs) != len(a.Variants) {
		t.Fatalf("%d differences, %v", len(diffs), err)
	}
	for _, d := range diffs[2:] {
		if d.OnlyIn != "A" {
			t.Errorf("%s is in A alone: %+v", d.Variant, d)
		}
	}
	if r := diffs[0].Ratio; !near(r.Value, 2) || r.CI95[0] > 2 || r.CI95[1] < 2 {
		t.Errorf("twice as slow: %+v", r)
	}
	if diffs[1].Latency != "-" || diffs[1].Accuracy != "-" || diffs[1].Ratio != nil {
		t.Errorf("without figures: %+v", diffs[1])
	}
	if _, err := CompareResults(a, &reports.Result{Variants: []reports.Variant{{Name: "other"}}}); err == nil {
		t.Error("nothing in common, no error")
	}
}

func TestEvaluate(t *testing.T) {
	fix := fixtureDir(t)
	rec := func() *Recipe {
		return &Recipe{Model: "model.onnx", Dir: fix, Task: &TaskSpec{Kind: "classification", Data: "test.jsonl"}}
	}
	a, err := Evaluate(context.Background(), rec(), options(""))
	if err != nil || a.N != 64 || a.Metric != "accuracy" || !(a.Value > 0.7) {
		t.Fatalf("%+v, %v", a, err)
	}
	for what, change := range map[string]func(*Recipe){
		"no labels":   func(r *Recipe) { r.Task.Label = "class" },
		"other label": func(r *Recipe) { r.Task.Label = "text" },
		"output":      func(r *Recipe) { r.Inputs.Output = "none" },
		"kind":        func(r *Recipe) { r.Task.Kind = "regression" },
		"tokenizer":   func(r *Recipe) { r.Inputs.Tokenizer = "model.onnx" },
	} {
		r := rec()
		change(r)
		if _, err := Evaluate(context.Background(), r, options("")); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Evaluate(ctx, rec(), options("")); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestNoop(t *testing.T) {
	text := func(more string) string {
		return `version: 1
model: model.onnx
task: {kind: classification, data: test.jsonl}
measure: {pairs: 2, max_pairs: 2, block_seconds: 0.002}
variants:
  - name: nothing
    stages: [{prune: {sparsity: 0.5, ops: [Conv]}}]
` + more
	}
	dir := t.TempDir()
	if _, err := compute(context.Background(), parseIn(t, fixtureDir(t), text("")), options(dir)); !errors.Is(err, prune.ErrNothing) || !strings.Contains(err.Error(), `variant "nothing": prune: no weight`) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "variants", "nothing.onnx")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a variant that failed is left: %v", err)
	}
	if _, err := compute(context.Background(), parseIn(t, fixtureDir(t), text("    allow_noop: true\n")), options(t.TempDir())); err != nil {
		t.Error(err)
	}
}
