package model_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

func asset(t *testing.T, path string) *model.Graph {
	t.Helper()
	dir := os.Getenv("WATTSHED_ASSETS")
	if dir == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS is not set")
		}
		t.Skip("WATTSHED_ASSETS is not set: no real models to read")
	}
	f, err := onnx.Open(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f.Graph()
}

func elements(ws []*model.Weight, keep func(w *model.Weight) bool) (n, size int) {
	for _, w := range ws {
		if keep(w) {
			n++
			size += w.Tensor.Len()
		}
	}
	return n, size
}

// TestWeightsConstantNodes: a converted PaddleOCR model has no initializers; its 308 constants are Constant nodes.
func TestWeightsConstantNodes(t *testing.T) {
	g := asset(t, "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx")
	if n := len(g.Initializers()); n != 0 {
		t.Errorf("%d initializers", n)
	}
	nodes := 0
	for _, n := range g.Nodes {
		if n.Is("Constant") {
			nodes++
		}
	}
	n, _ := elements(g.Weights(), func(w *model.Weight) bool { return w.Node != nil })
	if nodes != 308 || n != 308 {
		t.Errorf("%d Constant nodes, %d weights in them, not 308", nodes, n)
	}
	conv := 0
	for _, w := range g.Weights() {
		for _, u := range w.Uses {
			if u.Node.Is("Conv") && u.Input == 1 {
				conv++
			}
		}
	}
	convs := 0
	for _, n := range g.Nodes {
		if n.Is("Conv") {
			convs++
		}
	}
	if conv != convs || convs == 0 {
		t.Errorf("%d of %d Conv nodes read a weight", conv, convs)
	}
}

// TestWeightsInBranches: all weights of silero_vad.onnx lie in the branches of an If.
func TestWeightsInBranches(t *testing.T) {
	g := asset(t, "M12/silero_vad.onnx")
	top, _ := elements(g.Weights(), func(w *model.Weight) bool { return w.Graph == g && w.Tensor.Len() > 100 })
	inner, size := elements(g.Weights(), func(w *model.Weight) bool { return w.Graph != g && w.Tensor.DType() == model.Float32 })
	if top != 0 || inner == 0 {
		t.Errorf("%d weights at the top, %d in branches", top, inner)
	}
	if st, err := os.Stat(filepath.Join(os.Getenv("WATTSHED_ASSETS"), "M12/silero_vad.onnx")); err != nil || 4*size < int(st.Size())/2 {
		t.Errorf("%d bytes of weights in a file of %d (%v)", 4*size, st.Size(), err)
	}
	names := map[string]bool{}
	for _, w := range g.Weights() {
		if names[w.Name] {
			t.Errorf("two weights are called %q", w.Name)
		}
		names[w.Name] = true
	}
	// A change of a weight in a branch reaches the clone, and only the clone.
	c := g.Clone()
	for i, w := range c.Weights() {
		if w.Graph != c && w.Tensor.Len() > 100 && w.Tensor.DType() == model.Float32 {
			w.Set(model.FromSlice(w.Tensor.Shape(), make([]float32, w.Tensor.Len())))
			if again := c.Weights()[i].Tensor; again != w.Tensor {
				t.Errorf("%s: the change is lost", w.Name)
			}
			if g.Weights()[i].Tensor == w.Tensor {
				t.Errorf("%s: the change reached the original", w.Name)
			}
			break
		}
	}
}

// TestWeightsCaptured: a weight behind Identity counts for its readers; a body reads a weight of the graph around it,
// unless it has a value of that name itself.
func TestWeightsCaptured(t *testing.T) {
	w := model.FromSlice([]int{2, 2}, []float32{1, 2, 3, 4})
	body := &model.Graph{
		Name:    "body",
		Outputs: []*model.Value{{Name: "p"}},
		Nodes:   []*model.Node{{Name: "inner", Op: "MatMul", Inputs: []string{"x", "alias"}, Outputs: []string{"p"}}},
	}
	own := &model.Graph{
		Name:    "own",
		Outputs: []*model.Value{{Name: "q"}},
		Nodes:   []*model.Node{{Name: "hidden", Op: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"q"}}},
	}
	own.SetInitializer("w", w)
	g := &model.Graph{
		Inputs:  []*model.Value{{Name: "x"}, {Name: "c"}},
		Outputs: []*model.Value{{Name: "y"}},
		Model:   &model.Info{Opsets: []model.Opset{{Version: 17}}},
		Nodes: []*model.Node{
			{Name: "id", Op: "Identity", Inputs: []string{"w"}, Outputs: []string{"alias"}},
			{Name: "if", Op: "If", Inputs: []string{"c"}, Outputs: []string{"y"}, Attrs: []model.Attr{
				{Name: "then_branch", Kind: model.AttrGraph, G: body}, {Name: "else_branch", Kind: model.AttrGraph, G: own}}},
		},
	}
	g.SetInitializer("w", w)
	if err := model.Validate(g); err != nil {
		t.Fatal(err)
	}
	ws := g.Weights()
	if len(ws) != 2 {
		t.Fatalf("%d weights", len(ws))
	}
	if u := ws[0].Uses; len(u) != 1 || u[0].Node.Name != "inner" || u[0].Input != 1 || u[0].Graph != body {
		t.Errorf("uses of the outer weight: %v", u)
	}
	if u := ws[1].Uses; len(u) != 1 || u[0].Node.Name != "hidden" {
		t.Errorf("uses of the inner weight: %v", u)
	}
	if ws[0].Name == ws[1].Name {
		t.Errorf("both weights are called %q", ws[0].Name)
	}
}

// TestValidate: each fault is found and named.
func TestValidate(t *testing.T) {
	node := func(op, in, out string) *model.Node {
		return &model.Node{Name: op + "-" + out, Op: op, Inputs: []string{in}, Outputs: []string{out}}
	}
	for want, nodes := range map[string][]*model.Node{
		`node "Relu-y" (Relu): nothing makes its input 0, "z"`:                       {node("Relu", "z", "y")},
		`value "y" is made twice, by node "Relu-y" (Relu) and by node "Abs-y" (Abs)`: {node("Relu", "x", "y"), node("Abs", "x", "y")},
		`value "x" is made twice, by the inputs and by node "Relu-x" (Relu)`:         {node("Relu", "x", "x"), node("Relu", "x", "y")},
		`is part of a cycle`:                                             {node("Relu", "y", "z"), node("Abs", "z", "y")},
		`graph "g": nothing makes its output "y"`:                        {node("Relu", "x", "z")},
		`node "n" (nowhere.Foo): operator set "nowhere" is not imported`: {{Name: "n", Op: "Foo", Domain: "nowhere", Outputs: []string{"y"}}},
		`node of output "y" (Relu): attribute "a" is there twice`:        {{Op: "Relu", Outputs: []string{"y"}, Attrs: []model.Attr{model.IntAttr("a", 1), model.IntAttr("a", 2)}}},
	} {
		g := &model.Graph{Name: "g", Nodes: nodes, Inputs: []*model.Value{{Name: "x"}}, Outputs: []*model.Value{{Name: "y"}},
			Model: &model.Info{Opsets: []model.Opset{{Version: 17}}}}
		if err := model.Validate(g); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	corpus(t, func(name string, g *model.Graph) {
		if err := model.Validate(g); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}
