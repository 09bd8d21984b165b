package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// planned is a graph with inputs for it, of several shapes or with data that another branch is taken for.
type planned struct {
	name  string
	g     func() *model.Graph
	feeds []engine.Feed
	like  func() *model.Graph // gives the same values in another form; nil for g
}

// TestPlanOfMemory: runs whose values are placed in few blocks and written over dead inputs give the bits of runs without
// both, for inputs whose shapes alternate; earlier outputs, all of them, and the inputs stay as they are.
func TestPlanOfMemory(t *testing.T) {
	var sentences, loops, branches, signs []engine.Feed
	for _, n := range [][2]int{{2, 9}, {1, 30}, {3, 1}} {
		sentences = append(sentences, sentence(uint64(n[1]), n[0], n[1], 32))
	}
	r := rand.New(rand.NewPCG(7, 8))
	for i := range 4 {
		loops = append(loops, engine.Feed{"n": model.Scalar(int64(i)), "x": randomTensor(r, 1, 5, 24)})
		branches = append(branches, engine.Feed{"x": randomTensor(r, 1, 4-i/3*2, 6)})
	}
	for i := range 6 { // the first run, which is recorded, takes the branch of new values; so do two of the last
		x := make([]float32, 32*6)
		for k := range x {
			x[k] = float32(2*(i%2)-1) * (0.1 + r.Float32())
		}
		signs = append(signs, engine.Feed{"x": model.FromSlice([]int{32, 6}, x)})
	}
	cases := []planned{
		{"transformer", func() *model.Graph { return transformer(4, 4, 8, 3, false) }, sentences, nil},
		{"int8", func() *model.Graph { return transformer(4, 4, 8, 3, true) }, sentences, nil},
		{"loop", func() *model.Graph { return loopOfBlocks(rand.New(rand.NewPCG(1, 2)), 5, 24) }, loops, nil},
		{"branches", branching, branches, nil},
		{"two outputs", func() *model.Graph { return outputs("z1 z2", "Identity", "Neg") }, signs, nil},
		{"reshaped outputs", func() *model.Graph { return outputs("z1 z2", "Flatten", "Neg") }, signs, nil},
		{"aliases", func() *model.Graph { return outputs("z1 b same flat", "Identity", "Neg") }, signs, nil},
		{"sequence", func() *model.Graph { return outputs("seq z2", "Identity", "Neg") }, signs, nil},
		{"sequence alone", func() *model.Graph { return outputs("seq", "Identity", "Neg") }, signs, func() *model.Graph { return outputs("z1 z2", "Identity", "Neg") }},
		{"sequence of states", func() *model.Graph { return states(true) }, branches, func() *model.Graph { return states(false) }},
	}
	for _, c := range cases {
		for _, bare := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, bare %t", c.name, bare), func(t *testing.T) { c.check(t, bare) })
		}
	}
}

func (c planned) check(t *testing.T, bare bool) {
	if c.like == nil {
		c.like = c.g
	}
	plain := planOf(t, c.like(), 1, engine.Options{NoFusion: bare, Skip: []string{"inplace", "memory"}})
	with := planOf(t, c.g(), 2, engine.Options{NoFusion: bare})
	var want, kept [][][]float32
	var inputs []string
	for _, f := range c.feeds {
		want = append(want, plain(f))
		b, err := f["x"].Bytes()
		if err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, string(b))
	}
	same := func(a, b [][]float32) bool { return slices.EqualFunc(a, b, sameBits) }
	r := rand.New(rand.NewPCG(9, 10))
	var ran []int
	for k := range 40 {
		i := r.IntN(len(c.feeds))
		switch {
		case k < len(c.feeds):
			i = k
		case k >= 20: // the same again and again: blocks alone are left
			i = len(c.feeds) - 1
		}
		got := with(c.feeds[i])
		if !same(got, want[i]) {
			t.Fatalf("run %d of input %d differs", k, i)
		}
		kept, ran = append(kept, got), append(ran, i)
		if b, _ := c.feeds[i]["x"].Bytes(); string(b) != inputs[i] {
			t.Fatalf("input %d was written", i)
		}
	}
	for k, y := range kept {
		if !same(y, want[ran[k]]) {
			t.Errorf("the outputs of run %d changed later", k)
		}
	}
}

// planOf returns a function that runs a graph and returns the elements of all outputs, those of a sequence one after the
// other, not copied.
func planOf(t *testing.T, g *model.Graph, threads int, o engine.Options) func(engine.Feed) [][]float32 {
	t.Helper()
	p, err := engine.Compile(g, o)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(threads, 0)
	t.Cleanup(pool.Close)
	return func(f engine.Feed) (l [][]float32) {
		t.Helper()
		in := map[string]any{}
		for name, x := range f {
			in[name] = x
		}
		out, err := p.Exec(t.Context(), pool, in)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range g.Outputs {
			list, ok := out[o.Name].([]*model.Tensor)
			if !ok {
				list = []*model.Tensor{out[o.Name].(*model.Tensor)}
			}
			for _, x := range list {
				l = append(l, floatsOf(t, x))
			}
		}
		return l
	}
}

// outputs is a graph of the named outputs whose condition, that x is above 0 in the mean, decides whether they are
// two values a and b of two columns, by an operator that passes them on, or new ones. A run of new values
// frees the memory of both, which lies in the block of a value of all columns; a run that passes them on gives that block away.
// After that come values that the placement has for the same bytes.
func outputs(names, passes, makes string) *model.Graph {
	node := func(op string, in, out string) *model.Node {
		return &model.Node{Op: op, Inputs: strings.Fields(in), Outputs: strings.Fields(out)}
	}
	body := func(op string) *model.Graph {
		g := &model.Graph{Name: op, Nodes: []*model.Node{node(op, "a", "p"), node(op, "b", "q")}, Outputs: []*model.Value{{Name: "p"}, {Name: "q"}}}
		if strings.Contains(names, "seq") {
			g.Nodes, g.Outputs = append(g.Nodes, node("SequenceConstruct", "p q", "s")), append(g.Outputs, &model.Value{Name: "s"})
		}
		return g
	}
	cond := node("If", "c", "z1 z2")
	if strings.Contains(names, "seq") {
		cond.Outputs = append(cond.Outputs, "seq")
	}
	cond.Attrs = []model.Attr{{Name: "then_branch", Kind: model.AttrGraph, G: body(passes)}, {Name: "else_branch", Kind: model.AttrGraph, G: body(makes)}}
	mean := node("ReduceMean", "x", "mean")
	mean.Attrs = []model.Attr{model.IntAttr("keepdims", 0)}
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", -1, 6)},
		Nodes: []*model.Node{node("Exp", "x", "wide"), node("Cos", "wide", "wider"), node("Slice", "wider from to axes", "few"), node("Exp", "few", "a"), node("Cos", "few", "b"),
			mean, node("Greater", "mean zero", "c"), cond, node("Sin", "few", "d"), node("Exp", "d", "e"), node("Add", "e d", "after"),
			node("Identity", "z1", "same"), node("Flatten", "z1", "flat")}}
	for _, name := range append(strings.Fields(names), "after") {
		g.Outputs = append(g.Outputs, &model.Value{Name: name})
	}
	g.SetInitializer("zero", model.Scalar(float32(0)))
	g.SetInitializer("from", model.FromSlice([]int{1}, []int64{0}))
	g.SetInitializer("to", model.FromSlice([]int{1}, []int64{2}))
	g.SetInitializer("axes", model.FromSlice([]int{1}, []int64{1}))
	return g
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

// states is the graph of s0 = sin(x) and s1 to s4, the cosine of the one before each: in a loop that puts every state it begins
// with into a sequence, or unrolled.
func states(loop bool) *model.Graph {
	node := func(op string, in, out string) *model.Node {
		return &model.Node{Op: op, Inputs: strings.Fields(in), Outputs: strings.Fields(out)}
	}
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", -1, 6)}, Nodes: []*model.Node{node("Sin", "x", "s0")}}
	names := "s0 s1 s2 s3 s4"
	if loop {
		names = "seq s4"
		body := &model.Graph{Name: "body", Inputs: []*model.Value{{Name: "i"}, {Name: "go"}, {Name: "s"}, {Name: "l"}}, Outputs: []*model.Value{{Name: "on"}, {Name: "next"}, {Name: "longer"}},
			Nodes: []*model.Node{node("Identity", "go", "on"), node("SequenceInsert", "l s", "longer"), node("Cos", "s", "next")}}
		run := &model.Node{Op: "Loop", Inputs: []string{"trips", "", "s0", "empty"}, Outputs: []string{"s4", "seq"}, Attrs: []model.Attr{{Name: "body", Kind: model.AttrGraph, G: body}}}
		g.Nodes = append(g.Nodes, node("SequenceEmpty", "", "empty"), run)
		g.SetInitializer("trips", model.Scalar(int64(4)))
	} else {
		g.Nodes = append(g.Nodes, node("Cos", "s0", "s1"), node("Cos", "s1", "s2"), node("Cos", "s2", "s3"), node("Cos", "s3", "s4"))
	}
	for _, name := range strings.Fields(names) {
		g.Outputs = append(g.Outputs, &model.Value{Name: name})
	}
	return g
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
