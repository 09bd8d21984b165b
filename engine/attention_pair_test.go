package engine_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestPairCacheInPlace: a cache of keys and values in one tensor (com.microsoft Attention) that is fed back gives the bits that
// its copy gives, also where two runs go on from it, keeps what it showed, and is not copied by a step.
func TestPairCacheInPlace(t *testing.T) {
	const b, heads, d, w, prompt = 2, 2, 32, 16, 2048
	r := rand.New(rand.NewPCG(9, 9))
	g := &model.Graph{Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 17}, {Domain: "com.microsoft", Version: 1}}},
		Inputs: []*model.Value{vector("x", -1, -1, w), vector("past", 2, -1, heads, -1, d)}, Outputs: []*model.Value{vector("y"), vector("present")},
		Nodes: []*model.Node{{Op: "Attention", Domain: "com.microsoft", Inputs: []string{"x", "w", "bias", "", "past"}, Outputs: []string{"y", "present"},
			Attrs: []model.Attr{model.IntAttr("num_heads", heads), model.IntAttr("unidirectional", 1)}}}}
	g.SetInitializer("w", randomTensor(r, 0.3, w, 3*heads*d))
	g.SetInitializer("bias", randomTensor(r, 0.3, 3*heads*d))
	s := load(t, g, engine.Options{Threads: 1})
	step := func(x, past *model.Tensor) (*model.Tensor, *model.Tensor) {
		out, err := s.Run(t.Context(), engine.Feed{"x": x, "past": past})
		if err != nil {
			t.Fatal(err)
		}
		return out["y"], out["present"]
	}
	_, past := step(randomTensor(r, 1, b, prompt, w), model.FromSlice([]int{2, b, heads, 0, d}, []float32{}))
	for i := range 6 {
		x, other := randomTensor(r, 1, b, 1, w), randomTensor(r, 1, b, 2, w)
		shown := slices.Clone(floatsOf(t, past))
		fresh := model.FromSlice(past.Shape(), shown)
		y, next := step(x, past)
		z, _ := step(other, past) // it goes on from the same cache
		wantY, wantNext := step(x, fresh)
		wantZ, _ := step(other, fresh)
		if !sameBits(floatsOf(t, y), floatsOf(t, wantY)) || !sameBits(floatsOf(t, z), floatsOf(t, wantZ)) || !sameBits(floatsOf(t, next), floatsOf(t, wantNext)) {
			t.Fatalf("step %d: a cache that is fed back gives other bits than its copy", i)
		}
		if !sameBits(floatsOf(t, past), shown) {
			t.Fatalf("step %d: the cache shows something else now", i)
		}
		past = next
	}
	_, past = step(randomTensor(r, 1, b, 1, w), past)
	x := randomTensor(r, 1, b, 1, w)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 50 {
		_, past = step(x, past)
	}
	runtime.ReadMemStats(&after)
	const caches = 2 * 4 * b * prompt * heads * d
	if got := int(after.TotalAlloc-before.TotalAlloc) / 50; got > caches/4 { // as in TestCacheIsNotCopied
		t.Errorf("a step allocates %d bytes; the cache has %d", got, caches)
	}
	if got := past.Shape()[3]; got != prompt+57 {
		t.Errorf("%d positions, want %d", got, prompt+57)
	}
}
