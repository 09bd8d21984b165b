package recipe

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// TestSensitivityOfOperators: for every scheme both lists are there; what an operator alone does to outputs and accuracy is what a
// file does that the stage makes with all others excluded, scored on its own.
func TestSensitivityOfOperators(t *testing.T) {
	ctx := context.Background()
	for _, scheme := range []string{"int8", "int8-static", "uint8", "int16", "int4", "uint4", "fp8", "fp16", "bf16"} {
		r := tiny(t)
		s, err := Sensitivity(ctx, r, Sensitive{Scheme: scheme, Samples: 2}, options(t.TempDir()))
		if err != nil {
			t.Fatalf("%s: %v", scheme, err)
		}
		if len(s.Weights)+len(s.Left) < 3 || len(s.Weights) == 0 || len(s.Ops) < 2 || s.NoOps != "" {
			t.Fatalf("%s: %d weights, %d left, %d operators, %s", scheme, len(s.Weights), len(s.Left), len(s.Ops), s.NoOps)
		}
		if strings.HasSuffix(scheme, "int4") && len(s.Left) < 2 {
			t.Errorf("%s has no LSTM: both its weights are left, not ranked: left %v", scheme, s.Left)
		}
		for _, w := range s.Weights {
			if slices.Contains(s.Left, w.Weight) {
				t.Errorf("%s: %q is left and ranked", scheme, w.Weight)
			}
		}
		changed, total := 0, 0.0
		for i, o := range s.Ops {
			total += o.Share
			if o.Output == nil {
				continue
			}
			changed++
			if i > 0 && s.Ops[i-1].Output != nil && *s.Ops[i-1].Output > *o.Output {
				t.Errorf("%s: %+v before %+v", scheme, s.Ops[i-1], o)
			}
			if c := o.Score; c == nil || c.N != 64 || c.CI95 == nil || c.CI95[0] > c.Value || c.CI95[1] < c.Value {
				t.Errorf("%s: %s: %+v", scheme, o.Name, c)
			}
		}
		if changed == 0 || !(total > 0 && total <= 1) {
			t.Errorf("%s: %d operators changed, shares of %v in all", scheme, changed, total)
		}
		if scheme == "int8" {
			compareAlone(t, s.Ops)
		}
	}
	if _, err := Sensitivity(ctx, tiny(t), Sensitive{Scheme: "fp16-static"}, options(t.TempDir())); err == nil {
		t.Error("fp16-static: no error")
	}
}

// TestSensitivityIsVerifys: the signal to noise ratio of a weight is the one that verify gives of the file that the stage writes.
func TestSensitivityIsVerifys(t *testing.T) {
	ctx := context.Background()
	in := filepath.Join(fixtureDir(t), "model.onnx")
	o, err := onnx.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	sensed := func(name string) bool {
		return slices.ContainsFunc(quantize.Sensing{}.Weights(o.Graph()), func(w *model.Weight) bool { return w.Name == name })
	}
	for _, c := range []struct {
		s Sensitive
		q Quantize
	}{
		{Sensitive{Scheme: "int8"}, Quantize{Scheme: "int8"}},
		{Sensitive{Scheme: "int8", Granularity: "per-tensor"}, Quantize{Scheme: "int8", Granularity: "per-tensor"}},
		{Sensitive{Scheme: "uint8"}, Quantize{Scheme: "uint8"}},
		{Sensitive{Scheme: "int8-static"}, Quantize{Scheme: "int8-static", Samples: 2}},
		{Sensitive{Scheme: "int16"}, Quantize{Scheme: "int16", Samples: 2}},
		{Sensitive{Scheme: "int4"}, Quantize{Exclude: []string{"LSTM", "Gather"}, Scheme: "int4"}},
		{Sensitive{Scheme: "int4", Symmetric: true, Group: 16}, Quantize{Exclude: []string{"LSTM", "Gather"}, Scheme: "int4", Symmetric: true, Group: 16}},
		{Sensitive{Scheme: "int4", Granularity: "per-channel"}, Quantize{Exclude: []string{"LSTM", "Gather"}, Scheme: "int4", Group: quantize.WholeChannel}},
		{Sensitive{Scheme: "uint4"}, Quantize{Exclude: []string{"LSTM", "Gather"}, Scheme: "uint4"}},
		{Sensitive{Scheme: "fp8"}, Quantize{Scheme: "fp8"}},
		{Sensitive{Scheme: "fp16"}, Quantize{Scheme: "fp16"}},
		{Sensitive{Scheme: "bf16"}, Quantize{Scheme: "bf16"}},
	} {
		c.s.Samples = 2
		s, err := Sensitivity(ctx, tiny(t), c.s, options(t.TempDir()))
		if err != nil {
			t.Fatalf("%+v: %v", c.s, err)
		}
		path := filepath.Join(t.TempDir(), "q.onnx")
		inputs := tiny(t)
		if err := inputs.prepare(); err != nil {
			t.Fatal(err)
		}
		if _, err := ApplyStage(ctx, Single{In: in, Out: path, Stage: &c.q, Threads: 1, Inputs: inputs}); err != nil {
			t.Fatalf("%+v: %v", c.q, err)
		}
		f, err := onnx.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		restored, findings := verify.Against(f.Graph(), o.Graph())
		f.Close()
		if len(restored) == 0 || len(findings) > 0 {
			t.Errorf("%+v: restored %v, findings %v", c.q, restored, findings)
		}
		for _, r := range restored {
			i := slices.IndexFunc(s.Weights, func(w quantize.Sensitivity) bool { return w.Weight == r.Weight })
			switch {
			case i < 0:
				if sensed(r.Weight) && !slices.Contains(s.Left, r.Weight) {
					t.Errorf("%+v: nothing of %q", c.s, r.Weight)
				}
			case s.Weights[i].SQNR != r.SQNR:
				t.Errorf("%+v: %q has %v dB, verify says %v", c.s, r.Weight, s.Weights[i].SQNR, r.SQNR)
			}
		}
	}
	if _, err := Sensitivity(ctx, tiny(t), Sensitive{Scheme: "int8", Symmetric: true}, options(t.TempDir())); err == nil {
		t.Error("symmetric int8: no error")
	}
}

// compareAlone makes the file of each operator alone by name and scores it as eval does.
func compareAlone(t *testing.T, ops []OpSensitivity) {
	t.Helper()
	ctx := context.Background()
	dir := fixtureDir(t)
	score := func(path string) []bool {
		e := tiny(t)
		e.Model = path
		r := newRun(e, options(t.TempDir()))
		defer r.close()
		if err := r.recipe.prepare(); err != nil {
			t.Fatal(err)
		}
		if err := r.openModel(ctx); err != nil {
			t.Fatal(err)
		}
		out, err := r.bound.task.Score(ctx, r.baseline, nil)
		if err != nil {
			t.Fatal(err)
		}
		return correct(out)
	}
	float := score(filepath.Join(dir, "model.onnx"))
	for _, o := range ops {
		if o.Output == nil {
			continue
		}
		q := &Quantize{Scheme: "int8"}
		for _, other := range ops {
			if other.Name != o.Name {
				q.Exclude = append(q.Exclude, other.Weights...)
			}
		}
		if err := q.check(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "alone.onnx")
		if _, err := ApplyStage(ctx, Single{In: filepath.Join(dir, "model.onnx"), Out: path, Stage: q, Threads: 1}); err != nil {
			t.Fatal(err)
		}
		d, err := measure.AccuracyDelta(float, score(path))
		if err != nil {
			t.Fatal(err)
		}
		if d.Value != o.Score.Value || d.CI95.Lo != o.Score.CI95[0] || d.CI95.Hi != o.Score.CI95[1] {
			t.Errorf("%s: %+v, the file alone %+v", o.Name, o.Score, d)
		}
	}
}
