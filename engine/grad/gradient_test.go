package grad

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// testCase is one node with its inputs; float inputs get derivatives.
type testCase struct {
	name  string
	op    string
	attrs []model.Attr
	in    []any // shape []int: random in [-1,1); positive: in [0.5,2); *model.Tensor: constant; nil: omitted
	outs  []int // outputs that the loss depends on; nil = 0
	total int   // outputs of the node, 0 = 1
	opset int64 // 0 = 17
}

type positive []int

func i64(v ...int64) *model.Tensor { return model.FromSlice([]int{len(v)}, v) }
func i32(v ...int32) *model.Tensor { return model.FromSlice([]int{len(v)}, v) }
func f32s(v float32) *model.Tensor { return model.Scalar(v) }

func cases() []testCase {
	sh := func(d ...int) []int { return d }
	attrI, attrIs, attrS, attrF := model.IntAttr, model.IntsAttr, model.StringAttr, model.FloatAttr
	reshaped := func(d ...int64) model.Attr { return attrIs("test_shape", d...) }
	var cs []testCase
	add := func(op, name string, attrs []model.Attr, in ...any) *testCase {
		cs = append(cs, testCase{name: op + name, op: op, attrs: attrs, in: in})
		return &cs[len(cs)-1]
	}
	for _, op := range []string{"Identity", "Dropout", "Neg", "Exp", "Tanh", "Sigmoid", "Relu", "Erf", "Abs"} {
		add(op, "", nil, sh(3, 5))
	}
	add("Cast", "", []model.Attr{attrI("to", 1)}, sh(4))
	for _, op := range []string{"Log", "Sqrt", "Reciprocal"} {
		add(op, "", nil, positive{3, 5})
	}
	add("Gelu", "", nil, sh(7)).opset = 20
	add("Gelu", "Tanh", []model.Attr{attrS("approximate", "tanh")}, sh(7)).opset = 20
	for _, op := range []string{"Add", "Sub", "Mul"} {
		add(op, "", nil, sh(2, 3), sh(2, 3))
		add(op, "Row", nil, sh(2, 3, 4), sh(4))
		add(op, "Both", nil, sh(2, 1, 4), sh(3, 1))
		add(op, "Scalar", nil, sh(), sh(2, 3))
	}
	add("Div", "", nil, sh(2, 3), positive{3})
	add("Div", "Both", nil, sh(2, 1, 4), positive{3, 1})
	add("Sum", "", nil, sh(2, 3), sh(3), sh(2, 1))
	add("Pow", "", nil, positive{2, 3}, positive{3})
	add("Pow", "Square", nil, sh(2, 3), f32s(2))
	add("Where", "", nil, model.FromSlice([]int{2, 1}, []bool{true, false}), sh(2, 3), sh(3))
	add("Clip", "", nil, sh(20), f32s(-0.3), f32s(0.4))
	add("Clip", "Low", nil, sh(20), f32s(-0.3))
	add("MatMul", "", nil, sh(3, 4), sh(4, 5))
	add("MatMul", "Weight", nil, sh(2, 3, 4), sh(4, 5))
	add("MatMul", "Batch", nil, sh(2, 3, 4), sh(2, 4, 5))
	add("MatMul", "Broadcast", nil, sh(2, 1, 3, 4), sh(3, 4, 2))
	add("MatMul", "BroadcastLeft", nil, sh(3, 4), sh(2, 4, 2))
	add("MatMul", "VectorRight", nil, sh(2, 3, 4), sh(4))
	add("MatMul", "VectorLeft", nil, sh(4), sh(2, 4, 3))
	add("MatMul", "Dot", nil, sh(4), sh(4))
	for _, ta := range []int64{0, 1} {
		for _, tb := range []int64{0, 1} {
			a, b := sh(3, 4), sh(4, 5)
			if ta == 1 {
				a = sh(4, 3)
			}
			if tb == 1 {
				b = sh(5, 4)
			}
			add("Gemm", fmt.Sprint(ta, tb), []model.Attr{attrI("transA", ta), attrI("transB", tb), attrF("alpha", 0.5), attrF("beta", 2)}, a, b, sh(5))
		}
	}
	add("Gemm", "NoC", nil, sh(3, 4), sh(4, 5))
	add("Gemm", "Column", nil, sh(3, 4), sh(4, 5), sh(3, 1))
	add("Gather", "", nil, sh(5, 3), model.FromSlice([]int{2, 3}, []int64{0, 4, 4, -1, 2, 4}))
	add("Gather", "Axis1", []model.Attr{attrI("axis", 1)}, sh(2, 4, 3), i64(3, 1, 3))
	add("Softmax", "", nil, sh(3, 5))
	add("Softmax", "Axis1", []model.Attr{attrI("axis", 1)}, sh(2, 3, 4))
	add("Softmax", "Old", nil, sh(2, 3, 2)).opset = 11
	add("LogSoftmax", "", nil, sh(3, 5))
	add("LogSoftmax", "Axis0", []model.Attr{attrI("axis", 0)}, sh(3, 5))
	add("LayerNormalization", "", nil, sh(3, 5), sh(5), sh(5))
	add("LayerNormalization", "Axis1", []model.Attr{attrI("axis", 1)}, sh(3, 2, 3), sh(2, 3), sh(2, 3))
	for _, op := range []string{"ReduceMean", "ReduceMax"} {
		add(op, "", nil, sh(2, 3))
		add(op, "Axes", []model.Attr{attrIs("axes", 0, -1), attrI("keepdims", 0)}, sh(2, 3, 4))
	}
	add("ReduceMax", "Leading", []model.Attr{attrIs("axes", 0), attrI("keepdims", 0)}, sh(4, 2, 3))
	add("ReduceMean", "Leading", []model.Attr{attrIs("axes", 0)}, sh(4, 2, 3))
	add("ReduceSum", "Leading", []model.Attr{attrI("keepdims", 0)}, sh(4, 2, 3), i64(0, 1))
	add("ReduceSum", "", []model.Attr{attrI("keepdims", 0)}, sh(2, 3, 4), i64(1))
	add("ReduceSum", "Keep", nil, sh(2, 3, 4), i64(0, 2))
	add("ReduceSum", "Noop", []model.Attr{attrI("noop_with_empty_axes", 1)}, sh(2, 3))
	add("Transpose", "", nil, sh(2, 3, 4))
	add("Transpose", "Perm", []model.Attr{attrIs("perm", 1, 2, 0)}, sh(2, 3, 4))
	add("Reshape", "", []model.Attr{reshaped(4, 3)}, sh(2, 6), i64(4, -1))
	add("Squeeze", "", []model.Attr{reshaped(2, 3)}, sh(2, 1, 3), i64(1))
	add("Unsqueeze", "", []model.Attr{reshaped(2, 1, 3)}, sh(2, 3), i64(1))
	add("Flatten", "", []model.Attr{reshaped(2, 12)}, sh(2, 3, 4))
	add("Concat", "", []model.Attr{attrI("axis", 1)}, sh(2, 3), sh(2, 1), sh(2, 2))
	add("Concat", "Last", []model.Attr{attrI("axis", -2)}, sh(2, 3, 2), sh(2, 1, 2))
	add("Slice", "", nil, sh(4, 6), i64(1, -5), i64(3, 9), i64(0, 1), i64(1, 2))
	add("Slice", "Back", nil, sh(4, 6), i64(-1), i64(-100), i64(1), i64(-2))
	c := add("Split", "", nil, sh(6, 2))
	c.outs, c.total = []int{0, 2}, 3
	c = add("Split", "Sizes", []model.Attr{attrI("axis", 1)}, sh(2, 5), i64(3, 2))
	c.outs, c.total = []int{0, 1}, 2
	add("Expand", "", nil, sh(3, 1), i64(2, 3, 4))
	return append(cs, recurrentCases()...)
}

func recurrentCases() []testCase {
	var cs []testCase
	for _, op := range []string{"LSTM", "GRU"} {
		for _, dir := range []string{"forward", "reverse", "bidirectional"} {
			for _, full := range []bool{false, true} {
				for lbr := range int64(2) {
					if op == "LSTM" && lbr == 1 {
						continue
					}
					gates, dirs, last := 4, 1, 3
					if op == "GRU" {
						gates, last = 3, 2
					}
					if dir == "bidirectional" {
						dirs = 2
					}
					const steps, batch, in, h = 5, 4, 3, 2
					c := testCase{name: fmt.Sprintf("%s/%s/full=%v/lbr=%d", op, dir, full, lbr), op: op, total: last}
					c.attrs = []model.Attr{model.IntAttr("hidden_size", h), model.StringAttr("direction", dir)}
					if op == "GRU" {
						c.attrs = append(c.attrs, model.IntAttr("linear_before_reset", lbr))
					}
					c.in = []any{[]int{steps, batch, in}, []int{dirs, gates * h, in}, []int{dirs, gates * h, h}}
					c.outs = []int{0}
					if full {
						c.in = append(c.in, []int{dirs, 2 * gates * h}, i32(5, 2, 4, 0), []int{dirs, batch, h})
						if op == "LSTM" {
							c.in = append(c.in, []int{dirs, batch, h})
						}
						for i := 1; i < last; i++ {
							c.outs = append(c.outs, i)
						}
					}
					cs = append(cs, c)
				}
			}
		}
	}
	return cs
}

// build makes the graph of the case, whose loss is a random projection of the outputs, and its float inputs.
func (c testCase) build(r *rand.Rand) (g *model.Graph, loss string, in map[string]*array, params []string) {
	opset := c.opset
	if opset == 0 {
		opset = 17
	}
	g = &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: opset}}}}
	in = map[string]*array{}
	n := &model.Node{Name: "tested", Op: c.op, Attrs: c.attrs}
	float := func(shape []int, lo, hi float64) {
		name := fmt.Sprintf("in%d", len(n.Inputs))
		a := newArray(shape...)
		for i := range a.x {
			a.x[i] = float64(float32(lo + (hi-lo)*r.Float64()))
		}
		in[name] = a
		params = append(params, name)
		n.Inputs = append(n.Inputs, name)
		g.Inputs = append(g.Inputs, &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.FixedShape(shape...)}})
	}
	for _, v := range c.in {
		switch v := v.(type) {
		case []int:
			float(v, -1, 1)
		case positive:
			float(v, 0.5, 2)
		case *model.Tensor:
			name := fmt.Sprintf("in%d", len(n.Inputs))
			g.SetInitializer(name, v)
			n.Inputs = append(n.Inputs, name)
		default:
			n.Inputs = append(n.Inputs, "")
		}
	}
	outs := c.outs
	if outs == nil {
		outs = []int{0}
	}
	for i := range max(1, c.total) {
		n.Outputs = append(n.Outputs, fmt.Sprintf("out%d", i))
	}
	g.Nodes = append(g.Nodes, n)
	for _, o := range outs {
		y := evaluate(g, in, n.Outputs[o])
		p := make([]float32, len(y.x))
		for i := range p {
			p[i] = float32(r.Float64()*2 - 1)
		}
		w, prod, sum := fmt.Sprintf("p%d", o), fmt.Sprintf("prod%d", o), fmt.Sprintf("sum%d", o)
		g.SetInitializer(w, model.FromSlice(y.shape, p))
		g.Nodes = append(g.Nodes, &model.Node{Op: "Mul", Inputs: []string{n.Outputs[o], w}, Outputs: []string{prod}},
			&model.Node{Op: "ReduceSum", Inputs: []string{prod}, Outputs: []string{sum}, Attrs: []model.Attr{model.IntAttr("keepdims", 0)}})
		if loss == "" {
			loss = sum
			continue
		}
		g.Nodes = append(g.Nodes, &model.Node{Op: "Add", Inputs: []string{loss, sum}, Outputs: []string{sum + "+"}})
		loss = sum + "+"
	}
	return g, loss, in, params
}

// derivatives runs the gradient graph on the engine.
func derivatives(t *testing.T, g *model.Graph, loss string, in map[string]*array, params []string) (float64, map[string][]float32) {
	t.Helper()
	gg, names, err := Gradient(g, loss, params)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range gg.Nodes {
		for i := 0; i < len(n.Attrs); i++ { // test_shape is for the reference only
			if n.Attrs[i].Name == "test_shape" {
				n.Attrs = append(append([]model.Attr(nil), n.Attrs[:i]...), n.Attrs[i+1:]...)
			}
		}
	}
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: gg}, engine.Options{Threads: 2, Ops: Ops()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed := engine.Feed{}
	for name, a := range in {
		x := make([]float32, len(a.x))
		for i := range x {
			x[i] = float32(a.x[i])
		}
		feed[name] = model.FromSlice(a.shape, x)
	}
	out, err := s.Run(context.Background(), feed)
	if err != nil {
		t.Fatal(err)
	}
	grads := map[string][]float32{}
	for _, p := range params {
		if !equal(out[names[p]].Shape(), in[p].shape) {
			t.Fatalf("derivative by %q has shape %v, want %v", p, out[names[p]].Shape(), in[p].shape)
		}
		if grads[p], err = model.Data[float32](out[names[p]]); err != nil {
			t.Fatal(err)
		}
	}
	l, err := model.Data[float32](out[loss])
	if err != nil {
		t.Fatal(err)
	}
	return float64(l[0]), grads
}

// compare checks loss and derivatives against central differences of the float64 reference. The differences are good to about 1e-9
// (step 1e-5: a truncation error of some 1e-10 and a rounding error of 1e-16/1e-5). What remains is float32 rounding: every
// derivative is a sum over at most some 100 terms through chains of some ten operations, each rounded by 2^-24 of its
// size, so 256 roundings of the largest derivative (at least 1) are allowed.
func compare(t *testing.T, g *model.Graph, loss string, in map[string]*array, params []string) {
	t.Helper()
	l, grads := derivatives(t, g, loss, in, params)
	const tol = 256.0 / (1 << 24)
	if want := evaluate(g, in, loss).x[0]; math.Abs(l-want) > tol*math.Max(1, math.Abs(want)) {
		t.Errorf("loss %g, want %g", l, want)
	}
	const h = 1e-5
	for _, p := range params {
		a := in[p]
		want := make([]float64, len(a.x))
		scale := 1.0
		for i, v := range a.x {
			a.x[i] = v + h
			up := evaluate(g, in, loss).x[0]
			a.x[i] = v - h
			down := evaluate(g, in, loss).x[0]
			a.x[i] = v
			want[i] = (up - down) / (2 * h)
			scale = math.Max(scale, math.Abs(want[i]))
		}
		for i := range want {
			if d := math.Abs(float64(grads[p][i]) - want[i]); !(d <= tol*scale) {
				t.Errorf("derivative by %s[%d] is %g, central difference %g", p, i, grads[p][i], want[i])
			}
		}
	}
}

func TestGradient(t *testing.T) {
	covered := map[string]bool{}
	for _, c := range cases() {
		covered[c.op] = true
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(3) {
				g, loss, in, params := c.build(rand.New(rand.NewPCG(seed, 1)))
				compare(t, g, loss, in, params)
			}
		})
	}
	for op := range rules {
		if !covered[op] {
			t.Errorf("no case for %s", op)
		}
	}
}

func TestLosses(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(shape ...int) *array {
		a := newArray(shape...)
		for i := range a.x {
			a.x[i] = float64(float32(6*r.Float64() - 3))
		}
		return a
	}
	base := func() *model.Graph {
		return &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
			Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32}}}}
	}
	g := base()
	g.SetInitializer("labels", i64(0, 3, 2, 2, 1))
	compare(t, g, CrossEntropy(g, "x", "labels"), map[string]*array{"x": random(5, 4)}, []string{"x"})
	g = base()
	g.SetInitializer("targets", model.FromSlice([]int{4}, []float32{0, 1, 0.25, 1}))
	compare(t, g, BinaryCrossEntropy(g, "x", "targets"), map[string]*array{"x": random(4)}, []string{"x"})
	for _, temp := range []float32{1, 3} {
		g = base()
		g.SetInitializer("teacher", model.FromSlice([]int{2, 3}, []float32{1, -2, 0.5, 0, 3, -1}))
		g.SetInitializer("labels", i64(0, 2))
		loss := WeightedSum(g, KLDivergence(g, "x", "teacher", temp), 0.3, CrossEntropy(g, "x", "labels"), 0.7)
		compare(t, g, loss, map[string]*array{"x": random(2, 3)}, []string{"x"})
	}
}

// A value that is read several times gets the sum of its derivatives.
func TestSharedValue(t *testing.T) {
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32}}},
		Nodes: []*model.Node{
			{Op: "Tanh", Inputs: []string{"x"}, Outputs: []string{"t"}},
			{Op: "Mul", Inputs: []string{"t", "t"}, Outputs: []string{"s"}},
			{Op: "Mul", Inputs: []string{"s", "x"}, Outputs: []string{"m"}},
			{Op: "ReduceSum", Inputs: []string{"m"}, Outputs: []string{"loss"}, Attrs: []model.Attr{model.IntAttr("keepdims", 0)}},
		}}
	compare(t, g, "loss", map[string]*array{"x": {[]int{3}, []float64{0.5, -1, 0.25}}}, []string{"x"})
}

func TestGradientErrors(t *testing.T) {
	node := func(op string, in ...string) *model.Graph {
		return &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
			Inputs: []*model.Value{{Name: "x"}, {Name: "z"}}, Nodes: []*model.Node{{Name: "n1", Op: op, Inputs: in, Outputs: []string{"loss"}}}}
	}
	_, _, err := Gradient(node("Det", "x"), "loss", []string{"x"})
	if !errors.Is(err, model.ErrUnsupported) || !strings.Contains(err.Error(), `node "n1" (Det)`) {
		t.Errorf("operator without derivative: %v", err)
	}
	if _, _, err := Gradient(node("Neg", "x"), "loss", []string{"z"}); err == nil {
		t.Error("no error for a loss that depends on no parameter")
	}
	if _, _, err := Gradient(node("Neg", "x"), "loss", []string{"x", "z"}); !errors.Is(err, ErrNoPath) || !strings.Contains(err.Error(), `"z"`) {
		t.Errorf("parameter without a path: %v", err)
	}
	if _, _, err := Gradient(node("Floor", "x"), "loss", []string{"x"}); err == nil {
		t.Error("no error where every path ends in a step function")
	}
	g := node("LSTM", "x", "z", "z", "", "", "", "", "z")
	if _, _, err := Gradient(g, "loss", []string{"x"}); !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("peepholes: %v", err)
	}
}
