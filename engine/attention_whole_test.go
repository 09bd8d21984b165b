package engine_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// whole builds attention as exporters write it over x [batch, s, 24] with values of rank 4: 6 heads of 4.
type whole struct {
	*sketch
	x string // what the matrices multiply
}

func (s whole) size(of string, i int64) string {
	return s.do("Unsqueeze", nil, s.do("Gather", nil, s.do("Shape", nil, of), s.constant(model.Scalar(i))), s.ints(0))
}

func (s whole) list(parts ...string) string {
	return s.do("Concat", []model.Attr{model.IntAttr("axis", 0)}, parts...)
}

// split returns x times a new matrix as [batch, s, heads, 4].
func (s whole) split(heads int) string {
	y := s.do("MatMul", nil, s.x, s.weight(24, 4*heads))
	return s.do("Reshape", nil, y, s.list(s.size(s.x, 0), s.size(s.x, 1), s.ints(-1), s.ints(4)))
}

func (s whole) heads(n int) string { return s.do("Transpose", perm(0, 2, 1, 3), s.split(n)) }

// repeat writes every head of y three times, by the target that TorchScript's exporter computes.
func (s whole) repeat(y string) string {
	to := s.do("Reshape", nil, s.list(s.size(y, 0), s.size(y, 1), s.ints(3), s.size(y, 2), s.size(y, 3)), s.ints(-1))
	ones := s.do("ConstantOfShape", []model.Attr{model.TensorAttr("value", model.FromSlice([]int{1}, []int64{1}))}, s.do("Shape", nil, to))
	to = s.do("Where", nil, s.do("Equal", nil, to, s.do("Mul", nil, ones, s.ints(-1))), ones, to)
	wide := s.do("Expand", nil, s.do("Unsqueeze", nil, y, s.ints(2)), to)
	return s.do("Reshape", nil, wide, s.list(s.size(y, 0), s.do("Mul", nil, s.size(y, 1), s.ints(3)), s.size(y, 2), s.size(y, 3)))
}

// finish adds the products, the masks, the softmax, what guards it, and joins the heads.
func (s whole) finish(q, k, v string, guard bool, masks ...string) string {
	p := s.do("MatMul", nil, q, k)
	for _, m := range masks {
		p = s.do("Add", nil, p, m)
	}
	p = s.do("Cast", []model.Attr{model.IntAttr("to", int64(model.Float32))}, s.do("Softmax", []model.Attr{model.IntAttr("axis", -1)}, p))
	if guard {
		p = s.do("Where", nil, s.do("IsNaN", nil, p), s.number(0), p)
	}
	y := s.do("Transpose", perm(0, 2, 1, 3), s.do("MatMul", nil, p, v))
	return s.do("Reshape", nil, y, s.list(s.size(q, 0), s.size("x", 1), s.ints(-1)))
}

func (s whole) scaled(y string) string { return s.do("Mul", nil, y, s.number(1/math.Sqrt2)) }

func (s whole) append(past, y string) string {
	return s.do("Concat", []model.Attr{model.IntAttr("axis", -2)}, past, y)
}

// flipped transposes keys as torch.onnx.export(dynamo=True) does, over [batch * heads, s, 4].
func (s whole) flipped(y string) string {
	part := func(from, to int64) string {
		return s.do("Slice", nil, s.do("Shape", nil, y), s.ints(from), s.ints(to))
	}
	size, rows, front := part(-1, math.MaxInt64), part(-2, -1), part(math.MinInt64, -2)
	t := s.do("Transpose", perm(0, 2, 1), s.do("Reshape", nil, y, s.list(s.ints(-1), rows, size)))
	return s.do("Reshape", nil, t, s.list(front, size, rows))
}

var wholes = map[string]func(s whole) string{
	"a cache shared by groups, guarded": func(s whole) string {
		k, v := s.repeat(s.append("pk", s.heads(2))), s.repeat(s.append("pv", s.heads(2)))
		q := s.scaled(s.heads(6))
		return s.finish(q, s.scaled(s.do("Transpose", perm(0, 1, 3, 2), k)), v, true, "mask")
	},
	"keys of the exporter of graphs": func(s whole) string {
		k, v := s.repeat(s.append("pk", s.heads(2))), s.repeat(s.append("pv", s.heads(2)))
		return s.finish(s.heads(6), s.scaled(s.flipped(k)), v, true, "mask")
	},
	"two masks": func(s whole) string {
		k := s.do("Transpose", perm(0, 2, 3, 1), s.split(6))
		return s.finish(s.heads(6), k, s.heads(6), false, "bias", "own")
	},
	"keys after a norm": func(s whole) string {
		k := s.do("Tanh", nil, s.split(6))
		return s.finish(s.do("Sin", nil, s.heads(6)), s.do("Transpose", perm(0, 2, 3, 1), k), s.do("Transpose", perm(0, 2, 1, 3), s.do("Cos", nil, s.split(6))), false, "own")
	},
	"one head of keys for all": func(s whole) string {
		return s.finish(s.heads(6), s.do("Transpose", perm(0, 1, 3, 2), s.append("ok", s.heads(1))), s.append("ov", s.heads(1)), true, "mask")
	},
	"behind a normalization of com.microsoft": func(s whole) string {
		s.x = s.do("SkipLayerNormalization", nil, "x", "x", s.weight(24), s.weight(24))
		s.g.Nodes[len(s.g.Nodes)-1].Domain = "com.microsoft"
		return s.finish(s.heads(6), s.do("Transpose", perm(0, 2, 3, 1), s.split(6)), s.heads(6), false, "own")
	},
	"a mask of three entries for one of queries": func(s whole) string {
		return s.finish(s.heads(6), s.do("Transpose", perm(0, 1, 3, 2), s.heads(6)), s.heads(6), false, "wide")
	},
}

// TestWholeAttention: attention over tensors of rank 4 is found and computes the same, rows of which every key is hidden
// included: they are 0 where the graph guards them, and else no numbers. 1e-5 of the largest output is room for sums in another
// order and the two factors of the scale joined to one.
func TestWholeAttention(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for name, f := range wholes {
		s := whole{newSketch(r, model.Dim{Size: -1, Param: "s"}), "x"}
		s.g.Inputs[0].Type.Shape[0] = model.Dim{Size: -1, Param: "b"}
		unknown := model.Dim{Size: -1}
		for _, in := range []string{"pk", "pv", "ok", "ov", "mask", "bias", "own", "wide"} {
			v := vector(in, 1, 1, 1, 1)
			switch in[0] {
			case 'p':
				v.Type.Shape = model.Shape{{Size: -1, Param: "b"}, {Size: 2}, {Size: -1, Param: "past"}, {Size: 4}}
			case 'o':
				v.Type.Shape = model.Shape{{Size: -1, Param: "b"}, {Size: 1}, {Size: -1, Param: "past"}, {Size: 4}}
			}
			if in == "mask" || in == "bias" || in == "wide" || in == "own" {
				v.Type.Shape = model.Shape{unknown, unknown, unknown, unknown}
			}
			s.g.Inputs = append(s.g.Inputs, v)
		}
		y := f(s)
		s.g.Nodes = append(s.g.Nodes, &model.Node{Op: "Identity", Inputs: []string{y}, Outputs: []string{"y"}})
		var rts [2]engine.Session
		for i, o := range []engine.Options{{}, {NoFusion: true}} {
			var err error
			if rts[i], err = (engine.Native{}).Load(t.Context(), engine.Artifact{Graph: s.g}, o); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if ops := rts[0].Info().Ops; ops["wattshed.Attention"] != 1 || ops["Softmax"]+ops["Expand"]+ops["IsNaN"] > 0 {
			t.Errorf("%s: operators after the passes: %v", name, ops)
		}
		for _, sizes := range [][3]int{{2, 7, 0}, {1, 1, 5}, {3, 1, 9}, {1, 130, 3}, {1, 3, 600}} {
			b, rows, past := sizes[0], sizes[1], sizes[2]
			if name == "a mask of three entries for one of queries" && b != 1 {
				continue
			}
			floats := func(shape ...int) *model.Tensor {
				n, _ := model.NumElements(shape)
				v := make([]float32, n)
				for i := range v {
					v[i] = float32(r.NormFloat64())
				}
				return model.FromSlice(shape, v)
			}
			mask := func(b, keys int) *model.Tensor {
				v := make([]float32, b*rows*keys)
				for i := range v {
					if i/keys%5 == 2 || r.IntN(3) == 0 {
						v[i] = float32(math.Inf(-1))
					}
				}
				return model.FromSlice([]int{b, 1, rows, keys}, v)
			}
			feed := engine.Feed{"x": floats(b, rows, 24), "pk": floats(b, 2, past, 4), "pv": floats(b, 2, past, 4), "ok": floats(b, 1, past, 4),
				"ov": floats(b, 1, past, 4), "mask": mask(b, past+rows), "own": mask(1, rows), "bias": floats(1, 6, rows, rows), "wide": floats(3, 1, rows, rows)}
			for n := range feed {
				if !reads(s.g, n) {
					feed[n] = floats(feed[n].Shape()...)
				}
			}
			var got [2][]float32
			for i, rt := range rts {
				out, err := rt.Run(t.Context(), feed)
				if err != nil {
					t.Fatalf("%s %v: %v", name, sizes, err)
				}
				got[i], _ = out["y"].Float32()
			}
			largest, worst := float32(0), float32(0)
			for i, v := range got[0] {
				w := got[1][i]
				if v != v && w != w {
					continue
				}
				if v != v || w != w {
					t.Fatalf("%s %v: element %d is %g, want %g", name, sizes, i, v, w)
				}
				largest, worst = max(largest, w, -w), max(worst, v-w, w-v)
			}
			if len(got[0]) != len(got[1]) || len(got[0]) == 0 || !(worst <= 1e-5*largest) {
				t.Errorf("%s %v: differs by %g of %g", name, sizes, worst, largest)
			}
		}
		rts[0].Close()
		rts[1].Close()
	}
}

func reads(g *model.Graph, name string) bool {
	for _, n := range g.Nodes {
		for _, in := range n.Inputs {
			if in == name {
				return true
			}
		}
	}
	return false
}
