//go:build !static

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/internal/explain"
	"github.com/wattshed/wattshed/internal/recipe"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/reports"
)

// causeCase is a seeded model with a variant that has a flaw, run and measured like any recipe.
type causeCase struct {
	cause  string
	effect explain.Effect
	g      *model.Graph
	stages string // of the variant
	target string // more keys of the target
	inputs string // in place of random ones
	// other makes the variant's file where no stage does, from the one that the stages make.
	other func(*model.Graph)
}

// maker builds seeded graphs.
type maker struct {
	g   *model.Graph
	rng *rand.Rand
}

func newMaker(opset int64, inputs, outputs []*model.Value) *maker {
	m := &maker{&model.Graph{Name: "case", Model: &model.Info{IRVersion: 10}, Inputs: inputs, Outputs: outputs}, rand.New(rand.NewPCG(17, 4))}
	m.g.SetOpset("", opset)
	return m
}

func shaped(name string, d model.DType, shape ...int) []*model.Value {
	return []*model.Value{{Name: name, Type: model.Type{DType: d, Shape: model.FixedShape(shape...)}}}
}

// weight adds a normal weight of the given deviation, changed by change where that is not nil.
func (m *maker) weight(name string, deviation float64, change func(i int, v float32) float32, shape ...int) string {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		if x[i] = float32(m.rng.NormFloat64() * deviation); change != nil {
			x[i] = change(i, x[i])
		}
	}
	m.g.SetInitializer(name, model.FromSlice(shape, x))
	return name
}

func (m *maker) node(op, name, out string, in []string, attrs ...model.Attr) {
	m.g.Nodes = append(m.g.Nodes, &model.Node{Op: op, Name: name, Inputs: in, Outputs: []string{out}, Attrs: attrs})
}

// products returns a chain of n products with k by k weights, and a ReLU behind each.
func products(opset int64, n, k, rows int, change func(i int, v float32) float32) *model.Graph {
	m := newMaker(opset, shaped("x", model.Float32, rows, k), shaped("y", model.Float32, rows, k))
	at := "x"
	for i := range n {
		out, act := fmt.Sprintf("h%d", i), fmt.Sprintf("r%d", i)
		if i == n-1 {
			out = "y"
		}
		m.node("MatMul", fmt.Sprintf("m%d", i), out, []string{at, m.weight(fmt.Sprintf("w%d", i), 1.4/float64(k)*8, change, k, k)})
		if at = out; i < n-1 {
			m.node("Relu", fmt.Sprintf("relu%d", i), act, []string{out})
			at = act
		}
	}
	return m.g
}

// convolutions returns a chain of n 3x3 convolutions of c channels on 24 by 24, with op behind each but the last.
func convolutions(n, c, group int, op string) *model.Graph {
	m := newMaker(17, shaped("x", model.Float32, 1, c, 24, 24), shaped("y", model.Float32, 1, c, 24, 24))
	at := "x"
	for i := range n {
		out := fmt.Sprintf("h%d", i)
		if i == n-1 {
			out = "y"
		}
		m.node("Conv", fmt.Sprintf("c%d", i), out, []string{at, m.weight(fmt.Sprintf("w%d", i), 0.5/float64(c/group), nil, c, c/group, 3, 3)},
			model.IntsAttr("pads", 1, 1, 1, 1), model.IntAttr("group", int64(group)))
		if at = out; i < n-1 && op != "" {
			at = fmt.Sprintf("a%d", i)
			m.node(op, "act"+at, at, []string{out})
		}
	}
	return m.g
}

// transformer returns a normalization, some of whose channels are sixty times the others, and products behind it.
func transformer() *model.Graph {
	const k = 256
	m := newMaker(17, shaped("x", model.Float32, 8, k), shaped("y", model.Float32, 8, k))
	m.weight("scale", 0, func(i int, _ float32) float32 {
		if i%85 == 3 {
			return 150
		}
		return 1
	}, k)
	m.node("LayerNormalization", "norm", "n", []string{"x", "scale"})
	m.node("MatMul", "m0", "h", []string{"n", m.weight("w0", 1, func(i int, v float32) float32 { // the loud channels hardly count
		if i/k%85 == 3 {
			return v / 600
		}
		return v
	}, k, k)})
	m.node("MatMul", "m1", "y", []string{"h", m.weight("w1", 0.06, nil, k, k)})
	return m.g
}

// embedding returns a table that is most of the model, and a product behind it.
func embedding() *model.Graph {
	m := newMaker(17, shaped("ids", model.Int64, 16), shaped("y", model.Float32, 16, 128))
	m.node("Gather", "lookup", "e", []string{m.weight("table", 1, nil, 1000, 128), "ids"})
	m.node("MatMul", "m", "y", []string{"e", m.weight("w", 0.1, nil, 128, 128)})
	return m.g
}

// measuredCases are the seeded ones.
func measuredCases(dir string) []causeCase {
	outlier := func(i int, v float32) float32 {
		if i == 5 {
			return 60
		}
		return v
	}
	tagged := products(17, 2, 192, 8, nil)
	tagged.Model.Meta = []model.KV{{Key: "tokenizer", Value: strings.Repeat("some hundred merges ", 8000)}}
	return []causeCase{
		{cause: "embeddings left in float", effect: explain.Larger, g: embedding(), stages: "[{quantize: {scheme: int8, ops: [MatMul]}}]"},
		{cause: "metadata", effect: explain.Larger, g: tagged, stages: "[{quantize: {scheme: int8}}]"},
		{cause: "zeros in dense kernels", effect: explain.Slower, g: products(17, 3, 192, 8, nil), stages: "[{prune: {sparsity: 0.2}}]"},
		{cause: "one scale per tensor", effect: explain.LessAccurate, g: products(17, 2, 256, 8, outlier), stages: "[{quantize: {scheme: int8, granularity: per-tensor}}]"},
		{cause: "pruned without recovery training", effect: explain.LessAccurate, g: products(17, 3, 192, 8, nil), stages: "[{prune: {sparsity: 0.9}}, {quantize: {scheme: fp16}}]"},
		{cause: "calibrated on random inputs", effect: explain.LessAccurate, g: products(17, 3, 256, 8, nil), inputs: "{npz: " + filepath.Join(dir, "loud.npz") + "}",
			stages: "[{quantize: {scheme: int8, mode: static, calibration: random}}]"},
		{cause: "outliers in activations", effect: explain.LessAccurate, g: transformer(), stages: "[{quantize: {scheme: int8, mode: static}}]"},
		{cause: "dynamically quantized convolutions", effect: explain.Slower, g: convolutions(3, 16, 1, ""), stages: "[{quantize: {scheme: int8, mode: static}}]", other: convInteger},
		{cause: "depthwise convolutions", effect: explain.Slower, g: convolutions(5, 64, 64, ""), stages: "[{quantize: {scheme: int8, mode: static}}]"},
		{cause: "Q/DQ islands", effect: explain.Slower, g: convolutions(5, 32, 1, "Erf"), stages: "[{quantize: {scheme: int8, mode: static}}]"},
		{cause: "tiny products", effect: explain.Slower, g: products(17, 8, 32, 1, nil), stages: "[{quantize: {scheme: int8}}]"},
		{cause: "channels not a multiple of 16", effect: explain.Slower, g: products(17, 4, 201, 8, nil), stages: "[{quantize: {scheme: int8}}]"},
		{cause: "weight-only for many vectors a run", effect: explain.Slower, g: products(17, 2, 256, 256, nil), stages: "[{quantize: {scheme: int4}}]", target: "batch: 256"},
		{cause: "half-size weights are computed with in float32", effect: explain.Slower, g: products(17, 3, 192, 8, nil), stages: "[{quantize: {scheme: fp16}}]"},
		{cause: "Casts expanded at load", effect: explain.Slower, g: products(17, 3, 192, 8, nil), stages: "[{quantize: {scheme: fp16}}]", target: "runtime: ort"},
		// ONNX Runtime 1.32 makes no MatMulNBits of a product with a ReLU behind it.
		{cause: "patterns not fused", effect: explain.Slower, g: products(21, 7, 192, 8, nil), stages: "[{quantize: {scheme: int4, format: qdq}}]", target: "runtime: ort"},
	}
}

// convInteger turns the statically quantized convolutions into dynamically quantized ones.
func convInteger(g *model.Graph) {
	g.Nodes = nil
	m := &maker{g: g}
	at := "x"
	for i := range 3 {
		w := fmt.Sprintf("w%d_quantized", i)
		f := func(s string) string { return fmt.Sprintf("%s_%d", s, i) }
		out := f("out")
		if i == 2 {
			out = "y"
		}
		g.Nodes = append(g.Nodes, &model.Node{Op: "DynamicQuantizeLinear", Name: f("q"), Inputs: []string{at}, Outputs: []string{f("xq"), f("xs"), f("xz")}})
		m.node("ConvInteger", f("conv"), f("sum"), []string{f("xq"), w, f("xz")}, model.IntsAttr("pads", 1, 1, 1, 1))
		m.node("Cast", f("cast"), f("float"), []string{f("sum")}, model.IntAttr("to", int64(model.Float32)))
		m.node("Mul", f("scaled"), out, []string{f("float"), f("xs")})
		at = out
	}
}

// npz writes an archive of one float32 array, [16 examples][8, 256], of deviation 12.
func npz(t *testing.T, path string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("x.npy")
	if err != nil {
		t.Fatal(err)
	}
	head := "{'descr': '<f4', 'fortran_order': False, 'shape': (16, 8, 256), }"
	head += strings.Repeat(" ", 118-10-1-len(head)+10) + "\n"
	fmt.Fprintf(w, "\x93NUMPY\x01\x00%c%c%s", byte(len(head)), byte(len(head)>>8), head)
	rng := rand.New(rand.NewPCG(5, 6))
	x := make([]float32, 16*8*256)
	for i := range x {
		x[i] = float32(12 * rng.NormFloat64())
	}
	if err := binary.Write(w, binary.LittleEndian, x); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run measures the case.
func (m causeCase) run(t *testing.T, dir string) explained {
	t.Helper()
	ctx := context.Background()
	if err := onnx.Save(filepath.Join(dir, "model.onnx"), m.g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	inputs := m.inputs
	if inputs == "" {
		inputs = "{random: {seed: 3, n: 16}}"
	}
	text := fmt.Sprintf("version: 1\nmodel: model.onnx\ninputs: %s\ntarget: {threads: 1, %s}\nmeasure: {pairs: 2, max_pairs: 2, max_seconds: 5, block_seconds: 0.005, idle_seconds: 0.01, inputs: 2}\nvariants:\n  - name: v\n    stages: %s\n",
		inputs, m.target, m.stages)
	rec, err := recipe.Parse(strings.NewReader(text), "recipe.yaml", dir)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out := filepath.Join(dir, "out")
	o := recipe.Options{Out: out, Runtimes: map[string]engine.Runtime{"native": engine.Native{}, "ort": &ort.Runtime{Library: os.Getenv("WATTSHED_ORT")}},
		Tool: reports.Tool{Name: "wattshed", Version: "test"}, Host: &reports.Host{ISA: kernel.Features()}, Plan: func(recipe.Plan) {}}
	res, err := recipe.Run(ctx, rec, o)
	if err != nil {
		t.Fatal(err)
	}
	if m.other != nil {
		path := filepath.Join(out, "variants", "v.onnx")
		g, err := onnx.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		g = g.Clone()
		m.other(g)
		file := filepath.Join(dir, "other.onnx")
		if err := onnx.Save(file, g, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		stages := res.Variants[1].Stages
		o.Out = ""
		again := *rec
		again.Variants = nil
		if res, err = recipe.Measure(ctx, &again, []string{file}, o); err != nil {
			t.Fatal(err)
		}
		res.Variants[1].Stages = stages // quantized as that stage says, but for the mode
	}
	// Whether this machine shows a change of time now is nothing that a test insists on: the cause is asked for as if it did, or, where the
	// case is not about time, as if the promise were kept. The shares of the operators in the time are the measured ones. Nor does it
	// depend on the CPU, of which VNNI would be one more true cause.
	ratio := 0.5
	if m.effect == explain.Slower {
		ratio = 1.2
	}
	res.Variants[1].Latency.Ratio = &reports.Ratio{Value: ratio, CI95: &reports.Interval{ratio - 0.01, ratio + 0.01}, N: 40}
	res.Host.ISA, res.Target.ISA = []string{"avx2", "avx512_vnni"}, "avx512vnni"
	list, err := explainResult(res, out)
	if err != nil {
		t.Fatal(err)
	}
	return list[0]
}

// TestMeasuredCauses: small seeded models are quantized or pruned with a flaw, written, run and measured as a recipe is, and explained
// from the result. The true cause is named first in at least ten of twelve, and so in as large a part of all cases; the effects that
// do not depend on the machine, in size and accuracy, are there in every case that is about them.
func TestMeasuredCauses(t *testing.T) {
	if os.Getenv("WATTSHED_ORT") == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ORT names no ONNX Runtime")
		}
		t.Skip("WATTSHED_ORT names no ONNX Runtime")
	}
	shared := t.TempDir()
	npz(t, filepath.Join(shared, "loud.npz"))
	first, all := 0, measuredCases(shared)
	for _, m := range all {
		t.Run(m.cause, func(t *testing.T) {
			got := m.run(t, t.TempDir())
			found := false
			for _, e := range got.Effects {
				found = found || e.Effect == m.effect && e.Decided
			}
			if !found {
				t.Errorf("%s: effects %v", m.effect, got.Effects)
			}
			named := false
			for _, c := range got.Causes {
				named = named || c.Name == m.cause
			}
			if len(got.Causes) > 0 && got.Causes[0].Name == m.cause {
				first++
			} else {
				t.Logf("named: %+v", got.Causes)
			}
			if !named {
				t.Logf("not named at all")
			}
		})
	}
	if len(all) < 12 || first*12 < len(all)*10 {
		t.Errorf("the true cause is first in %d of %d", first, len(all))
	}
	t.Logf("the true cause is first in %d of %d", first, len(all))
}
