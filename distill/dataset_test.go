package distill

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

func feedsOf(feeds ...engine.Feed) engine.Feeds {
	return engine.Feeds{N: len(feeds), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range feeds {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

func TestFeedPads(t *testing.T) {
	d, err := loadDataset(context.Background(), feedsOf(
		engine.Feed{"x": model.FromSlice([]int{2, 2, 2}, []int64{1, 2, 3, 4, 5, 6, 7, 8}), "y": model.FromSlice([]int{2}, []float32{0.5, 1.5})},
		engine.Feed{"x": model.FromSlice([]int{1, 3, 2}, []int64{9, 10, 11, 12, 13, 14}), "y": model.FromSlice([]int{1}, []float32{2.5})},
	), []string{"x", "y"})
	if err != nil {
		t.Fatal(err)
	}
	f := d.feed([]int{2, 1})
	x, _ := model.Data[int64](f["x"])
	y, _ := model.Data[float32](f["y"])
	if !slices.Equal(f["x"].Shape(), []int{2, 3, 2}) || !slices.Equal(x, []int64{9, 10, 11, 12, 13, 14, 5, 6, 7, 8, 0, 0}) || !slices.Equal(y, []float32{2.5, 1.5}) {
		t.Errorf("got %v %v %v", f["x"].Shape(), x, y)
	}
	for name, bad := range map[string]engine.Feed{
		"rows":  {"x": model.FromSlice([]int{1, 3, 2}, make([]int64, 6)), "y": model.FromSlice([]int{2}, make([]float32, 2))},
		"type":  {"x": model.FromSlice([]int{1, 3, 2}, make([]int32, 6)), "y": model.FromSlice([]int{1}, make([]float32, 1))},
		"width": {"x": model.FromSlice([]int{1, 2, 3}, make([]int64, 6)), "y": model.FromSlice([]int{1}, make([]float32, 1))},
		"gone":  {"x": model.FromSlice([]int{1, 3, 2}, make([]int64, 6))},
	} {
		first := engine.Feed{"x": model.FromSlice([]int{1, 3, 2}, make([]int64, 6)), "y": model.FromSlice([]int{1}, make([]float32, 1))}
		if _, err := loadDataset(context.Background(), feedsOf(first, bad), []string{"x", "y"}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestBatches(t *testing.T) {
	d := &dataset{n: 1000, length: make([]int, 1000)}
	for i := range d.length {
		d.length[i] = 1 + i*7919%100
	}
	a := d.batches(1, 1, 32)
	if !reflect.DeepEqual(a, d.batches(1, 1, 32)) {
		t.Error("the same seed and epoch give another order")
	}
	if reflect.DeepEqual(a, d.batches(1, 2, 32)) || reflect.DeepEqual(a, d.batches(2, 1, 32)) {
		t.Error("another epoch or seed gives the same order")
	}
	seen, padded, total := map[int]bool{}, 0, 0
	for _, b := range a {
		for i, r := range b {
			seen[r] = true
			total += d.length[r]
			padded += d.length[b[0]]
			if i > 0 && d.length[r] > d.length[b[i-1]] {
				t.Fatal("a batch is not sorted by length")
			}
		}
	}
	if len(seen) != 1000 || len(a) != 32 { // ceil(1000/32)
		t.Errorf("%d examples in %d batches", len(seen), len(a))
	}
	if waste := float64(padded)/float64(total) - 1; waste > 0.15 {
		t.Errorf("%.0f%% of the tokens are padding", 100*waste)
	}
}

func TestExamples(t *testing.T) {
	ids := map[string][]int64{"long": {2, 3, 4, 5}, "padded": {2, 0, 3, 0, 0}, "empty": {}}
	f, err := Examples([]string{"long", "padded", "empty"}, []int64{1, 0, 1}, func(s string) ([]int64, error) { return ids[s], nil }, 3, 1)
	if err != nil || f.N != 3 {
		t.Fatal(f.N, err)
	}
	var got []string
	for e, err := range f.All() {
		x, _ := model.Data[int64](e[InputIDs])
		l, _ := model.Data[int64](e["labels"])
		got = append(got, fmt.Sprint(e[InputIDs].Shape(), x, l, err))
	}
	want := []string{"[1 3] [2 3 4] [1] <nil>", "[1 3] [2 0 3] [0] <nil>", "[1 1] [1] [1] <nil>"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := Examples([]string{"a"}, nil, nil, 0, 1); err == nil {
		t.Error("no error for a missing label")
	}
}

func TestArch(t *testing.T) {
	for _, a := range []Arch{
		{Kind: "logistic", Vocabulary: 30, Embedding: 4, Classes: 3},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3, Pooling: "mean"},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3, Pooling: "max"},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3, Bidirectional: true},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3, Bidirectional: true, Pooling: "mean"},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 3, Bidirectional: true, Pooling: "max"},
	} {
		g := mustGraph(t, a, 1)
		n := 0
		for _, name := range g.Initializers() {
			if w := g.Initializer(name); w.DType() == model.Float32 && w.Rank() > 0 {
				n += w.Len()
			}
		}
		if n != a.Parameters() {
			t.Errorf("%+v: %d parameters, Parameters says %d", a, n, a.Parameters())
		}
		if digest(t, g) != digest(t, mustGraph(t, a, 1)) || digest(t, g) == digest(t, mustGraph(t, a, 2)) {
			t.Errorf("%+v: weights do not follow the seed", a)
		}
		// padding and the other rows of a batch change nothing
		s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		run := func(shape []int, ids ...int64) []float32 {
			out, err := s.Run(context.Background(), engine.Feed{InputIDs: model.FromSlice(shape, ids)})
			if err != nil {
				t.Fatal(err)
			}
			x, err := model.Data[float32](out[Logits])
			if err != nil || len(x) != 3*shape[0] {
				t.Fatalf("%d logits, %v", len(x), err)
			}
			return x
		}
		alone, together := run([]int{1, 3}, 7, 8, 9), run([]int{2, 5}, 7, 8, 9, 0, 0, 1, 2, 3, 4, 5)
		if !slices.Equal(alone, together[:3]) {
			t.Errorf("%+v: logits %v alone, %v in a padded batch", a, alone, together[:3])
		}
		if other := run([]int{1, 3}, 9, 8, 7); a.Kind == "lstm" && slices.Equal(alone, other) {
			t.Errorf("%+v: the order of the words does not matter", a)
		}
		s.Close()
	}
	for _, a := range []Arch{{}, {Kind: "lstm", Vocabulary: 30, Embedding: 4, Classes: 2}, {Kind: "gru", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 2},
		{Kind: "lstm", Vocabulary: 30, Embedding: 4, Hidden: 5, Classes: 2, Pooling: "sum"}, {Kind: "logistic", Vocabulary: 1 << 30, Embedding: 4, Classes: 2}} {
		if _, err := a.Graph(1); err == nil {
			t.Errorf("%+v: no error", a)
		}
	}
}

func TestWordDropout(t *testing.T) {
	ids := make([]int64, 10000)
	for i := range ids {
		ids[i] = int64(i % 5)
	}
	feed := func() engine.Feed { return engine.Feed{"w": model.FromSlice([]int{10, 1000}, slices.Clone(ids))} }
	drop := WordDropout{Input: "w", Rate: 0.3, ID: 77}
	f, again, other := feed(), feed(), feed()
	for i, x := range []engine.Feed{f, again, other} {
		if err := drop.apply(x, newRandom(1, streamDrop+uint64(i/2))); err != nil {
			t.Fatal(err)
		}
	}
	a, _ := model.Data[int64](f["w"])
	b, _ := model.Data[int64](again["w"])
	c, _ := model.Data[int64](other["w"])
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Error("the words hidden do not follow seed and step")
	}
	hidden := 0
	for i, v := range a {
		if v == 77 {
			hidden++
		} else if v != ids[i] {
			t.Fatalf("id %d became %d", ids[i], v)
		}
		if ids[i] == 0 && v != 0 {
			t.Fatal("padding was replaced")
		}
	}
	// 8000 words at 0.3: 2400, standard deviation 41; five of them
	if hidden < 2200 || hidden > 2600 {
		t.Errorf("%d of 8000 words hidden at rate 0.3", hidden)
	}
	if err := (WordDropout{Rate: 0.1}).apply(feed(), newRandom(1, 1)); err == nil {
		t.Error("no error for a missing input")
	}
}
