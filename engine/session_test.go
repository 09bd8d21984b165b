package engine_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// Fused graphs give what the graphs give as they stand. Sums run in the same order, so what differs are the GELU (2.5e-7
// absolute), the folded batch normalisation and 1/x against x/y: a few 1e-6 of values up to 10.
func TestFusionsKeepResults(t *testing.T) {
	total := map[string]int{}
	check := func(g *model.Graph, in engine.Feed, tol float64) {
		t.Helper()
		fused, plain := load(t, g, engine.Options{Threads: 1}), load(t, g, engine.Options{Threads: 1, NoFusion: true})
		a, b := run(t, fused, in), run(t, plain, in)
		if len(a) != len(b) {
			t.Fatalf("%d and %d elements", len(a), len(b))
		}
		for i := range b {
			if d := math.Abs(float64(a[i] - b[i])); !(d <= tol) {
				t.Fatalf("element %d is %g, without fusion %g", i, a[i], b[i])
			}
		}
		for op, n := range fused.Info().Ops {
			total[op] += n
		}
	}
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 3))
		h, d := int64(1+r.IntN(3)), int64(1+r.IntN(20))
		check(transformer(seed, h, d, 2, false), sentence(seed, 1+r.IntN(3), 1+r.IntN(40), int(h*d)), 5e-5)
		check(images(seed), engine.Feed{"x": randomTensor(r, 1, 1+r.IntN(2), 3, 5+r.IntN(12), 5+r.IntN(12))}, 5e-5)
		// One quantized product is exact; after it a rounding of the input may move by one step, so one block only.
		b := newBuilder(seed, 11)
		x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: -1}, {Size: 24}})
		b.output(b.quantLinear(x, 24, 17))
		check(b.g, engine.Feed{"x": randomTensor(r, 1, 2, 1+r.IntN(9), 24)}, 1e-6)
	}
	for _, op := range []string{"wattshed.MatMul", "wattshed.Attention", "wattshed.QuantMatMul", "LayerNormalization", "Conv"} {
		if total[op] == 0 {
			t.Errorf("nothing was fused into %s: %v", op, total)
		}
	}
	for _, op := range []string{"Erf", "BatchNormalization", "Softmax", "MatMulInteger", "Sqrt", "Relu", "Clip", "Identity", "ReduceMean"} {
		if total[op] != 0 {
			t.Errorf("%d %s are left", total[op], op)
		}
	}
}

// The same bits on any number of threads and on any instruction set.
func TestSameBits(t *testing.T) {
	for _, quant := range []bool{false, true} {
		g := transformer(5, 3, 16, 2, quant)
		in := sentence(5, 2, 70, 48)
		want := run(t, load(t, g, engine.Options{Threads: 1}), in)
		for _, threads := range []int{2, 3} {
			if got := run(t, load(t, g, engine.Options{Threads: threads}), in); !slices.Equal(got, want) {
				t.Errorf("quant %t: %d threads give other bits", quant, threads)
			}
		}
		for _, isa := range kernel.Levels() {
			restore := kernel.Limit(isa)
			if got := run(t, load(t, g, engine.Options{Threads: 2}), in); !slices.Equal(got, want) {
				t.Errorf("quant %t: %s gives other bits than %s", quant, isa, kernel.Detect())
			}
			restore()
		}
	}
}

// Eight goroutines share a session, each with inputs of its own size.
func TestConcurrentRuns(t *testing.T) {
	s := load(t, transformer(9, 2, 8, 2, false), engine.Options{Threads: 2})
	var feeds []engine.Feed
	var want [][]float32
	for i := range 8 {
		feeds = append(feeds, sentence(uint64(i), 1+i%3, 3+5*i, 16))
		want = append(want, run(t, s, feeds[i]))
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 10 {
				out, err := s.Run(t.Context(), feeds[i])
				if err != nil {
					t.Error(err)
					return
				}
				got, err := out[s.Outputs()[0].Name].Float32()
				if err != nil || !slices.Equal(got, want[i]) {
					t.Errorf("goroutine %d: other bits than alone (%v)", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// What a run returned stays as it is while later runs recycle memory.
func TestOutputsBelongToCaller(t *testing.T) {
	b := newBuilder(1, 13)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}})
	y := b.node("Add", []string{x, b.scalar(1)})
	z := b.node("Reshape", []string{y, b.ints(-1, 1)}) // shares memory with y
	b.output(z)
	b.output(b.node("Relu", []string{y}))
	b.output(y)
	s := load(t, b.g, engine.Options{Threads: 1})
	out, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{3}, []float32{-5, 0, 5})})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{3}, []float32{7, 7, 7})}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range [][]float32{{-4, 1, 6}, {0, 1, 6}, {-4, 1, 6}} {
		got, err := out[s.Outputs()[i].Name].Float32()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("output %d is %v, want %v (%v)", i, got, want, err)
		}
	}
	one, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1}, []float32{2})}, y)
	if err != nil || len(one) != 1 || one[y] == nil {
		t.Errorf("asked for %q, got %v (%v)", y, one, err)
	}
}

// Sizes that contradict the declaration do not give wrong results, since they switch the rewrites off.
func TestDeclaredSizesAreNotTrusted(t *testing.T) {
	g := transformer(3, 2, 8, 1, false)
	g.Inputs[0].Type.Shape = model.FixedShape(1, 7, 16)
	g.Inputs[1].Type.Shape = model.FixedShape(1, 7)
	fused, plain := load(t, g, engine.Options{Threads: 1}), load(t, g, engine.Options{Threads: 1, NoFusion: true})
	for _, in := range []engine.Feed{sentence(1, 1, 7, 16), sentence(2, 3, 9, 16)} {
		a, b := run(t, fused, in), run(t, plain, in)
		if len(a) != len(b) {
			t.Fatalf("%d elements, want %d", len(a), len(b))
		}
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 5e-5 {
				t.Fatalf("element %d is %g, want %g", i, a[i], b[i])
			}
		}
	}
}

func TestErrors(t *testing.T) {
	b := newBuilder(1, 13)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 4}})
	b.output(b.node("Add", []string{x, b.weight(1, 3)}))
	s := load(t, b.g, engine.Options{Threads: 1})
	good := model.FromSlice([]int{2, 4}, make([]float32, 8))
	for want, in := range map[string]engine.Feed{
		`input "x" is missing`:        {},
		`no input "y"`:                {"x": good, "y": good},
		`input "x" has type int64`:    {"x": model.FromSlice([]int{2, 4}, make([]int64, 8))},
		`input "x" has shape [8]`:     {"x": model.FromSlice([]int{8}, make([]float32, 8))},
		`input "x" is nil`:            {"x": nil},
		`node "Add2" (Add): shapes [`: {"x": good},
	} {
		if _, err := s.Run(t.Context(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	if _, err := s.Run(t.Context(), engine.Feed{"x": good}, "nothing"); err == nil || !strings.Contains(err.Error(), `"nothing"`) {
		t.Errorf("unknown output: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Run(ctx, engine.Feed{"x": good}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled run: %v", err)
	}
	b = newBuilder(1, 13)
	x = b.input("x", model.Float32, nil)
	b.g.Nodes = append(b.g.Nodes, &model.Node{Name: "n1", Op: "Sparkle", Domain: "org.example", Inputs: []string{x}, Outputs: []string{"y"}})
	b.output("y")
	_, err := engine.Compile(b.g, engine.Options{})
	if !errors.Is(err, model.ErrUnsupported) {
		t.Errorf("unknown operator: %v", err)
	}
	for _, want := range []string{`"n1"`, "Sparkle", "org.example"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("unknown operator: %v, want it to name %s", err, want)
		}
	}
	// The same operator, given by the caller.
	twice := func(c *engine.Call) error {
		t, err := c.Need(0)
		if err != nil {
			return err
		}
		v, err := model.Data[float32](t)
		if err != nil {
			return err
		}
		y, err := engine.Out[float32](c, 0, t.Shape())
		for i := range y {
			y[i] = 2 * v[i]
		}
		return err
	}
	s = load(t, b.g, engine.Options{Ops: map[string]engine.OpFunc{"org.example::Sparkle": twice}})
	if got := run(t, s, engine.Feed{"x": model.FromSlice([]int{2}, []float32{1, 4})}); !slices.Equal(got, []float32{2, 8}) {
		t.Errorf("custom operator gives %v", got)
	}
}

// Sizes that a model merely claims do not take memory, at Compile or in a run.
func TestHugeClaims(t *testing.T) {
	b := newBuilder(1, 13)
	x := b.input("x", model.Float32, nil)
	big := b.node("ConstantOfShape", []string{b.ints(1<<20, 1<<20, 1<<20)})
	b.output(b.node("Add", []string{x, big}))
	s := load(t, b.g, engine.Options{Threads: 1})
	if _, err := s.Run(t.Context(), engine.Feed{"x": model.Scalar(float32(1))}); err == nil || !strings.Contains(err.Error(), "ConstantOfShape") {
		t.Errorf("error %v, want one that names the node", err)
	}
}

func TestProfile(t *testing.T) {
	s := load(t, transformer(4, 2, 8, 1, false), engine.Options{Threads: 1, Profile: true})
	in := sentence(4, 1, 10, 16)
	run(t, s, in)
	run(t, s, in)
	found := false
	for _, p := range s.Profile() {
		if p.Calls != 2*p.Count {
			t.Errorf("%s: %d calls of %d nodes in 2 runs", p.Op, p.Calls, p.Count)
		}
		if p.Op == "wattshed.MatMul" {
			found = true
			// 4 products of 16 by 16 (three inside of the attention, one after it) and two of 16 by 64, over 10 rows.
			if want := int64(10 * (4*16*16 + 2*16*64)); p.MACs != want {
				t.Errorf("MACs %d, want %d", p.MACs, want)
			}
			if !strings.HasPrefix(p.Kernel, "gemm-") || p.Bytes == 0 {
				t.Errorf("kernel %q, %d bytes", p.Kernel, p.Bytes)
			}
		}
	}
	if !found {
		t.Errorf("no matrix product in %v", s.Profile())
	}
	if p := load(t, transformer(4, 2, 8, 1, false), engine.Options{}).Profile(); p != nil {
		t.Errorf("a profile without being asked for: %v", p)
	}
}

func TestPasses(t *testing.T) {
	p, err := engine.Compile(transformer(4, 2, 8, 1, false), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for i, c := range p.Passes() {
		if c.Unit != "" {
			continue
		}
		if i > 0 && c.Before != last {
			t.Errorf("pass %s starts with %d nodes, the one before ended with %d", c.Pass, c.Before, last)
		}
		if c.After > c.Before {
			t.Errorf("pass %s adds nodes: %d to %d", c.Pass, c.Before, c.After)
		}
		last = c.After
	}
	if last != len(p.Graph().Nodes) {
		t.Errorf("%d nodes, the passes ended with %d", len(p.Graph().Nodes), last)
	}
}

// TestRequiredPasses: what functions and fused nodes of files become is counted, with fusion and without, and cannot be skipped.
func TestRequiredPasses(t *testing.T) {
	value := func(name string) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Float32, Shape: model.Shape{{Size: 2}, {Size: 2}}}}
	}
	opsets := []model.Opset{{Version: 17}, {Domain: "com.microsoft", Version: 1}, {Domain: "own", Version: 1}}
	g := &model.Graph{Inputs: []*model.Value{value("x"), value("w")}, Outputs: []*model.Value{value("y")}, Nodes: []*model.Node{
		{Op: "Twice", Domain: "own", Inputs: []string{"x"}, Outputs: []string{"h"}},
		{Op: "FusedGemm", Domain: "com.microsoft", Inputs: []string{"h", "w"}, Outputs: []string{"y"}, Attrs: []model.Attr{model.StringAttr("activation", "Relu")}},
	}, Model: &model.Info{IRVersion: 8, Opsets: opsets, Functions: []*model.Function{{Name: "Twice", Domain: "own", Inputs: []string{"a"}, Outputs: []string{"b"}, Opsets: opsets,
		Nodes: []*model.Node{{Op: "Add", Inputs: []string{"a", "a"}, Outputs: []string{"c"}}, {Op: "Neg", Inputs: []string{"c"}, Outputs: []string{"d"}}, {Op: "Neg", Inputs: []string{"d"}, Outputs: []string{"b"}}}}}}}
	for _, bare := range []bool{false, true} {
		p, err := engine.Compile(g, engine.Options{NoFusion: bare})
		if err != nil {
			t.Fatal(err)
		}
		if c := p.Passes(); len(c) < 3 || c[0] != (engine.PassCount{Pass: "inline", Before: 2, After: 4}) || c[1] != (engine.PassCount{Pass: "lower", Before: 4, After: 5}) {
			t.Errorf("bare %t: %v", bare, c)
		}
	}
	for _, name := range []string{"inline", "lower"} {
		if _, err := engine.Compile(g, engine.Options{Skip: []string{name}}); err == nil || !strings.Contains(err.Error(), "cannot be skipped") {
			t.Errorf("skipping %s: %v", name, err)
		}
	}
}
