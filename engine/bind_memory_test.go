package engine

import (
	"errors"
	"runtime"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestBindMemory: from the third run on, the outputs of bound inputs lie where those of the run before lay and a run makes no memory for them; what
// Info says of the arena is what it says after runs of the session alone. So it is without placements, and under a bound on memory that suffices for one run.
func TestBindMemory(t *testing.T) {
	const rows, width = 64, 4096 // 1 MB
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}}},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(rows, width)}}},
		Outputs: []*model.Value{{Name: "y"}, {Name: "z"}, {Name: "flat"}}}
	for _, n := range [][3]string{{"Sin", "x", "a"}, {"Transpose", "a", "b"}, {"Cos", "b", "y"}, {"Tanh", "a", "z"}, {"Flatten", "z", "flat"}} {
		g.Nodes = append(g.Nodes, &model.Node{Op: n[0], Inputs: []string{n[1]}, Outputs: []string{n[2]}})
	}
	feed := Feed{"x": model.FromSlice([]int{rows, width}, make([]float32, rows*width))}
	for _, o := range []Options{{Threads: 1}, {Threads: 1, Skip: []string{passMemory}}, {Threads: 1, Memory: 2 << 20}} {
		open := func() *session {
			s, err := Native{}.Load(t.Context(), Artifact{Graph: g}, o)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s.(*session)
		}
		plain := open()
		for range 6 {
			if _, err := plain.Run(t.Context(), feed); err != nil {
				t.Fatal(err)
			}
		}
		s := open()
		var bounds []*bound
		for range 3 {
			b, err := s.Bind(feed)
			if err != nil {
				t.Fatal(err)
			}
			bounds = append(bounds, b.(*bound))
		}
		at := func(b *bound) map[any]bool {
			m := map[any]bool{}
			for _, x := range b.out {
				m[base(x.t)] = true
			}
			return m
		}
		round := func() {
			for _, b := range bounds {
				if err := b.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, a := range s.plan.arenas {
					countsIdle(t, a)
				}
			}
		}
		for range 3 {
			round()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		const rounds = 5
		for range rounds {
			was := at(bounds[0])
			round()
			if now := at(bounds[0]); o.Skip == nil && (len(now) != 2 || len(was) != 2) {
				t.Fatalf("outputs lie in %d places, before in %d; want 2", len(now), len(was))
			} else if o.Skip == nil {
				for p := range now {
					if !was[p] {
						t.Error("an output has moved")
					}
				}
			}
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / (3 * rounds); n > 4*rows*width/4 { // a quarter of an output
			t.Errorf("%+v: a run makes %d bytes", o, n)
		}
		if got, want := s.Info().ArenaBytes, plain.Info().ArenaBytes; got != want {
			t.Errorf("%+v: an arena of %d bytes, that of plain runs has %d", o, got, want)
		}
		if _, err := s.Run(t.Context(), feed); err != nil {
			t.Error(err)
		}
	}
	s, err := Native{}.Load(t.Context(), Artifact{Graph: g}, Options{Threads: 1, Memory: 3 << 19})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.(Binder).Bind(feed)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := b.Run(t.Context()); !errors.Is(err, ErrMemory) {
			t.Errorf("%v, want %v", err, ErrMemory)
		}
	}
}

// TestBindBatch: bound inputs whose batch is cut give the bits of Plan.Exec, in outputs whose memory stays, also where runs in one piece come between.
func TestBindBatch(t *testing.T) {
	e := newEncoder(1, "B", "S")
	g := e.result(e.layer("x"))
	loaded, err := Native{}.Load(t.Context(), Artifact{Graph: g}, Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	s := loaded.(*session)
	feed := Feed{"x": normalTensor(e.r, 6, 30, 16), "m": normalTensor(e.r, 6, 30)}
	cut := s.plan.batch
	s.plan.batch = nil
	out, err := s.Run(t.Context(), feed)
	if err != nil {
		t.Fatal(err)
	}
	want := out["y"]
	cut.least = sliceLimits{1, 1}
	one, err := s.Bind(feed)
	if err != nil {
		t.Fatal(err)
	}
	b := one.(*bound)
	for k, c := range []*batch{cut, cut, nil, nil, cut, cut} {
		s.plan.batch, b.fed.fixed = c, false // how a batch is cut is looked at once
		var was *model.Tensor
		if k%2 == 1 {
			was = b.out[0].t
		}
		if err := b.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if (b.kept.sliced != nil) != (c != nil) {
			t.Fatalf("run %d: cut %v", k, b.kept.sliced != nil)
		}
		if c != nil && was != nil && base(was) != base(b.out[0].t) {
			t.Errorf("run %d: the output has moved", k)
		}
		got, err := b.Outputs()
		if err != nil {
			t.Fatal(err)
		}
		sameBits(t, "bound", got["y"], want)
		if base(got["y"]) == base(b.out[0].t) {
			t.Error("the caller's output is that of the next run")
		}
	}
}
