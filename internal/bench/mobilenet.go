package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// mobilenetModel writes a graph of the form of MobileNetV2 (Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018,
// table 2) to dir, exported as PyTorch does, with batch normalisation folded into the convolutions; its weights are normal numbers that keep
// the deviation of activations (He et al., 2015).
func mobilenetModel(dir string) (string, error) {
	m := &mobilenet{rng: rand.New(rand.NewPCG(17, 0)), channels: 3, last: "x", g: &model.Graph{Name: "mobilenet",
		Model:   &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 3, 224, 224)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(1, 1000)}}}}}
	m.g.SetInitializer("zero", model.Scalar(float32(0)))
	m.g.SetInitializer("six", model.Scalar(float32(6)))
	m.conv(32, 3, 2, 1)
	m.clip()
	for _, b := range []struct{ expand, channels, repeat, stride int }{
		{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
	} {
		for i := range b.repeat {
			stride := b.stride
			if i > 0 {
				stride = 1
			}
			m.bottleneck(b.expand, b.channels, stride)
		}
	}
	m.conv(1280, 1, 1, 1)
	m.clip()
	m.node("GlobalAveragePool", []string{m.last})
	m.node("Flatten", []string{m.last})
	m.g.SetInitializer("classes", normal(m.rng, 0.01, 1000, 1280))
	m.g.SetInitializer("bias", normal(m.rng, 0.01, 1000))
	m.node("Gemm", []string{m.last, "classes", "bias"}, model.IntAttr("transB", 1))
	m.g.Nodes[len(m.g.Nodes)-1].Outputs[0] = "y"
	path := filepath.Join(dir, "mobilenet.onnx")
	return path, onnx.Save(path, m.g, onnx.WriteOptions{})
}

// mobilenet is a graph that grows at its end.
type mobilenet struct {
	g        *model.Graph
	rng      *rand.Rand
	last     string // the activations so far
	channels int    // of last
}

// node appends a node, whose output is then the last.
func (m *mobilenet) node(op string, inputs []string, attrs ...model.Attr) {
	name := fmt.Sprint("n", len(m.g.Nodes))
	m.g.Nodes = append(m.g.Nodes, &model.Node{Name: name, Op: op, Inputs: inputs, Outputs: []string{name}, Attrs: attrs})
	m.last = name
}

// conv appends a convolution with a bias, padded so that a stride of 1 keeps the size.
func (m *mobilenet) conv(channels, size, stride, group int) {
	fan := m.channels / group * size * size
	w, b := fmt.Sprint("w", len(m.g.Nodes)), fmt.Sprint("b", len(m.g.Nodes))
	m.g.SetInitializer(w, normal(m.rng, math.Sqrt(2/float64(fan)), channels, m.channels/group, size, size))
	m.g.SetInitializer(b, normal(m.rng, 0.05, channels))
	k, s, p := int64(size), int64(stride), int64(size/2)
	m.node("Conv", []string{m.last, w, b}, model.IntsAttr("kernel_shape", k, k), model.IntsAttr("strides", s, s), model.IntsAttr("pads", p, p, p, p),
		model.IntAttr("group", int64(group)))
	m.channels = channels
}

// clip appends ReLU6.
func (m *mobilenet) clip() { m.node("Clip", []string{m.last, "zero", "six"}) }

// bottleneck appends an inverted residual block.
func (m *mobilenet) bottleneck(expand, channels, stride int) {
	in, from := m.last, m.channels
	if expand > 1 {
		m.conv(expand*from, 1, 1, 1)
		m.clip()
	}
	m.conv(m.channels, 3, stride, m.channels)
	m.clip()
	m.conv(channels, 1, 1, 1)
	if stride == 1 && channels == from {
		m.node("Add", []string{m.last, in})
	}
}
