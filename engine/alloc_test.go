package engine_test

import (
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestRunsAllocateLittle bounds the allocations of a bound run by its nodes: a tensor for each that makes one, and little else. What operators
// read from attributes and small constants, and what they know of their window, is not made anew.
func TestRunsAllocateLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	r := rand.New(rand.NewPCG(1, 1))
	b := newBuilder(8, 17)

	x := b.input("x", model.Float32, model.FixedShape(1, 4, 64))
	x = b.node("Pad", []string{x, b.ints(0, 0, 3, 0, 0, 3)}, model.StringAttr("mode", "reflect"))
	x = b.node("Slice", []string{x, b.ints(1), b.ints(60), b.ints(2), b.ints(1)})
	x = b.node("Conv", []string{x, b.weight(1, 8, 4, 3)}, model.IntsAttr("strides", 2))
	x = b.node("Transpose", []string{x}, model.IntsAttr("perm", 0, 2, 1))
	x = b.node("Unsqueeze", []string{x, b.ints(0)})
	b.output(b.node("Sigmoid", []string{x}))
	s := load(t, b.g, engine.Options{Threads: 1})
	bound, err := s.(engine.Binder).Bind(engine.Feed{"x": randomTensor(r, 1, 1, 4, 64)})
	if err != nil {
		t.Fatal(err)
	}
	run := func() {
		if err := bound.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 { // until the placement of its memory is known
		run()
	}
	if n := testing.AllocsPerRun(50, run); n > 40 {
		t.Errorf("%v allocations in a run of 6 nodes", n)
	} else {
		t.Logf("%v allocations in a run of 6 nodes", n)
	}
}
