package engine_test

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestFallbackOfSizes: inputs of other sizes than the model declares are told as well.
func TestFallbackOfSizes(t *testing.T) {
	b := newBuilder(4, 13)
	b.output(b.node("Relu", []string{b.input("x", model.Float32, model.FixedShape(2, 6))}))
	s := load(t, b.g, engine.Options{})
	for _, rows := range []int{2, 3} {
		if _, err := s.Run(t.Context(), engine.Feed{"x": randomTensor(rand.New(rand.NewPCG(1, 1)), 1, rows, 6)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Info().Fallbacks; len(got) != 1 || got[0] != (engine.Fallback{Runs: 1}) || !strings.HasPrefix(got[0].String(), "1 run fell back") || !strings.HasSuffix(got[0].String(), "the sizes of inputs are not those that the model declares") {
		t.Errorf("%v", got)
	}
}

// TestFallbacksAreTold: a session tells how many of its runs fell back to the operators one by one and which node made them, whoever runs it meanwhile; a
// run that the plan fits, and a session without fusions, has none to tell.
func TestFallbacksAreTold(t *testing.T) {
	b := newBuilder(4, 13)
	shape := model.Shape{{Size: -1, Param: "a"}, {Size: -1, Param: "b"}, {Size: -1, Param: "c"}}
	b.output(unfused["layer norm of one column"].build(b, b.input("x", model.Float32, shape)))
	r := rand.New(rand.NewPCG(1, 1))
	fits, odd := engine.Feed{"x": randomTensor(r, 1, 2, 3, 6)}, engine.Feed{"x": randomTensor(r, 1, 2, 3, 1)}
	for _, o := range []engine.Options{{}, {NoFusion: true}} {
		s := load(t, b.g, o)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for _, f := range []engine.Feed{fits, odd, fits, odd} {
					if _, err := s.Run(t.Context(), f); err != nil {
						t.Error(err)
					}
					s.Info()
				}
			})
		}
		wg.Wait()
		got := s.Info().Fallbacks
		switch {
		case o.NoFusion && got != nil:
			t.Errorf("a session without fusions: %v", got)
		case o.NoFusion:
		case len(got) != 1 || got[0].Runs != 8 || !strings.HasPrefix(got[0].Node, "node ") || !strings.Contains(got[0].Node, "LayerNormalization"):
			t.Errorf("%+v", got)
		case got[0].String() != "8 runs fell back to the operators one by one, without any fusion: "+got[0].Node+" has no kernel for the type or the shapes that it met":
			t.Error(got[0])
		}
	}
}

// TestFallbackLetsGo: while a run falls back, what the fused one had made is not kept beside it.
func TestFallbackLetsGo(t *testing.T) {
	var held []uint64 // by run of the first node
	look := func(c *engine.Call) error {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		held = append(held, m.HeapAlloc)
		y, err := engine.Out[float32](c, 0, c.In[0].Shape())
		clear(y)
		return err
	}
	b := newBuilder(4, 13)
	x := b.input("x", model.Float32, model.Shape{{Size: -1, Param: "a"}, {Size: -1, Param: "b"}, {Size: -1, Param: "c"}})
	b.g.Nodes = append(b.g.Nodes, &model.Node{Op: "Look", Domain: "test", Inputs: []string{x}, Outputs: []string{"looked"}})
	b.output(unfused["layer norm of one column"].build(b, "looked"))
	s := load(t, b.g, engine.Options{Threads: 1, Ops: map[string]engine.OpFunc{"test::Look": look}})
	const size = 8 << 20 // bytes of a value
	if _, err := s.Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{1, size / 4, 1}, make([]float32, size/4))}); err != nil {
		t.Fatal(err)
	}
	if len(held) != 2 || held[1] > held[0]+size/2 {
		t.Errorf("%d bytes in use as the runs begin", held)
	}
}
