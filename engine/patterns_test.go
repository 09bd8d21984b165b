package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// sketch builds a graph from x [2, 7, 24] to y.
type sketch struct {
	g *model.Graph
	r *rand.Rand
	n int
}

func newSketch(r *rand.Rand, rows model.Dim) *sketch {
	x := vector("x", 2, 7, 24)
	x.Type.Shape[1] = rows
	return &sketch{r: r, g: &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}}}, Inputs: []*model.Value{x}, Outputs: []*model.Value{vector("y")}}}
}

// do adds a node and returns its first output; outs names all of them.
func (s *sketch) do(op string, attrs []model.Attr, in ...string) string {
	s.n++
	n := &model.Node{Name: fmt.Sprintf("%s%d", op, s.n), Op: op, Inputs: in, Outputs: []string{fmt.Sprintf("v%d", s.n)}, Attrs: attrs}
	s.g.Nodes = append(s.g.Nodes, n)
	return n.Outputs[0]
}

func (s *sketch) weight(shape ...int) string {
	s.n++
	n, _ := model.NumElements(shape)
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(s.r.NormFloat64()) / 4
	}
	name := fmt.Sprintf("w%d", s.n)
	s.g.SetInitializer(name, model.FromSlice(shape, v))
	return name
}

func (s *sketch) number(v float64) string { return s.constant(model.Scalar(float32(v))) }

func (s *sketch) constant(t *model.Tensor) string {
	s.n++
	name := fmt.Sprintf("c%d", s.n)
	s.g.SetInitializer(name, t)
	return name
}

func (s *sketch) ints(v ...int64) string { return s.constant(model.FromSlice([]int{len(v)}, v)) }

func perm(v ...int64) []model.Attr { return []model.Attr{model.IntsAttr("perm", v...)} }

// attend adds softmax(q k^T / sqrt 8) v of three heads of 8 and joins the heads. scaled puts the factor on the queries.
func (s *sketch) attend(q, k, v string, scaled bool) string {
	f := s.number(1 / math.Sqrt(8))
	if scaled {
		q = s.do("Mul", nil, q, f)
	}
	p := s.do("MatMul", nil, q, k)
	if !scaled {
		p = s.do("Mul", nil, p, f)
	}
	p = s.do("Softmax", []model.Attr{model.IntAttr("axis", -1)}, p)
	o := s.do("Transpose", perm(0, 2, 1, 3), s.do("MatMul", nil, p, v))
	return s.do("Reshape", nil, o, s.ints(0, 0, 24))
}

// patterns are what exporters write for the operators of the first column, which the passes find.
var patterns = map[string]func(s *sketch) string{
	"RMSNormalization quotient": func(s *sketch) string {
		m := s.do("ReduceMean", []model.Attr{model.IntsAttr("axes", -1)}, s.do("Pow", nil, "x", s.number(2)))
		d := s.do("Div", nil, "x", s.do("Sqrt", nil, s.do("Add", nil, m, s.number(1e-5))))
		return s.do("Mul", nil, d, s.weight(24))
	},
	"RMSNormalization reciprocal": func(s *sketch) string {
		m := s.do("ReduceMean", []model.Attr{model.IntsAttr("axes", 2)}, s.do("Mul", nil, "x", "x"))
		i := s.do("Reciprocal", nil, s.do("Sqrt", nil, s.do("Add", nil, s.number(1e-5), m)))
		return s.do("Mul", nil, s.weight(24), s.do("Mul", nil, "x", i))
	},
	"RMSNormalization one over": func(s *sketch) string {
		m := s.do("ReduceMean", []model.Attr{model.IntsAttr("axes", -1)}, s.do("Pow", nil, "x", s.number(2)))
		i := s.do("Div", nil, s.number(1), s.do("Sqrt", nil, s.do("Add", nil, m, s.number(1e-5))))
		return s.do("Mul", nil, s.do("Mul", nil, i, "x"), s.weight(24))
	},
	"wattshed.SiLU": func(s *sketch) string { return s.do("Mul", nil, "x", s.do("Sigmoid", nil, "x")) },
	"com.microsoft.QuickGelu": func(s *sketch) string {
		return s.do("Mul", nil, s.do("Sigmoid", nil, s.do("Mul", nil, "x", s.number(1.702))), "x")
	},
	"Gelu of a product of three": func(s *sketch) string {
		cube := s.do("Mul", nil, s.number(0.044715), s.do("Mul", nil, "x", s.do("Mul", nil, "x", "x")))
		th := s.do("Tanh", nil, s.do("Mul", nil, s.number(math.Sqrt(2/math.Pi)), s.do("Add", nil, "x", cube)))
		return s.do("Mul", nil, s.number(0.5), s.do("Mul", nil, "x", s.do("Add", nil, s.number(1), th)))
	},
	"Gelu of one plus a square": func(s *sketch) string {
		sum := s.do("Add", nil, s.do("Mul", nil, s.do("Mul", nil, "x", s.number(0.044715)), "x"), s.number(1))
		th := s.do("Tanh", nil, s.do("Mul", nil, s.do("Mul", nil, "x", s.number(math.Sqrt(2/math.Pi))), sum))
		return s.do("Mul", nil, s.do("Mul", nil, "x", s.number(0.5)), s.do("Add", nil, th, s.number(1)))
	},
	"wattshed.Attention of parts of a split": func(s *sketch) string {
		qkv := s.do("Add", nil, s.do("MatMul", nil, "x", s.weight(24, 72)), s.weight(72))
		s.do("Split", []model.Attr{model.IntAttr("axis", -1)}, qkv)
		sp := s.g.Nodes[len(s.g.Nodes)-1]
		sp.Outputs = []string{"q", "k", "v"}
		heads := func(name string, p ...int64) string {
			return s.do("Transpose", perm(p...), s.do("Reshape", nil, name, s.ints(0, 0, 3, 8)))
		}
		return s.attend(heads("q", 0, 2, 1, 3), heads("k", 0, 2, 3, 1), heads("v", 0, 2, 1, 3), false)
	},
	"wattshed.Attention of one transposed matrix": func(s *sketch) string {
		qkv := s.do("Add", nil, s.do("MatMul", nil, "x", s.weight(24, 72)), s.weight(72))
		t := s.do("Transpose", perm(2, 0, 3, 1, 4), s.do("Reshape", nil, qkv, s.ints(0, 0, 3, 3, 8)))
		part := func(i int64) string { return s.do("Gather", nil, t, s.constant(model.Scalar(i))) }
		q, k, v := part(0), part(1), part(2)
		return s.attend(q, s.do("Transpose", perm(0, 1, 3, 2), k), v, true)
	},
	"wattshed.Attention of one transposed matrix, parts in another order": func(s *sketch) string {
		t := s.do("Transpose", perm(2, 0, 3, 1, 4), s.do("Reshape", nil, s.do("MatMul", nil, "x", s.weight(24, 72)), s.ints(0, 0, 3, 3, 8)))
		part := func(i int64) string { return s.do("Gather", nil, t, s.constant(model.Scalar(i))) }
		q, k, v := part(-1), part(0), part(1)
		return s.attend(q, s.do("Transpose", perm(0, 1, 3, 2), k), v, false)
	},
}

// TestPatterns: what exporters write is found, as one node, and computes the same: within 1e-5 of the largest output, since
// sums are taken in another order and 1/sqrt is one rounding instead of two.
func TestPatterns(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for name, f := range patterns {
		for _, rows := range []model.Dim{{Size: 7}, {Size: -1, Param: "s"}} {
			s := newSketch(r, rows)
			s.g.Nodes = append(s.g.Nodes, &model.Node{Op: "Identity", Inputs: []string{f(s)}, Outputs: []string{"y"}})
			x := make([]float32, 2*7*24)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			feed := engine.Feed{"x": model.FromSlice([]int{2, 7, 24}, x)}
			var got [2][]float32
			for i, o := range []engine.Options{{}, {NoFusion: true}} {
				rt, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: s.g}, o)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				out, err := rt.Run(t.Context(), feed)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if got[i], err = out["y"].Float32(); err != nil {
					t.Fatal(err)
				}
				var op string
				if _, err := fmt.Sscan(name, &op); err != nil {
					t.Fatal(err)
				}
				if ops := rt.Info().Ops; i == 0 && (ops[op] != 1 || ops["Mul"]+ops["Transpose"]+ops["Split"]+ops["Gather"]+ops["Sqrt"] > 0) {
					t.Errorf("%s, %v rows: operators after the passes: %v", name, rows, ops)
				}
				rt.Close()
			}
			largest, worst := float32(0), float32(0)
			for i, v := range got[0] {
				largest, worst = max(largest, v, -v), max(worst, v-got[1][i], got[1][i]-v)
			}
			if len(got[0]) != len(got[1]) || !(worst <= 1e-5*largest) || largest == 0 {
				t.Errorf("%s: differs by %g of %g", name, worst, largest)
			}
		}
	}
}

// TestSharedNorm: two normalizations of one input share what is the same; each is found.
func TestSharedNorm(t *testing.T) {
	s := newSketch(rand.New(rand.NewPCG(2, 2)), model.Dim{Size: 7})
	norm := func() string {
		mean := []model.Attr{model.IntsAttr("axes", -1)}
		d := s.do("Sub", nil, "x", s.do("ReduceMean", mean, "x"))
		v := s.do("ReduceMean", mean, s.do("Pow", nil, d, s.number(2)))
		return s.do("Add", nil, s.do("Mul", nil, s.do("Div", nil, d, s.do("Sqrt", nil, s.do("Add", nil, v, s.number(1e-5)))), s.weight(24)), s.weight(24))
	}
	s.g.Nodes = append(s.g.Nodes, &model.Node{Op: "Sub", Inputs: []string{norm(), norm()}, Outputs: []string{"y"}})
	rt, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: s.g}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if ops := rt.Info().Ops; ops["LayerNormalization"] != 2 || len(ops) != 2 {
		t.Errorf("operators after the passes: %v", ops)
	}
}

// TestSizesFold: what a model computes from sizes that its inputs declare is gone after the passes, and comes back where an
// input does not keep to its declaration.
func TestSizesFold(t *testing.T) {
	s := newSketch(rand.New(rand.NewPCG(1, 1)), model.Dim{Size: 7})
	size := func(i int64) string { return s.do("Gather", nil, s.do("Shape", nil, "x"), s.constant(model.Scalar(i))) }
	rows := s.do("Unsqueeze", nil, s.do("Mul", nil, size(0), size(1)), s.ints(0))
	wide := s.do("Expand", nil, "x", s.do("Concat", []model.Attr{model.IntAttr("axis", 0)}, s.ints(1), s.do("Shape", nil, "x")))
	flat := s.do("Reshape", nil, wide, s.do("Concat", []model.Attr{model.IntAttr("axis", 0)}, rows, s.ints(24)))
	s.g.Nodes = append(s.g.Nodes, &model.Node{Op: "Identity", Inputs: []string{flat}, Outputs: []string{"y"}})
	rt, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: s.g}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Close()
	if ops := rt.Info().Ops; ops["Shape"]+ops["Gather"]+ops["Concat"]+ops["Mul"] > 0 {
		t.Errorf("operators after the passes: %v", ops)
	}
	for _, n := range []int{7, 3} {
		out, err := rt.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{2, n, 24}, make([]float32, 2*n*24))})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(out["y"].Shape()); got != fmt.Sprint([]int{2 * n, 24}) {
			t.Errorf("%d rows: shape %s", n, got)
		}
	}
}
