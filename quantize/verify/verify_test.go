package verify_test

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

func value(name string, d model.DType, shape ...int) *model.Value {
	return &model.Value{Name: name, Type: model.Type{DType: d, Shape: model.FixedShape(shape...)}}
}

func normal(seed uint64, shape ...int) *model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return model.FromSlice(shape, x)
}

// float returns a model of an embedding, two products and an LSTM.
func float() *model.Graph {
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("ids", model.Int64, 5)},
		Outputs: []*model.Value{value("y", model.Float32, 5, 1, 8)}}
	g.SetOpset("", 21)
	g.SetInitializer("table", normal(1, 200, 64))
	g.SetInitializer("w1", normal(2, 64, 24))
	g.SetInitializer("w2", normal(3, 12, 24))
	g.SetInitializer("b2", normal(4, 12))
	g.SetInitializer("one", model.FromSlice([]int{1}, []int64{1}))
	g.SetInitializer("W", normal(5, 1, 32, 12))
	g.SetInitializer("R", normal(6, 1, 32, 8))
	g.Nodes = []*model.Node{
		{Name: "embed", Op: "Gather", Inputs: []string{"table", "ids"}, Outputs: []string{"e"}},
		{Name: "first", Op: "MatMul", Inputs: []string{"e", "w1"}, Outputs: []string{"h"}},
		{Name: "second", Op: "Gemm", Inputs: []string{"h", "w2", "b2"}, Outputs: []string{"h2"}, Attrs: []model.Attr{model.IntAttr("transB", 1)}},
		{Name: "row", Op: "Unsqueeze", Inputs: []string{"h2", "one"}, Outputs: []string{"x"}},
		{Name: "lstm", Op: "LSTM", Inputs: []string{"x", "W", "R"}, Outputs: []string{"", "y0", ""}, Attrs: []model.Attr{model.IntAttr("hidden_size", 8)}},
		{Name: "spread", Op: "Expand", Inputs: []string{"y0", "shape"}, Outputs: []string{"y"}},
	}
	g.SetInitializer("shape", model.FromSlice([]int{3}, []int64{5, 1, 8}))
	return g
}

func dynamic(t *testing.T) *model.Graph {
	t.Helper()
	g := float()
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func half(t *testing.T) *model.Graph {
	t.Helper()
	g := float()
	if _, err := quantize.HalfWeights(g, model.Float16); err != nil {
		t.Fatal(err)
	}
	return g
}

// codes returns pseudo-random int8 that reach both ends of the symmetric range in every row of the given length.
func codes(seed uint64, shape ...int) *model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	rng := rand.New(rand.NewPCG(seed, 9))
	q := make([]int8, n)
	for i := range q {
		q[i] = int8(rng.IntN(255) - 127)
	}
	for i := 0; i < n; i += n / shape[0] {
		q[i] = 127
	}
	return model.FromSlice(shape, q)
}

// qdq returns a static QDQ convolution: per-channel weights, int32 bias, int4 weights in blocks behind it.
func qdq() *model.Graph {
	g := &model.Graph{Name: "q", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 1, 3, 8, 8)},
		Outputs: []*model.Value{value("y", model.Float32, 1, 4, 8, 5)}}
	g.SetOpset("", 21)
	f := func(name string, v ...float32) { g.SetInitializer(name, model.FromSlice([]int{len(v)}, v)) }
	g.SetInitializer("xs", model.Scalar[float32](0.5))
	g.SetInitializer("xz", model.Scalar[uint8](3))
	g.SetInitializer("w_quantized", codes(1, 4, 3, 3, 3))
	f("w_scale", 0.25, 0.5, 0.125, 1)
	g.SetInitializer("w_zero_point", model.FromSlice([]int{4}, make([]int8, 4)))
	g.SetInitializer("b_quantized", model.FromSlice([]int{4}, []int32{1, -2, 3, 400}))
	f("b_scale", 0.125, 0.25, 0.0625, 0.5)
	packed := make([]byte, 18) // 35 int4 values [7 5] and a nibble of padding
	for i := range packed {
		packed[i] = 0x7f
	}
	packed[17] = 0x07
	m, err := model.NewTensor(model.Int4, []int{7, 5}, packed)
	if err != nil {
		panic(err)
	}
	g.SetInitializer("m_quantized", m)
	g.SetInitializer("m_scale", normal(3, 2, 5))
	s, _ := g.Initializer("m_scale").Float32()
	for i := range s {
		s[i] = float32(math.Abs(float64(s[i]))) + 0.01
	}
	g.SetInitializer("m_scale", model.FromSlice([]int{2, 5}, s))
	g.SetInitializer("cut", model.FromSlice([]int{4}, []int64{0, 0, 0, 0}))
	g.SetInitializer("end", model.FromSlice([]int{4}, []int64{1, 4, 8, 7}))
	g.Nodes = []*model.Node{
		{Name: "q", Op: "QuantizeLinear", Inputs: []string{"x", "xs", "xz"}, Outputs: []string{"xq"}},
		{Name: "dq", Op: "DequantizeLinear", Inputs: []string{"xq", "xs", "xz"}, Outputs: []string{"xd"}},
		{Name: "wdq", Op: "DequantizeLinear", Inputs: []string{"w_quantized", "w_scale", "w_zero_point"}, Outputs: []string{"wd"}, Attrs: []model.Attr{model.IntAttr("axis", 0)}},
		{Name: "bdq", Op: "DequantizeLinear", Inputs: []string{"b_quantized", "b_scale"}, Outputs: []string{"bd"}, Attrs: []model.Attr{model.IntAttr("axis", 0)}},
		{Name: "conv", Op: "Conv", Inputs: []string{"xd", "wd", "bd"}, Outputs: []string{"c"}, Attrs: []model.Attr{model.IntsAttr("pads", 1, 1, 1, 1)}},
		{Name: "crop", Op: "Slice", Inputs: []string{"c", "cut", "end"}, Outputs: []string{"s"}},
		{Name: "mdq", Op: "DequantizeLinear", Inputs: []string{"m_quantized", "m_scale"}, Outputs: []string{"md"}, Attrs: []model.Attr{model.IntAttr("axis", 0), model.IntAttr("block_size", 4)}},
		{Name: "product", Op: "MatMul", Inputs: []string{"s", "md"}, Outputs: []string{"y"}},
	}
	return g
}

// nbits returns a product with block-wise 4-bit weights.
func nbits() *model.Graph {
	g := &model.Graph{Name: "n", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 2, 40)},
		Outputs: []*model.Value{value("y", model.Float32, 2, 6)}}
	g.SetOpset("", 21)
	g.SetOpset("com.microsoft", 1)
	b := make([]byte, 6*3*8)
	for i := range b {
		b[i] = byte(i*37) | 0x0f
	}
	g.SetInitializer("B", model.FromSlice([]int{6, 3, 8}, b))
	g.SetInitializer("s", normal(4, 18))
	g.Nodes = []*model.Node{{Name: "mm", Op: "MatMulNBits", Domain: "com.microsoft", Inputs: []string{"x", "B", "s"}, Outputs: []string{"y"},
		Attrs: []model.Attr{model.IntAttr("K", 40), model.IntAttr("N", 6), model.IntAttr("bits", 4), model.IntAttr("block_size", 16)}}}
	return g
}

func node(g *model.Graph, op string) *model.Node {
	return g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Op == op })]
}

// castOfProduct returns the Cast behind the first MatMulInteger.
func castOfProduct(g *model.Graph) *model.Node {
	m := node(g, "MatMulInteger")
	return g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Op == "Cast" && n.In(0) == m.Out(0) })]
}

func named(g *model.Graph, name string) *model.Node {
	return g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Name == name })]
}

// edit replaces a float32 initializer by a changed copy.
func edit(g *model.Graph, name string, change func([]float32)) {
	t := g.Initializer(name)
	x, err := t.Float32()
	if err != nil {
		panic(err)
	}
	x = slices.Clone(x)
	change(x)
	u, err := model.FromFloat32(t.DType(), t.Shape(), x)
	if err != nil {
		panic(err)
	}
	g.SetInitializer(name, u)
}

func setInput(n *model.Node, i int, name string) { n.Inputs[i] = name }

// corruption is something that may be wrong with a written model.
type corruption struct {
	what string
	base func() *model.Graph
	bad  func(*model.Graph)
	rule verify.Rule
	find func(*model.Graph) []verify.Finding
}

// TestCorruptions: one corruption of each kind is found, under its rule, and the models themselves have none. No rule of the package is without.
func TestCorruptions(t *testing.T) {
	scale := func(f float32) func([]float32) {
		return func(x []float32) {
			for i := range x {
				x[i] *= f
			}
		}
	}
	zeros := func(d model.DType, n int) *model.Tensor {
		z, err := model.NewTensor(d, []int{n}, make([]byte, d.Size(n)))
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	kinds := []corruption{
		{"zero point of another type", qdq, func(g *model.Graph) { g.SetInitializer("w_zero_point", zeros(model.Uint8, 4)) }, verify.RuleZeroType, verify.Graph},
		{"activation zero point of another type", qdq, func(g *model.Graph) {
			g.SetInitializer("z8", model.Scalar[int8](3))
			setInput(named(g, "dq"), 2, "z8")
		}, verify.RuleZeroType, verify.Graph},
		{"zero points fewer than scales", qdq, func(g *model.Graph) { g.SetInitializer("w_zero_point", zeros(model.Int8, 3)) }, verify.RuleZeroShape, verify.Graph},
		{"zero points that differ over channels", qdq, func(g *model.Graph) { g.SetInitializer("w_zero_point", model.FromSlice([]int{4}, []int8{0, 1, 0, 0})) }, verify.RuleZeroValue, verify.Graph},
		{"zero point of a bias", qdq, func(g *model.Graph) {
			g.SetInitializer("bz", model.FromSlice([]int{4}, []int32{0, 0, 7, 0}))
			n := named(g, "bdq")
			n.Inputs = append(n.Inputs, "bz")
		}, verify.RuleZeroValue, verify.Graph},
		{"infinite scale", qdq, func(g *model.Graph) { edit(g, "w_scale", func(x []float32) { x[2] = float32(math.Inf(1)) }) }, verify.RuleScale, verify.Graph},
		{"negative scale", qdq, func(g *model.Graph) { edit(g, "w_scale", scale(-1)) }, verify.RuleScale, verify.Graph},
		{"zero scale", qdq, func(g *model.Graph) { edit(g, "w_scale", func(x []float32) { x[0] = 0 }) }, verify.RuleScale, verify.Graph},
		{"scales fewer than channels", qdq, func(g *model.Graph) {
			g.SetInitializer("w_scale", model.FromSlice([]int{3}, []float32{1, 1, 1}))
			g.SetInitializer("w_zero_point", zeros(model.Int8, 3))
		}, verify.RuleShape, verify.Graph},
		{"axis of the inputs", qdq, func(g *model.Graph) {
			named(g, "wdq").SetAttr(model.IntAttr("axis", 1))
			g.SetInitializer("w_scale", model.FromSlice([]int{3}, []float32{1, 1, 1}))
			g.SetInitializer("w_zero_point", zeros(model.Int8, 3))
		}, verify.RuleAxis, verify.Graph},
		{"axis beyond the rank", qdq, func(g *model.Graph) { named(g, "wdq").SetAttr(model.IntAttr("axis", 4)) }, verify.RuleAxis, verify.Graph},
		{"scale of a bias", qdq, func(g *model.Graph) { edit(g, "b_scale", scale(2)) }, verify.RuleBias, verify.Graph},
		{"scales of a pair", qdq, func(g *model.Graph) {
			g.SetInitializer("xs2", model.Scalar[float32](0.75))
			setInput(named(g, "dq"), 1, "xs2")
		}, verify.RulePair, verify.Graph},
		{"blocks of another size", qdq, func(g *model.Graph) { named(g, "mdq").SetAttr(model.IntAttr("block_size", 2)) }, verify.RuleShape, verify.Graph},
		{"padding that is not zero", qdq, func(g *model.Graph) {
			raw, _ := g.Initializer("m_quantized").Bytes()
			raw = slices.Clone(raw)
			raw[17] |= 0x50
			m, _ := model.NewTensor(model.Int4, []int{7, 5}, raw)
			g.SetInitializer("m_quantized", m)
		}, verify.RulePadding, verify.Graph},
		{"operator set before blocks", qdq, func(g *model.Graph) { g.SetOpset("", 19) }, verify.RuleOpset, verify.Graph},
		{"operator set beyond the runtimes", qdq, func(g *model.Graph) { g.SetOpset("", 28) }, verify.RuleOpset, verify.Graph},
		{"IR version before int4", qdq, func(g *model.Graph) { g.Model.IRVersion = 8 }, verify.RuleIR, verify.Graph},
		{"weights divided by eight and more", qdq, func(g *model.Graph) {
			q, _ := model.Data[int8](g.Initializer("w_quantized"))
			q = slices.Clone(q)
			for i := range q {
				q[i] /= 16
			}
			g.SetInitializer("w_quantized", model.FromSlice([]int{4, 3, 3, 3}, q))
		}, verify.RuleRange, verify.Graph},
		{"a value that nothing makes", qdq, func(g *model.Graph) { setInput(named(g, "conv"), 0, "nowhere") }, verify.RuleGraph, verify.Graph},
		{"a product behind no Cast", func() *model.Graph { return dynamic(t) }, func(g *model.Graph) { castOfProduct(g).Op = "Identity" }, verify.RulePattern, verify.Graph},
		{"a Cast to half", func() *model.Graph { return dynamic(t) }, func(g *model.Graph) {
			castOfProduct(g).SetAttr(model.IntAttr("to", int64(model.Float16)))
		}, verify.RulePattern, verify.Graph},
		{"asymmetric int8 weights", func() *model.Graph { return dynamic(t) }, func(g *model.Graph) {
			g.SetInitializer("w1_zero_point", model.FromSlice([]int{24}, slices.Repeat([]int8{1}, 24)))
		}, verify.RuleZeroValue, verify.Graph},
		{"gate scales of the wrong size", func() *model.Graph { return dynamic(t) }, func(g *model.Graph) {
			g.SetInitializer(node(g, "DynamicQuantizeLSTM").In(8), model.FromSlice([]int{1, 16}, slices.Repeat([]float32{1}, 16)))
		}, verify.RuleShape, verify.Graph},
		{"hidden size of another model", func() *model.Graph { return dynamic(t) }, func(g *model.Graph) {
			node(g, "DynamicQuantizeLSTM").SetAttr(model.IntAttr("hidden_size", 16))
		}, verify.RuleShape, verify.Graph},
		{"a float16 weight beyond the range", func() *model.Graph { return half(t) }, func(g *model.Graph) {
			n := node(g, "Cast")
			edit(g, n.In(0), func(x []float32) { x[3] = float32(math.Inf(-1)) })
		}, verify.RuleOverflow, verify.Graph},
		{"K of another matrix", nbits, func(g *model.Graph) { node(g, "MatMulNBits").SetAttr(model.IntAttr("K", 64)) }, verify.RuleBlock, verify.Graph},
		{"bits of another packing", nbits, func(g *model.Graph) { node(g, "MatMulNBits").SetAttr(model.IntAttr("bits", 8)) }, verify.RuleBlock, verify.Graph},
		{"blocks of 24", nbits, func(g *model.Graph) { node(g, "MatMulNBits").SetAttr(model.IntAttr("block_size", 24)) }, verify.RuleBlock, verify.Graph},
		{"scales of another block size", nbits, func(g *model.Graph) { g.SetInitializer("s", normal(1, 12)) }, verify.RuleShape, verify.Graph},
		{"scale that is no number", nbits, func(g *model.Graph) { edit(g, "s", func(x []float32) { x[5] = float32(math.NaN()) }) }, verify.RuleScale, verify.Graph},
		{"packed zero points too few", nbits, func(g *model.Graph) {
			g.SetInitializer("z", model.FromSlice([]int{6}, make([]byte, 6)))
			node(g, "MatMulNBits").Inputs = []string{"x", "B", "s", "z"}
		}, verify.RuleZeroShape, verify.Graph},
		{"packed weights of another type", nbits, func(g *model.Graph) {
			b := g.Initializer("B")
			x, _ := b.Bytes()
			other, err := model.NewTensor(model.Int8, b.Shape(), slices.Clone(x))
			if err != nil {
				t.Fatal(err)
			}
			g.SetInitializer("B", other)
		}, verify.RuleType, verify.Graph},
		{"the operator in the default domain", nbits, func(g *model.Graph) { node(g, "MatMulNBits").Domain = "" }, verify.RuleOpset, verify.Graph},
	}
	for i, base := range []*model.Graph{qdq(), nbits(), dynamic(t), half(t)} {
		if found := verify.Graph(base); len(found) > 0 {
			t.Errorf("model %d as written: %v", i, found)
		}
	}
	rules := map[verify.Rule]bool{}
	for _, k := range append(kinds, compared(t)...) {
		rules[k.rule] = true
		g := k.base()
		if found := k.find(g); len(found) > 0 {
			t.Errorf("%s: before it: %v", k.what, found)
		}
		k.bad(g)
		found := k.find(g)
		if !slices.ContainsFunc(found, func(f verify.Finding) bool { return f.Rule == k.rule }) {
			t.Errorf("%s: want a finding of %q, got %v", k.what, k.rule, found)
		}
	}
	for _, r := range everyRule(t) {
		if !rules[r] {
			t.Errorf("no corruption breaks the rule %q", r)
		}
	}
}

// TestAgainst: restored weights are compared with the original's, and a fault in integers, scales or float weights shows.
func TestAgainst(t *testing.T) {
	restored, found := verify.Against(dynamic(t), float())
	if len(restored) != 5 || len(found) != 0 {
		t.Errorf("dynamic int8: %d weights restored of 5, %v", len(restored), found)
	}
	for _, r := range restored {
		// A uniform error of a 255th of about 6 sigma, a variance of (6/255)^2/12 against 1.
		if r.SQNR < 38 || r.SQNR > 50 {
			t.Errorf("%s: %.1f dB", r.Weight, r.SQNR)
		}
	}
	if restored, found = verify.Against(half(t), float()); len(restored) != 5 || len(found) != 0 { // the bias is too short to be stored in half
		t.Errorf("fp16: %d weights restored of 5, %v", len(restored), found)
	}
	bad := dynamic(t)
	edit(bad, "w1_scale", func(x []float32) {
		for i := range x {
			x[i] *= 2
		}
	})
	if _, found = verify.Against(bad, float()); len(found) != 1 || found[0].Rule != verify.RuleError {
		t.Errorf("doubled scales: %v", found)
	}
	bad = dynamic(t)
	edit(bad, "b2", func(x []float32) {
		for i := range x {
			x[i] = -x[i] - 1
		}
	})
	if _, found = verify.Against(bad, float()); len(found) != 1 || found[0].Rule != verify.RuleChanged {
		t.Errorf("another bias: %v", found)
	}
}

// TestWrittenElsewhere: models that other tools quantized have no findings.
func TestWrittenElsewhere(t *testing.T) {
	for _, name := range othersModels {
		if found := verify.Graph(elsewhere(t, name)); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	path := filepath.Join(os.Getenv("WATTSHED_ASSETS"), "M3", "all-minilm-l6-v2-q.onnx")
	if _, err := os.Stat(path); os.Getenv("WATTSHED_ASSETS") == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS has no M3")
		}
		t.Skip("WATTSHED_ASSETS has no M3")
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if found := verify.Graph(f.Graph()); len(found) > 0 {
		t.Errorf("%s: %v", path, found)
	}
}
