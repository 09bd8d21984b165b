package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// Operators that no model of the other rows has, alone in a graph: recurrent ones with packed gates, and convolutions that are transposed, in groups,
// of volumes, of signals and of dynamically quantized images.

// operator is a graph of one operator over x.
type operator struct {
	name  string
	op    string
	x     []int   // shape of the input
	w     [][]int // shapes of the weights, input 1 and on
	attrs []model.Attr
}

// convolution is a Conv, ConvTranspose or ConvInteger with the same kernel, stride and padding in all directions.
func convolution(name, op string, x []int, cout, groups, size, stride, pad int64) operator {
	w := []int{int(cout), x[1] / int(groups)}
	if op == "ConvTranspose" {
		w = []int{x[1], int(cout / groups)}
	}
	var k, s, p []int64
	for range x[2:] {
		w, k, s, p = append(w, int(size)), append(k, size), append(s, stride), append(p, pad)
	}
	return operator{name, op, x, [][]int{w, {int(cout)}}, []model.Attr{model.IntsAttr("kernel_shape", k...), model.IntsAttr("strides", s...),
		model.IntsAttr("pads", append(p, p...)...), model.IntAttr("group", groups)}}
}

// recurrence is a GRU or RNN in one direction.
func recurrence(name, op string, steps, batch, in, hidden int, attrs ...model.Attr) operator {
	rows := hidden
	if op == "GRU" {
		rows = 3 * hidden
	}
	return operator{name, op, []int{steps, batch, in}, [][]int{{1, rows, in}, {1, rows, hidden}, {1, 2 * rows}}, append(attrs, model.IntAttr("hidden_size", int64(hidden)))}
}

// operators are the graphs of the rows.
var operators = func() []operator {
	linear := model.IntAttr("linear_before_reset", 1)
	return []operator{
		recurrence("GRU T100 B1 H128", "GRU", 100, 1, 64, 128),
		recurrence("GRU T100 B1 H256, linear before reset", "GRU", 100, 1, 64, 256, linear),
		recurrence("GRU T128 B32 H128, linear before reset", "GRU", 128, 32, 64, 128, linear),
		recurrence("RNN T100 B1 H256", "RNN", 100, 1, 64, 256),
		recurrence("RNN T128 B32 H128", "RNN", 128, 32, 64, 128),
		convolution("ConvTranspose 4x4/2 64-32 56x56", "ConvTranspose", []int{1, 64, 56, 56}, 32, 1, 4, 2, 1),
		convolution("ConvTranspose 16/8 128-64 100", "ConvTranspose", []int{1, 128, 100}, 64, 1, 16, 8, 4),
		convolution("Conv 3x3 of 32 groups 128-128 56x56", "Conv", []int{1, 128, 56, 56}, 128, 32, 3, 1, 1),
		convolution("Conv 3x3x3 16-32 16x56x56", "Conv", []int{1, 16, 16, 56, 56}, 32, 1, 3, 1, 1),
		convolution("Conv 3 80-512 3000", "Conv", []int{1, 80, 3000}, 512, 1, 3, 1, 1),
		convolution("ConvInteger 3x3 64-64 56x56", "ConvInteger", []int{1, 64, 56, 56}, 64, 1, 3, 1, 1),
		convolution("ConvInteger 3x3 depthwise 128 56x56", "ConvInteger", []int{1, 128, 56, 56}, 128, 128, 3, 1, 1),
	}
}()

// operatorRows adds the rows for a number of threads.
func operatorRows(threads int, add func(string, row)) {
	for i, o := range operators {
		add(o.name, row{model: source{operator: i + 1}, feed: func(rng *rand.Rand) engine.Feed { return engine.Feed{"x": normal(rng, 1, o.x...)} },
			threads: threads, goal: goal{Floor: 1, Aim: 1.2}})
	}
}

// operatorModel writes the model of operators[i] to dir. A ConvInteger stands in the pattern of dynamic quantization.
func operatorModel(i int, dir string) (string, error) {
	o := operators[i]
	rng := rand.New(rand.NewPCG(19, uint64(i)))
	g := &model.Graph{Name: o.name, Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(o.x...)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}}
	n := &model.Node{Name: "operator", Op: o.op, Inputs: []string{"x"}, Outputs: []string{"y"}, Attrs: o.attrs}
	g.Nodes = []*model.Node{n}
	if o.op == "ConvInteger" {
		size := 1
		for _, d := range o.w[0] {
			size *= d
		}
		q := make([]uint8, size)
		for k := range q {
			q[k] = uint8(rng.Uint32())
		}
		g.SetInitializer("w", model.FromSlice(o.w[0], q))
		g.SetInitializer("wz", model.Scalar(uint8(128)))
		g.SetInitializer("ws", model.Scalar(float32(0.001)))
		n.Inputs, n.Outputs = []string{"q", "w", "z", "wz"}, []string{"sums"}
		g.Nodes = []*model.Node{{Name: "quantize", Op: "DynamicQuantizeLinear", Inputs: []string{"x"}, Outputs: []string{"q", "s", "z"}}, n,
			{Name: "cast", Op: "Cast", Inputs: []string{"sums"}, Outputs: []string{"float"}, Attrs: []model.Attr{model.IntAttr("to", int64(model.Float32))}},
			{Name: "scale", Op: "Mul", Inputs: []string{"s", "ws"}, Outputs: []string{"scale"}},
			{Name: "scaled", Op: "Mul", Inputs: []string{"float", "scale"}, Outputs: []string{"y"}}}
	} else {
		for k, shape := range o.w {
			name := fmt.Sprint("w", k)
			g.SetInitializer(name, normal(rng, 1/math.Sqrt(float64(shape[len(shape)-1]*64)), shape...))
			n.Inputs = append(n.Inputs, name)
		}
	}
	path := filepath.Join(dir, fmt.Sprintf("operator-%d.onnx", i))
	return path, onnx.Save(path, g, onnx.WriteOptions{})
}
