package model_test

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// corpus calls fn with every model of the ONNX node tests.
func corpus(t testing.TB, fn func(name string, g *model.Graph)) {
	t.Helper()
	f, err := os.Open("../testdata/conformance/onnx-node-1.23.2.tgz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/model.onnx") {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			t.Fatalf("%s: %v", h.Name, err)
		}
		fn(filepath.Base(filepath.Dir(h.Name)), g)
	}
}

// TestInferCorpus infers the output types of every node test without its declarations, and compares them with
// those. The declared sizes are those of the test's data. A size may stay unknown where it depends on the data;
// none may be wrong.
func TestInferCorpus(t *testing.T) {
	exact, partial, nothing := 0, 0, 0
	missing := map[string]int{}
	corpus(t, func(name string, g *model.Graph) {
		want := map[string]model.Type{}
		for _, v := range g.Outputs {
			want[v.Name] = v.Type
			v.Type = model.Type{}
		}
		g.Values = nil
		if err := model.InferShapes(g); err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		for _, v := range g.Outputs {
			w := want[v.Name]
			if w.Raw != nil {
				continue
			}
			switch got := v.Type; {
			case got.Shape == nil:
				nothing++
				missing[g.Nodes[len(g.Nodes)-1].Op]++
			case got.DType != w.DType || len(got.Shape) != len(w.Shape):
				t.Errorf("%s: %s %s%s, not %s%s", name, v.Name, got.DType, got.Shape, w.DType, w.Shape)
			default:
				all := true
				for i, d := range got.Shape {
					if d.Known() && w.Shape[i].Known() && d.Size != w.Shape[i].Size {
						t.Errorf("%s: %s %s%s, not %s%s", name, v.Name, got.DType, got.Shape, w.DType, w.Shape)
						break
					}
					all = all && (d.Known() || !w.Shape[i].Known())
				}
				if all {
					exact++
				} else {
					partial++
					missing["partial "+g.Nodes[len(g.Nodes)-1].Op]++
				}
			}
		}
	})
	t.Logf("%d outputs inferred whole, %d in part, %d not: %v", exact, partial, nothing, missing)
	if exact < 1489 { // raise it with the operators
		t.Errorf("%d outputs inferred whole, not 1489", exact)
	}
}

// TestInferAssets infers real models without any declaration but those of their inputs. Sizes that follow must agree
// with those that the files declare for their outputs, and a weight's reader must have a known element type.
func TestInferAssets(t *testing.T) {
	dir := os.Getenv("WATTSHED_ASSETS")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS is not set")
		}
		t.Skip("WATTSHED_ASSETS is not set: no real models to read")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.onnx"))
	for _, path := range files {
		f, err := onnx.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		g := f.Graph().Clone()
		g.Values = nil
		want := map[string]model.Type{}
		for _, v := range g.Outputs {
			want[v.Name] = v.Type
			v.Type = model.Type{}
		}
		if err := model.InferShapes(g); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if err := model.Validate(g); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, v := range g.Outputs {
			w := want[v.Name]
			if v.Type.DType != w.DType {
				t.Errorf("%s: %s is %s, not %s", path, v.Name, v.Type.DType, w.DType)
			}
			for i, d := range v.Type.Shape {
				if len(w.Shape) != len(v.Type.Shape) || d.Known() && w.Shape[i].Known() && d.Size != w.Shape[i].Size {
					t.Errorf("%s: %s is %s, not %s", path, v.Name, v.Type.Shape, w.Shape)
					break
				}
			}
		}
		for _, v := range g.Values {
			if v.Type.DType == model.Invalid {
				t.Errorf("%s: the type of %s is not known", path, v.Name)
			}
		}
		f.Close()
	}
}

// TestInferScaled: sizes are multiplied by scales in float32, as ONNX infers them: 20 times 2.3 is 46, in float64 it would be 45.99.
func TestInferScaled(t *testing.T) {
	g := &model.Graph{Name: "g", Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: 1}, {Size: 20}}}}},
		Outputs: []*model.Value{{Name: "y"}}, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{{Name: "n", Op: "Resize", Inputs: []string{"x", "", "scales"}, Outputs: []string{"y"}}}}
	g.SetInitializer("scales", model.FromSlice([]int{2}, []float32{1, 2.3}))
	if err := model.InferShapes(g); err != nil {
		t.Fatal(err)
	}
	if s := g.Outputs[0].Type.Shape; len(s) != 2 || s[1].Size != 46 {
		t.Errorf("shape %v, want [1 46]", s)
	}
}
