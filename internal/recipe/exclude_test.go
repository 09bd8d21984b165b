package recipe

import (
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestExcludeRemark: what no graph has is named with what is most like it; patterns, literals, and names that only the model as it
// came has are passed over.
func TestExcludeRemark(t *testing.T) {
	g := &model.Graph{Nodes: []*model.Node{
		{Name: "/layers.0/q_proj/MatMul", Op: "MatMul", Inputs: []string{"x", "w[0]*"}, Outputs: []string{"y"}},
		{Name: "/layers.1/q_proj/MatMul", Op: "MatMul", Inputs: []string{"y", "w1"}, Outputs: []string{"z"}},
	}}
	later := &model.Graph{Nodes: []*model.Node{{Name: "product", Op: "MatMulInteger", Inputs: []string{"x"}, Outputs: []string{"z"}}}}
	for _, c := range []struct {
		exclude, want []string // parts of the remark; nil: there is none
	}{
		{[]string{"MatMul", "/layers.?/q_proj/*", "w1", quantize.Literal("w[0]*"), "product"}, nil},
		{[]string{"matmull"}, []string{`by it: "matmull" (did you mean "MatMul"?)`}},
		{[]string{"*q_proj*"}, []string{`did you mean "/layers.0/q_proj/MatMul" or "/layers.1/q_proj/MatMul"?`, "(* ends at a /)"}},
		{[]string{"/layers.2/q_proj/MatMul", "w1"}, []string{`did you mean "/layers.0/q_proj/MatMul" or "/layers.1/q_proj/MatMul"?`}},
		{[]string{"1?", "2?", "3?", "4?", "5?", "6?", "7?", "8?"}, []string{`"7?", "8?"`}},
		{[]string{"1?", "2?", "3?", "4?", "5?", "6?", "7?", "8?", "w1", "9?", "10?"}, []string{`"7?", "8?" and 2 more`}},
		{[]string{"entirely-unlike", "w1", "entirely-unlike"}, []string{`by it: "entirely-unlike"`}},
	} {
		got := excludeRemark(&Quantize{Exclude: c.exclude}, g, later)
		if (got == "") != (c.want == nil) || slices.ContainsFunc(c.want, func(w string) bool { return !strings.Contains(got, w) }) {
			t.Errorf("%q: remark %q, want one with %q", c.exclude, got, c.want)
		}
		if strings.Count(got, "unlike") > 1 {
			t.Errorf("%q: said more than once: %s", c.exclude, got)
		}
	}
}
