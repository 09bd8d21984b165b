package onnx_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// upGraph returns a model of IR version ir and the given opset with float input "x" of shape [2 3 4], and output "y".
func upGraph(ir, opset int64, nodes ...*model.Node) *model.Graph {
	return &model.Graph{
		Name: "g", Nodes: nodes,
		Model:   &model.Info{IRVersion: ir, Opsets: []model.Opset{{Version: opset}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(2, 3, 4)}}},
		Outputs: []*model.Value{{Name: "y"}},
	}
}

func upNode(op string, attrs ...model.Attr) *model.Node {
	return &model.Node{Name: "n", Op: op, Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: attrs}
}

// show writes a graph as one line per node: op(inputs) attributes, constants by value.
func show(t *testing.T, g *model.Graph) string {
	t.Helper()
	if err := model.Validate(g); err != nil {
		t.Error(err)
	}
	var lines []string
	value := map[string]string{}
	for _, w := range g.Weights() {
		f, err := w.Tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		value[w.Value] = fmt.Sprintf("%s%v%v", w.Tensor.DType(), w.Tensor.Shape(), f)
	}
	for _, n := range g.Nodes {
		if n.Is("Constant") {
			continue
		}
		var in, attrs []string
		for _, name := range n.Inputs {
			if v := value[name]; v != "" {
				name = v
			}
			in = append(in, name)
		}
		for _, a := range n.Attrs {
			switch a.Kind {
			case model.AttrInt:
				attrs = append(attrs, fmt.Sprintf(" %s=%d", a.Name, a.I))
			case model.AttrString:
				attrs = append(attrs, fmt.Sprintf(" %s=%s", a.Name, a.S))
			case model.AttrInts:
				attrs = append(attrs, fmt.Sprintf(" %s=%v", a.Name, a.Ints))
			}
		}
		slices.Sort(attrs)
		lines = append(lines, n.Op+"("+strings.Join(in, " ")+")"+strings.Join(attrs, ""))
	}
	return strings.Join(lines, "; ")
}

// TestUpConvertRules: each rule, after the operator changelog of the ONNX project.
func TestUpConvertRules(t *testing.T) {
	i, f, ints := model.IntAttr, model.FloatAttr, model.IntsAttr
	for _, c := range []struct {
		from, to int64
		node     *model.Node
		want     string
	}{
		{7, 8, upNode("Relu"), "Relu(x)"},
		{12, 13, upNode("Softmax", i("axis", 2)), "Softmax(x) axis=-1"},
		{12, 13, upNode("Softmax", i("axis", -1)), "Softmax(x) axis=-1"},
		{12, 13, upNode("LogSoftmax"), "Shape(x); Flatten(x) axis=1; LogSoftmax(y_flat) axis=-1; Reshape(y_flat_out y_shape)"},
		{12, 13, upNode("Hardmax", i("axis", -2)), "Shape(x); Flatten(x) axis=1; Hardmax(y_flat) axis=-1; Reshape(y_flat_out y_shape)"},
		{13, 21, upNode("Softmax", i("axis", 1)), "Softmax(x) axis=1"},
		{11, 13, upNode("Squeeze", ints("axes", 0)), "Squeeze(x int64[1][0])"},
		{11, 13, upNode("Squeeze"), "Squeeze(x)"},
		{11, 12, upNode("Unsqueeze", ints("axes", 0, 2)), "Unsqueeze(x) axes=[0 2]"},
		{11, 13, upNode("Unsqueeze", ints("axes", 0, 2)), "Unsqueeze(x int64[2][0 2])"},
		{11, 17, upNode("ReduceSum", ints("axes", 1), i("keepdims", 0)), "ReduceSum(x int64[1][1]) keepdims=0"},
		{11, 17, upNode("ReduceMean", ints("axes", 1)), "ReduceMean(x) axes=[1]"},
		{11, 18, upNode("ReduceMean", ints("axes", 1)), "ReduceMean(x int64[1][1])"},
		{11, 18, upNode("ReduceMax"), "ReduceMax(x)"},
		{7, 17, upNode("Split", ints("split", 4), i("axis", 2)), "Split(x int64[1][4]) axis=2"},
		{7, 18, upNode("Split", i("axis", 2)), "Split(x) axis=2 num_outputs=1"},
		{9, 11, upNode("Slice", ints("starts", 0), ints("ends", 2)), "Slice(x int64[1][0] int64[1][2])"},
		{9, 11, upNode("Slice", ints("starts", 0), ints("ends", 2), ints("axes", 1)), "Slice(x int64[1][0] int64[1][2] int64[1][1])"},
		{9, 10, upNode("TopK", i("k", 2)), "TopK(x int64[1][2])"},
		{7, 11, upNode("Clip", f("max", 6)), "Clip(x  float32[][6])"},
		{7, 13, upNode("Clip", f("min", 0), f("max", 6)), "Clip(x float32[][0] float32[][6])"},
		{7, 11, upNode("Pad", ints("pads", 0, 0, 1, 0, 0, 1), f("value", 2)), "Pad(x int64[6][0 0 1 0 0 1] float32[][2])"},
		{7, 11, upNode("Pad", ints("pads", 0, 0, 1, 0, 0, 1), model.StringAttr("mode", "edge")), "Pad(x int64[6][0 0 1 0 0 1]) mode=edge"},
		{10, 13, upNode("Dropout", f("ratio", 0.25)), "Dropout(x float32[][0.25])"},
		{7, 13, upNode("Upsample", model.Attr{Name: "scales", Kind: model.AttrFloats, Floats: []float32{1, 2, 2}}),
			"Resize(x float32[0][] float32[3][1 2 2]) coordinate_transformation_mode=asymmetric nearest_mode=floor"},
		{8, 14, upNode("BatchNormalization", i("spatial", 1)), "BatchNormalization(x)"},
		{10, 11, upNode("Scatter"), "ScatterElements(x)"},
		{15, 16, upNode("RoiAlign"), "RoiAlign(x) coordinate_transformation_mode=output_half_pixel"},
		{16, 20, upNode("GridSample", model.StringAttr("mode", "bicubic")), "GridSample(x) mode=cubic"},
		{17, 20, upNode("DFT"), "DFT(x  int64[][1])"},
	} {
		for _, ir := range []int64{3, 8} { // constants are nodes in the first, initializers in the second
			n := *c.node
			g := upGraph(ir, c.from, &n)
			before := g.Clone()
			if err := onnx.UpConvert(g, c.to); err != nil {
				t.Errorf("%s %d to %d: %v", c.node.Op, c.from, c.to, err)
				continue
			}
			if got := show(t, g); got != c.want || g.Opset("") != c.to {
				t.Errorf("%s %d to %d: %s, opset %d, not %s", c.node.Op, c.from, c.to, got, g.Opset(""), c.want)
			}
			if d := diff(before, upGraph(ir, c.from, c.node)); d != "" {
				t.Errorf("%s: the clone has changed: %s", c.node.Op, d)
			}
		}
	}
}

// TestUpConvertRefuses: by name, and without a change of the graph.
func TestUpConvertRefuses(t *testing.T) {
	bn := upNode("BatchNormalization")
	bn.Outputs = []string{"y", "mean"}
	mask := upNode("Dropout")
	mask.Outputs = []string{"y", "mask"}
	ref := upNode("Squeeze", model.Attr{Name: "axes", Kind: model.AttrInts, Ref: "axes"})
	for _, c := range []struct {
		from, to int64
		node     *model.Node
		want     string
	}{
		{11, 13, upNode("Frobnicate"), `node "n" (Frobnicate): not supported: no rule to raise it to opset 12`},
		{6, 13, upNode("Relu"), "opset 6 to 13: not supported"},
		{13, 22, upNode("Relu"), "opset 13 to 22: not supported"},
		{8, 9, upNode("Scan"), "batch dimension"},
		{8, 9, upNode("BatchNormalization", model.IntAttr("spatial", 0)), "spatial = 0"},
		{13, 14, bn, `output 1, "mean"`},
		{9, 10, mask, `its mask "mask"`},
		{12, 13, ref, `attribute "axes" is supplied by the function's caller`},
		{20, 21, upNode("GroupNormalization"), "per channel"},
		{10, 12, upNode("Upsample"), "went at opset 10"},
	} {
		g := upGraph(8, c.from, c.node)
		for _, o := range c.node.Outputs[1:] { // read by somebody
			g.Outputs = append(g.Outputs, &model.Value{Name: o})
		}
		before := g.Clone()
		err := onnx.UpConvert(g, c.to)
		if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v does not say %s", c.node.Op, err, c.want)
		}
		if d := diff(before, g); d != "" {
			t.Errorf("%s: the graph has changed: %s", c.node.Op, d)
		}
	}
	g := upGraph(8, 17, upNode("Relu"))
	if err := onnx.UpConvert(g, 13); err != nil || g.Opset("") != 17 {
		t.Errorf("lowering: opset %d, %v", g.Opset(""), err)
	}
}

// TestUpConvertBodies: bodies and functions are raised too, and the IR version where it must be.
func TestUpConvertBodies(t *testing.T) {
	body := func() *model.Graph {
		return &model.Graph{Name: "b", Nodes: []*model.Node{upNode("ReduceSum", model.IntsAttr("axes", 0))}, Outputs: []*model.Value{{Name: "y"}}}
	}
	g := upGraph(4, 11, &model.Node{Name: "if", Op: "If", Inputs: []string{"c"}, Outputs: []string{"z"}, Attrs: []model.Attr{
		{Name: "then_branch", Kind: model.AttrGraph, G: body()}, {Name: "else_branch", Kind: model.AttrGraph, G: body()}}})
	g.Inputs = append(g.Inputs, &model.Value{Name: "c"})
	g.Outputs[0].Name = "z"
	g.Model.Functions = []*model.Function{{Name: "F", Domain: "d", Inputs: []string{"x"}, Outputs: []string{"y"},
		Nodes: []*model.Node{upNode("ReduceSum", model.IntsAttr("axes", 0))}, Opsets: []model.Opset{{Version: 11}}}}
	old := g.Clone()
	if err := onnx.UpConvert(g, 21); err != nil {
		t.Fatal(err)
	}
	for _, sub := range g.Nodes[0].Subgraphs() {
		if n := sub.Nodes[0]; n.Attr("axes") != nil || sub.Initializer(n.In(1)) == nil {
			t.Errorf("body: %v", n)
		}
	}
	f := g.Model.Functions[0]
	if len(f.Nodes) != 2 || !f.Nodes[0].Is("Constant") || f.Nodes[1].In(1) != f.Nodes[0].Out(0) || f.Opsets[0].Version != 21 {
		t.Errorf("function: %v", f)
	}
	if g.Model.IRVersion != 10 || g.Opset("") != 21 {
		t.Errorf("IR version %d, opset %d", g.Model.IRVersion, g.Opset(""))
	}
	if f := old.Model.Functions[0]; f.Opsets[0].Version != 11 || len(f.Nodes) != 1 {
		t.Errorf("the clone's function has changed: %v", f)
	}
}

// TestUpConvertAssets raises every real model to opset 13, 17 and 21; the results are valid graphs that can be written.
// With ONNX_UPCONVERT set they are kept there as NAME-OPSET.onnx.
func TestUpConvertAssets(t *testing.T) {
	for _, path := range assets(t) {
		f, err := onnx.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, target := range []int64{13, 17, 21} {
			upConvert(t, strings.TrimSuffix(filepath.Base(path), ".onnx"), f.Graph().Clone(), target)
		}
		f.Close()
	}
}

func upConvert(t *testing.T, name string, g *model.Graph, target int64) {
	from := g.Opset("")
	if err := onnx.UpConvert(g, target); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if err := model.Validate(g); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if want := max(from, target); g.Opset("") != want {
		t.Errorf("%s: opset %d, not %d", name, g.Opset(""), want)
	}
	var out bytes.Buffer
	if err := onnx.Write(&out, g, onnx.WriteOptions{}); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if dir := os.Getenv("ONNX_UPCONVERT"); dir != "" && from < target {
		keep(t, filepath.Join(dir, fmt.Sprintf("%s-%d.onnx", name, target)), out.Bytes())
	}
}

// TestUpConvertCorpus raises every node test of opset 7 to 20 to opset 21, and finds the one refusal that is right.
func TestUpConvertCorpus(t *testing.T) {
	n := 0
	corpus(t, func(name string, b []byte) {
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v := g.Opset(""); v >= 7 && v < 21 {
			n++
			if name == "test_scan_sum" { // opset 8
				if err := onnx.UpConvert(g, 21); !errors.Is(err, model.ErrUnsupported) {
					t.Errorf("%s: %v", name, err)
				}
				return
			}
			upConvert(t, name, g, 21)
		}
	})
	if n < 500 {
		t.Errorf("%d models raised", n)
	}
}
