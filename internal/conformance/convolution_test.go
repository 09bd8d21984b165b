//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// convShape is a random convolution of some dimensions: the shapes of X and W and the attributes.
type convShape struct {
	x, w  []int
	attrs []model.Attr
	cout  int
}

// convolution draws one; transposed ones have their input channels first in W and an output padding.
func (r source) convolution(spatial int, transposed bool) convShape {
	groups, cg, og := 1, 1+r.IntN(20), 1+r.IntN(40)
	switch r.IntN(4) {
	case 0:
		groups, cg, og = 1+r.IntN(20), 1, 1
	case 1:
		groups, cg, og = 2+r.IntN(4), 1+r.IntN(8), 1+r.IntN(8)
	case 2:
		groups, cg, og = 2, 16+r.IntN(3), 16*(1+r.IntN(2))
	}
	s := convShape{x: []int{1 + r.IntN(2), groups * cg}, w: []int{groups * og, cg}, cout: groups * og}
	if transposed {
		s.w = []int{groups * cg, og}
	}
	var strides, pads, dilations, extra []int64
	for range spatial {
		k := 1 + r.Int64N(3)
		stride, dilation := 1+r.Int64N(3), 1+r.Int64N(2)
		s.w = append(s.w, int(k))
		size := 3 + r.IntN(12-3*spatial)
		s.x = append(s.x, max(size, int(dilation*(k-1)+1)))
		strides, dilations = append(strides, stride), append(dilations, dilation)
		extra = append(extra, r.Int64N(min(2, stride)))
	}
	for _, k := range append(s.w[2:], s.w[2:]...) {
		pads = append(pads, r.Int64N(int64(k)))
	}
	s.attrs = []model.Attr{model.IntsAttr("strides", strides...), model.IntsAttr("pads", pads...), model.IntsAttr("dilations", dilations...), i("group", int64(groups))}
	if transposed {
		s.attrs = append(s.attrs, model.IntsAttr("output_padding", extra...))
	}
	return s
}

// TestConvolution: convolutions and transposed ones of one to three dimensions, with constant weights and others. Both runtimes add at most
// 20*27 products in float32, in different orders.
func TestConvolution(t *testing.T) {
	rt, r := reference(t), newSource(31)
	for n := range 240 {
		op := []string{"Conv", "ConvTranspose"}[n%2]
		s := r.convolution(1+n/2%3, n%2 == 1)
		o := one{name: fmt.Sprintf("%s %d: x %v w %v %v", op, n, s.x, s.w, s.attrs), op: op, attrs: s.attrs, outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(s.x...), r.floats(s.w...), r.floats(s.cout)}}
		if n%3 > 0 {
			o.constant = []int{1, 2}
		}
		if n%5 == 0 {
			o.inputs = o.inputs[:2]
		}
		o.check(t, rt, 2e-6)
	}
}

// byteWeights draws the weights of a convolution of bytes with their zero points.
func (r source) byteWeights(shape []int) (w, zero *model.Tensor) {
	q := quant(r)
	if r.IntN(2) == 0 {
		return q.bytes(false, shape...), model.Scalar(uint8(r.IntN(256)))
	}
	return q.weights(shape...), model.Scalar(int8(0))
}

// TestConvInteger: the sums are those of ONNX Runtime.
func TestConvInteger(t *testing.T) {
	rt, r := reference(t), newSource(32)
	for n := range 300 {
		s := r.convolution(1+n%3, false)
		w, wz := r.byteWeights(s.w)
		o := one{name: fmt.Sprintf("ConvInteger %d: x %v w %s%v %v", n, s.x, w.DType(), s.w, s.attrs), op: "ConvInteger", attrs: s.attrs, outputs: []model.DType{model.Int32},
			inputs: []*model.Tensor{quant(r).bytes(false, s.x...), w, model.Scalar(uint8(r.IntN(256))), wz}}
		switch n % 4 {
		case 1:
			o.constant = []int{1, 3}
		case 2:
			o.inputs, o.constant = o.inputs[:3], []int{1}
		case 3:
			o.inputs = o.inputs[:2]
		}
		o.check(t, rt, 0)
	}
}

// TestConvIntegerZeros: zero points of the weights one per channel, and signed images, which ONNX Runtime has no kernels for, are the same as the operator without
// zero points on images and weights that are shifted in float64.
func TestConvIntegerZeros(t *testing.T) {
	r := newSource(33)
	for n := range 120 {
		s := r.convolution(1+n%3, false)
		q, signed := quant(r), n%2 == 1
		x, w := q.bytes(signed, s.x...), q.bytes(n%3 == 0, s.w...)
		xz := q.zero(signed)
		wz := q.bytes(n%3 == 0, s.cout)
		o := one{name: fmt.Sprintf("ConvInteger %d: x %v w %s%v %v", n, s.x, w.DType(), s.w, s.attrs), op: "ConvInteger", attrs: s.attrs, outputs: []model.DType{model.Int32},
			inputs: []*model.Tensor{x, w, xz, wz}, constant: []int{1, 3}}
		shift := func(t, zero *model.Tensor) *model.Tensor {
			v, _ := engine.Float64s(t)
			z, _ := engine.Float64s(zero)
			y := make([]float64, len(v))
			for k := range v {
				y[k] = v[k] - z[k*len(z)/len(v)]
			}
			return model.FromSlice(t.Shape(), y)
		}
		d := one{name: o.name, op: "Conv", attrs: s.attrs, outputs: []model.DType{model.Float64}, inputs: []*model.Tensor{shift(x, xz), shift(w, wz)}}
		var y [2][]float64
		for k, c := range []one{o, d} {
			g, feed := c.graph()
			m, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 2})
			if err != nil {
				t.Fatal(o.name, err)
			}
			out, err := m.Run(t.Context(), feed)
			if err != nil {
				t.Fatal(o.name, err)
			}
			y[k], _ = engine.Float64s(out["y0"])
			m.Close()
		}
		for k := range y[1] {
			if len(y[0]) != len(y[1]) || y[0][k] != y[1][k] {
				t.Fatalf("%s: element %d is %v, want %v", o.name, k, y[0][k], y[1][k])
			}
		}
	}
}

// TestDynamicConvolution: the pattern of dynamic quantization is one operator here, with the values of ONNX Runtime's five: the sums are equal, and their
// scaling has the same two roundings. A millionth of the value, or of 1 below that, is left to the bias, which ONNX Runtime may add in one rounding with the
// product, at 2^-24 of either: they are below 8, and their sum may cancel.
func TestDynamicConvolution(t *testing.T) {
	rt := reference(t)
	for n := range 100 {
		r := source{rand.New(rand.NewPCG(34, uint64(n)))}
		b := &qdqGraph{quant: quant(r), feed: engine.Feed{}}
		b.g = &model.Graph{Name: fmt.Sprintf("dynamic %d", n), Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
		s := r.convolution(1+n%2, false)
		w, wz := r.byteWeights(s.w)
		dims := make(model.Shape, len(s.x))
		for k, d := range s.x {
			dims[k] = model.Dim{Size: int64(d)}
		}
		b.g.Inputs = []*model.Value{{Name: "x", Type: model.Type{DType: f32, Shape: dims}}}
		b.feed["x"] = r.floats(s.x...)
		b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "dq", Op: "DynamicQuantizeLinear", Inputs: []string{"x"}, Outputs: []string{"q", "s", "z"}})
		y := b.node("ConvInteger", []string{"q", b.constant(w), "z", b.constant(wz)}, s.attrs...)
		y = b.node("Cast", []string{y}, i("to", int64(f32)))
		y = b.node("Mul", []string{y, b.node("Mul", []string{"s", b.constant(b.scale(0.01))})})
		if n%3 > 0 {
			shape := []int{1, s.cout, 1, 1}[:len(s.x)]
			bias, _ := r.floats(s.cout).Reshape(shape)
			y = b.node("Add", []string{y, b.constant(bias)})
		}
		if n%2 > 0 {
			y = b.node("Relu", []string{y})
		}
		b.g.Outputs = []*model.Value{{Name: y, Type: model.Type{DType: f32}}}
		ref, err := rt.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1, Spin: -1})
		if err != nil {
			t.Fatal(err)
		}
		want, err := ref.Run(t.Context(), b.feed)
		if err != nil {
			t.Fatal(err)
		}
		m, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if ops := m.Info().Ops; ops["wattshed.QuantConvFloat"] != 1 || ops["Add"]+ops["Mul"]+ops["Cast"]+ops["Relu"] > 0 {
			t.Errorf("%s: operators %v", b.g.Name, ops)
		}
		got, err := m.Run(t.Context(), b.feed)
		if err != nil {
			t.Fatal(err)
		}
		g, _ := got[y].Float32()
		v, _ := want[y].Float32()
		for k := range v {
			if d := math.Abs(float64(g[k] - v[k])); !(d <= 1e-6*max(1, math.Abs(float64(v[k])))) {
				t.Fatalf("%s, %v %v: element %d is %v, want %v", b.g.Name, s.x, s.w, k, g[k], v[k])
			}
		}
		ref.Close()
		m.Close()
	}
}

// TestQuantizedConvolution: a convolution of quantized operands whose result stays float32 is one operator of integers here, with the values of ONNX
// Runtime's floats. Each of up to 540 products of those is rounded to 2^-24 of itself, and so are its sums: 2e-6 of the largest.
func TestQuantizedConvolution(t *testing.T) {
	rt := reference(t)
	for n := range 150 {
		r := source{rand.New(rand.NewPCG(36, uint64(n)))}
		b := &qdqGraph{quant: quant(r), feed: engine.Feed{}}
		b.g = &model.Graph{Name: fmt.Sprintf("quantized %d", n), Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
		s := r.convolution(1+n%3, false)
		w, wz := r.byteWeights(s.w)
		ws := b.scale(0.01)
		if n%2 == 0 {
			ws = b.scales(s.cout, 0.01)
			if wz = model.FromSlice([]int{s.cout}, make([]int8, s.cout)); w.DType() == model.Uint8 {
				wz = b.bytes(false, s.cout)
			}
		}
		in := []string{b.input(n%4 == 1, s.x...), b.node("DequantizeLinear", []string{b.constant(w), b.constant(ws), b.constant(wz)}, i("axis", 0))}
		if n%5 > 0 {
			in = append(in, b.constant(r.floats(s.cout)))
		}
		y := b.node("Conv", in, s.attrs...)
		if n%3 == 1 {
			y = b.node("Relu", []string{y})
		}
		b.g.Outputs = []*model.Value{{Name: y, Type: model.Type{DType: f32}}}
		var got [2]*model.Tensor
		for k, rt := range []engine.Runtime{rt, engine.Native{}} {
			m, err := rt.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{Threads: 1 + k, Spin: -1})
			if err != nil {
				t.Fatal(err)
			}
			if ops := m.Info().Ops; k == 1 && (ops["wattshed.QuantConvFloat"] != 1 || ops["Conv"]+ops["Relu"] > 0 || len(m.Info().Warnings) > 0) {
				t.Errorf("%s: operators %v, %q", b.g.Name, ops, m.Info().Warnings)
			}
			out, err := m.Run(t.Context(), b.feed)
			if err != nil {
				t.Fatal(err)
			}
			got[k] = out[y]
			m.Close()
		}
		if err := (&one{}).close(0, got[1], got[0], 2e-6); err != nil {
			t.Errorf("%s, x %v w %s%v %v: %v", b.g.Name, s.x, w.DType(), s.w, s.attrs, err)
		}
	}
}

// TestRecurrent: GRU and RNN of both runtimes, all directions, activations, clipping and lengths; a few dozen steps of float32 states
// below 1, whose gates err by some 1e-7 of their sums.
func TestRecurrent(t *testing.T) {
	rt, r := reference(t), newSource(35)
	for n := range 160 {
		op, gates := "GRU", 3
		if n%2 == 1 {
			op, gates = "RNN", 1
		}
		steps, b, in, h := 1+r.IntN(12), 1+r.IntN(6), 1+r.IntN(24), 1+r.IntN(48)
		if n%5 == 0 {
			steps, b, in, h = 20, 1+r.IntN(2), 16, 32*(6+r.IntN(3))
		}
		direction := []string{"forward", "reverse", "bidirectional"}[r.IntN(3)]
		d := 1
		if direction == "bidirectional" {
			d = 2
		}
		scaled := func(scale float64, shape ...int) *model.Tensor {
			t := r.floats(shape...)
			x, _ := model.Data[float32](t)
			for k := range x {
				x[k] *= float32(scale)
			}
			return t
		}
		o := one{name: fmt.Sprintf("%s %d %s T%d B%d I%d H%d", op, n, direction, steps, b, in, h), op: op, outputs: []model.DType{f32, f32}, constant: []int{1, 2, 3},
			attrs: []model.Attr{i("hidden_size", int64(h)), model.StringAttr("direction", direction)},
			inputs: []*model.Tensor{r.floats(steps, b, in), scaled(1/math.Sqrt(float64(in)), d, gates*h, in), scaled(1/math.Sqrt(float64(h)), d, gates*h, h),
				scaled(0.2, d, 2*gates*h), nil, scaled(0.5, d, b, h)}}
		if n%3 == 0 {
			lens := make([]int32, b)
			for k := range lens {
				lens[k] = int32(r.IntN(steps + 1))
			}
			if n%2 == 0 {
				lens[r.IntN(b)] = int32(steps)
			}
			o.inputs[4] = ints32(lens...)
		}
		if n%4 > 1 && op == "GRU" {
			o.attrs = append(o.attrs, i("linear_before_reset", 1))
		}
		if n%7 == 0 {
			o.attrs = append(o.attrs, f("clip", 0.7))
		}
		if n%6 < 2 {
			acts := model.Attr{Name: "activations", Kind: model.AttrStrings}
			for range d {
				acts.Strings = append(acts.Strings, []byte([]string{"HardSigmoid", "Relu", "Sigmoid"}[n%3]))
				if op == "GRU" {
					acts.Strings = append(acts.Strings, []byte([]string{"Tanh", "Softsign"}[n/2%2]))
				}
			}
			o.attrs = append(o.attrs, acts)
		}
		if n%8 == 5 {
			o.inputs[3] = nil
			o.constant = []int{1, 2}
		}
		o.check(t, rt, 2e-5)
	}
}

// TestPoolVolumes: pooling of volumes, which is done slice by slice, with and without padding in the average. The mean of a window of at most 27
// normal numbers is rounded at each of its additions.
func TestPoolVolumes(t *testing.T) {
	rt, r := reference(t), newSource(36)
	for n := range 80 {
		op := []string{"MaxPool", "AveragePool"}[n%2]
		var k, strides, pads []int64
		x := []int{1 + r.IntN(2), 1 + r.IntN(5)}
		for range 3 {
			k, strides, x = append(k, 1+r.Int64N(3)), append(strides, 1+r.Int64N(2)), append(x, 3+r.IntN(9))
		}
		for _, d := range append(k, k...) {
			pads = append(pads, r.Int64N(d))
		}
		o := one{name: fmt.Sprintf("%s %d: %v %v %v %v", op, n, x, k, strides, pads), op: op, outputs: []model.DType{f32}, inputs: []*model.Tensor{r.floats(x...)},
			attrs: []model.Attr{model.IntsAttr("kernel_shape", k...), model.IntsAttr("strides", strides...), model.IntsAttr("pads", pads...)}}
		if n%4 == 3 {
			o.attrs = append(o.attrs, i("count_include_pad", 1))
		}
		o.check(t, rt, 1e-6)
	}
}
