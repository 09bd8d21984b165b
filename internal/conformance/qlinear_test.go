//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
)

// The integer operators against those of ONNX Runtime, as single nodes (its QLinear operators) and between DequantizeLinear and
// QuantizeLinear, where both runtimes make integer operators of them.

// quant draws quantized tensors.
type quant struct{ *rand.Rand }

func (r quant) bytes(signed bool, shape ...int) *model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	if signed {
		x := make([]int8, n)
		for i := range x {
			x[i] = int8(r.IntN(256) - 128)
		}
		return model.FromSlice(shape, x)
	}
	x := make([]uint8, n)
	for i := range x {
		x[i] = uint8(r.IntN(256))
	}
	return model.FromSlice(shape, x)
}

// saturates tells that ONNX Runtime adds two products of u8 and s8 in saturating 16 bits: on amd64 without VNNI.
var saturates = runtime.GOARCH == "amd64" && !slices.ContainsFunc([]string{"avx512vnni", "avxvnni"}, func(s string) bool { return slices.Contains(kernel.Features(), s) })

// weights are symmetric signed bytes, of 7 bits where ONNX Runtime is exact for those alone.
func (r quant) weights(shape ...int) *model.Tensor {
	t := r.bytes(true, shape...)
	x, _ := model.Data[int8](t)
	for i, v := range x {
		if x[i] = max(v, -127); saturates {
			x[i] /= 2
		}
	}
	return t
}

func (r quant) scale(lo float64) *model.Tensor {
	return model.Scalar(float32(lo * math.Exp(2*r.Float64())))
}

func (r quant) scales(n int, lo float64) *model.Tensor {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(lo * math.Exp(2*r.Float64()))
	}
	return model.FromSlice([]int{n}, x)
}

func (r quant) zero(signed bool) *model.Tensor {
	if signed {
		return model.Scalar(int8(r.IntN(100) - 50))
	}
	return model.Scalar(uint8(r.IntN(256)))
}

func (r quant) bias(n int) *model.Tensor {
	x := make([]int32, n)
	for i := range x {
		x[i] = int32(r.IntN(4000) - 2000)
	}
	return model.FromSlice([]int{n}, x)
}

// byteRun counts what byteDifference has seen.
type byteRun struct {
	rt     *ort.Runtime
	values [256]bool
}

// distinct is the number of different bytes in all outputs: what is saturated proves nothing.
func (r *byteRun) distinct() int {
	n := 0
	for _, v := range r.values {
		if v {
			n++
		}
	}
	return n
}

// difference runs a graph in both runtimes and returns the largest difference and the share of bytes that differ.
func (r *byteRun) difference(t *testing.T, g *model.Graph, feed engine.Feed, o engine.Options) (largest, share float64) {
	t.Helper()
	s, err := r.rt.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Spin: -1})
	if err != nil {
		t.Fatalf("%s: ONNX Runtime: %v", g.Name, err)
	}
	defer s.Close()
	want, err := s.Run(t.Context(), feed)
	if err != nil {
		t.Fatalf("%s: ONNX Runtime: %v", g.Name, err)
	}
	o.Threads = 1
	n, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, o)
	if err != nil {
		t.Fatalf("%s: %v", g.Name, err)
	}
	defer n.Close()
	got, err := n.Run(t.Context(), feed)
	if err != nil {
		t.Fatalf("%s: %v", g.Name, err)
	}
	for name, w := range want {
		x, y := got[name], w
		if x.DType() != y.DType() || fmt.Sprint(x.Shape()) != fmt.Sprint(y.Shape()) {
			t.Fatalf("%s: output %v of type %s, want %v of type %s", g.Name, x.Shape(), x.DType(), y.Shape(), y.DType())
		}
		a, err := x.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		b, err := y.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		differ := 0
		for i := range a {
			d := math.Abs(float64(a[i]) - float64(b[i]))
			if x.DType() == model.Int8 {
				d = math.Abs(float64(int8(a[i])) - float64(int8(b[i])))
			}
			if d > 0 {
				differ++
			}
			largest = max(largest, d)
			r.values[b[i]] = true
		}
		share = max(share, float64(differ)/float64(max(1, len(a))))
	}
	return largest, share
}

// image draws the shape and attributes of a convolution or pooling.
func (r quant) window(spatial int) (in []int, attrs []model.Attr, kern []int) {
	var strides, pads, dilations, k []int64
	for range spatial {
		k = append(k, 1+r.Int64N(3))
		strides = append(strides, 1+r.Int64N(2))
		dilations = append(dilations, 1)
		in = append(in, 5+r.IntN(9))
	}
	for _, d := range append(k, k...) {
		pads = append(pads, r.Int64N(d))
	}
	for _, d := range k {
		kern = append(kern, int(d))
	}
	return in, []model.Attr{model.IntsAttr("kernel_shape", k...), model.IntsAttr("strides", strides...), model.IntsAttr("pads", pads...),
		model.IntsAttr("dilations", dilations...)}, kern
}

// qlinearCase draws a node of the QOperator form.
func (r quant) qlinearCase(op string) *one {
	signed := r.IntN(3) == 0
	dt := model.Uint8
	if signed {
		dt = model.Int8
	}
	o := &one{name: op, domain: "com.microsoft", op: op, outputs: []model.DType{dt}}
	side := func(shape ...int) []*model.Tensor {
		return []*model.Tensor{r.bytes(signed, shape...), r.scale(0.01), r.zero(signed)}
	}
	n, c := 1+r.IntN(2), 1+r.IntN(70)
	switch op {
	case "QLinearConv":
		o.domain = ""
		spatial := 1 + r.IntN(2)
		in, attrs, kern := r.window(spatial)
		groups, cg, og := 1, 1+r.IntN(40), 1+r.IntN(90)
		switch r.IntN(3) {
		case 0:
			groups, cg, og = 1+r.IntN(80), 1, 1
		case 1:
			groups, cg, og = 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(20)
		}
		ws, wz := r.scale(0.002), model.Scalar(int8(0))
		if r.IntN(2) == 0 {
			ws = r.scales(groups*og, 0.002)
			wz = model.FromSlice([]int{groups * og}, make([]int8, groups*og))
		}
		o.attrs = append(attrs, model.IntAttr("group", int64(groups)))
		w := r.weights(append([]int{groups * og, cg}, kern...)...)
		if !signed && r.IntN(3) == 0 {
			w, ws, wz = r.bytes(false, w.Shape()...), r.scale(0.002), r.zero(false)
		}
		o.inputs = append(side(append([]int{n, groups * cg}, in...)...), w, ws, wz, r.scale(0.02), r.zero(signed), r.bias(groups*og))
		o.constant = []int{1, 2, 3, 4, 5, 6, 7, 8}
	case "QLinearMatMul":
		o.domain = ""
		k, cols := 1+r.IntN(80), 1+r.IntN(80)
		o.inputs = append(side(n, 1+r.IntN(20), k), r.weights(k, cols), r.scale(0.002), model.Scalar(int8(0)), r.scale(0.02), r.zero(signed))
		o.constant = []int{1, 2, 3, 4, 5, 6, 7}
	case "QGemm":
		k, cols := 1+r.IntN(80), 1+r.IntN(80)
		o.attrs = []model.Attr{model.IntAttr("transB", 1)}
		o.inputs = append(side(1+r.IntN(20), k), r.weights(cols, k), r.scales(cols, 0.002), model.FromSlice([]int{cols}, make([]int8, cols)), r.bias(cols), r.scale(0.02), r.zero(signed))
		o.constant = []int{1, 2, 3, 4, 5, 6, 7, 8}
	case "QLinearAdd", "QLinearMul":
		shapes := [][2][]int{{{n, c, 5, 7}, {n, c, 5, 7}}, {{n, c, 5, 7}, {n, c, 1, 1}}, {{n, 3, c}, {c}}, {{n, c}, {1}}}[r.IntN(4)]
		o.inputs = append(append(side(shapes[0]...), side(shapes[1]...)...), r.scale(0.02), r.zero(signed))
		o.constant = []int{1, 2, 4, 5, 6, 7}
	case "QLinearConcat":
		o.attrs = []model.Attr{model.IntAttr("axis", 1)}
		o.inputs = append([]*model.Tensor{r.scale(0.02), r.zero(signed)}, append(side(n, c, 3, 4), side(n, 5, 3, 4)...)...)
		o.constant = []int{0, 1, 3, 4, 6, 7}
	case "QLinearGlobalAveragePool":
		o.inputs = append(side(n, c, 3+r.IntN(9), 4), r.scale(0.01), r.zero(signed))
		o.constant = []int{1, 2, 3, 4}
	case "QLinearAveragePool":
		in, attrs, _ := r.window(2)
		o.attrs = append(attrs[:3:3], model.IntAttr("ceil_mode", r.Int64N(2)), model.IntAttr("count_include_pad", r.Int64N(2)))
		o.inputs = append(side(append([]int{n, c}, in...)...), r.scale(0.01), r.zero(signed))
		o.constant = []int{1, 2, 3, 4}
	case "QLinearSoftmax":
		o.attrs = []model.Attr{model.IntAttr("opset", []int64{11, 13}[r.IntN(2)]), model.IntAttr("axis", 1)}
		o.inputs = append(side(n, c, 3), r.scale(0.008), model.Scalar(uint8(r.IntN(256))))
		if signed { // ONNX Runtime wraps around beyond 127
			o.inputs[4] = model.Scalar(int8(-128 + r.IntN(128)))
		}
		o.constant = []int{1, 2, 3, 4}
	default:
		o.inputs = append(side(n, c), r.scale(0.01), r.zero(signed))
		o.constant = []int{1, 2, 3, 4}
	}
	return o
}

// bound is what an operator may differ by from ONNX Runtime, and in what share of the bytes of a case.
type bound struct{ largest, share float64 }

// Products and their requantization are exact. The others round float32 sums that ONNX Runtime adds in another order or, with
// signed bytes, at another offset, so that a value at a tie may go to the other side.
func qlinearBound(op string) bound {
	switch op {
	case "QLinearConv", "QLinearMatMul", "QGemm", "QLinearConcat", "QLinearLeakyRelu", "QLinearSoftmax":
		return bound{}
	}
	return bound{1, 0.01}
}

func TestQLinear(t *testing.T) {
	rt := reference(t)
	rng := quant{rand.New(rand.NewPCG(41, 0))}
	for _, op := range []string{"QLinearConv", "QLinearMatMul", "QGemm", "QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearGlobalAveragePool",
		"QLinearAveragePool", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax"} {
		t.Run(op, func(t *testing.T) {
			var worst, share float64
			run := &byteRun{rt: rt}
			for i := range 60 {
				o := rng.qlinearCase(op)
				g, feed := o.graph()
				g.Name = fmt.Sprintf("%s %d", op, i)
				opt := engine.Options{NoFusion: i%2 == 1} // the operator itself, or what the pass makes of it
				d, s := run.difference(t, g, feed, opt)
				if b := qlinearBound(op); d > b.largest || d > 0 && s > b.share && s*float64(o.inputs[0].Len()) > 2 {
					t.Errorf("%s, fused %v: differs by %v in %.3f of the bytes", g.Name, !opt.NoFusion, d, s)
				}
				worst, share = max(worst, d), max(share, s)
			}
			if n := run.distinct(); n < 60 {
				t.Errorf("the outputs have %d different bytes only", n)
			}
			t.Logf("largest difference %v, in at most %.4f of the bytes", worst, share)
		})
	}
}

// qdqGraph puts one operator between DequantizeLinear and QuantizeLinear.
type qdqGraph struct {
	quant
	g    *model.Graph
	feed engine.Feed
	n    int
}

func (b *qdqGraph) node(op string, in []string, attrs ...model.Attr) string {
	b.n++
	out := fmt.Sprintf("v%d", b.n)
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs})
	return out
}

func (b *qdqGraph) constant(t *model.Tensor) string {
	b.n++
	name := fmt.Sprintf("c%d", b.n)
	b.g.SetInitializer(name, t)
	return name
}

// input is a float input, quantized and dequantized.
func (b *qdqGraph) input(signed bool, shape ...int) string {
	name := fmt.Sprintf("x%d", len(b.g.Inputs))
	x := make([]float32, 1)
	for _, d := range shape {
		x = make([]float32, len(x)*d)
	}
	for i := range x {
		x[i] = float32(b.NormFloat64())
	}
	b.feed[name] = model.FromSlice(shape, x)
	dims := make(model.Shape, len(shape))
	for i, d := range shape {
		dims[i] = model.Dim{Size: int64(d)}
	}
	b.g.Inputs = append(b.g.Inputs, &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: dims}})
	return b.qdq(name, signed, 0.02)
}

func (b *qdqGraph) quantize(x string, signed bool, scale float64) (q, s, z string) {
	s, z = b.constant(b.scale(scale)), b.constant(b.zero(signed))
	return b.node("QuantizeLinear", []string{x, s, z}), s, z
}

func (b *qdqGraph) qdq(x string, signed bool, scale float64) string {
	q, s, z := b.quantize(x, signed, scale)
	return b.node("DequantizeLinear", []string{q, s, z})
}

// weight is a constant behind DequantizeLinear, with one scale or one per slice of axis 0.
func (b *qdqGraph) weight(perChannel bool, shape ...int) string {
	s, z := b.quant.scale(0.002), model.Scalar(int8(0))
	if perChannel {
		s, z = b.scales(shape[0], 0.002), model.FromSlice([]int{shape[0]}, make([]int8, shape[0]))
	}
	return b.node("DequantizeLinear", []string{b.constant(b.weights(shape...)), b.constant(s), b.constant(z)}, model.IntAttr("axis", 0))
}

// TestQDQ: chains of quantized operators as quantizers write them have the bytes of ONNX Runtime, but for the ties of sums and
// averages, and none of their products is left in float.
func TestQDQ(t *testing.T) {
	rt := reference(t)
	var differ, cases int
	run := &byteRun{rt: rt}
	for i := range 150 {
		b := &qdqGraph{quant: quant{rand.New(rand.NewPCG(43, uint64(i)))}, feed: engine.Feed{}}
		b.g = &model.Graph{Name: fmt.Sprintf("chain %d", i), Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}
		signed := i%3 == 0
		ch := 4 * (1 + b.IntN(20))
		x := b.input(signed, 1+b.IntN(2), 3+b.IntN(6), 12, 11)
		conv := func(x string, in, out, groups, k int64) string {
			w := b.weight(b.IntN(2) == 0, int(out), int(in/groups), int(k), int(k))
			return b.node("Conv", []string{x, w}, model.IntAttr("group", groups), model.IntsAttr("pads", k/2, k/2, k/2, k/2))
		}
		first := int64(b.feed["x0"].Shape()[1])
		y := b.node([]string{"Relu", "Identity"}[i%2], []string{conv(x, first, int64(ch), 1, 3)})
		y = b.qdq(y, signed, 0.03)
		skip := y
		y = b.qdq(conv(y, int64(ch), int64(ch), int64(ch), 3), signed, 0.03)
		switch i % 4 {
		case 0:
			h := b.qdq(b.node("HardSigmoid", []string{y}, model.FloatAttr("alpha", 1.0/6)), signed, 0.004)
			y = b.qdq(b.node("Mul", []string{y, h}), signed, 0.02)
		case 1:
			y = b.qdq(b.node("MaxPool", []string{y}, model.IntsAttr("kernel_shape", 3, 3), model.IntsAttr("pads", 1, 1, 1, 1)), signed, 0.03)
		case 2:
			y = b.qdq(b.node("LeakyRelu", []string{y}, model.FloatAttr("alpha", 0.1)), signed, 0.03)
		}
		y = b.qdq(b.node("Add", []string{y, skip}), signed, 0.04)
		y = b.qdq(conv(y, int64(ch), 16, 1, 1), signed, 0.05)
		q, _, _ := b.quantize(b.node("GlobalAveragePool", []string{y}), signed, 0.02)
		b.g.Outputs = append(b.g.Outputs, &model.Value{Name: q, Type: model.Type{DType: map[bool]model.DType{false: model.Uint8, true: model.Int8}[signed]}})
		// A byte of a sum that goes to the other side of a tie moves what follows by its weight: little, but more than one byte in all.
		d, share := run.difference(t, b.g, b.feed, engine.Options{})
		if d > 2 {
			t.Errorf("%s: differs by %v in %.3f of the bytes", b.g.Name, d, share)
		}
		cases++
		if d > 0 {
			differ++
		}
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: b.g}, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for op := range s.Info().Ops {
			if op == "Conv" || op == "Add" || op == "Mul" || op == "MaxPool" || op == "GlobalAveragePool" || strings.HasPrefix(op, "Hard") || op == "DequantizeLinear" {
				t.Errorf("%s: a node %s is left in float: %v", b.g.Name, op, s.Info().Ops)
			}
		}
		s.Close()
	}
	if n := run.distinct(); n < 60 {
		t.Errorf("the outputs have %d different bytes only", n)
	}
	t.Logf("%d of %d chains differ", differ, cases)
}
