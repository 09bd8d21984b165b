package engine_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
	"github.com/wattshed/wattshed/model"
)

// rnnGraph is one recurrent operator over x [T, B, I] with all its outputs joined in one row; lens may be nil.
func rnnGraph(r *rand.Rand, op string, gates, t, b, i, h int, direction string, lens []int32, f64 bool) (*model.Graph, engine.Feed) {
	g := newBuilder(r.Uint64(), 14)
	d := 1
	if direction == "bidirectional" {
		d = 2
	}
	dtype := model.Float32
	feed := engine.Feed{}
	tensor := func(scale float64, shape ...int) *model.Tensor { return randomTensor(r, scale, shape...) }
	weights := []*model.Tensor{tensor(1/math.Sqrt(float64(i)), d, gates*h, i), tensor(1/math.Sqrt(float64(h)), d, gates*h, h), tensor(0.2, d, 2*gates*h)}
	x, h0 := tensor(1, t, b, i), tensor(0.5, d, b, h)
	if f64 {
		dtype = model.Float64
		for k, w := range weights {
			weights[k] = wide(w)
		}
		x, h0 = wide(x), wide(h0)
	}
	in := []string{g.input("x", dtype, model.Shape{{Size: -1}, {Size: -1}, {Size: int64(i)}})}
	feed["x"] = x
	for _, w := range weights {
		in = append(in, g.constant(w))
	}
	in = append(in, "", g.constant(h0))
	if lens != nil {
		in[4] = g.constant(model.FromSlice([]int{b}, lens))
	}
	outs := []string{"Y", "Y_h"}
	if op == "LSTM" {
		outs = append(outs, "Y_c")
	}
	g.g.Nodes = append(g.g.Nodes, &model.Node{Name: "rnn", Op: op, Inputs: in, Outputs: outs, Attrs: []model.Attr{
		model.IntAttr("hidden_size", int64(h)), model.StringAttr("direction", direction)}})
	var flat []string
	for _, o := range outs {
		flat = append(flat, g.node("Reshape", []string{o, g.ints(-1)}))
	}
	g.output(g.node("Concat", flat, model.IntAttr("axis", 0)))
	return g.g, feed
}

// wide returns the tensor in float64.
func wide(t *model.Tensor) *model.Tensor {
	x, _ := t.Float32()
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return model.FromSlice(t.Shape(), y)
}

// TestRecurrentThreads: every number of threads gives the same bits, and they are those of float64 to the rule for float32
// results, 1e-5 of the largest.
func TestRecurrentThreads(t *testing.T) {
	ops := []struct {
		name  string
		gates int
	}{{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}}
	for _, isa := range kernel.Levels() {
		restore := kernel.Limit(isa)
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 5))
			op := ops[[]int{0, 0, 1, 2}[seed%4]]
			steps, b, i, h := 1+r.IntN(9), 1+r.IntN(5), 1+r.IntN(20), 1+r.IntN(40)
			switch seed % 5 {
			case 1: // enough work for threads with sequences of their own
				steps, b, i, h = 20+r.IntN(10), 2+r.IntN(6), 64, 96
			case 3: // one sequence, its recurrent weights in digits
				steps, b, i, h = 20+r.IntN(60), 1, 8, 32*(2+r.IntN(4))
			case 2: // and by units
				steps, b, i, h = 40+r.IntN(4), 1, 8, 32*(6+r.IntN(3))
				if seed == 17 { // an LSTM whose products are two chains
					h = 512
				}
			}
			if isa == kernel.Generic && seed%5 != 0 {
				continue
			}
			direction := []string{"forward", "reverse", "bidirectional"}[r.IntN(3)]
			var lens []int32
			if r.IntN(2) == 0 {
				for range b {
					lens = append(lens, int32(r.IntN(steps+1)))
				}
			}
			what := fmt.Sprintf("%s, seed %d: %s %s T%d B%d I%d H%d %v", isa, seed, op.name, direction, steps, b, i, h, lens)
			g, in := rnnGraph(rand.New(rand.NewPCG(seed, 6)), op.name, op.gates, steps, b, i, h, direction, lens, false)
			want := run(t, load(t, g, engine.Options{Threads: 1}), in)
			for _, threads := range []int{2, 3} {
				got := run(t, load(t, g, engine.Options{Threads: threads}), in)
				for k := range want {
					if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
						t.Fatalf("%s: element %d is %v with %d threads, %v with one", what, k, got[k], threads, want[k])
					}
				}
			}
			g, in = rnnGraph(rand.New(rand.NewPCG(seed, 6)), op.name, op.gates, steps, b, i, h, direction, lens, true)
			exact := run(t, load(t, g, engine.Options{Threads: 1}), in)
			top := 0.0
			for _, v := range exact {
				top = max(top, math.Abs(float64(v)))
			}
			for k, v := range exact {
				if !(math.Abs(float64(want[k]-v)) <= 1e-5*top) {
					t.Fatalf("%s: element %d is %v, in float64 %v", what, k, want[k], v)
				}
			}
		}
		restore()
	}
}

// TestQuantizedRecurrentThreads: the state of all entries is quantized with one scale, whatever the threads.
func TestQuantizedRecurrentThreads(t *testing.T) {
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 7))
		steps, b, i, h := 1+r.IntN(9), 1+r.IntN(5), 1+r.IntN(20), 1+r.IntN(40)
		if seed%2 == 0 {
			steps, b, i, h = 30+r.IntN(10), 3+r.IntN(6), 48, 96
		}
		d, direction := 1, []string{"forward", "reverse", "bidirectional"}[r.IntN(3)]
		if direction == "bidirectional" {
			d = 2
		}
		g := newBuilder(seed, 14)
		bytes := func(shape ...int) string {
			n, _ := model.NumElements(shape)
			w := make([]int8, n)
			for k := range w {
				w[k] = int8(r.IntN(255) - 127)
			}
			return g.constant(model.FromSlice(shape, w))
		}
		scale := func() string {
			s := make([]float32, d*4*h)
			for k := range s {
				s[k] = (0.5 + r.Float32()) / 400
			}
			return g.constant(model.FromSlice([]int{d, 4 * h}, s))
		}
		lens := ""
		if r.IntN(2) == 0 {
			l := make([]int32, b)
			for k := range l {
				l[k] = int32(r.IntN(steps + 1))
			}
			lens = g.constant(model.FromSlice([]int{b}, l))
		}
		zero := func() string { return g.constant(model.FromSlice([]int{d, 4 * h}, make([]int8, d*4*h))) }
		x := g.input("x", model.Float32, model.Shape{{Size: -1}, {Size: -1}, {Size: int64(i)}})
		g.g.Nodes = append(g.g.Nodes, &model.Node{Name: "rnn", Op: "DynamicQuantizeLSTM", Domain: "com.microsoft", Outputs: []string{"Y", "Y_h", "Y_c"},
			Inputs: []string{x, bytes(d, i, 4*h), bytes(d, h, 4*h), g.weight(0.2, d, 8*h), lens, "", "", "", scale(), zero(), scale(), zero()},
			Attrs:  []model.Attr{model.IntAttr("hidden_size", int64(h)), model.StringAttr("direction", direction)}})
		var flat []string
		for _, o := range []string{"Y", "Y_h", "Y_c"} {
			flat = append(flat, g.node("Reshape", []string{o, g.ints(-1)}))
		}
		g.output(g.node("Concat", flat, model.IntAttr("axis", 0)))
		in := engine.Feed{"x": randomTensor(r, 1, steps, b, i)}
		want := run(t, load(t, g.g, engine.Options{Threads: 1}), in)
		for _, threads := range []int{2, 3} {
			got := run(t, load(t, g.g, engine.Options{Threads: threads}), in)
			for k := range want {
				if math.Float32bits(got[k]) != math.Float32bits(want[k]) {
					t.Fatalf("seed %d: element %d is %v with %d threads, %v with one", seed, k, got[k], threads, want[k])
				}
			}
		}
	}
}
