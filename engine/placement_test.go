package engine_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// shapesOf are inputs of several shapes for the graphs of TestPlanOfMemory.
type planned struct {
	g     func() *model.Graph
	feeds []engine.Feed
}

// TestPlanOfMemory: runs whose values are placed in few blocks and written over dead inputs give the bits of runs without
// both, for inputs whose shapes alternate; earlier outputs and the inputs stay as they are.
func TestPlanOfMemory(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	var sentences []engine.Feed
	for _, n := range [][2]int{{2, 9}, {1, 30}, {3, 1}} {
		sentences = append(sentences, sentence(uint64(n[1]), n[0], n[1], 32))
	}
	var loops []engine.Feed
	for i := range 4 {
		loops = append(loops, engine.Feed{"n": model.Scalar(int64(i)), "x": randomTensor(r, 1, 5, 24)})
	}
	cases := map[string]planned{
		"transformer": {func() *model.Graph { return transformer(4, 4, 8, 3, false) }, sentences},
		"int8":        {func() *model.Graph { return transformer(4, 4, 8, 3, true) }, sentences},
		"loop":        {func() *model.Graph { return loopOfBlocks(rand.New(rand.NewPCG(1, 2)), 5, 24) }, loops},
		"branches":    {branching, []engine.Feed{{"x": randomTensor(r, 1, 4, 6)}, {"x": randomTensor(r, 1, 4, 6)}, {"x": randomTensor(r, 1, 4, 6)}, {"x": randomTensor(r, 1, 2, 6)}}},
	}
	for name, c := range cases {
		for _, bare := range []bool{false, true} {
			plain := load(t, c.g(), engine.Options{Threads: 1, NoFusion: bare, Skip: []string{"inplace", "memory"}})
			with := load(t, c.g(), engine.Options{Threads: 2, NoFusion: bare})
			var want, kept [][]float32
			for _, f := range c.feeds {
				want = append(want, outputOf(t, plain, f))
			}
			var inputs [][]byte
			for _, f := range c.feeds {
				b, err := f["x"].Bytes()
				if err != nil {
					t.Fatal(err)
				}
				inputs = append(inputs, append([]byte{}, b...))
			}
			for k := range 40 {
				i := r.IntN(len(c.feeds))
				if k >= 20 { // the same again and again: blocks alone are left
					i = len(c.feeds) - 1
				}
				got := outputOf(t, with, c.feeds[i])
				if !sameBits(got, want[i]) {
					t.Fatalf("%s, bare %t: run %d of input %d differs", name, bare, k, i)
				}
				kept = append(kept, got)
				want = append(want, want[i])
				if b, _ := c.feeds[i]["x"].Bytes(); string(b) != string(inputs[i]) {
					t.Fatalf("%s: input %d was written", name, i)
				}
			}
			for k, y := range kept {
				if !sameBits(y, want[len(c.feeds)+k]) {
					t.Errorf("%s, bare %t: the output of run %d changed later", name, bare, k)
				}
			}
		}
	}
}

// branching is a graph whose second step depends on data: y = x > 0 in the mean ? relu(x+x) : the elements above 0, twice.
func branching() *model.Graph {
	node := func(op string, in, out string) *model.Node {
		return &model.Node{Op: op, Inputs: strings.Fields(in), Outputs: strings.Fields(out)}
	}
	yes := &model.Graph{Name: "yes", Nodes: []*model.Node{node("Relu", "a", "p"), node("Neg", "p", "q")}, Outputs: []*model.Value{{Name: "q"}}}
	no := &model.Graph{Name: "no", Nodes: []*model.Node{node("Exp", "a", "p"), node("NonZero", "b", "nz"), node("Size", "nz", "size"), node("Cast", "size", "f"), node("Mul", "p f", "m"), node("Neg", "m", "q")}, Outputs: []*model.Value{{Name: "q"}}}
	no.Nodes[3].Attrs = []model.Attr{model.IntAttr("to", int64(model.Float32))}
	cond := &model.Node{Op: "If", Inputs: []string{"c"}, Outputs: []string{"z"}, Attrs: []model.Attr{
		{Name: "then_branch", Kind: model.AttrGraph, G: yes}, {Name: "else_branch", Kind: model.AttrGraph, G: no}}}
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", -1, 6)}, Outputs: []*model.Value{vector("y")},
		Nodes: []*model.Node{node("Add", "x x", "a"), node("Relu", "x", "b"), node("ReduceMean", "x", "mean"), node("Greater", "mean zero", "c"), cond, node("Tanh", "z", "w"), node("Add", "w a", "y")}}
	g.Nodes[2].Attrs = []model.Attr{model.IntAttr("keepdims", 0)}
	g.SetInitializer("zero", model.Scalar(float32(0)))
	return g
}

// outputOf runs a session and returns the elements of its first output, not copied.
func outputOf(t *testing.T, s engine.Session, in engine.Feed) []float32 {
	t.Helper()
	out, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	y, err := model.Data[float32](out[s.Outputs()[0].Name])
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// TestPassesOfMemory: the passes that work on the plan are counted, and left out when they are to be skipped.
func TestPassesOfMemory(t *testing.T) {
	in := map[string]any{}
	for name, x := range sentence(3, 2, 9, 32) {
		in[name] = x
	}
	for _, skip := range [][]string{nil, {"inplace", "memory", "layernorm"}} {
		p, err := engine.Compile(transformer(4, 4, 8, 3, false), engine.Options{Skip: skip})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := p.Exec(t.Context(), nil, in); err != nil {
				t.Fatal(err)
			}
		}
		found := map[string]bool{}
		for _, c := range p.Passes() {
			found[c.Pass] = true
			if c.Unit != "" && (c.After >= c.Before || c.After <= 0) {
				t.Errorf("pass %s: %d to %d %s", c.Pass, c.Before, c.After, c.Unit)
			}
			t.Log(c)
		}
		for _, name := range []string{"inplace", "memory", "layernorm"} {
			if found[name] != (skip == nil) {
				t.Errorf("skipping %v: pass %s ran: %t", skip, name, found[name])
			}
		}
	}
	_, err := engine.Compile(transformer(4, 4, 8, 1, false), engine.Options{Skip: []string{"inplaces"}})
	if err == nil || !strings.Contains(err.Error(), `no pass "inplaces" to skip (there are attention, `) {
		t.Errorf("a pass that there is not: %v", err)
	}
}
