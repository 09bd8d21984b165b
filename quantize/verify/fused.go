package verify

import (
	"maps"
	"slices"
	"strings"

	"github.com/wattshed/wattshed/model"
)

// RuleFused is the rule of Fused.
const RuleFused Rule = "fused"

// Fused compares a model with the operators that ONNX Runtime kept of it after its own optimisation (a histogram by
// operator): dynamically quantized products must have become DynamicQuantizeMatMul or MatMulIntegerToFloat, operators between
// DequantizeLinear and QuantizeLinear integer ones, products with 4-bit blocks MatMulNBits, and operators that are integer
// ones in the file must still be there. What is left in float runs slower than the float model did. Operators that the CPU
// provider computes in float whatever stands around them, as ConvTranspose, are not expected to be anything else, nor are
// 16-bit activations.
func Fused(g *model.Graph, optimised map[string]int) []Finding {
	c := &checker{root: g, once: map[string]bool{}}
	e := expected{float: map[string]int{}, stored: map[string]int{}}
	typed := g.Clone()
	if err := model.InferShapes(typed); err != nil { // a finding of Graph
		typed = g
	}
	e.walk(typed, nil)
	if left := optimised["MatMulInteger"]; e.products > 0 && left > 0 {
		c.add(RuleFused, nil, "", "%d of %d dynamically quantized products were not fused", min(left, e.products), e.products)
	}
	used := map[string]int{} // of the optimised operators, by those that are in the file or expected already
	for _, op := range slices.Sorted(maps.Keys(e.stored)) {
		if have := optimised[op]; have < e.stored[op] {
			c.add(RuleFused, nil, "", "%d of %d %s are not in the optimised graph", e.stored[op]-have, e.stored[op], op)
		}
		used[op] = e.stored[op]
	}
	for _, f := range fusions {
		want, left := e.float[f.key()], e.float[f.key()]
		for _, op := range f.becomes {
			n := min(left, max(0, optimised[op]-used[op]))
			used[op] += n
			left -= n
		}
		if left > 0 {
			c.add(RuleFused, nil, "", "%d of %d %s %s did not become %s", left, want, f.op, f.where(), strings.Join(f.becomes, " or "))
		}
	}
	return c.found
}

// fusion is what ONNX Runtime's CPU provider makes of a float operator with quantized operands (1.32,
// onnxruntime/core/optimizer/qdq_transformer/selectors_actions).
type fusion struct {
	op      string
	blocks  bool // the right-hand side has scales per block
	becomes []string
	anyway  bool // the weight is quantized for the integer operator alone: expected whatever reads the result
}

var fusions = []fusion{
	{op: "Conv", becomes: []string{"QLinearConv"}, anyway: true},
	{op: "Gemm", becomes: []string{"QGemm"}, anyway: true},
	{op: "MatMul", becomes: []string{"QLinearMatMul", "MatMulIntegerToFloat"}, anyway: true},
	{op: "MatMul", blocks: true, becomes: []string{"MatMulNBits"}, anyway: true},
	{op: "Add", becomes: []string{"QLinearAdd"}},
	{op: "Mul", becomes: []string{"QLinearMul"}},
	{op: "Concat", becomes: []string{"QLinearConcat"}},
	{op: "AveragePool", becomes: []string{"QLinearAveragePool"}},
	{op: "GlobalAveragePool", becomes: []string{"QLinearGlobalAveragePool"}},
	{op: "Sigmoid", becomes: []string{"QLinearSigmoid"}},
	{op: "LeakyRelu", becomes: []string{"QLinearLeakyRelu"}},
	{op: "Softmax", becomes: []string{"QLinearSoftmax"}},
}

func (f fusion) key() string {
	if f.blocks {
		return f.op + " with blocks"
	}
	return f.op
}

func (f fusion) where() string {
	switch {
	case f.blocks:
		return "with a weight in 4-bit blocks"
	case f.anyway:
		return "of dequantized operands"
	}
	return "between DequantizeLinear and QuantizeLinear"
}

// integer are the operators that compute with integers, or unpack them, in the file itself.
var integer = []string{"DynamicQuantizeLSTM", "MatMulNBits", "GatherBlockQuantized", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"}

// expected is what ONNX Runtime can make of a graph.
type expected struct {
	products int            // MatMulInteger
	float    map[string]int // float operators that have an integer form, by key of fusion
	stored   map[string]int // integer operators of the file
}

func (e *expected) walk(g *model.Graph, outer *scope) {
	s := newScope(g, outer)
	for _, n := range g.Nodes {
		switch {
		case n.Is("MatMulInteger"):
			e.products++
		case slices.Contains(integer, n.Op) || strings.HasPrefix(n.Op, "QLinear"):
			e.stored[n.Op]++
		}
		for _, f := range fusions {
			if n.Is(f.op) && f.fits(s, n) {
				e.float[f.key()]++
			}
		}
		for _, sub := range n.Subgraphs() {
			e.walk(sub, s)
		}
	}
}

// fits reports whether the operands of n are dequantized in the way of f.
func (f fusion) fits(s *scope, n *model.Node) bool {
	if f.blocks {
		w := s.maker(n.In(1))
		return w != nil && w.Is("DequantizeLinear") && w.Int("block_size", 0) >= 16 && w.Int("axis", 1) == 0 && s.dtype(w.In(0)).Bits() == 4 && s.constant(w.In(0)) != nil
	}
	for i, in := range n.Inputs {
		m := s.maker(in)
		bias := f.anyway && i == 2
		switch {
		case bias && in == "":
		case m == nil || !m.Is("DequantizeLinear") || m.Int("block_size", 0) != 0:
			return false
		case !bias && s.dtype(m.In(0)).Bits() != 8:
			return false
		}
	}
	if f.anyway {
		return s.constant(s.maker(n.In(1)).In(0)) != nil || s.quantizedOnly(n)
	}
	return s.quantizedOnly(n)
}

// quantizedOnly reports whether one QuantizeLinear and nothing else reads the result of n.
func (s *scope) quantizedOnly(n *model.Node) bool {
	readers := s.readers[n.Out(0)]
	return len(readers) == 1 && readers[0].Is("QuantizeLinear") && !s.outputs[n.Out(0)]
}
