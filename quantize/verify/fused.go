package verify

import (
	"github.com/wattshed/wattshed/model"
)

// RuleFused is the rule of Fused.
const RuleFused Rule = "fused"

// Fused compares a model with the operators that ONNX Runtime kept of it after its own optimisation (a histogram by
// operator): dynamically quantized products must have become DynamicQuantizeMatMul or MatMulIntegerToFloat, and operators
// between DequantizeLinear and QuantizeLinear integer ones. What is left in float runs slower than the float model did.
func Fused(g *model.Graph, optimised map[string]int) []Finding {
	c := &checker{root: g, once: map[string]bool{}}
	products := 0
	want := map[string]int{}
	c.expected(g, nil, &products, want)
	if left := optimised["MatMulInteger"]; products > 0 && left > 0 {
		c.add(RuleFused, nil, "", "%d of %d dynamically quantized products were not fused", min(left, products), products)
	}
	for _, op := range []string{"Conv", "MatMul", "Gemm"} {
		got := optimised[integerOps[op][0]]
		for _, alias := range integerOps[op][1:] {
			got += optimised[alias]
		}
		if got < want[op] {
			c.add(RuleFused, nil, "", "%d of %d %s between DequantizeLinear and QuantizeLinear did not become integer operators", want[op]-got, want[op], op)
		}
	}
	return c.found
}

// integerOps are the operators that ONNX Runtime makes of a float one between DequantizeLinear and QuantizeLinear.
var integerOps = map[string][]string{
	"Conv":   {"QLinearConv"},
	"MatMul": {"QLinearMatMul", "MatMulIntegerToFloat"},
	"Gemm":   {"QGemm", "QLinearMatMul"},
}

// expected counts what ONNX Runtime can fuse: products, and by operator nodes whose operands are all dequantized
// and whose result is only quantized.
func (c *checker) expected(g *model.Graph, outer *scope, products *int, want map[string]int) {
	s := newScope(g, outer)
	for _, n := range g.Nodes {
		if n.Is("MatMulInteger") {
			*products++
		}
		if integerOps[n.Op] != nil && n.Domain == "" && s.between(n) {
			want[n.Op]++
		}
		for _, sub := range n.Subgraphs() {
			c.expected(sub, s, products, want)
		}
	}
}

func (s *scope) between(n *model.Node) bool {
	for i := range 2 {
		if m := s.maker(n.In(i)); m == nil || !m.Is("DequantizeLinear") || m.Int("block_size", 0) != 0 {
			return false
		}
	}
	if b := s.maker(n.In(2)); n.In(2) != "" && (b == nil || !b.Is("DequantizeLinear")) {
		return false
	}
	readers := s.readers[n.Out(0)]
	return len(readers) == 1 && readers[0].Is("QuantizeLinear") && !s.outputs[n.Out(0)]
}
