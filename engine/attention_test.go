package engine_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// attentionGraph is one node of attention with a cache: Attention of opset 23, or GroupQueryAttention of com.microsoft.
func attentionGraph(op string, heads, kv int) *model.Graph {
	g := &model.Graph{Name: op, Model: &model.Info{IRVersion: 10, Opsets: []model.Opset{{Version: 23}, {Domain: "com.microsoft", Version: 1}}}}
	n := &model.Node{Op: op, Inputs: []string{"q", "k", "v", "", "pk", "pv"}, Outputs: []string{"y", "nk", "nv"},
		Attrs: []model.Attr{model.IntAttr("is_causal", 1), model.IntAttr("q_num_heads", int64(heads)), model.IntAttr("kv_num_heads", int64(kv))}}
	if op == "GroupQueryAttention" {
		n.Domain, n.Inputs = "com.microsoft", []string{"q", "k", "v", "pk", "pv", "lens", "total"}
		n.Attrs = []model.Attr{model.IntAttr("num_heads", int64(heads)), model.IntAttr("kv_num_heads", int64(kv))}
	}
	g.Nodes = []*model.Node{n}
	for _, name := range n.Inputs {
		d := model.Float32
		if name == "lens" || name == "total" {
			d = model.Int32
		}
		if name != "" {
			g.Inputs = append(g.Inputs, &model.Value{Name: name, Type: model.Type{DType: d}})
		}
	}
	for _, name := range n.Outputs {
		g.Outputs = append(g.Outputs, &model.Value{Name: name, Type: model.Type{DType: model.Float32}})
	}
	return g
}

// decoder feeds positions of a sequence to a session, with the caches of the run before.
type decoder struct {
	s       engine.Session
	op      string
	q, k, v []float32 // [1, length, heads*d], [1, length, kv*d] twice
	w, kw   int
	kv, d   int
}

// step runs positions lo to hi behind the caches in past, which may be nil.
func (c *decoder) step(t *testing.T, past engine.Feed, lo, hi int) engine.Feed {
	t.Helper()
	n := hi - lo
	in := engine.Feed{"q": model.FromSlice([]int{1, n, c.w}, c.q[lo*c.w:hi*c.w]), "k": model.FromSlice([]int{1, n, c.kw}, c.k[lo*c.kw:hi*c.kw]),
		"v": model.FromSlice([]int{1, n, c.kw}, c.v[lo*c.kw:hi*c.kw])}
	empty := model.FromSlice([]int{1, c.kv, 0, c.d}, []float32{})
	in["pk"], in["pv"] = empty, empty
	if past != nil {
		in["pk"], in["pv"] = past["nk"], past["nv"]
	}
	if c.op == "GroupQueryAttention" {
		in["lens"], in["total"] = model.FromSlice([]int{1}, []int32{int32(hi - 1)}), model.FromSlice([]int{1}, []int32{int32(hi)})
	}
	out, err := c.s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func floatsOf(t *testing.T, x *model.Tensor) []float32 {
	t.Helper()
	v, err := model.Data[float32](x)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestCacheInPlace decodes a sequence position by position, feeding caches back, and gets the bits of a single run over all
// of it; caches that were handed out keep what they showed, and two continuations of one cache do not see each other.
func TestCacheInPlace(t *testing.T) {
	for _, op := range []string{"Attention", "GroupQueryAttention"} {
		for _, n := range [][2]int{{530, 600}, {375, 500}} { // in the second block of keys, and from the first into it
			decodes(t, op, n[0], n[1])
		}
	}
}

// decodes is TestCacheInPlace for one operator, a prompt and a whole of so many positions.
func decodes(t *testing.T, op string, prompt, length int) {
	const heads, kv, d = 4, 2, 8
	s := load(t, attentionGraph(op, heads, kv), engine.Options{Threads: 2})
	r := rand.New(rand.NewPCG(3, 9))
	c := &decoder{s: s, op: op, w: heads * d, kw: kv * d, kv: kv, d: d}
	for _, x := range []*[]float32{&c.q, &c.k, &c.v} {
		*x = floatsOf(t, randomTensor(r, 1, length, heads*d))
	}
	whole := c.step(t, nil, 0, length)
	want := floatsOf(t, whole["y"])
	past := c.step(t, nil, 0, prompt)
	first := past
	got := slices.Clone(floatsOf(t, past["y"]))
	var middle engine.Feed
	for at := prompt; at < length; at++ {
		if at == length-20 {
			middle = past
		}
		past = c.step(t, past, at, at+1)
		got = append(got, floatsOf(t, past["y"])...)
	}
	if !sameBits(got, want) {
		t.Errorf("%s: positions one by one differ from all at once", op)
	}
	for _, name := range []string{"nk", "nv"} {
		if !sameBits(floatsOf(t, past[name]), floatsOf(t, whole[name])) {
			t.Errorf("%s: %s differs", op, name)
		}
		all, part := floatsOf(t, whole[name]), floatsOf(t, first[name])
		for h := range kv {
			if !sameBits(part[h*prompt*d:(h+1)*prompt*d], all[h*length*d:][:prompt*d]) {
				t.Errorf("%s: %s of the prompt changed afterwards", op, name)
			}
		}
	}
	var wg sync.WaitGroup
	for range 8 { // eight continuations of one cache at once; it has been continued before
		wg.Go(func() {
			p := middle
			for at := length - 20; at < length; at++ {
				p = c.step(t, p, at, at+1)
				if !sameBits(floatsOf(t, p["y"]), want[at*c.w:(at+1)*c.w]) {
					t.Errorf("%s: position %d of a continuation differs", op, at)
					return
				}
			}
		})
	}
	wg.Wait()
	other := *c
	other.k, other.v = slices.Clone(c.k), slices.Clone(c.v)
	for i := range other.k {
		if i >= (length-20)*c.kw {
			other.k[i]++
		}
	}
	other.step(t, middle, length-20, length)
	if y := c.step(t, middle, length-20, length-19)["y"]; !sameBits(floatsOf(t, y), want[(length-20)*c.w:][:c.w]) {
		t.Errorf("%s: a continuation sees another", op)
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// TestCacheIsNotCopied: a step takes memory for its new position, not for the cache.
func TestCacheIsNotCopied(t *testing.T) {
	const heads, d, prompt = 2, 64, 4096
	c := &decoder{s: load(t, attentionGraph("Attention", heads, heads), engine.Options{Threads: 1}), op: "Attention", w: heads * d, kw: heads * d, kv: heads, d: d}
	r := rand.New(rand.NewPCG(4, 9))
	for _, x := range []*[]float32{&c.q, &c.k, &c.v} {
		*x = floatsOf(t, randomTensor(r, 1, prompt+200, heads*d))
	}
	past := c.step(t, nil, 0, prompt)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for at := prompt; at < prompt+100; at++ {
		past = c.step(t, past, at, at+1)
	}
	runtime.ReadMemStats(&after)
	const caches = 2 * 4 * prompt * heads * d
	if got := int(after.TotalAlloc-before.TotalAlloc) / 100; got > caches/4 { // scratch of products that the race detector makes anew for each is an eighth
		t.Errorf("a step allocates %d bytes; the caches have %d", got, caches)
	}
}

// TestAttentionMemory bounds the arena at a long sequence: inputs of products, the output and, for each thread, the scores of
// 128 queries and 384 keys; sizes are rounded up by at most a quarter. All scores would be a hundred times more.
func TestAttentionMemory(t *testing.T) {
	const heads, d, length, threads = 4, 8, 3000, 2
	const scores = threads * (128*384 + 3*128) * 4
	s := load(t, attentionGraph("Attention", heads, heads), engine.Options{Threads: threads})
	r := rand.New(rand.NewPCG(5, 9))
	x := randomTensor(r, 1, 1, length, heads*d)
	empty := model.FromSlice([]int{1, heads, 0, d}, []float32{})
	if _, err := s.Run(t.Context(), engine.Feed{"q": x, "k": x, "v": x, "pk": empty, "pv": empty}); err != nil {
		t.Fatal(err)
	}
	if got := s.Info().ArenaBytes; got > (scores+4*heads*d*length)*5/4 || got < scores {
		t.Errorf("Attention: arena of %d bytes for scores of %d", got, scores)
	}
	g := transformer(6, heads, d, 1, false)
	s = load(t, g, engine.Options{Threads: threads})
	if n := s.Info().Ops["wattshed.Attention"]; n != 1 {
		t.Fatalf("%d fused nodes of attention: %v", n, s.Info().Ops)
	}
	run(t, s, sentence(7, 1, length, heads*d))
	// Beside the scores: hidden states of the block, of which the widest is four times as wide as the model, and the mask.
	if got := s.Info().ArenaBytes; got > (scores+10*4*heads*d*length)*5/4 {
		t.Errorf("fused: arena of %d bytes for scores of %d", got, scores)
	}
}

// TestPaddedCache: caches that are longer than what they hold keep what they showed, also when they are read for the first
// time after the next step has written behind it.
func TestPaddedCache(t *testing.T) {
	const d, length, held = 8, 16, 3
	s := load(t, attentionGraph("GroupQueryAttention", 1, 1), engine.Options{Threads: 1})
	r := rand.New(rand.NewPCG(6, 9))
	cache := make([]float32, length*d)
	copy(cache, floatsOf(t, randomTensor(r, 1, held, d)))
	x := floatsOf(t, randomTensor(r, 1, 2, d))
	step := func(pk, pv *model.Tensor, at int) engine.Feed {
		n := model.FromSlice([]int{1, 1, d}, x[(at-held)*d:][:d])
		out, err := s.Run(t.Context(), engine.Feed{"q": n, "k": n, "v": n, "pk": pk, "pv": pv,
			"lens": model.FromSlice([]int{1}, []int32{int32(at)}), "total": model.FromSlice([]int{1}, []int32{length})})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	past := model.FromSlice([]int{1, 1, length, d}, cache)
	first := step(past, past, held)
	second := make(chan engine.Feed, 1)
	got := map[string][]float32{}
	var wg sync.WaitGroup
	wg.Go(func() { second <- step(first["nk"], first["nv"], held+1) })
	wg.Go(func() { got["nk"] = floatsOf(t, first["nk"]) }) // at the same time as the step
	wg.Wait()
	got["nv"] = floatsOf(t, first["nv"]) // after it
	want := slices.Clone(cache)
	copy(want[held*d:], x[:d])
	for _, name := range []string{"nk", "nv"} {
		if !sameBits(got[name], want) {
			t.Errorf("%s of the first step shows what the second wrote", name)
		}
	}
	copy(want[(held+1)*d:], x[d:])
	if out := <-second; !sameBits(floatsOf(t, out["nk"]), want) {
		t.Error("nk of the second step differs")
	}
}

// TestFedTotal: the length of the cache that is made cannot be more than the positions that there are, whatever is fed.
func TestFedTotal(t *testing.T) {
	s := load(t, attentionGraph("GroupQueryAttention", 1, 1), engine.Options{Threads: 1})
	x, past := randomTensor(rand.New(rand.NewPCG(7, 9)), 1, 1, 1, 8), model.FromSlice([]int{1, 1, 2, 8}, make([]float32, 16))
	for _, total := range []int32{3, 4, 1e9} {
		out, err := s.Run(t.Context(), engine.Feed{"q": x, "k": x, "v": x, "pk": past, "pv": past,
			"lens": model.FromSlice([]int{1}, []int32{2}), "total": model.FromSlice([]int{1}, []int32{total})})
		if total == 3 && err != nil {
			t.Error(err)
		} else if total > 3 && err == nil {
			t.Errorf("a total of %d for 3 positions gives a cache %v", total, out["nk"].Shape())
		}
	}
}
