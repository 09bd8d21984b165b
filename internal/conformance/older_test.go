package conformance

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
)

// older are the folders of these tests and how many there are.
var older = map[string]int{"node": 932, "pytorch-converted": 82, "pytorch-operator": 35, "simple": 23}

const (
	bfloat16Data  = "its values of bfloat16 are written as uint16"
	epsilonUnsaid = "its answer has an epsilon of 0.01 that its node does not say; the same test of ONNX 1.23 says it"
	noGradient    = "Gradient of ai.onnx.preview.training is not supported, nor is it in ONNX Runtime"
)

// olderExceptions are those that do not pass, with the reason.
var olderExceptions = map[string]string{
	"test_adam_multiple":                       epsilonUnsaid,
	"test_cast_BFLOAT16_to_FLOAT":              bfloat16Data,
	"test_cast_FLOAT_to_BFLOAT16":              bfloat16Data,
	"test_castlike_BFLOAT16_to_FLOAT":          bfloat16Data,
	"test_castlike_BFLOAT16_to_FLOAT_expanded": bfloat16Data,
	"test_castlike_FLOAT_to_BFLOAT16":          bfloat16Data,
	"test_castlike_FLOAT_to_BFLOAT16_expanded": bfloat16Data,
	"test_gradient_of_add":                     noGradient,
	"test_gradient_of_add_and_mul":             noGradient,
}

// The operator tests of an older ONNX, whose models have opset 17 at most (asset M32): a second opinion on the signatures that operators
// had before, and on whole small networks converted from PyTorch.
func TestOlderOperators(t *testing.T) {
	root := asset(t, "M32/data")
	seen := map[string]bool{}
	for folder, want := range older {
		cases, err := readFolder(filepath.Join(root, folder))
		if err != nil {
			t.Fatal(err)
		}
		if len(cases) != want {
			t.Errorf("%s has %d tests, want %d", folder, len(cases), want)
		}
		for _, o := range []engine.Options{{}, {NoFusion: true}} {
			for _, c := range cases {
				out, reason := Run(c, o), olderExceptions[c.Name]
				seen[c.Name] = true
				switch {
				case out.Panic:
					t.Errorf("%s/%s: %v", folder, c.Name, out.Err)
				case out.Err == nil && reason != "":
					t.Errorf("NoFusion %t: %s/%s passes: it is no exception (%s)", o.NoFusion, folder, c.Name, reason)
				case out.Err != nil && reason == "":
					t.Errorf("NoFusion %t: %s/%s: %v", o.NoFusion, folder, c.Name, out.Err)
				}
			}
		}
	}
	for name := range olderExceptions {
		if !seen[name] {
			t.Errorf("the exception %s is no test", name)
		}
	}
}

// readFolder reads the tests below dir, a folder each.
func readFolder(dir string) ([]*Case, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var cases []*Case
	for _, e := range list {
		c := &Case{Name: e.Name()}
		files, err := filepath.Glob(filepath.Join(dir, e.Name(), "test_data_set_0", "*.pb"))
		if err != nil {
			return nil, err
		}
		for _, f := range append(files, filepath.Join(dir, e.Name(), "model.onnx")) {
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			parts := []string{"test_data_set_0", filepath.Base(f)}
			if filepath.Ext(f) == ".onnx" {
				parts = parts[1:]
			}
			if err := c.add(parts, b); err != nil {
				return nil, err
			}
		}
		cases = append(cases, c)
	}
	return cases, nil
}
