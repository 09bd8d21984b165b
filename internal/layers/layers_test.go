// Package layers holds the test that keeps the import rule of the architecture.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/wattshed/wattshed/"

// layer of every package. A package imports only packages of a lower layer, or its own parent; the formats may
// import model. A new package is one line here.
var layer = map[string]int{
	"engine/kernel": 0, "measure": 0, "measure/carbon": 0, "measure/metertest": 0, "testdata": 0, "internal/pages": 0,
	"model": 1, "model/onnx": 1, "model/dense": 1, "internal/tokenize": 1,
	"engine": 2, "engine/grad": 2, "engine/ort": 2,
	"prune": 3, "quantize": 3, "quantize/verify": 3, "distill": 3,
	"reports": 4, "internal/task": 4, "internal/task/baseline": 4, "internal/task/spamgen": 4, "internal/task/sts": 4, "internal/conformance": 4, "internal/conformance/score": 5,
	"internal/recipe": 5, "internal/explain": 5, "internal/layers": 5, "internal/bench/program": 4, "internal/bench": 5, "internal/bench/similarity": 5, "internal/bench/accuracy": 6, "internal/bench/quantizing": 6,
	"cmd/wattshed": 6,
}

// third-party packages by path prefix and the rooms that may import them; what is not here stays anywhere its
// package documents it.
var rooms = map[string][]string{
	"gorgonia.org/tensor":                {"model/dense"},
	"go4.org/unsafe/assume-no-moving-gc": {"model/dense"},
	"github.com/x448/float16":            {"engine/kernel", "model"},
	"gonum.org/v1/plot":                  {"reports"},
	"gonum.org/v1/gonum":                 {"measure", "reports"},
	"github.com/urfave/cli":              {"cmd/wattshed"},
	"github.com/vbauerster/mpb":          {"cmd/wattshed"},
	"github.com/ebitengine/purego":       {"engine/ort", "measure"},
	"github.com/goccy/go-yaml":           {"internal/recipe"},
}

func TestImports(t *testing.T) {
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "assets" || name == "out") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(dir)
		seen[pkg] = true
		checkFile(t, path, pkg)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg := range layer {
		if !seen[pkg] {
			t.Errorf("package %s is in the table but not in the tree", pkg)
		}
	}
}

func checkFile(t *testing.T, path, pkg string) {
	own, known := layer[pkg]
	if !known {
		t.Errorf("%s: package %s has no layer: add it to the table", path, pkg)
		return
	}
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range f.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		if in, ours := strings.CutPrefix(imp, module); ours {
			if why := forbidden(pkg, own, in, strings.HasSuffix(path, "_test.go")); why != "" {
				t.Errorf("%s imports %s: %s", path, in, why)
			}
			continue
		}
		for prefix, allowed := range rooms {
			if strings.HasPrefix(imp, prefix) && !within(pkg, allowed) {
				t.Errorf("%s imports %s, which stays in %v", path, imp, allowed)
			}
		}
	}
}

// forbidden says why package pkg of layer own must not import in, or "".
func forbidden(pkg string, own int, in string, test bool) string {
	to, known := layer[in]
	switch {
	case !known:
		return "it has no layer"
	case to < own, in == pkg, strings.HasPrefix(pkg, in+"/"):
		return ""
	case test && (in == "model/onnx" || strings.HasPrefix(in, pkg+"/")):
		return "" // any test may read models, and an external test its own sub-packages
	case strings.HasPrefix(pkg, "model/") && in == "model":
		return ""
	case to == own:
		return "a sibling of the same layer"
	}
	return "a higher layer"
}

func within(pkg string, rooms []string) bool {
	for _, r := range rooms {
		if pkg == r || strings.HasPrefix(pkg, r+"/") {
			return true
		}
	}
	return false
}
