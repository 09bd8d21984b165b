package verify_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize/verify"
)

// everyRule returns the rules that the package declares, as its source has them.
func everyRule(t *testing.T) []verify.Rule {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var rules []verify.Rule
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if of, ok := spec.Type.(*ast.Ident); !ok || of.Name != "Rule" {
				return true
			}
			for _, v := range spec.Values {
				text, err := strconv.Unquote(v.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				rules = append(rules, verify.Rule(text))
			}
			return true
		})
	}
	if len(rules) < 20 || !slices.Contains(rules, verify.RuleGraph) || !slices.Contains(rules, verify.RuleFused) {
		t.Fatalf("the source has %d rules: %v", len(rules), rules)
	}
	return rules
}

// compared are corruptions that the file alone does not show: beside the original, beside what the file says was written, or beside what a
// runtime made of it.
func compared(t *testing.T) []corruption {
	quantized := func() *model.Graph { return dynamic(t) }
	against := func(g *model.Graph) []verify.Finding {
		_, found := verify.Against(g, float())
		return found
	}
	// A product whose sums something else reads is not fused (TestNotFused has that from ONNX Runtime itself).
	fused := func(g *model.Graph) []verify.Finding {
		ops := map[string]int{"DynamicQuantizeLSTM": 1}
		for _, n := range g.Nodes {
			if n.Is("MatMulInteger") {
				op := "DynamicQuantizeMatMul"
				if slices.ContainsFunc(g.Outputs, func(v *model.Value) bool { return v.Name == n.Out(0) }) {
					op = n.Op
				}
				ops[op]++
			}
		}
		return verify.Fused(g, ops)
	}
	all := func(f func(x float32) float32) func([]float32) {
		return func(x []float32) {
			for i := range x {
				x[i] = f(x[i])
			}
		}
	}
	return []corruption{
		{"scales of twice the size", quantized, func(g *model.Graph) { edit(g, "w1_scale", all(func(x float32) float32 { return 2 * x })) }, verify.RuleError, against},
		{"codes of rows that changed places", quantized, func(g *model.Graph) {
			q, err := model.Data[int8](g.Initializer("w1_quantized"))
			if err != nil {
				t.Fatal(err)
			}
			q = slices.Clone(q)
			for i := range 32 * 24 { // the first half of 64 rows with the second
				q[i], q[i+32*24] = q[i+32*24], q[i]
			}
			g.SetInitializer("w1_quantized", model.FromSlice([]int{64, 24}, q))
		}, verify.RuleError, against},
		{"a float weight of another sign", quantized, func(g *model.Graph) { edit(g, "b2", all(func(x float32) float32 { return -x })) }, verify.RuleChanged, against},
		{"a float weight of another length", quantized, func(g *model.Graph) { g.SetInitializer("b2", normal(4, 11)) }, verify.RuleChanged, against},
		{"the file of another model", func() *model.Graph { return float() }, func(g *model.Graph) {
			for i, name := range []string{"table", "w1", "w2", "W", "R"} {
				g.SetInitializer(name, normal(uint64(40+i), g.Initializer(name).Shape()...))
			}
		}, verify.RuleOrigin, against},
		{"one bit of a code", func() *model.Graph { return recorded(t, dynamic(t)) }, func(g *model.Graph) {
			q, err := model.Data[int8](g.Initializer("w1_quantized"))
			if err != nil {
				t.Fatal(err)
			}
			q = slices.Clone(q)
			q[700] ^= 1
			g.SetInitializer("w1_quantized", model.FromSlice([]int{64, 24}, q))
		}, verify.RulePlan, verify.Graph},
		{"a scale of the file of a neighbour", func() *model.Graph { return recorded(t, qdq()) }, func(g *model.Graph) {
			edit(g, "xs", all(func(x float32) float32 { return x * 1.001 }))
			edit(g, "b_scale", all(func(x float32) float32 { return x * 1.001 }))
		}, verify.RulePlan, verify.Graph},
		{"sums of a product as an output", quantized, func(g *model.Graph) {
			g.Outputs = append(g.Outputs, value(node(g, "MatMulInteger").Out(0), model.Int32, 5, 24))
		}, verify.RuleFused, fused},
	}
}
