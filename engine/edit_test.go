package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestViewBetweenPasses: after every pass over random graphs, the view that the next one starts from is that of a graph seen
// for the first time.
func TestViewBetweenPasses(t *testing.T) {
	rounds, kept, changed, by := 400, 0, 0, map[string]int{}
	if testing.Short() {
		rounds = 50
	}
	for seed := range uint64(rounds) {
		g := randomGraph(rand.New(rand.NewPCG(seed, 3)))
		c := &compiler{opts: Options{Memory: 1 << 30}, table: opTable(), opsets: map[string]int64{"": 13}}
		if err := sortAll(g); err != nil {
			t.Fatal(err)
		}
		for _, p := range passList(false) {
			before := len(g.Nodes)
			if err := c.pass(p, g); err != nil {
				t.Fatalf("seed %d: pass %s: %v", seed, p.name, err)
			}
			if len(g.Nodes) != before {
				by[p.name]++
			}
			if c.view == nil {
				continue
			}
			kept++
			if len(g.Nodes) != before {
				changed++
			}
			compareViews(t, fmt.Sprintf("seed %d after %s", seed, p.name), c.view, newEditor(c, g))
			if t.Failed() {
				t.FailNow()
			}
		}
	}
	for _, name := range []string{"identity", "cast", "shapes", "nbits", "gelu", "silu", "quantmatmul", "convbn", "attention", "epilogue", "layout"} {
		if by[name] == 0 {
			t.Errorf("no graph is changed by pass %s: %v", name, by)
		}
	}
	if kept < rounds || changed < rounds {
		t.Errorf("%d views were kept, %d of them of graphs that the pass had changed, over %d graphs", kept, changed, rounds)
	}
}

func compareViews(t *testing.T, where string, have, want *editor) {
	t.Helper()
	if have.g != want.g || len(have.gone) > 0 {
		t.Errorf("%s: another graph, or %d nodes are gone", where, len(have.gone))
	}
	if len(have.maker) != len(want.maker) {
		t.Errorf("%s: %d values are made, want %d", where, len(have.maker), len(want.maker))
	}
	for name, n := range want.maker {
		if have.maker[name] != n {
			t.Errorf("%s: %q is made by %v, want %v", where, name, have.maker[name], n)
		}
	}
	count := func(list []*model.Node) map[*model.Node]int {
		m := map[*model.Node]int{}
		for _, n := range list {
			m[n]++
		}
		return m
	}
	for name, list := range have.users {
		if len(list) > 0 && len(want.users[name]) == 0 {
			t.Errorf("%s: %q is read by %v, want nobody", where, name, list)
		}
	}
	for name, list := range want.users {
		x, y := count(have.users[name]), count(list)
		for n, k := range y {
			if x[n] != k || len(x) != len(y) {
				t.Errorf("%s: %q is read by %v, want %v", where, name, have.users[name], list)
				break
			}
		}
	}
	for _, m := range []struct{ have, want map[string]bool }{{have.pinned, want.pinned}, {have.fixed, want.fixed}} {
		if len(m.have) != len(m.want) {
			t.Errorf("%s: %v, want %v", where, m.have, m.want)
		}
	}
}

// randomGraph wires operators that passes look for at random, with runs of them as exporters write them.
func randomGraph(r *rand.Rand) *model.Graph {
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}}}}
	shape := model.Shape{{Size: 2}, {Size: -1, Param: "rows"}, {Size: 24}}
	g.Inputs = []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: shape}}}
	g.Inputs = append(g.Inputs, &model.Value{Name: "i", Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: 1}, {Size: 16}, {Size: 6}, {Size: -1, Param: "width"}}}},
		&model.Value{Name: "c", Type: model.Type{DType: model.Bool, Shape: model.Shape{}}})
	floats, bytes, integers, images := []string{"x"}, []string{}, []string{}, []string{"i"}
	some := func(list []string) string { return list[max(0, len(list)-1-r.IntN(4))] }
	number := func(t *model.Tensor) string {
		name := fmt.Sprintf("c%d", len(g.Initializers()))
		g.SetInitializer(name, t)
		return name
	}
	made := 0
	do := func(op string, in []string, attrs ...model.Attr) *model.Node {
		made++
		n := &model.Node{Name: fmt.Sprintf("n%d", made), Op: op, Inputs: in, Outputs: []string{fmt.Sprintf("v%d", made)}, Attrs: attrs}
		g.Nodes = append(g.Nodes, n)
		return n
	}
	scalar := func() string {
		return number(model.Scalar([]float32{0.5, 1, 2, 3, 1.702, 0.7071068}[r.IntN(6)]))
	}
	matrix := func() string {
		w := make([]int8, 24*24)
		for i := range w {
			w[i] = int8(r.IntN(256))
		}
		return number(model.FromSlice([]int{24, 24}, w))
	}
	zeros := func(shape ...int) string { return number(model.FromSlice(shape, make([]float32, product(shape)))) }
	one := func() string { return number(model.Scalar(float32(0.1 + r.Float64()))) }
	zero := number(model.Scalar(uint8(7)))
	for range 10 + r.IntN(60) {
		x := some(floats)
		switch r.IntN(19) {
		case 0:
			floats = append(floats, do("Identity", []string{x}).Out(0))
		case 1:
			floats = append(floats, do("Cast", []string{x}, model.IntAttr("to", int64(model.Float32))).Out(0))
		case 2:
			floats = append(floats, do([]string{"Add", "Mul"}[r.IntN(2)], []string{x, some(floats)}).Out(0))
		case 3:
			floats = append(floats, do([]string{"Add", "Mul", "Div"}[r.IntN(3)], []string{x, scalar()}).Out(0))
		case 4:
			floats = append(floats, do("Mul", []string{x, do("Sigmoid", []string{x}).Out(0)}).Out(0))
		case 5:
			h := do("Erf", []string{do("Div", []string{x, number(model.Scalar(float32(1.4142135)))}).Out(0)}).Out(0)
			h = do("Mul", []string{x, do("Add", []string{h, number(model.Scalar(float32(1)))}).Out(0)}).Out(0)
			floats = append(floats, do("Mul", []string{h, number(model.Scalar(float32(0.5)))}).Out(0))
		case 6: // dynamic quantization
			q := do("DynamicQuantizeLinear", []string{x})
			q.Outputs = append(q.Outputs, q.Out(0)+"s", q.Out(0)+"z")
			for range 1 + r.IntN(3) {
				sum := do("Cast", []string{do("MatMulInteger", []string{q.Out(0), matrix(), q.Out(2)}).Out(0)}, model.IntAttr("to", int64(model.Float32)))
				floats = append(floats, do("Mul", []string{sum.Out(0), do("Mul", []string{q.Out(1), one()}).Out(0)}).Out(0))
			}
		case 7:
			bytes = append(bytes, do("QuantizeLinear", []string{x, one(), zero}).Out(0))
		case 8:
			if len(bytes) > 0 {
				floats = append(floats, do("DequantizeLinear", []string{some(bytes), one(), zero}).Out(0))
			}
		case 9:
			w := do("DequantizeLinear", []string{matrix(), one(), number(model.Scalar(int8(3)))}).Out(0)
			floats = append(floats, do("MatMul", []string{x, w}).Out(0))
		case 10: // a computed target
			s := do("Shape", []string{x}).Out(0)
			d := do("Gather", []string{s, number(model.Scalar(int64(r.IntN(2))))}).Out(0)
			u := do("Unsqueeze", []string{d, number(model.FromSlice([]int{1}, []int64{0}))}).Out(0)
			integers = append(integers, do("Concat", []string{u, number(model.FromSlice([]int{1}, []int64{-1})), number(model.FromSlice([]int{1}, []int64{24}))},
				model.IntAttr("axis", 0)).Out(0))
		case 11:
			if len(integers) > 0 {
				floats = append(floats, do("Reshape", []string{x, some(integers)}).Out(0))
			}
		case 12:
			floats = append(floats, do("MatMul", []string{x, number(model.FromSlice([]int{24, 24}, make([]float32, 24*24)))}).Out(0))
			floats = append(floats, do("Add", []string{some(floats), number(model.FromSlice([]int{24}, make([]float32, 24)))}).Out(0))
		case 13:
			n := do("Relu", []string{x})
			copy := *n
			copy.Name, copy.Outputs = n.Name+"'", []string{n.Out(0) + "'"}
			g.Nodes = append(g.Nodes, &copy)
			floats = append(floats, n.Out(0), copy.Out(0))
		case 14, 15: // images
			images = append(images, convolved(r, do, number, some(images), some(images)))
		case 16:
			n := do("LSTM", []string{x, zeros(1, 96, 24), zeros(1, 96, 24)}, model.IntAttr("hidden_size", 24))
			floats = append(floats, do("Squeeze", []string{n.Out(0), number(model.FromSlice([]int{1}, []int64{1}))}).Out(0))
		case 17:
			heads := func(perm ...int64) string {
				h := do("Add", []string{do("MatMul", []string{x, zeros(24, 24)}).Out(0), zeros(24)})
				h = do("Reshape", []string{h.Out(0), number(model.FromSlice([]int{4}, []int64{0, 0, 4, 6}))})
				return do("Transpose", []string{h.Out(0)}, model.IntsAttr("perm", perm...)).Out(0)
			}
			s := do("MatMul", []string{heads(0, 2, 1, 3), heads(0, 2, 3, 1)})
			s = do("Softmax", []string{do("Div", []string{s.Out(0), scalar()}).Out(0)}, model.IntAttr("axis", -1))
			s = do("Transpose", []string{do("MatMul", []string{s.Out(0), heads(0, 2, 1, 3)}).Out(0)}, model.IntsAttr("perm", 0, 2, 1, 3))
			floats = append(floats, do("Reshape", []string{s.Out(0), number(model.FromSlice([]int{3}, []int64{0, 0, 24}))}).Out(0))
		case 18: // bodies that read values from outside
			body := func(op string) *model.Graph {
				in := fmt.Sprintf("in%d%s", made, op)
				return &model.Graph{Name: op, Outputs: []*model.Value{{Name: in + "y"}}, Nodes: []*model.Node{
					{Name: in, Op: op, Inputs: []string{x}, Outputs: []string{in}}, {Name: in + "y", Op: "Add", Inputs: []string{in, some(floats)}, Outputs: []string{in + "y"}}}}
			}
			floats = append(floats, do("If", []string{"c"}, model.Attr{Name: "then_branch", Kind: model.AttrGraph, G: body("Identity")},
				model.Attr{Name: "else_branch", Kind: model.AttrGraph, G: body("Relu")}).Out(0))
		}
	}
	if len(images) > 1 {
		g.Outputs = append(g.Outputs, &model.Value{Name: some(images[1:])})
	}
	for range 1 + r.IntN(3) {
		if name := some(floats); !slices.ContainsFunc(g.Outputs, func(v *model.Value) bool { return v.Name == name }) {
			g.Outputs = append(g.Outputs, &model.Value{Name: name})
		}
	}
	return g
}

// convolved appends what networks of images have between two of them, x and y of one shape, and returns its value, of that shape too.
func convolved(r *rand.Rand, do func(op string, in []string, attrs ...model.Attr) *model.Node, number func(*model.Tensor) string, x, y string) string {
	vector := func(shape ...int) string {
		v := make([]float32, product(shape))
		for i := range v {
			v[i] = 0.5 + r.Float32()
		}
		return number(model.FromSlice(shape, v))
	}
	k := 1 + 2*r.IntN(2)
	z := do("Conv", []string{x, vector(16, 16, k, k)}, model.IntsAttr("pads", int64(k/2), int64(k/2), int64(k/2), int64(k/2))).Out(0)
	if r.IntN(2) == 0 {
		z = do("BatchNormalization", []string{z, vector(16), vector(16), vector(16), vector(16)}).Out(0)
	}
	if r.IntN(2) == 0 {
		z = do([]string{"Add", "Mul"}[r.IntN(2)], []string{z, vector(16, 1, 1)}).Out(0)
	}
	if r.IntN(2) == 0 {
		z = do("Add", []string{z, y}).Out(0)
	}
	switch r.IntN(4) {
	case 0:
		z = do("Relu", []string{z}).Out(0)
	case 1:
		z = do("Mul", []string{z, do("Sigmoid", []string{z}).Out(0)}).Out(0)
	case 2:
		z = do("Mul", []string{z, do("GlobalAveragePool", []string{z}).Out(0)}).Out(0)
	}
	return z
}
