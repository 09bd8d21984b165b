//go:build linux && !static

package conformance_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// sketch is a graph of random weights in the making.
type sketch struct {
	g *model.Graph
	r source
}

func newSketch(shape model.Shape) *sketch {
	return &sketch{r: newSource(7), g: &model.Graph{Name: "sketch", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: shape}}}}}
}

// node adds an operator with one output and returns its name.
func (s *sketch) node(op string, in []string, attrs ...model.Attr) string {
	out := fmt.Sprintf("v%d", len(s.g.Nodes))
	s.g.Nodes = append(s.g.Nodes, &model.Node{Name: out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs})
	return out
}

// weight adds random numbers around one of deviation d and returns their name.
func (s *sketch) weight(around, d float64, shape ...int) string {
	t := s.r.floats(shape...)
	x, _ := model.Data[float32](t)
	for i := range x {
		x[i] = float32(around + d*float64(x[i]))
	}
	name := fmt.Sprintf("w%d", len(s.g.Initializers()))
	s.g.SetInitializer(name, t)
	return name
}

// save writes the graph with the output y to a file.
func (s *sketch) save(t *testing.T, path, y string) {
	t.Helper()
	s.g.Outputs = []*model.Value{{Name: y, Type: model.Type{DType: model.Float32}}}
	if err := onnx.Save(path, s.g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// conv adds a square convolution with its batch normalisation.
func (s *sketch) conv(x string, cin, cout, k, stride int) string {
	w := s.weight(0, math.Sqrt(1/float64(cin*k*k)), cout, cin, k, k)
	pads := int64(k / 2)
	y := s.node("Conv", []string{x, w}, model.IntsAttr("kernel_shape", int64(k), int64(k)),
		model.IntsAttr("strides", int64(stride), int64(stride)), model.IntsAttr("pads", pads, pads, pads, pads))
	return s.node("BatchNormalization", []string{y, s.weight(1, 0.1, cout), s.weight(0, 0.1, cout), s.weight(0, 0.1, cout), s.weight(1, 0.01, cout)})
}

// writeResNet writes a graph of the shape of ResNet-18 (He et al., "Deep residual learning for image recognition", 2016, table 1), 11.7 million
// random weights: most are those of 3x3 convolutions of stride 1.
func writeResNet(t *testing.T, path string) {
	t.Helper()
	s := newSketch(model.Shape{{Param: "n", Size: -1}, {Size: 3}, {Size: 224}, {Size: 224}})
	x := s.node("Relu", []string{s.conv("x", 3, 64, 7, 2)})
	x = s.node("MaxPool", []string{x}, model.IntsAttr("kernel_shape", 3, 3), model.IntsAttr("strides", 2, 2), model.IntsAttr("pads", 1, 1, 1, 1))
	cin := 64
	for stage, cout := range []int{64, 128, 256, 512} {
		for block := range 2 {
			stride, short := 1, x
			if stage > 0 && block == 0 {
				stride = 2
				short = s.conv(x, cin, cout, 1, 2)
			}
			y := s.node("Relu", []string{s.conv(x, cin, cout, 3, stride)})
			x = s.node("Relu", []string{s.node("Add", []string{s.conv(y, cout, cout, 3, 1), short})})
			cin = cout
		}
	}
	x = s.node("Flatten", []string{s.node("GlobalAveragePool", []string{x})})
	s.save(t, path, s.node("Gemm", []string{x, s.weight(0, 0.05, 512, 1000), s.weight(0, 0.1, 1000)}))
}

// writeLSTM writes two bidirectional LSTM of 512 units, 10.5 million random weights, over sequences of 512 features.
func writeLSTM(t *testing.T, path string) {
	t.Helper()
	s := newSketch(model.Shape{{Param: "t", Size: -1}, {Param: "n", Size: -1}, {Size: 512}})
	s.g.SetInitializer("shape", model.FromSlice([]int{3}, []int64{0, 0, -1}))
	x := "x"
	for _, in := range []int{512, 1024} {
		y := s.node("LSTM", []string{x, s.weight(0, 0.04, 2, 2048, in), s.weight(0, 0.04, 2, 2048, 512), s.weight(0, 0.1, 2, 4096)},
			model.StringAttr("direction", "bidirectional"), model.IntAttr("hidden_size", 512))
		x = s.node("Reshape", []string{s.node("Transpose", []string{y}, model.IntsAttr("perm", 0, 2, 1, 3)), "shape"})
	}
	s.save(t, path, x)
}
