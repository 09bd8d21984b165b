package engine_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// blockNodes are LayerNorm, a product with bias and GELU as exporters spell them out, from x to y, with weights of the
// graph around them: w [n, n], b, gamma and beta [n].
func blockNodes(x, y string) []*model.Node {
	node := func(op string, out string, in ...string) *model.Node {
		return &model.Node{Op: op, Inputs: in, Outputs: []string{out}}
	}
	mean := node("ReduceMean", "mean", x)
	mean.Attrs = []model.Attr{model.IntsAttr("axes", -1)}
	variance := node("ReduceMean", "var", "sq")
	variance.Attrs = mean.Attrs
	return []*model.Node{
		mean, node("Sub", "d", x, "mean"), node("Pow", "sq", "d", "two"), variance, node("Add", "ve", "var", "eps"),
		node("Sqrt", "std", "ve"), node("Div", "h", "d", "std"), node("Mul", "hg", "h", "gamma"), node("Add", "ln", "hg", "beta"),
		node("MatMul", "mm", "ln", "w"), node("Add", "g", "mm", "b"),
		node("Div", "s", "g", "root"), node("Erf", "e", "s"), node("Add", "e1", "e", "one"), node("Mul", "ge", "g", "e1"), node("Mul", y, "ge", "half"),
	}
}

func vector(name string, dims ...int64) *model.Value {
	s := make(model.Shape, len(dims))
	for i, d := range dims {
		s[i] = model.Dim{Size: d}
	}
	return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: s}}
}

// loopOfBlocks runs the block n times on a state [rows, width] that If passes on or not.
func loopOfBlocks(r *rand.Rand, rows, width int) *model.Graph {
	g := &model.Graph{Name: "loop", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}}}}
	random := func(shape ...int) *model.Tensor {
		n, _ := model.NumElements(shape)
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64()) / 4
		}
		return model.FromSlice(shape, v)
	}
	for name, t := range map[string]*model.Tensor{"w": random(width, width), "b": random(width), "gamma": random(width), "beta": random(width),
		"two": model.Scalar(float32(2)), "eps": model.Scalar(float32(1e-5)), "root": model.Scalar(float32(math.Sqrt2)),
		"one": model.Scalar(float32(1)), "half": model.Scalar(float32(0.5))} {
		g.SetInitializer(name, t)
	}
	then := &model.Graph{Name: "then", Nodes: blockNodes("state", "then_y"), Outputs: []*model.Value{vector("then_y")}}
	els := &model.Graph{Name: "else", Nodes: []*model.Node{{Op: "Identity", Inputs: []string{"state"}, Outputs: []string{"else_y"}}}, Outputs: []*model.Value{vector("else_y")}}
	body := &model.Graph{Name: "body",
		Inputs: []*model.Value{{Name: "i", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}, {Name: "go", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}}, vector("state", int64(rows), int64(width))},
		Nodes: []*model.Node{
			{Op: "Identity", Inputs: []string{"go"}, Outputs: []string{"go_on"}},
			{Op: "If", Inputs: []string{"go"}, Outputs: []string{"next"}, Attrs: []model.Attr{
				{Name: "then_branch", Kind: model.AttrGraph, G: then}, {Name: "else_branch", Kind: model.AttrGraph, G: els}}},
		},
		Outputs: []*model.Value{{Name: "go_on", Type: model.Type{DType: model.Bool}}, vector("next")}}
	g.Inputs = []*model.Value{{Name: "n", Type: model.Type{DType: model.Int64, Shape: model.Shape{}}}, vector("x", int64(rows), int64(width))}
	g.Outputs = []*model.Value{vector("y")}
	g.Nodes = []*model.Node{{Name: "loop", Op: "Loop", Inputs: []string{"n", "", "x"}, Outputs: []string{"y"}, Attrs: []model.Attr{{Name: "body", Kind: model.AttrGraph, G: body}}}}
	return g
}

// TestPassesInBodies: patterns inside an If inside a Loop are fused, with weights from the graph around them, and give what
// the spelled-out nodes give. The two differ in rounding, which four blocks carry on: 1e-5 of the largest.
func TestPassesInBodies(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	g := loopOfBlocks(r, 5, 48)
	feed := engine.Feed{"n": model.Scalar(int64(4)), "x": model.FromSlice([]int{5, 48}, make([]float32, 240))}
	x, _ := model.Data[float32](feed["x"])
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	var got [2][]float32
	for i, o := range []engine.Options{{}, {NoFusion: true}} {
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, o)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		if got[i], err = out["y"].Float32(); err != nil {
			t.Fatal(err)
		}
		if ops := s.Info().Ops; i == 0 && (ops["LayerNormalization"] != 1 || ops["wattshed.MatMul"] != 1 || ops["Erf"] != 0) {
			t.Errorf("operators after the passes: %v", ops)
		}
		s.Close()
	}
	largest, worst := float32(0), float32(0)
	for i, v := range got[0] {
		largest = max(largest, v, -v)
		worst = max(worst, v-got[1][i], got[1][i]-v)
	}
	if !(worst <= 1e-5*largest) || largest == 0 {
		t.Errorf("differs by %g of %g", worst, largest)
	}
}

// TestScanOfNoSteps: the outputs of a Scan that has no step have the axis along which it would have stacked, where that is. (ONNX, Scan: the size of
// scan_output_axes is the number of steps. ONNX Runtime refuses to run none.)
func TestScanOfNoSteps(t *testing.T) {
	for at, want := range map[int64][]int{0: {0, 4, 5}, 1: {4, 0, 5}, 2: {4, 5, 0}, -1: {4, 5, 0}} {
		body := &model.Graph{Name: "b", Inputs: []*model.Value{vector("i", 4, 5)}, Outputs: []*model.Value{vector("o", 4, 5)}, Nodes: []*model.Node{{Op: "Neg", Inputs: []string{"i"}, Outputs: []string{"o"}}}}
		b := newBuilder(1, 17)
		b.output(b.node("Scan", []string{b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 4}, {Size: 5}})}, model.Attr{Name: "body", Kind: model.AttrGraph, G: body},
			model.IntAttr("num_scan_inputs", 1), model.IntsAttr("scan_output_axes", at)))
		for _, o := range []engine.Options{{}, {NoFusion: true}} {
			s := load(t, b.g, o)
			out, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{0, 4, 5}, []float32{})})
			if err != nil {
				t.Fatal(err)
			}
			if y := out[s.Outputs()[0].Name]; !slices.Equal(y.Shape(), want) {
				t.Errorf("along axis %d: %v, want %v", at, y.Shape(), want)
			}
		}
	}
}
