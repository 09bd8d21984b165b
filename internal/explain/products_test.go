package explain

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestProductsOfTheEngine: every operator for which the engine prepares weights at load is one whose time counts as that of products.
// The engine's tables say so with the field prep, or for recurrent ones with a call of def.
func TestProductsOfTheEngine(t *testing.T) {
	files, err := filepath.Glob("../../engine/op_*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	n := 0
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(x ast.Node) bool {
			entry, ok := x.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, ok := entry.Key.(*ast.BasicLit)
			if !ok || key.Kind != token.STRING || !prepares(entry.Value) {
				return true
			}
			op, err := strconv.Unquote(key.Value)
			if err != nil {
				t.Fatal(err)
			}
			n++
			if !slices.Contains(products, op) && !slices.Contains(products, "com.microsoft."+op) {
				t.Errorf("%s: the engine prepares the weights of %s, which is not among products", path, op)
			}
			return true
		})
	}
	if n < 20 {
		t.Errorf("%d operators with weights in the engine's tables: there are more", n)
	}
}

// prepares reports whether the definition of an operator has a preparation.
func prepares(def ast.Expr) bool {
	switch d := def.(type) {
	case *ast.CompositeLit:
		return slices.ContainsFunc(d.Elts, func(e ast.Expr) bool {
			f, ok := e.(*ast.KeyValueExpr)
			if !ok {
				return false
			}
			name, ok := f.Key.(*ast.Ident)
			return ok && name.Name == "prep"
		})
	case *ast.CallExpr:
		f, ok := d.Fun.(*ast.Ident)
		return ok && f.Name == "def"
	}
	return false
}

// TestPrunedConvolutions: convolutions of a blocked graph are products, so pruning them promises something; and a variant that is slower
// than the original is not passed over where nothing of time is promised.
func TestPrunedConvolutions(t *testing.T) {
	b := cases()["zeros in dense kernels"]
	b.latency(1.6)
	c := Case{Result: &b.r, Variant: &b.v, Baseline: &b.base, Graph: b.g, Original: b.orig}
	b.v.Notes[0].Op = "Conv"
	b.time("wattshed.BlockedConv", 0.9, "Erf", 0.1)
	if want, _ := newFacts(c).promised(); want.latency > 0.7 {
		t.Errorf("blocked convolutions, 0.7 zeros: promise %v", want.latency)
	}
	b.v.Profile = nil
	b.time("wattshed.Attention", 0.9, "Erf", 0.1)
	got := Effects(c)
	if i := slices.IndexFunc(got, func(s Shown) bool { return s.Effect == Slower }); i < 0 || !got[i].Decided || !strings.Contains(got[i].What, "promise nothing of time") {
		t.Errorf("1.6 times the time without a promise: %+v", got)
	}
	b.v.Latency.Ratio.CI95[0] = 0.9
	if got := Effects(c); slices.ContainsFunc(got, func(s Shown) bool { return s.Effect == Slower }) {
		t.Errorf("undecided without a promise: %+v", got)
	}
}
