package verify_test

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize/verify"
)

// elsewhere returns a copy of a model of testdata/quantize that other tools made.
func elsewhere(t *testing.T, name string) *model.Graph {
	t.Helper()
	g, err := onnx.Load(filepath.Join("..", "..", "testdata", "quantize", name+".onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return g.Clone()
}

// othersModels are what onnxruntime.quantization and the optimiser of ONNX Runtime wrote: dynamic and static int8, QDQ and QOperator,
// with fused operators, and 4-bit blocks.
var othersModels = []string{"per-tensor", "per-channel", "static_qdq", "static_reduced", "elsewhere_qdq", "elsewhere_qoperator", "elsewhere_fused", "elsewhere_products",
	"elsewhere_nbits", "elsewhere_nbits_asym", "elsewhere_nbits_qdq"}

// TestIntegerOperators: one corruption of each kind in operators of the QLinear family and fused ones is found, under its rule.
func TestIntegerOperators(t *testing.T) {
	give := func(op string, i int, tensor *model.Tensor) func(*model.Graph) {
		return func(g *model.Graph) {
			g.SetInitializer("given", tensor)
			setInput(node(g, op), i, "given")
		}
	}
	one, two := model.Scalar[float32](0.5), model.FromSlice([]int{2}, []float32{0.5, 0.25})
	for _, k := range []struct {
		what, base string
		bad        func(*model.Graph)
		rule       verify.Rule
	}{
		{"scale of a sum that is 0", "elsewhere_qoperator", give("QLinearAdd", 6, model.Scalar[float32](0)), verify.RuleScale},
		{"scale of an operand that is no number", "elsewhere_qoperator", give("QLinearAdd", 4, model.Scalar(float32(math.NaN()))), verify.RuleScale},
		{"two scales of an operand", "elsewhere_qoperator", give("QLinearMul", 1, two), verify.RuleShape},
		{"two scales of a product", "elsewhere_qoperator", give("QLinearMul", 6, two), verify.RuleShape},
		{"zero point of another type", "elsewhere_qoperator", give("QLinearMul", 5, model.Scalar[int8](0)), verify.RuleZeroType},
		{"zero points of an operand", "elsewhere_qoperator", give("QLinearAdd", 2, model.FromSlice([]int{2}, []uint8{0, 0})), verify.RuleZeroShape},
		{"zero point of a result in int32", "elsewhere_qoperator", give("QLinearAdd", 7, model.Scalar[int32](0)), verify.RuleZeroType},
		{"an operand of Concat without its zero point", "elsewhere_qoperator", func(g *model.Graph) { n := node(g, "QLinearConcat"); n.Inputs = n.Inputs[:7] }, verify.RuleShape},
		{"scale of a part of Concat", "elsewhere_qoperator", give("QLinearConcat", 3, model.Scalar[float32](-1)), verify.RuleScale},
		{"zero point of Concat", "elsewhere_qoperator", give("QLinearConcat", 1, model.Scalar[int8](0)), verify.RuleZeroType},
		{"scale of a table", "elsewhere_qoperator", give("QLinearSigmoid", 3, two), verify.RuleShape},
		{"zero point of a table", "elsewhere_qoperator", give("QLinearLeakyRelu", 4, model.Scalar[int8](0)), verify.RuleZeroType},
		{"scale of an average", "elsewhere_qoperator", give("QLinearAveragePool", 1, model.Scalar(float32(math.Inf(1)))), verify.RuleScale},
		{"scale of a global average", "elsewhere_fused", give("QLinearGlobalAveragePool", 3, model.Scalar[float32](0)), verify.RuleScale},
		{"Softmax of no operator set", "elsewhere_qoperator", func(g *model.Graph) { node(g, "QLinearSoftmax").SetAttr(model.IntAttr("opset", 0)) }, verify.RuleOpset},
		{"QGemm in the default domain", "elsewhere_qoperator", func(g *model.Graph) { node(g, "QGemm").Domain = "" }, verify.RuleOpset},
		{"bias of QGemm in float", "elsewhere_qoperator", give("QGemm", 6, model.FromSlice([]int{12}, make([]float32, 12))), verify.RuleBias},
		{"scales fewer than columns", "elsewhere_products", give("MatMulIntegerToFloat", 3, model.FromSlice([]int{5}, []float32{1, 1, 1, 1, 1})), verify.RuleShape},
		{"asymmetric int8 weights", "elsewhere_products", give("MatMulIntegerToFloat", 5, model.FromSlice([]int{24}, slices.Repeat([]int8{1}, 24))), verify.RuleZeroValue},
		{"zero point of the activations in int8", "elsewhere_products", give("MatMulIntegerToFloat", 4, model.Scalar[int8](0)), verify.RuleZeroType},
		{"negative scales of a fused product", "elsewhere_products", give("DynamicQuantizeMatMul", 2, model.FromSlice([]int{8}, slices.Repeat([]float32{-1}, 8))), verify.RuleScale},
		{"zero points fewer than columns", "elsewhere_products", give("DynamicQuantizeMatMul", 3, model.FromSlice([]int{3}, make([]int8, 3))), verify.RuleZeroShape},
		{"weights of a fused product in a sixteenth of their range", "elsewhere_products", func(g *model.Graph) {
			w := g.Initializer(node(g, "DynamicQuantizeMatMul").In(1))
			q, err := model.Data[int8](w)
			if err != nil {
				t.Fatal(err)
			}
			q = slices.Clone(q)
			for i := range q {
				q[i] /= 16
			}
			give("DynamicQuantizeMatMul", 1, model.FromSlice(w.Shape(), q))(g)
		}, verify.RuleRange},
		{"bias of a fused product", "elsewhere_products", func(g *model.Graph) {
			n := node(g, "DynamicQuantizeMatMul")
			n.Inputs = append(n.Inputs[:4], "bias")
			g.SetInitializer("bias", model.FromSlice([]int{3}, make([]float32, 3)))
		}, verify.RuleBias},
		{"block table in the default domain", "elsewhere_nbits", func(g *model.Graph) { node(g, "GatherBlockQuantized").Domain = "" }, verify.RuleOpset},
		{"scales of a block table", "elsewhere_nbits", give("GatherBlockQuantized", 2, model.FromSlice([]int{96, 1}, make([]float32, 96))), verify.RuleShape},
		{"packed zero points of 4-bit blocks", "elsewhere_nbits_asym", give("MatMulNBits", 3, model.FromSlice([]int{48}, make([]byte, 48))), ""},
		{"packed zero points too few", "elsewhere_nbits_asym", give("MatMulNBits", 3, model.FromSlice([]int{47}, make([]byte, 47))), verify.RuleZeroShape},
		{"one scale for blocks", "elsewhere_nbits_qdq", func(g *model.Graph) {
			g.SetInitializer("given", one)
			setInput(named(g, firstBlocks(g)), 1, "given")
		}, ""},
		{"scales of other blocks", "elsewhere_nbits_qdq", func(g *model.Graph) { named(g, firstBlocks(g)).SetAttr(model.IntAttr("block_size", 16)) }, verify.RuleShape},
	} {
		g := elsewhere(t, k.base)
		k.bad(g)
		found := verify.Graph(g)
		if k.rule == "" { // allowed: a twin of the case behind it
			if len(found) > 0 {
				t.Errorf("%s: %v", k.what, found)
			}
			continue
		}
		if !slices.ContainsFunc(found, func(f verify.Finding) bool { return f.Rule == k.rule }) {
			t.Errorf("%s: want a finding of %q, got %v", k.what, k.rule, found)
		}
	}
}

// firstBlocks names the first node that dequantizes blocks.
func firstBlocks(g *model.Graph) string {
	return g.Nodes[slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Int("block_size", 0) > 0 })].Name
}
