package recipe

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
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

// TestSensitivityIsVerifys: the signal to noise ratio of a weight is the one that verify gives of the file that the stage writes; weights
// that the file does not have so are marked.
func TestSensitivityIsVerifys(t *testing.T) {
	rest := []string{"LSTM", "Gather"}
	for _, c := range []struct {
		s Sensitive
		q Quantize
	}{
		{Sensitive{Scheme: "int8"}, Quantize{Scheme: "int8"}},
		{Sensitive{Scheme: "int8", Granularity: "per-tensor"}, Quantize{Scheme: "int8", Granularity: "per-tensor"}},
		{Sensitive{Scheme: "uint8"}, Quantize{Scheme: "uint8"}},
		{Sensitive{Scheme: "int8-static"}, Quantize{Scheme: "int8-static", Samples: 2}},
		{Sensitive{Scheme: "int16"}, Quantize{Scheme: "int16", Samples: 2}},
		{Sensitive{Scheme: "int4"}, Quantize{Exclude: rest, Scheme: "int4"}},
		{Sensitive{Scheme: "int4", Symmetric: true, Group: 16}, Quantize{Exclude: rest, Scheme: "int4", Symmetric: true, Group: 16}},
		{Sensitive{Scheme: "int4", Granularity: "per-channel"}, Quantize{Exclude: rest, Scheme: "int4", Group: quantize.WholeChannel}},
		{Sensitive{Scheme: "uint4"}, Quantize{Exclude: rest, Scheme: "uint4"}},
		{Sensitive{Scheme: "fp8"}, Quantize{Scheme: "fp8"}},
		{Sensitive{Scheme: "fp16"}, Quantize{Scheme: "fp16"}},
		{Sensitive{Scheme: "bf16"}, Quantize{Scheme: "bf16"}},
	} {
		sensedAsVerified(t, filepath.Join(fixtureDir(t), "model.onnx"), func() *Recipe { return tiny(t) }, c.s, c.q)
	}
	if _, err := Sensitivity(context.Background(), tiny(t), Sensitive{Scheme: "int8", Symmetric: true}, options(t.TempDir())); err == nil {
		t.Error("symmetric int8: no error")
	}
}

// TestSensitivityLeaves: the dynamic form has no Conv, so its weight is on a grid that no file has; the static one stores it.
func TestSensitivityLeaves(t *testing.T) {
	for _, hidden := range []int{2, 512} { // 2 outputs: the Conv holds most bytes, and quantize refuses the whole model
		path := convModel(t, hidden)
		rec := func() *Recipe {
			return &Recipe{Model: path, Dir: ".", Inputs: InputsSpec{Random: &RandomSpec{N: 2}}, Target: TargetSpec{Threads: 1}}
		}
		for scheme, stored := range map[string]bool{"int8": false, "uint8": false, "int8-static": true, "fp16": true} {
			name := fmt.Sprintf("%s, %d outputs", scheme, hidden)
			s, err := Sensitivity(context.Background(), rec(), Sensitive{Scheme: scheme, Samples: 2}, options(t.TempDir()))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			marks := map[string]bool{}
			for _, w := range s.Weights {
				marks[w.Weight] = w.Stored
			}
			if want := map[string]bool{"conv.weight": stored, "linear.weight": true}; !maps.Equal(marks, want) {
				t.Errorf("%s: stored are %v, want %v", name, marks, want)
			}
			if refused := hidden == 2 && !stored; (s.NoFile != "") != refused {
				t.Errorf("%s: no file of the whole model because %q", name, s.NoFile)
			} else if refused {
				continue
			}
			q := Quantize{Scheme: scheme}
			if strings.HasSuffix(scheme, "-static") {
				q.Samples = 2
			}
			sensedAsVerified(t, path, rec, Sensitive{Scheme: scheme, Samples: 2}, q)
		}
	}
}

// convModel writes a Conv and a Gemm of n outputs.
func convModel(t *testing.T, n int) string {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	random := func(shape ...int) *model.Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return model.FromSlice(shape, x)
	}
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 8},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 4, 8, 8)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, n)}}}}
	g.SetOpset("", 17)
	g.SetInitializer("conv.weight", random(32, 4, 3, 3))
	g.SetInitializer("linear.weight", random(32, n))
	g.SetInitializer("linear.bias", random(n))
	g.Nodes = []*model.Node{
		{Op: "Conv", Name: "conv", Inputs: []string{"x", "conv.weight"}, Outputs: []string{"c"}},
		{Op: "Relu", Name: "relu", Inputs: []string{"c"}, Outputs: []string{"r"}},
		{Op: "GlobalAveragePool", Name: "pool", Inputs: []string{"r"}, Outputs: []string{"p"}},
		{Op: "Flatten", Name: "flatten", Inputs: []string{"p"}, Outputs: []string{"f"}},
		{Op: "Gemm", Name: "linear", Inputs: []string{"f", "linear.weight", "linear.bias"}, Outputs: []string{"y"}},
	}
	path := filepath.Join(t.TempDir(), "conv.onnx")
	if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return path
}

// sensedAsVerified compares what Sensitivity says of the model with what verify says of the file that q makes of it.
func sensedAsVerified(t *testing.T, in string, rec func() *Recipe, set Sensitive, q Quantize) {
	t.Helper()
	ctx := context.Background()
	o, err := onnx.Open(in)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	set.Samples = 2
	s, err := Sensitivity(ctx, rec(), set, options(t.TempDir()))
	if err != nil {
		t.Fatalf("%+v: %v", set, err)
	}
	path := filepath.Join(t.TempDir(), "q.onnx")
	inputs := rec()
	if err := inputs.prepare(); err != nil {
		t.Fatal(err)
	}
	if _, err := ApplyStage(ctx, Single{In: in, Out: path, Stage: &q, Threads: 1, Inputs: inputs}); err != nil {
		t.Fatalf("%+v: %v", q, err)
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	restored, findings := verify.Against(f.Graph(), o.Graph())
	if len(restored) == 0 || len(findings) > 0 {
		t.Errorf("%+v: restored %v, findings %v", q, restored, findings)
	}
	ratios := map[string]float64{}
	for _, r := range restored {
		ratios[r.Weight] = r.SQNR
	}
	ranked := map[string]bool{}
	for _, w := range s.Weights {
		ranked[w.Weight] = true
		db, ok := ratios[w.Weight]
		switch {
		case w.Stored != ok:
			t.Errorf("%+v: %q is stored: %t, verify finds it: %t", set, w.Weight, w.Stored, ok)
		case ok && w.SQNR != db:
			t.Errorf("%+v: %q has %v dB, verify says %v", set, w.Weight, w.SQNR, db)
		}
	}
	for _, w := range (quantize.Sensing{}).Weights(o.Graph()) {
		if _, ok := ratios[w.Name]; ok && !ranked[w.Name] && !slices.Contains(s.Left, w.Name) {
			t.Errorf("%+v: nothing of %q", set, w.Name)
		}
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
