package engine_test

import (
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
)

// TestPacksAreShared: sessions of one model made from separate graphs hold its packed weights once, give the bits that a
// session of its own gives, and another model adds its own.
func TestPacksAreShared(t *testing.T) {
	packs := new(engine.Packs)
	in := sentence(3, 2, 9, 32)
	for _, quant := range []bool{false, true} {
		want := run(t, load(t, transformer(11, 4, 8, 2, quant), engine.Options{Threads: 1}), in)
		before := packs.Bytes()
		first := load(t, transformer(11, 4, 8, 2, quant), engine.Options{Threads: 2, Packs: packs})
		size := packs.Bytes()
		if size <= before {
			t.Fatalf("%d bytes are held, %d before", size, before)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: transformer(11, 4, 8, 2, quant)}, engine.Options{Threads: 2, Packs: packs})
				if err != nil {
					t.Error(err)
					return
				}
				defer s.Close()
				out, err := s.Run(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				if y, err := out[s.Outputs()[0].Name].Float32(); err != nil || !sameBits(y, want) {
					t.Errorf("quant %t: a session that shares weights gives other bits (%v)", quant, err)
				}
			})
		}
		wg.Wait()
		if !sameBits(run(t, first, in), want) {
			t.Errorf("quant %t: other bits", quant)
		}
		if got := packs.Bytes(); got != size {
			t.Errorf("quant %t: %d bytes are held for five sessions, %d for one", quant, got, size)
		}
	}
	size := packs.Bytes()
	if load(t, transformer(12, 4, 8, 2, false), engine.Options{Packs: packs}); packs.Bytes() <= size {
		t.Error("another model added nothing")
	}
}
