package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// builder makes graphs out of the patterns that exporters write.
type builder struct {
	g *model.Graph
	r *rand.Rand
	n int
}

func newBuilder(seed uint64, opset int64) *builder {
	return &builder{r: rand.New(rand.NewPCG(seed, 1)), g: &model.Graph{Name: "test",
		Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: opset}}}}}
}

func (b *builder) input(name string, d model.DType, shape model.Shape) string {
	b.g.Inputs = append(b.g.Inputs, &model.Value{Name: name, Type: model.Type{DType: d, Shape: shape}})
	return name
}

func (b *builder) output(name string) {
	b.g.Outputs = append(b.g.Outputs, &model.Value{Name: name})
}

func (b *builder) name(s string) string {
	b.n++
	return fmt.Sprintf("%s%d", s, b.n)
}

// node adds an operator and returns its output.
func (b *builder) node(op string, in []string, attrs ...model.Attr) string {
	out := b.name(op)
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: out, Op: op, Inputs: in, Outputs: []string{out}, Attrs: attrs})
	return out
}

func (b *builder) constant(t *model.Tensor) string {
	name := b.name("c")
	b.g.SetInitializer(name, t)
	return name
}

func (b *builder) scalar(v float32) string { return b.constant(model.Scalar(v)) }

func (b *builder) ints(v ...int64) string { return b.constant(model.FromSlice([]int{len(v)}, v)) }

// weight is a random tensor of deviation s.
func (b *builder) weight(s float64, shape ...int) string {
	return b.constant(randomTensor(b.r, s, shape...))
}

func randomTensor(r *rand.Rand, s float64, shape ...int) *model.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64() * s)
	}
	return model.FromSlice(shape, x)
}

// linear is MatMul and, in any order of operands, Add.
func (b *builder) linear(x string, k, n int) string {
	y := b.node("MatMul", []string{x, b.weight(1/math.Sqrt(float64(k)), k, n)})
	in := []string{y, b.weight(0.1, n)}
	if b.r.IntN(2) == 0 {
		in[0], in[1] = in[1], in[0]
	}
	return b.node("Add", in)
}

func (b *builder) layerNorm(x string, n int) string {
	axes := model.IntsAttr("axes", -1)
	d := b.node("Sub", []string{x, b.node("ReduceMean", []string{x}, axes)})
	var sq string
	if b.r.IntN(2) == 0 {
		sq = b.node("Pow", []string{d, b.scalar(2)})
	} else {
		sq = b.node("Mul", []string{d, d})
	}
	v := b.node("Add", []string{b.node("ReduceMean", []string{sq}, axes), b.scalar(1e-5)})
	y := b.node("Div", []string{d, b.node("Sqrt", []string{v})})
	return b.node("Add", []string{b.node("Mul", []string{y, b.weight(1, n)}), b.weight(1, n)})
}

// gelu is one of the spellings of GELU.
func (b *builder) gelu(x string) string {
	if b.r.IntN(3) == 0 {
		cube := b.node("Mul", []string{b.scalar(0.044715), b.node("Pow", []string{x, b.scalar(3)})})
		t := b.node("Tanh", []string{b.node("Mul", []string{b.node("Add", []string{x, cube}), b.scalar(0.7978845608)})})
		h := b.node("Mul", []string{x, b.scalar(0.5)})
		return b.node("Mul", []string{h, b.node("Add", []string{t, b.scalar(1)})})
	}
	e := b.node("Add", []string{b.node("Erf", []string{b.node("Div", []string{x, b.scalar(math.Sqrt2)})}), b.scalar(1)})
	if b.r.IntN(2) == 0 {
		return b.node("Mul", []string{b.node("Mul", []string{x, e}), b.scalar(0.5)})
	}
	return b.node("Mul", []string{x, b.node("Mul", []string{e, b.scalar(0.5)})})
}

// shaped reshapes to the first two sizes of x and the given rest, computed at run time as exporters do.
func (b *builder) shaped(y, x string, rest ...int64) string {
	var parts []string
	for i := range int64(2) {
		d := b.node("Gather", []string{b.node("Shape", []string{x}), b.constant(model.Scalar(i))})
		parts = append(parts, b.node("Unsqueeze", []string{d}, model.IntsAttr("axes", 0)))
	}
	parts = append(parts, b.ints(rest...))
	return b.node("Reshape", []string{y, b.node("Concat", parts, model.IntAttr("axis", 0))})
}

func (b *builder) attention(x, mask string, h, d int64) string {
	n := int(h * d)
	q, k, v := b.linear(x, n, n), b.linear(x, n, n), b.linear(x, n, n)
	qh := b.node("Transpose", []string{b.shaped(q, q, h, d)}, model.IntsAttr("perm", 0, 2, 1, 3))
	kh := b.node("Transpose", []string{b.shaped(k, k, h, d)}, model.IntsAttr("perm", 0, 2, 3, 1))
	vh := b.node("Transpose", []string{b.shaped(v, v, h, d)}, model.IntsAttr("perm", 0, 2, 1, 3))
	s := b.node("MatMul", []string{qh, kh})
	if b.r.IntN(2) == 0 {
		s = b.node("Div", []string{s, b.scalar(float32(math.Sqrt(float64(d))))})
	} else {
		s = b.node("Mul", []string{s, b.scalar(float32(1 / math.Sqrt(float64(d))))})
	}
	s = b.node("Add", []string{s, mask})
	p := b.node("Softmax", []string{s}, model.IntAttr("axis", -1))
	c := b.node("Transpose", []string{b.node("MatMul", []string{p, vh})}, model.IntsAttr("perm", 0, 2, 1, 3))
	return b.shaped(c, x, h*d)
}

// quantLinear is a dynamically quantized MatMul and Add.
func (b *builder) quantLinear(x string, k, n int) string {
	q := b.name("q")
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: q, Op: "DynamicQuantizeLinear", Inputs: []string{x}, Outputs: []string{q, q + "s", q + "z"}})
	w := make([]int8, k*n)
	for i := range w {
		w[i] = int8(b.r.IntN(255) - 127)
	}
	sc := make([]float32, n)
	for i := range sc {
		sc[i] = 0.001 + 0.001*b.r.Float32()
	}
	acc := b.node("MatMulInteger", []string{q, b.constant(model.FromSlice([]int{k, n}, w)), q + "z", b.constant(model.FromSlice([]int{n}, make([]int8, n)))})
	f := b.node("Cast", []string{acc}, model.IntAttr("to", int64(model.Float32)))
	y := b.node("Mul", []string{f, b.node("Mul", []string{q + "s", b.constant(model.FromSlice([]int{n}, sc))})})
	return b.node("Add", []string{y, b.weight(0.1, n)})
}

// transformer is a stack of random blocks over x [batch, length, h*d] and mask [batch, length].
func transformer(seed uint64, h, d int64, blocks int, quant bool) *model.Graph {
	b := newBuilder(seed, 11)
	n := int(h * d)
	x := b.input("x", model.Float32, model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "length"}, {Size: int64(n)}})
	m := b.input("mask", model.Float32, model.Shape{{Size: -1, Param: "batch"}, {Size: -1, Param: "length"}})
	mask := b.node("Unsqueeze", []string{m}, model.IntsAttr("axes", 1, 2))
	mask = b.node("Mul", []string{b.node("Sub", []string{b.scalar(1), mask}), b.scalar(-10000)})
	linear := b.linear
	if quant {
		linear = b.quantLinear
	}
	for range blocks {
		a := linear(b.attention(x, mask, h, d), n, n)
		x = b.layerNorm(b.node("Add", []string{a, x}), n)
		f := linear(x, n, 4*n)
		switch b.r.IntN(4) {
		case 0:
			f = b.node("Relu", []string{f})
		case 1:
			f = b.node("Mul", []string{f, b.node("Sigmoid", []string{f})})
		default:
			f = b.gelu(f)
		}
		f = b.node("Identity", []string{f})
		x = b.layerNorm(b.node("Add", []string{x, linear(f, 4*n, n)}), n)
	}
	b.output(x)
	return b.g
}

// images is a stack of convolutions with normalisation and activations over x [batch, 3, height, width].
func images(seed uint64) *model.Graph {
	b := newBuilder(seed, 11)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 3}, {Size: -1}, {Size: -1}})
	ch := 3
	for i := range 4 {
		out := 4 + 4*i
		group, cin := 1, ch
		if i == 2 {
			group, out, cin = ch, ch, 1
		}
		y := b.node("Conv", []string{x, b.weight(0.3, out, cin, 3, 3), b.weight(0.1, out)}, model.IntAttr("group", int64(group)), model.IntsAttr("pads", 1, 1, 1, 1))
		v := make([]float32, out)
		for j := range v {
			v[j] = 0.5 + b.r.Float32()
		}
		y = b.node("BatchNormalization", []string{y, b.weight(1, out), b.weight(1, out), b.weight(0.1, out), b.constant(model.FromSlice([]int{out}, v))})
		switch i % 4 {
		case 0:
			y = b.node("Relu", []string{y})
		case 1:
			c := b.node("Clip", []string{b.node("Add", []string{y, b.scalar(3)}), b.scalar(0), b.scalar(6)})
			y = b.node("Div", []string{b.node("Mul", []string{y, c}), b.scalar(6)})
		case 2:
			y = b.node("Mul", []string{y, b.node("HardSigmoid", []string{y}, model.FloatAttr("alpha", 1.0/6))})
		}
		x, ch = y, out
	}
	x = b.node("Flatten", []string{b.node("GlobalAveragePool", []string{x})})
	x = b.node("Gemm", []string{x, b.weight(0.3, 5, ch), b.weight(0.1, 5)}, model.IntAttr("transB", 1))
	b.output(b.node("Tanh", []string{x}))
	return b.g
}

func load(t testing.TB, g *model.Graph, o engine.Options) engine.Session {
	t.Helper()
	s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// run returns the only output.
func run(t testing.TB, s engine.Session, in engine.Feed) []float32 {
	t.Helper()
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	x, err := out[s.Outputs()[0].Name].Float32()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// sentence is a feed of the transformer, the last entries of each row masked.
func sentence(seed uint64, batch, length, n int) engine.Feed {
	r := rand.New(rand.NewPCG(seed, 2))
	m := make([]float32, batch*length)
	for i := range m {
		if i%length <= length/2 || r.IntN(2) == 0 {
			m[i] = 1
		}
	}
	return engine.Feed{"x": randomTensor(r, 1, batch, length, n), "mask": model.FromSlice([]int{batch, length}, m)}
}
