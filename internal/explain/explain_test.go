package explain

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/reports"
)

// build is a seeded case: a graph, what was measured of it, and the cause that was put into it.
type build struct {
	g    *model.Graph
	v    reports.Variant
	base reports.Variant
	r    reports.Result
	orig *model.Graph
}

func newBuild(scheme string, options map[string]any) *build {
	b := &build{g: &model.Graph{Name: "g", Model: &model.Info{IRVersion: 10}}, orig: &model.Graph{Name: "o", Model: &model.Info{IRVersion: 10}}}
	b.g.SetOpset("", 17)
	b.orig.SetOpset("", 17)
	b.r.Host = &reports.Host{ISA: []string{"avx", "avx2", "avx512f", "avx512vnni"}}
	b.r.Target = &reports.Target{Runtime: "native", ISA: "avx512vnni", Threads: 1, Batch: 1, Sequence: 16}
	if scheme != "" {
		if options == nil {
			options = map[string]any{}
		}
		options["scheme"] = scheme
		b.v.Stages = []reports.Stage{{Name: "quantize", Options: options}}
	}
	b.base.File, b.v.File = &reports.File{Bytes: 1000000}, &reports.File{Bytes: 260000}
	b.accuracy(0)
	b.latency(0.5)
	return b
}

func (b *build) latency(ratio float64) *build {
	b.v.Latency = &reports.Latency{Ratio: &reports.Ratio{Value: ratio, CI95: &reports.Interval{ratio - 0.02, ratio + 0.02}}}
	return b
}

func (b *build) accuracy(delta float64) *build {
	b.v.Accuracy = &reports.Accuracy{Metric: "accuracy", Value: 0.95 + delta, N: 1000, Delta: &reports.Delta{Value: delta, CI95: &reports.Interval{delta - 0.004, delta + 0.004}}}
	return b
}

func (b *build) add(n *model.Node) { b.g.Nodes = append(b.g.Nodes, n) }

// product adds a dynamically quantized product of k by n weights.
func (b *build) product(i, k, n int) {
	w := fmt.Sprintf("w%d", i)
	b.g.SetInitializer(w, model.FromSlice([]int{k, n}, make([]int8, k*n)))
	x, q := fmt.Sprintf("x%d", i), fmt.Sprintf("q%d", i)
	b.add(&model.Node{Op: "DynamicQuantizeLinear", Inputs: []string{x}, Outputs: []string{q, q + "s", q + "z"}})
	b.add(&model.Node{Op: "MatMulInteger", Inputs: []string{q, w}, Outputs: []string{fmt.Sprintf("x%d", i+1)}})
}

// conv adds a convolution between DequantizeLinear and QuantizeLinear.
func (b *build) conv(i, m, c, group int, op string) {
	w := fmt.Sprintf("w%d", i)
	b.g.SetInitializer(w, model.FromSlice([]int{m, c, 3, 3}, make([]int8, m*c*9)))
	b.g.SetInitializer("s", model.Scalar[float32](1))
	f := func(s string) string { return fmt.Sprintf("%s%d", s, i) }
	if op == "ConvInteger" {
		b.add(&model.Node{Op: "DynamicQuantizeLinear", Inputs: []string{f("x")}, Outputs: []string{f("q"), f("qs"), f("qz")}})
		b.add(&model.Node{Op: op, Inputs: []string{f("q"), w}, Outputs: []string{fmt.Sprintf("x%d", i+1)}, Attrs: []model.Attr{model.IntAttr("group", int64(group))}})
		return
	}
	b.add(&model.Node{Op: "QuantizeLinear", Inputs: []string{f("x"), "s"}, Outputs: []string{f("q")}})
	b.add(&model.Node{Op: "DequantizeLinear", Inputs: []string{f("q"), "s"}, Outputs: []string{f("d")}})
	b.add(&model.Node{Op: "DequantizeLinear", Inputs: []string{w, "s"}, Outputs: []string{f("wd")}})
	b.add(&model.Node{Op: op, Inputs: []string{f("d"), f("wd")}, Outputs: []string{fmt.Sprintf("x%d", i+1)}, Attrs: []model.Attr{model.IntAttr("group", int64(group))}})
}

func (b *build) time(pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		b.v.Profile = append(b.v.Profile, reports.OpProfile{Op: pairs[i].(string), Count: 1, Share: pairs[i+1].(float64)})
	}
}

func (b *build) remark(list string) {
	b.v.Notes = append(b.v.Notes, reports.Note{Stage: "target", Action: reports.Remark, Why: "operators after ort's optimisation: " + list})
}

// TestOpsOrRemark: what ONNX Runtime did not fuse is read from the histogram, in results of older versions from the remark; the native runtime's own
// operators say nothing of it.
func TestOpsOrRemark(t *testing.T) {
	ops := map[string]int{"MatMulInteger": 6, "DequantizeLinear": 5, "Mul": 12}
	for _, c := range []struct {
		runtime string
		ops     map[string]int
		remark  string
		want    int
	}{{"ort", ops, "", 11}, {"ort", nil, "MatMulInteger 6, DequantizeLinear 5, Mul 12", 11}, {"ort", map[string]int{"DequantizeLinear": 4}, "", 0}, {"native", ops, "", 0}} {
		b := newBuild("int8", nil)
		if b.r.Target.Runtime, b.v.Ops = c.runtime, c.ops; c.remark != "" {
			b.remark(c.remark)
		}
		if got := (&facts{Case: Case{Result: &b.r, Variant: &b.v}}).leftInFloat(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// cases are the seeded ones, most of them with a second, weaker cause beside the true one.
func cases() map[string]*build {
	c := map[string]*build{}
	b := newBuild("int8", nil).latency(1.1) // a sigmoid in float behind each convolution
	for i := range 6 {
		b.conv(i, 40, 40, 1, "Conv")
		b.add(&model.Node{Op: "Erf", Inputs: []string{fmt.Sprintf("d%d", i)}, Outputs: []string{fmt.Sprintf("e%d", i)}})
	}
	b.time("QLinearConv", 0.3, "QuantizeLinear", 0.25, "DequantizeLinear", 0.25, "Erf", 0.2)
	c["Q/DQ islands"] = b

	b = newBuild("int8", nil).latency(1.8)
	for i := range 5 {
		b.conv(i, 30, 16, 1, "ConvInteger")
	}
	b.time("ConvInteger", 0.7, "DynamicQuantizeLinear", 0.2)
	c["dynamically quantized convolutions"] = b

	b = newBuild("int8", nil).latency(1.05)
	b.r.Target.ISA, b.r.Host.ISA = "avx2", []string{"avx", "avx2"}
	for i := range 4 {
		b.product(i, 384, 380)
	}
	b.time("QuantMatMul", 0.8, "DynamicQuantizeLinear", 0.11)
	c["no VNNI"] = b

	b = newBuild("int8", nil).latency(1.2)
	for i := range 8 {
		b.product(i, 32, 24)
	}
	b.time("QuantMatMul", 0.3, "DynamicQuantizeLinear", 0.35)
	c["tiny products"] = b

	b = newBuild("int8", nil).latency(1.0)
	for i := range 6 {
		b.conv(i, 64, 1, 64, "Conv")
	}
	b.time("QLinearConv", 0.7, "Add", 0.3)
	c["depthwise convolutions"] = b

	b = newBuild("int8", nil)
	b.v.File.Bytes = 640000
	b.g.SetInitializer("table", model.FromSlice([]int{1000, 128}, make([]float32, 128000)))
	b.add(&model.Node{Op: "Gather", Inputs: []string{"table", "ids"}, Outputs: []string{"x0"}})
	b.product(0, 256, 256)
	c["embeddings left in float"] = b

	b = newBuild("int8", nil)
	b.v.File.Bytes = 360000
	b.g.Model.Meta = []model.KV{{Key: "tokenizer", Value: string(make([]byte, 120000))}}
	b.product(0, 256, 256)
	c["metadata"] = b

	b = newBuild("", nil).latency(1.01)
	b.v.Stages = []reports.Stage{{Name: "prune", Options: map[string]any{"sparsity": 0.7}}, {Name: "distill"}}
	sparsity := 0.68
	b.v.Notes = []reports.Note{{Stage: "prune", Action: reports.Touched, Weight: "w", Op: "MatMul", How: "pruned"}}
	b.v.Weights, b.v.File.Bytes = &reports.Weights{Sparsity: &sparsity}, 1000000
	c["zeros in dense kernels"] = b

	b = newBuild("int8", nil).latency(0.9)
	for i := range 4 {
		b.product(i, 500, 137)
	}
	b.time("QuantMatMul", 0.95, "DynamicQuantizeLinear", 0.05)
	c["channels not a multiple of 16"] = b

	b = newBuild("int8", nil).latency(1.3)
	b.r.Target.Runtime = "ort"
	b.g.SetOpset("", 28)
	for i := range 6 {
		b.product(i, 256, 256)
	}
	b.v.Ops = map[string]int{"MatMulInteger": 6, "DynamicQuantizeLinear": 6, "Mul": 12, "Cast": 6}
	c["operator set blocks fusion"] = b

	b = newBuild("int4", nil).latency(1.6)
	b.r.Target.Batch, b.r.Target.Sequence = 8, 128
	b.v.File.Bytes = 200000
	for i := range 4 {
		b.g.SetInitializer(fmt.Sprintf("B%d", i), model.FromSlice([]int{100, 4, 16}, make([]byte, 6400)))
		b.add(&model.Node{Op: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", fmt.Sprintf("B%d", i)}, Outputs: []string{fmt.Sprintf("y%d", i)}})
	}
	b.time("MatMulNBits", 0.9)
	c["weight-only for many vectors a run"] = b

	lessAccurate(c)
	return c
}

// lessAccurate adds the cases of half-size weights and of lost accuracy.
func lessAccurate(c map[string]*build) {
	b := newBuild("fp16", map[string]any{"storage": "weights"}).latency(1.0)
	b.r.Target.Runtime = "ort"
	b.v.File.Bytes = 500000
	c["Casts expanded at load"] = b

	b = newBuild("int8", map[string]any{"granularity": "per-tensor"}).accuracy(-0.05)
	w := make([]float32, 64*64)
	for i := range w {
		w[i] = 0.01
	}
	w[5] = 3
	b.orig.SetInitializer("w", model.FromSlice([]int{64, 64}, w))
	b.add(&model.Node{Op: "LayerNormalization"})
	b.add(&model.Node{Op: "QuantizeLinear"})
	c["one scale per tensor"] = b

	b = newBuild("int8", nil).accuracy(-0.2)
	b.r.Target.Runtime, b.r.Host.ISA = "ort", []string{"avx", "avx2"}
	b.product(0, 256, 256)
	q := make([]int8, 256*256)
	q[77] = 127
	b.g.SetInitializer("w0", model.FromSlice([]int{256, 256}, q))
	c["sums that saturate"] = b

	b = newBuild("int8", map[string]any{"mode": "static", "calibration": "random"}).accuracy(-0.1)
	b.add(&model.Node{Op: "LayerNormalization"})
	b.conv(0, 64, 64, 1, "Conv")
	c["calibrated on random inputs"] = b

	b = newBuild("", nil).accuracy(-0.3)
	b.v.Stages = []reports.Stage{{Name: "prune", Options: map[string]any{"sparsity": 0.9}}}
	c["pruned without recovery training"] = b

	b = newBuild("int8", map[string]any{"mode": "static"}).accuracy(-0.1)
	for range 6 {
		b.add(&model.Node{Op: "LayerNormalization"})
		b.add(&model.Node{Op: "QuantizeLinear"})
	}
	c["outliers in activations"] = b

	b = newBuild("int4", map[string]any{"mode": "weight-only", "algorithm": "rtn"}).accuracy(-0.1)
	c["four bits, rounded to nearest"] = b

	b = newBuild("fp16", map[string]any{"storage": "graph"}).accuracy(-0.4)
	b.orig.SetInitializer("w", model.FromSlice([]int{2, 2}, []float32{1, 2, 3, 1e6}))
	c["values beyond fp16"] = b
}

// TestSeededCauses: the cause that was put into a case is named first. All of them: ten of twelve would be enough.
func TestSeededCauses(t *testing.T) {
	all := cases()
	if len(all) < 12 {
		t.Fatalf("%d cases", len(all))
	}
	for want, b := range all {
		got := Explain(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig})
		if len(got) == 0 || got[0].Name != want {
			t.Errorf("%s: got %+v", want, got)
		}
		for _, c := range got {
			if c.What == "" || c.Try == "" || !(c.Weight > 0 && c.Weight <= 1) {
				t.Errorf("%s: %+v says too little", want, c)
			}
		}
	}
}

// TestUndecided: what the interval does not tell from the promise is said to be undecided, and has no causes.
func TestUndecided(t *testing.T) {
	b := newBuild("int8", nil)
	b.r.Target.ISA, b.r.Host.ISA = "avx2", []string{"avx", "avx2"} // a cause that would be named
	for i := range 4 {
		b.product(i, 384, 380)
	}
	c := Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}
	b.v.Latency.Ratio.Value, b.v.Latency.Ratio.CI95 = 0.95, &reports.Interval{0.7, 1.3}
	b.v.Accuracy.Delta.Value, b.v.Accuracy.Delta.CI95 = -0.02, &reports.Interval{-0.05, 0.01}
	got := Effects(c)
	if len(got) != 2 || got[0].Decided || got[1].Decided {
		t.Errorf("wide intervals: %+v", got)
	}
	if causes := Explain(c); len(causes) > 0 {
		t.Errorf("causes of what is not decided: %+v", causes)
	}
	b.v.Latency.Ratio.CI95 = &reports.Interval{0.9, 1.0} // decidedly short of 0.8, though not slower than the original
	if causes := Explain(c); len(causes) == 0 || causes[0].Name != "no VNNI" {
		t.Errorf("a decided one: %+v", causes)
	}
	b.v.Latency.Ratio.Pairing, b.v.Latency.Ratio.N = reports.Pairing{NeededPairs: 8}, 5 // too few pairs for the report to claim anything
	if causes := Explain(c); len(causes) > 0 {
		t.Errorf("causes by %d pairs of 8: %+v", b.v.Latency.Ratio.N, causes)
	}
	said := func(want string) {
		t.Helper()
		for _, s := range Effects(c) {
			if s.Effect == Slower && !strings.Contains(s.What, want) {
				t.Errorf("%q, want %q in it", s.What, want)
			}
		}
	}
	said("; 5 pairs are too few to decide")
	b.v.Latency.Ratio.Decides = &reports.Interval{0.7, 1.2} // wider than what is shown, and it holds what was promised
	said("; decided by the wider interval of 5 pairs, [0.70, 1.20]")
}

// TestSchemesHavePromises: every scheme of a quantize stage has bounds, and a variant beyond them has effects and, of types that no
// CPU multiplies, the cause.
func TestSchemesHavePromises(t *testing.T) {
	for scheme, d := range map[string]model.DType{"int16": model.Int16, "uint16": model.Uint16, "fp8-e4m3": model.Float8E4M3FN, "fp8-e5m2": model.Float8E5M2,
		"uint8": model.Uint8, "uint4": model.Uint4, "int4": model.Int4, "bf16": model.BFloat16} {
		b := newBuild(scheme, map[string]any{"mode": "weight-only"}).latency(1.2).accuracy(-0.1)
		b.v.File.Bytes = 900000
		b.g.SetInitializer("s", model.Scalar[float32](1))
		w, err := model.NewTensor(d, []int{64, 64}, make([]byte, (64*64*d.Bits()+7)/8))
		if err != nil {
			t.Fatal(err)
		}
		b.g.SetInitializer("w", w)
		b.g.SetInitializer("left", model.FromSlice([]int{400, 400}, make([]float32, 160000)))
		b.add(&model.Node{Op: "DequantizeLinear", Inputs: []string{"w", "s"}, Outputs: []string{"wd"}})
		b.add(&model.Node{Op: "MatMul", Inputs: []string{"x", "wd"}, Outputs: []string{"y"}})
		b.add(&model.Node{Op: "LSTM", Inputs: []string{"y", "left"}, Outputs: []string{"z"}})
		c := Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}
		if got := Effects(c); len(got) != 3 {
			t.Errorf("%s: effects %+v", scheme, got)
		}
		names := map[string]bool{}
		for _, cause := range Explain(c) {
			names[cause.Name] = true
		}
		if !names["weights left in float"] {
			t.Errorf("%s: %v: 640 kB of an LSTM are left in float", scheme, names)
		}
		if wide := d.Bits() == 16 && !d.IsFloat() || d.Bits() == 8 && d.IsFloat(); wide != names["a type that no CPU multiplies"] {
			t.Errorf("%s: %v", scheme, names)
		}
	}
}

// TestLargestEffectFirst: of two effects the causes of the larger one come first.
func TestLargestEffectFirst(t *testing.T) {
	for _, slow := range []float64{0.82, 2.5} {
		b := newBuild("int8", nil).latency(slow)
		b.v.Latency.Ratio.CI95 = &reports.Interval{slow - 0.01, slow + 0.01}
		b.v.File.Bytes = 450000 // half beyond the promise
		for i := range 6 {
			b.conv(i, 30, 16, 1, "ConvInteger")
		}
		b.g.SetInitializer("table", model.FromSlice([]int{1000, 128}, make([]float32, 128000)))
		b.add(&model.Node{Op: "Gather", Inputs: []string{"table", "ids"}, Outputs: []string{"x0"}})
		got := Explain(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig})
		want := Larger
		if slow > 2 {
			want = Slower
		}
		if len(got) < 2 || got[0].Effect != want {
			t.Errorf("ratio of time %v, of size 0.45: %+v", slow, got)
		}
	}
}

// TestNothingToExplain: a variant that does what its scheme promises has no causes, nor has one without figures.
func TestNothingToExplain(t *testing.T) {
	b := newBuild("int8", nil)
	for i := range 4 {
		b.product(i, 380, 380)
	}
	if got := Explain(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}); len(got) > 0 {
		t.Errorf("causes of a variant that is fast, small and accurate: %+v", got)
	}
	empty := &reports.Result{Variants: []reports.Variant{{}, {}}}
	if got := Explain(Case{Result: empty, Variant: &empty.Variants[1], Baseline: &empty.Variants[0]}); len(got) > 0 {
		t.Errorf("causes without figures: %+v", got)
	}
}

// TestHalfInBF16: "computed with in float32" is no cause where the profile has products in bfloat16.
func TestHalfInBF16(t *testing.T) {
	for kernel, named := range map[string]bool{"gemm-bf16-avx512vnni": true, "gemm-bf16-amx": false, "gemm-bf16-avx512bf16": false, "": true} {
		b := newBuild("bf16", nil).latency(1)
		b.v.Profile = []reports.OpProfile{{Op: "MatMul", Kernel: kernel, Count: 1, Share: 1}}
		got := Explain(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig})
		if has := slices.ContainsFunc(got, func(c Cause) bool { return c.Name == "half-size weights are computed with in float32" }); has != named {
			t.Errorf("kernel %q: %+v", kernel, got)
		}
	}
}

// The remark on weight-only products follows the vectors that they really multiplied, and tells batch and length apart.
func TestWeightOnlyRows(t *testing.T) {
	const name = "weight-only for many vectors a run"
	find := func(batch, sequence int, macs int64) *Cause {
		b := newBuild("int4", nil).latency(1.6)
		b.r.Target.Batch, b.r.Target.Sequence = batch, sequence
		b.add(&model.Node{Op: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", "B"}, Outputs: []string{"y"},
			Attrs: []model.Attr{model.IntAttr("K", 64), model.IntAttr("N", 100)}})
		b.time("MatMulNBits", 0.9)
		if macs > 0 {
			b.v.Profile[0].MACs = &macs
		}
		for _, c := range Explain(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}) {
			if c.Name == name {
				return &c
			}
		}
		return nil
	}
	if c := find(1, 128, 0); c == nil || !strings.Contains(c.What, "128 vectors a run (batch 1, sequences of 128)") {
		t.Errorf("a sequence at batch 1: %+v", c)
	}
	if c := find(1, 128, 64*100); c != nil { // behind a pooling: one vector, whatever the sequence
		t.Errorf("one vector a run: %+v", c)
	}
	if c := find(64, 0, 64*64*100); c == nil || !strings.Contains(c.What, "64 vectors a run (batch 64)") {
		t.Errorf("a batch: %+v", c)
	}
	if c := find(1, 0, 0); c != nil {
		t.Errorf("nothing is known of more than one vector: %+v", c)
	}
}

// What is less accurate is told by the score and by its difference, which nobody can take for the score.
func TestLessAccurateIsTold(t *testing.T) {
	b := newBuild("int4", nil).accuracy(-0.05)
	for _, s := range Effects(Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}) {
		if s.Effect == LessAccurate && s.What != "accuracy 0.9000, a difference of -0.0500 [-0.0540, -0.0460]" {
			t.Errorf("%q", s.What)
		}
	}
}
