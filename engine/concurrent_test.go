package engine_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestEightGoroutines: one session run from eight goroutines at once, on inputs of different lengths, gives the bits that it
// gives alone.
func TestEightGoroutines(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := newSketch(r, model.Dim{Size: -1, Param: "rows"})
	y := patterns["wattshed.Attention of one transposed matrix"](s)
	s.g.Nodes = append(s.g.Nodes, &model.Node{Op: "Identity", Inputs: []string{s.do("Mul", nil, y, s.do("Sigmoid", nil, y))}, Outputs: []string{"y"}})
	loop := loopOfBlocks(r, 5, 24)
	for name, g := range map[string]*model.Graph{"attention": s.g, "loop": loop} {
		rt, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		var feeds []engine.Feed
		var want [][]float32
		for i := range 6 {
			shape := []int{2, 1 + 5*i, 24}
			if name == "loop" {
				shape = []int{5, 24}
			}
			n, _ := model.NumElements(shape)
			x := make([]float32, n)
			for k := range x {
				x[k] = float32(r.NormFloat64())
			}
			feed := engine.Feed{"x": model.FromSlice(shape, x)}
			if name == "loop" {
				feed["n"] = model.Scalar(int64(i))
			}
			out, err := rt.Run(t.Context(), feed)
			if err != nil {
				t.Fatal(err)
			}
			v, err := out["y"].Float32()
			if err != nil {
				t.Fatal(err)
			}
			feeds, want = append(feeds, feed), append(want, v)
		}
		var wg sync.WaitGroup
		for k := range 8 {
			wg.Go(func() {
				for i := range 60 {
					at := (i + k) % len(feeds)
					out, err := rt.Run(t.Context(), feeds[at])
					if err != nil {
						t.Error(err)
						return
					}
					v, err := out["y"].Float32()
					if err != nil || len(v) != len(want[at]) {
						t.Errorf("%s: %d elements, want %d (%v)", name, len(v), len(want[at]), err)
						return
					}
					for j := range v {
						if math.Float32bits(v[j]) != math.Float32bits(want[at][j]) {
							t.Errorf("%s: input %d: element %d is %g, alone it was %g", name, at, j, v[j], want[at][j])
							return
						}
					}
				}
			})
		}
		wg.Wait()
		rt.Close()
	}
}

// TestInterrupted: a run that is cancelled inside of an operator drops the rest of that operator's work, with one thread
// and with several, and the session goes on working.
func TestInterrupted(t *testing.T) {
	for _, threads := range []int{1, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		ran := make([]bool, 1000)
		first := true
		slow := func(c *engine.Call) error {
			out, err := engine.Out[float32](c, 0, []int{1})
			if err != nil {
				return err
			}
			out[0] = 7
			if !first {
				return nil
			}
			first = false
			c.Pool().Run(len(ran), func(i int) {
				ran[i] = true
				cancel()
				for !c.Pool().Stopped() { // it is told by another goroutine
				}
			})
			return nil
		}
		g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}}, Inputs: []*model.Value{vector("x", 1)},
			Outputs: []*model.Value{vector("y")}, Nodes: []*model.Node{{Op: "Slow", Domain: "test", Inputs: []string{"x"}, Outputs: []string{"y"}}}}
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: threads, Ops: map[string]engine.OpFunc{"test::Slow": slow}})
		if err != nil {
			t.Fatal(err)
		}
		feed := engine.Feed{"x": model.FromSlice([]int{1}, []float32{1})}
		if _, err := s.Run(ctx, feed); !errors.Is(err, context.Canceled) {
			t.Errorf("%d threads: %v", threads, err)
		}
		n := 0
		for _, b := range ran {
			if b {
				n++
			}
		}
		if n < 1 || n > threads {
			t.Errorf("%d threads: %d of %d pieces ran", threads, n, len(ran))
		}
		out, err := s.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		if y, _ := out["y"].Float32(); len(y) != 1 || y[0] != 7 {
			t.Errorf("afterwards: %v", y)
		}
		s.Close()
	}
}
