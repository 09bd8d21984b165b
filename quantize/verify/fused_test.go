//go:build !static

package verify_test

import (
	"context"
	"iter"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// optimised returns the operators that ONNX Runtime keeps of g.
func optimised(t *testing.T, g *model.Graph) map[string]int {
	t.Helper()
	library := os.Getenv("WATTSHED_ORT")
	if library == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ORT names no ONNX Runtime")
		}
		t.Skip("WATTSHED_ORT names no ONNX Runtime")
	}
	rt := &ort.Runtime{Library: library}
	s, err := rt.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ops := s.Info().Ops
	if ops == nil {
		t.Fatal(s.Info().Warnings)
	}
	return ops
}

// network is a convolutional model with one of every operator that ONNX Runtime has an integer form of.
func network() *model.Graph {
	g := &model.Graph{Name: "net", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 1, 3, 12, 12)}, Outputs: []*model.Value{value("y", model.Float32, 1, 5)}}
	g.SetOpset("", 21)
	for i, w := range []struct {
		name  string
		shape []int
	}{{"w1", []int{8, 3, 3, 3}}, {"w2", []int{8, 8, 1, 1}}, {"wt", []int{16, 8, 2, 2}}, {"w3", []int{8, 8, 1, 1}}, {"wg", []int{12, 8}}, {"bg", []int{12}}, {"wm", []int{12, 8}}, {"wn", []int{8, 5}}} {
		g.SetInitializer(w.name, normal(uint64(i+1), w.shape...))
	}
	n := func(op, name, out string, attrs []model.Attr, in ...string) {
		g.Nodes = append(g.Nodes, &model.Node{Op: op, Name: name, Inputs: in, Outputs: []string{out}, Attrs: attrs})
	}
	two := []model.Attr{model.IntsAttr("kernel_shape", 2, 2), model.IntsAttr("strides", 2, 2)}
	n("Conv", "first", "a", []model.Attr{model.IntsAttr("pads", 1, 1, 1, 1)}, "x", "w1")
	n("LeakyRelu", "leaky", "al", nil, "a")
	n("Conv", "second", "b", nil, "al", "w2")
	n("Add", "sum", "s", nil, "al", "b")
	n("Sigmoid", "gate", "g", nil, "b")
	n("Mul", "gated", "m", nil, "s", "g")
	n("Concat", "joined", "c", []model.Attr{model.IntAttr("axis", 1)}, "m", "b")
	n("MaxPool", "most", "mp", two, "c")
	n("AveragePool", "mean", "ap", two, "mp")
	n("ConvTranspose", "up", "t", []model.Attr{model.IntsAttr("strides", 2, 2)}, "ap", "wt")
	n("Conv", "third", "u", nil, "t", "w3")
	n("GlobalAveragePool", "pool", "p", nil, "u")
	n("Flatten", "flat", "f", nil, "p")
	n("Gemm", "gemm", "h", []model.Attr{model.IntAttr("transB", 1)}, "f", "wg", "bg")
	n("MatMul", "matmul", "i", nil, "h", "wm")
	n("MatMul", "last", "y", nil, "i", "wn")
	return g
}

func feeds(n int, shape ...int) engine.Feeds {
	var all []engine.Feed
	for i := range n {
		all = append(all, engine.Feed{"x": normal(uint64(100+i), shape...)})
	}
	return engine.Feeds{N: n, All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range all {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

func static(t *testing.T, f quantize.Format) *model.Graph {
	t.Helper()
	g := network()
	if _, err := (quantize.Static{Format: f}).Apply(context.Background(), g, feeds(4, 1, 3, 12, 12)); err != nil {
		t.Fatal(err)
	}
	return g
}

// blocks is a model of two products in 4-bit blocks.
func blocks(t *testing.T, f quantize.Format) *model.Graph {
	t.Helper()
	g := &model.Graph{Name: "b", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 3, 64)}, Outputs: []*model.Value{value("y", model.Float32, 3, 24)}}
	g.SetOpset("", 21)
	g.SetInitializer("w1", normal(1, 64, 64))
	g.SetInitializer("w2", normal(2, 64, 24))
	g.Nodes = []*model.Node{{Op: "MatMul", Name: "first", Inputs: []string{"x", "w1"}, Outputs: []string{"h"}}, {Op: "MatMul", Name: "second", Inputs: []string{"h", "w2"}, Outputs: []string{"y"}}}
	if _, err := (quantize.WeightOnly{Algorithm: quantize.RTN, Bits: 4, Group: 32, Symmetric: true, Format: f}).Apply(context.Background(), g); err != nil {
		t.Fatal(err)
	}
	return g
}

// pair returns products of one input, which share its quantization, and one behind them.
func pair(t *testing.T) *model.Graph {
	t.Helper()
	g := &model.Graph{Name: "p", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 3, 64)}, Outputs: []*model.Value{value("y", model.Float32, 3, 16)}}
	g.SetOpset("", 17)
	g.SetInitializer("a.w", normal(1, 64, 48))
	g.SetInitializer("b.w", normal(2, 64, 48))
	g.SetInitializer("c.w", normal(3, 48, 16))
	g.Nodes = []*model.Node{{Op: "MatMul", Name: "a", Inputs: []string{"x", "a.w"}, Outputs: []string{"a"}}, {Op: "MatMul", Name: "b", Inputs: []string{"x", "b.w"}, Outputs: []string{"b"}},
		{Op: "Add", Name: "c", Inputs: []string{"a", "b"}, Outputs: []string{"c"}}, {Op: "MatMul", Name: "d", Inputs: []string{"c", "c.w"}, Outputs: []string{"y"}}}
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestFused: ONNX Runtime makes of every file that this project writes what is expected, and the optimised graph does hold the
// operators that the case is about.
func TestFused(t *testing.T) {
	qlinear := []string{"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "QGemm", "QLinearMatMul",
		"MatMulIntegerToFloat", "ConvTranspose"}
	for name, c := range map[string]struct {
		g    *model.Graph
		want []string
	}{
		"static, QDQ":                {static(t, quantize.QDQ), qlinear},
		"static, QOperator":          {static(t, quantize.QOperator), qlinear},
		"dynamic, LSTM":              {dynamic(t), []string{"DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}},
		"dynamic, shared input":      {pair(t), []string{"MatMulIntegerToFloat", "DynamicQuantizeMatMul"}},
		"blocks, MatMulNBits":        {blocks(t, quantize.NBits), []string{"MatMulNBits"}},
		"blocks, QDQ":                {blocks(t, quantize.QDQ), []string{"MatMulNBits"}},
		"half-size weights":          {half(t), nil},
		"quantize_static, QDQ":       {elsewhere(t, "elsewhere_qdq"), append([]string{"QLinearSoftmax"}, qlinear[:10]...)},
		"quantize_static, QOperator": {elsewhere(t, "elsewhere_qoperator"), append([]string{"QLinearSoftmax"}, qlinear[:10]...)},
		"MatMulNBitsQuantizer":       {elsewhere(t, "elsewhere_nbits"), []string{"MatMulNBits", "GatherBlockQuantized"}},
		"MatMulNBitsQuantizer, QDQ":  {elsewhere(t, "elsewhere_nbits_qdq"), []string{"MatMulNBits"}},
	} {
		ops := optimised(t, c.g)
		if found := verify.Fused(c.g, ops); len(found) > 0 {
			t.Errorf("%s: %v; %v", name, found, ops)
		}
		for _, op := range c.want {
			if ops[op] == 0 {
				t.Errorf("%s: no %s in the optimised graph: %v", name, op, ops)
			}
		}
	}
}

// TestNotFused: files that are broken so that ONNX Runtime loads them and computes in float what should be integers: one for every
// pattern. Its own optimised graph is what is judged.
func TestNotFused(t *testing.T) {
	behind := func(g *model.Graph, name string) *model.Node { // the node that reads the result
		out := named(g, name).Out(0)
		return g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return slices.Contains(n.Inputs, out) })]
	}
	// unquantized gives the result of a node to all that read its dequantized form, but for the quantization that must be there.
	unquantized := func(name string) func(*model.Graph) {
		return func(g *model.Graph) {
			n := named(g, name)
			q := behind(g, name)
			if !q.Is("QuantizeLinear") {
				t.Fatalf("%s is read by %s", name, q)
			}
			dq := g.Nodes[slices.IndexFunc(g.Nodes, func(m *model.Node) bool { return m.Is("DequantizeLinear") && m.In(0) == q.Out(0) })]
			for _, m := range g.Nodes {
				for i, in := range m.Inputs {
					if in == dq.Out(0) {
						m.Inputs[i] = n.Out(0)
					}
				}
			}
			g.Nodes = slices.DeleteFunc(g.Nodes, func(m *model.Node) bool { return m == q || m == dq })
		}
	}
	// other16 quantizes the result with 16 bits, which the integer kernels do not write.
	other16 := func(name string) func(*model.Graph) {
		return func(g *model.Graph) {
			q := behind(g, name)
			g.SetInitializer("z16", model.Scalar[uint16](100))
			for _, m := range g.Nodes {
				if m == q || m.Is("DequantizeLinear") && m.In(0) == q.Out(0) {
					m.Inputs = []string{m.In(0), m.In(1), "z16"}
				}
			}
		}
	}
	// watched makes the result of a node an output of the graph too.
	watched := func(out string, shape ...int) func(*model.Graph) {
		return func(g *model.Graph) { g.Outputs = append(g.Outputs, value(out, model.Float32, shape...)) }
	}
	qdqNet := func() *model.Graph { return static(t, quantize.QDQ) }
	for _, k := range []struct {
		what, names string
		base        func() *model.Graph
		bad         func(*model.Graph)
	}{
		{"the result of a convolution in float", "Conv", qdqNet, unquantized("third")},
		{"a sum in 16 bits", "Add", qdqNet, other16("sum")},
		{"a product in 16 bits", "Mul", qdqNet, other16("gated")},
		{"a concatenation in 16 bits", "Concat", qdqNet, other16("joined")},
		{"an average in 16 bits", "AveragePool", qdqNet, other16("mean")},
		{"a global average in 16 bits", "GlobalAveragePool", qdqNet, other16("pool")},
		{"a sigmoid in 16 bits", "Sigmoid", qdqNet, other16("gate")},
		{"a leaky ReLU in 16 bits", "LeakyRelu", qdqNet, other16("leaky")},
		{"a Gemm in 16 bits", "Gemm", qdqNet, other16("gemm")},
		{"a MatMul in 16 bits", "MatMul", qdqNet, other16("matmul")},
		{"a product whose sums are an output", "dynamically quantized products", func() *model.Graph { return pair(t) }, func(g *model.Graph) {
			m := node(g, "MatMulInteger")
			g.Outputs = append(g.Outputs, value(m.Out(0), model.Int32, 3, 48))
		}},
		{"a product whose Cast is an output", "dynamically quantized products", func() *model.Graph { return pair(t) }, func(g *model.Graph) {
			watched(castOfProduct(g).Out(0), 3, 48)(g)
		}},
		{"blocks whose dequantized weight is an output", "4-bit blocks", func() *model.Graph { return blocks(t, quantize.QDQ) }, func(g *model.Graph) {
			watched(node(g, "DequantizeLinear").Out(0), 64, 64)(g)
		}},
	} {
		g := k.base()
		k.bad(g)
		ops := optimised(t, g)
		found := verify.Fused(g, ops)
		if !slices.ContainsFunc(found, func(f verify.Finding) bool { return f.Rule == verify.RuleFused && strings.Contains(f.What, k.names) }) {
			t.Errorf("%s: want a finding about %s, got %v; %v", k.what, k.names, found, ops)
		}
	}
	for op := range integerOperators(t) { // and operators of the file that are not there any more
		g := static(t, quantize.QOperator)
		if op == "DynamicQuantizeLSTM" {
			g = dynamic(t)
		} else if op == "MatMulNBits" {
			g = blocks(t, quantize.NBits)
		}
		ops := maps.Clone(optimised(t, g))
		ops[op]--
		if found := verify.Fused(g, ops); len(found) != 1 || !strings.Contains(found[0].What, op) {
			t.Errorf("%s lost: %v", op, found)
		}
	}
}

// integerOperators are those of the files that write them.
func integerOperators(t *testing.T) map[string]bool {
	out := map[string]bool{"DynamicQuantizeLSTM": true, "MatMulNBits": true}
	for _, n := range static(t, quantize.QOperator).Nodes {
		if strings.HasPrefix(n.Op, "QLinear") || n.Op == "QGemm" {
			out[n.Op] = true
		}
	}
	return out
}
