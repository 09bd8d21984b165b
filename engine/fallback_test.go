package engine_test

import (
	"math/rand/v2"
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
