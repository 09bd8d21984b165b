package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// encoder is a graph from x [B, S, 16] to y, with a mask m [B, S].
type encoder struct {
	g *model.Graph
	r *rand.Rand
	n int
}

func newEncoder(seed uint64, inputs ...string) *encoder {
	e := &encoder{r: rand.New(rand.NewPCG(seed, 1)), g: &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}}}
	value := func(name string, dims ...string) *model.Value {
		v := &model.Value{Name: name, Type: model.Type{DType: model.Float32}}
		for _, d := range dims {
			if d == "16" {
				v.Type.Shape = append(v.Type.Shape, model.Dim{Size: 16})
			} else {
				v.Type.Shape = append(v.Type.Shape, model.Dim{Size: -1, Param: d})
			}
		}
		return v
	}
	e.g.Inputs = []*model.Value{value("x", "B", "S", "16")}
	if len(inputs) > 0 {
		e.g.Inputs = append(e.g.Inputs, value("m", inputs...))
	}
	e.g.Outputs = []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32}}}
	return e
}

func (e *encoder) do(op string, attrs []model.Attr, in ...string) string {
	e.n++
	n := &model.Node{Name: fmt.Sprint(op, e.n), Op: op, Inputs: in, Outputs: []string{fmt.Sprint("v", e.n)}, Attrs: attrs}
	e.g.Nodes = append(e.g.Nodes, n)
	return n.Outputs[0]
}

func (e *encoder) put(t *model.Tensor) string {
	e.n++
	name := fmt.Sprint("c", e.n)
	e.g.SetInitializer(name, t)
	return name
}

func (e *encoder) ints(v ...int64) string { return e.put(model.FromSlice([]int{len(v)}, v)) }

func (e *encoder) weight(shape ...int) string { return e.put(normalTensor(e.r, shape...)) }

func normalTensor(r *rand.Rand, shape ...int) *model.Tensor {
	v := make([]float32, product(shape))
	for i := range v {
		v[i] = float32(r.NormFloat64()) / 4
	}
	return model.FromSlice(shape, v)
}

func ints64(name string, v ...int64) []model.Attr { return []model.Attr{model.IntsAttr(name, v...)} }

func int64Attr(name string, v int64) []model.Attr { return []model.Attr{model.IntAttr(name, v)} }

// layer adds positions, attention with two heads over the keys that m leaves, and two products with a residual.
func (e *encoder) layer(x string) string {
	size := e.do("Gather", nil, e.do("Shape", nil, x), e.put(model.Scalar(int64(1))))
	at := e.do("Slice", nil, e.weight(1, 64, 16), e.ints(0), e.do("Unsqueeze", nil, size, e.ints(0)), e.ints(1), e.ints(1))
	x = e.do("Add", nil, x, at)
	x = e.do("LayerNormalization", []model.Attr{model.IntAttr("axis", -1)}, x, e.weight(16), e.weight(16))
	heads := func(perm ...int64) string {
		p := e.do("Add", nil, e.do("MatMul", nil, x, e.weight(16, 16)), e.weight(16))
		return e.do("Transpose", ints64("perm", perm...), e.do("Reshape", nil, p, e.ints(0, 0, 2, 8)))
	}
	q, k, v := heads(0, 2, 1, 3), heads(0, 2, 3, 1), heads(0, 2, 1, 3)
	p := e.do("Mul", nil, e.do("MatMul", nil, q, k), e.put(model.Scalar(float32(0.35))))
	if len(e.g.Inputs) > 1 {
		m := e.do("Unsqueeze", nil, e.do("Unsqueeze", nil, "m", e.ints(1)), e.ints(2))
		p = e.do("Add", nil, p, e.do("Mul", nil, e.do("Sub", nil, e.put(model.Scalar(float32(1))), m), e.put(model.Scalar(float32(-1e4)))))
	}
	p = e.do("Softmax", int64Attr("axis", -1), p)
	o := e.do("Reshape", nil, e.do("Transpose", ints64("perm", 0, 2, 1, 3), e.do("MatMul", nil, p, v)), e.ints(0, 0, 16))
	x = e.do("Add", nil, e.do("Add", nil, e.do("MatMul", nil, o, e.weight(16, 16)), e.weight(16)), x)
	f := e.do("Relu", nil, e.do("Add", nil, e.do("MatMul", nil, x, e.weight(16, 40)), e.weight(40)))
	return e.do("Add", nil, e.do("MatMul", nil, f, e.weight(40, 16)), x)
}

// result names the output of the graph.
func (e *encoder) result(name string) *model.Graph {
	e.do("Identity", nil, name)
	e.g.Nodes[len(e.g.Nodes)-1].Outputs[0] = "y"
	return e.g
}

// TestSlicesOfABatch: a plan that runs on slices of its batch gives the bits of one that does not, for every batch, length and number of threads, and
// says the same of its work.
func TestSlicesOfABatch(t *testing.T) {
	e := newEncoder(1, "B", "S")
	g := e.result(e.layer(e.layer("x")))
	whole, err := Compile(g, Options{Profile: true, Skip: []string{passBatch}})
	if err != nil {
		t.Fatal(err)
	}
	work := func(p *Plan) (macs, bytes int64) {
		for _, t := range (&session{plan: p}).Profile() {
			macs, bytes = macs+t.MACs, bytes+t.Bytes
		}
		return macs, bytes
	}
	for _, threads := range []int{1, 2, 3} {
		p, err := Compile(g, Options{Profile: true})
		if err != nil {
			t.Fatal(err)
		}
		if p.batch == nil || len(p.batch.works) != 1 || len(p.batch.works[0].sizes) != 1 {
			t.Fatalf("the batch is not understood: %+v", p.batch)
		}
		p.batch.least = sliceLimits{1, 1}
		pool := kernel.NewPool(threads, 0)
		defer pool.Close()
		for try := range 40 {
			b, s := 1+e.r.IntN(9), 1+e.r.IntN(40)
			m := make([]float32, b*s)
			for i := range m {
				m[i] = float32(min(1, e.r.IntN(4)))
			}
			in := map[string]any{"x": normalTensor(e.r, b, s, 16), "m": model.FromSlice([]int{b, s}, m)}
			if k := p.cut(in, threads); (k.slices > 0) != (b >= max(2, threads)) || k.slices > 0 && (k.slices != b || k.aside != b/threads*threads) {
				t.Fatalf("%d entries, %d threads: %+v", b, threads, k)
			}
			p.batch.least.rows = float64(s * (1 + e.r.IntN(2)))
			want, err := whole.Exec(t.Context(), nil, in)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second run follows a placement
				got, err := p.Exec(t.Context(), pool, in)
				if err != nil {
					t.Fatal(err)
				}
				sameBits(t, fmt.Sprintf("try %d: %d entries of %d, %d threads", try, b, s, threads), got["y"].(*model.Tensor), want["y"].(*model.Tensor))
			}
			n, bytes := work(p)
			if m, wb := work(whole); n != m || bytes != wb || bytes < 4*2*(4*16*16+2*16*40) { // at least the weights of two layers, which are packed
				t.Fatalf("%d entries, %d threads: %d multiply-accumulates and %d bytes, as a whole %d and %d", b, threads, n, bytes, m, wb)
			}
			p.batch.least.rows = 1
		}
		p.each(func(s *step) {
			if n := s.stats.calls.Load(); n != 80 {
				t.Errorf("%s: %d calls in 80 runs", s.node, n)
			}
		})
	}
}

// TestSlicesOfWideProducts: one row of a product, and many, have the same bits where the matrix is cut along both of its sides; runs of one plan at the
// same time too.
func TestSlicesOfWideProducts(t *testing.T) {
	e := newEncoder(6)
	x := e.do("Relu", nil, e.do("Add", nil, e.do("MatMul", nil, "x", e.weight(16, 900)), e.weight(900)))
	g := e.result(e.do("Add", nil, e.do("MatMul", nil, x, e.weight(900, 80)), e.weight(80)))
	whole, err := Compile(g, Options{Skip: []string{passBatch}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(g, Options{})
	if err != nil || p.batch == nil {
		t.Fatal("the batch is not understood", err)
	}
	p.batch.least = sliceLimits{1, 1}
	pool := kernel.NewPool(2, 0)
	defer pool.Close()
	var wg sync.WaitGroup
	for try := range 12 {
		b, s := 2+e.r.IntN(30), 1+try%3
		in := map[string]any{"x": normalTensor(e.r, b, s, 16)}
		want, err := whole.Exec(t.Context(), nil, in)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 3 {
				got, err := p.Exec(t.Context(), pool, in)
				if err != nil {
					t.Error(err)
					return
				}
				if x, y := floatBits(got["y"]), floatBits(want["y"]); !slices.Equal(x, y) {
					t.Errorf("%d entries of %d differ from the whole", b, s)
				}
			}
		})
	}
	wg.Wait()
}

// floatBits returns the bits of a tensor of floats, nil for none.
func floatBits(v any) []byte {
	b, err := v.(*model.Tensor).Bytes()
	if err != nil {
		return nil
	}
	return b
}

func sameBits(t *testing.T, what string, got, want *model.Tensor) {
	t.Helper()
	x, err := got.Float32()
	if err != nil {
		t.Fatal(err)
	}
	y, err := want.Float32()
	if err != nil {
		t.Fatal(err)
	}
	if !sameShape(got.Shape(), want.Shape()) {
		t.Fatalf("%s: shape %v, want %v", what, got.Shape(), want.Shape())
	}
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, x[i], y[i])
		}
	}
}

// TestBatchesThatAreNotCut: what makes an entry see others, or the size of the batch, keeps it in one piece.
func TestBatchesThatAreNotCut(t *testing.T) {
	for name, build := range map[string]func(e *encoder) string{
		"softmax over the batch": func(e *encoder) string { return e.do("Softmax", int64Attr("axis", 0), "x") },
		"mean of the batch": func(e *encoder) string {
			return e.do("Sub", nil, "x", e.do("ReduceMean", append(ints64("axes", 0), model.IntAttr("keepdims", 1)), "x"))
		},
		"transposed": func(e *encoder) string {
			return e.do("Transpose", ints64("perm", 1, 0, 2), e.do("Softmax", int64Attr("axis", 1), e.do("Transpose", ints64("perm", 1, 0, 2), "x")))
		},
		"one row":      func(e *encoder) string { return e.do("Add", nil, "x", e.do("Gather", nil, "x", e.ints(0))) },
		"by the batch": func(e *encoder) string { return e.do("Div", nil, "x", e.batchSize()) },
		"a weight per entry": func(e *encoder) string {
			return e.do("Add", nil, "x", e.weight(4, 1, 16))
		},
		"rows as columns": func(e *encoder) string {
			return e.do("MatMul", nil, e.do("Transpose", ints64("perm", 1, 2, 0), "x"), e.weight(4, 4))
		},
		"flat": func(e *encoder) string { return e.do("Reshape", nil, "x", e.ints(-1, 16)) },
		"dynamically quantized": func(e *encoder) string {
			q := e.do("DynamicQuantizeLinear", nil, "x")
			n := e.g.Nodes[len(e.g.Nodes)-1]
			n.Outputs = append(n.Outputs, "scale", "zero")
			return e.do("DequantizeLinear", nil, q, "scale", "zero")
		},
		"random": func(e *encoder) string { return e.do("Add", nil, "x", e.do("RandomNormalLike", nil, "x")) },
		"of one": func(e *encoder) string { return e.do("Squeeze", nil, e.do("Unsqueeze", nil, "x", e.ints(0))) },
		"a shape": func(e *encoder) string {
			return e.do("Cast", int64Attr("to", int64(model.Float32)), e.do("Shape", nil, "x"))
		},
		"constant": func(e *encoder) string { return e.weight(4, 16) },
	} {
		e := newEncoder(2)
		p, err := Compile(e.result(e.do("Identity", nil, build(e))), Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.batch != nil {
			t.Errorf("%s: the batch would be cut", name)
		}
	}
	for name, dims := range map[string][]string{"another batch": {"N", "S"}, "the batch last": {"S", "B"}, "twice the batch": {"B", "B"}} {
		e := newEncoder(3, dims...)
		if p, err := Compile(e.result(e.do("Relu", nil, e.do("Add", nil, "x", e.do("Unsqueeze", nil, "m", e.ints(2))))), Options{}); err != nil || p.batch != nil {
			t.Errorf("%s: the batch would be cut (%v)", name, err)
		}
	}
	e := newEncoder(4)
	g := e.result(e.do("Neg", nil, e.do("MatMul", nil, "x", e.weight(16, 16))))
	neg := Options{Ops: map[string]OpFunc{"::Neg": func(c *Call) error { c.Set(0, c.In[0]); return nil }}}
	named := g.Clone()
	named.Nodes[1].Domain = "ai.onnx"
	if p, err := Compile(named, neg); err != nil || p.batch != nil {
		t.Errorf("custom, of the default domain by its name: the batch would be cut (%v)", err)
	}
	for name, o := range map[string]Options{"custom": neg, "skipped": {Skip: []string{passBatch}}, "bare": {NoFusion: true}, "watched": {Watch: &Watch{}}} {
		if p, err := Compile(g, o); err != nil || p.batch != nil {
			t.Errorf("%s: the batch would be cut (%v)", name, err)
		}
	}
	if p, err := Compile(g, Options{}); err != nil || p.batch == nil {
		t.Errorf("the batch would not be cut (%v)", err)
	}
}

// batchSize adds the number of entries as a float.
func (e *encoder) batchSize() string {
	return e.do("Cast", int64Attr("to", int64(model.Float32)), e.do("Gather", nil, e.do("Shape", nil, "x"), e.ints(0)))
}

// TestSlicesWithoutMemory: where the memory of a run does not suffice for slices and for their outputs beside them, the batch runs in one piece; and a
// run that is cancelled ends with the error of its context.
func TestSlicesWithoutMemory(t *testing.T) {
	e := newEncoder(5, "B", "S")
	g := e.result(e.layer("x"))
	in := map[string]any{"x": normalTensor(e.r, 6, 30, 16), "m": normalTensor(e.r, 6, 30)}
	var want *model.Tensor
	for _, memory := range []int64{0, 200 << 10, 100 << 10} { // a slice takes 12 kB and more, the outputs 12 kB, the whole 80 kB and more
		p, err := Compile(g, Options{Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		p.batch.least = sliceLimits{1, 1}
		pool := kernel.NewPool(2, 0)
		defer pool.Close()
		got, err := p.Exec(t.Context(), pool, in)
		if err != nil {
			t.Fatalf("%d bytes: %v", memory, err)
		}
		if want == nil {
			want = got["y"].(*model.Tensor)
		}
		sameBits(t, fmt.Sprint(memory, " bytes"), got["y"].(*model.Tensor), want)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Exec(ctx, pool, in); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled run gives %v", err)
		}
	}
	// What a run of the whole batch leaves, in whose buffers a slice finds all that it needs, is more than the slice may have.
	p, err := Compile(g, Options{})
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(2, 0)
	defer pool.Close()
	two := map[string]any{"x": normalTensor(e.r, 2, 60, 16), "m": normalTensor(e.r, 2, 60)}
	for _, b := range []*batch{nil, p.batch} {
		if p.batch = b; b != nil {
			b.least, p.memory = sliceLimits{1, 1}, 2*p.arenas[0].held
		}
		if _, err := p.Exec(t.Context(), pool, two); err != nil {
			t.Fatal(err)
		}
	}
	if p.side.Load() != 2 {
		t.Error("the batch was not cut")
	}
	for _, a := range p.arenas {
		if a.held > p.memory/3 {
			t.Errorf("a slice holds %d bytes, of %d for two and their outputs", a.held, p.memory)
		}
	}
	p, err = Compile(g, Options{Memory: 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	p.batch.least = sliceLimits{1, 1}
	if _, err := p.Exec(t.Context(), nil, in); !errors.Is(err, ErrMemory) {
		t.Errorf("8 kB: %v, want %v", err, ErrMemory)
	}
	if p.runs != 2 { // a slice and the whole
		t.Errorf("%d runs of what does not fit", p.runs)
	}
}
