package task

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// fake is a session that computes its outputs with a func.
type fake struct {
	engine.Session
	outputs []string
	run     func(in engine.Feed) engine.Feed
	runs    int
}

func (f *fake) Outputs() []*model.Value {
	var out []*model.Value
	for _, o := range f.outputs {
		out = append(out, &model.Value{Name: o})
	}
	return out
}

func (f *fake) Run(ctx context.Context, in engine.Feed, outputs ...string) (engine.Feed, error) {
	f.runs++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return f.run(in), nil
}

// words encodes a text as the numbers in it.
type words struct{}

func (words) Encode(text string, maxLen int) (ids, types, mask []int64) {
	for _, w := range strings.Fields(text) {
		if maxLen > 0 && len(ids) == maxLen {
			break
		}
		var id int64
		fmt.Sscan(w, &id)
		ids, types, mask = append(ids, id), append(types, 0), append(mask, 1)
	}
	return ids, types, mask
}

func value(name string, dtype model.DType, shape ...model.Dim) *model.Value {
	return &model.Value{Name: name, Type: model.Type{DType: dtype, Shape: shape}}
}

func free(name string) model.Dim { return model.Dim{Size: -1, Param: name} }
func fixed(n int64) model.Dim    { return model.Dim{Size: n} }

func TestArgmax(t *testing.T) {
	nan := float32(math.NaN())
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		shape []int
		x     []float32
		n     int
		want  []int
	}{
		{[]int{2, 3}, []float32{1, 2, 3, 3, 2, 1}, 2, []int{2, 0}},
		{[]int{1, 3}, []float32{2, 2, 2}, 1, []int{0}},
		{[]int{1, 3}, []float32{1, 2, 2}, 1, []int{1}},
		{[]int{2, 2}, []float32{nan, 1, 1, nan}, 2, []int{-1, -1}},
		{[]int{1, 2}, []float32{-inf, inf}, 1, []int{1}},
		{[]int{3}, []float32{-1, 0, 1}, 3, []int{0, 0, 1}},
		{[]int{3, 1}, []float32{-1, nan, 1}, 3, []int{0, -1, 1}},
	} {
		got, err := Argmax(model.FromSlice(c.shape, c.x), c.n, 0)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("Argmax(%v) = %v, %v; want %v", c.x, got, err, c.want)
		}
	}
	for _, c := range []struct {
		shape []int
		n     int
	}{{[]int{3}, 2}, {[]int{0}, 1}, {[]int{2}, 0}} {
		if _, err := Argmax(model.FromSlice(c.shape, make([]float32, c.shape[0])), c.n, 0); err == nil {
			t.Errorf("shape %v holds logits of %d examples", c.shape, c.n)
		}
	}
	if _, err := Argmax(model.FromSlice([]int{2}, []float64{1, 2}), 1, 0); err != nil {
		t.Errorf("float64 logits: %v", err)
	}
}

func TestCosine(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		a, b []float32
		want float64
	}{
		{[]float32{1, 0}, []float32{1, 0}, 1}, {[]float32{1, 0}, []float32{0, 1}, 0}, {[]float32{1, 0}, []float32{-2, 0}, -1},
		{[]float32{0, 0}, []float32{0, 0}, 1}, {[]float32{0, 0}, []float32{1, 0}, 0}, {nil, nil, 1},
		{[]float32{inf, 0}, []float32{inf, 0}, 0}, {[]float32{nan}, []float32{1}, 0}, {[]float32{1, 2}, []float32{1}, 0},
		{[]float32{1, 1}, []float32{1, 0}, math.Sqrt2 / 2}, {[]float32{3e38, 3e38}, []float32{3e38, 3e38}, 1}, {[]float32{1e-45}, []float32{1e-45}, 1},
	} {
		if got := Cosine(c.a, c.b); math.Abs(got-c.want) > 1e-15 {
			t.Errorf("Cosine(%v, %v) = %v, want %v", c.a, c.b, got, c.want)
		}
	}
	third := make([]float32, 1000)
	for i := range third {
		third[i] = float32(i) / 3
	}
	if c := Cosine(third, third); c > 1 || c < 1-1e-15 {
		t.Errorf("of a vector with itself %v", c)
	}
}

func TestClassification(t *testing.T) {
	in := &Text{Name: "numbers", Texts: []string{"1 1", "2", "", "3 3 3", "2"}, Encoder: words{}, Empty: 9}
	if err := in.Bind([]*model.Value{value("input_ids", model.Int64, free("b"), free("s"))}); err != nil {
		t.Fatal(err)
	}
	s := &fake{outputs: []string{"logits"}, run: func(f engine.Feed) engine.Feed {
		ids, _ := model.Data[int64](f["input_ids"])
		n, length := f["input_ids"].Shape()[0], f["input_ids"].Shape()[1]
		x := make([]float32, 0, n*4)
		for i := range n { // the class is the first id; 9 has none
			row := make([]float32, 4)
			if id := ids[i*length]; id < 4 {
				row[id] = 1
			}
			x = append(x, row...)
		}
		return engine.Feed{"logits": model.FromSlice([]int{n, 4}, x)}
	}}
	for _, batch := range []int{0, 1, 2, 3, 99} {
		c := &Classification{Inputs: in, Classes: []int{1, 2, 0, 0, 2}, Batch: batch}
		last := 0
		got, err := c.Score(context.Background(), s, func(n int) { last = n })
		if want := []float64{1, 1, 1, 0, 1}; err != nil || !reflect.DeepEqual(got, want) || last != 5 {
			t.Errorf("batch %d: %v, %v after %d; want %v", batch, got, err, last, want)
		}
	}
	c := &Classification{Inputs: in, Classes: []int{1, 2, 0, 0, 2}, Batch: 1, Output: "other"}
	s.run = func(engine.Feed) engine.Feed {
		return engine.Feed{"other": model.FromSlice([]int{1, 2}, []int64{0, 7})}
	}
	if got, err := c.Score(context.Background(), s, nil); err != nil || got[0] != 1 {
		t.Errorf("integer logits: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.runs = 0
	if _, err := c.Score(ctx, s, nil); !errors.Is(err, context.Canceled) || s.runs > 1 {
		t.Errorf("canceled: %v after %d runs", err, s.runs)
	}
	if _, err := (&Classification{Inputs: in}).Score(context.Background(), &fake{}, nil); err == nil {
		t.Error("a model without outputs")
	}
}

// embed returns hidden states [n, length, 2] that are (id, 1) at real positions and garbage at padding.
func embed(f engine.Feed) engine.Feed {
	ids, _ := model.Data[int64](f["input_ids"])
	shape := f["input_ids"].Shape()
	x := make([]float32, 0, 2*len(ids))
	for _, id := range ids {
		if id == 0 {
			x = append(x, 1000, float32(math.NaN()))
			continue
		}
		x = append(x, float32(id), 1)
	}
	return engine.Feed{"hidden": model.FromSlice([]int{shape[0], shape[1], 2}, x)}
}

func TestFidelityPooling(t *testing.T) {
	in := &Text{Texts: []string{"1 3", "5 6 7 8", "4", ""}, Encoder: words{}, Empty: 2}
	if err := in.Bind([]*model.Value{value("input_ids", model.Int64)}); err != nil {
		t.Fatal(err)
	}
	want := [][]float32{{2, 1}, {6.5, 1}, {4, 1}, {2, 1}}
	for _, batch := range []int{1, 2, 4} {
		f := &Fidelity{Inputs: in, Batch: batch, Pooling: "mean"}
		got, err := f.Vectors(context.Background(), &fake{outputs: []string{"hidden"}, run: embed}, nil)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("batch %d: %v, %v; want %v: the mean must leave out padding", batch, got, err, want)
		}
	}
	f := &Fidelity{Inputs: in, Batch: 2, Pooling: "mean"}
	if _, err := f.Score(context.Background(), nil, nil); err == nil {
		t.Error("scored without a baseline")
	}
	s := &fake{outputs: []string{"hidden"}, run: embed}
	if err := f.SetBaseline(context.Background(), s, nil); err != nil {
		t.Fatal(err)
	}
	got, err := f.Score(context.Background(), s, nil)
	if want := []float64{1, 1, 1, 1}; err != nil || len(got) != 4 || math.Abs(got[0]-1) > 1e-15 || math.Abs(got[1]-1) > 1e-15 {
		t.Errorf("of the baseline itself %v, %v; want %v", got, err, want)
	}
	s.run = func(in engine.Feed) engine.Feed {
		n := in["input_ids"].Shape()[0]
		return engine.Feed{"hidden": model.FromSlice([]int{n, 1}, make([]float32, n))}
	}
	if _, err := f.Score(context.Background(), s, nil); err == nil || !strings.Contains(err.Error(), "output of 1 values") {
		t.Errorf("another width: %v", err)
	}
	s.run = func(engine.Feed) engine.Feed {
		return engine.Feed{"hidden": model.FromSlice([]int{3, 1, 1}, make([]float32, 3))}
	}
	if _, err := f.Vectors(context.Background(), s, nil); err == nil {
		t.Error("states of 3 examples for 2 texts")
	}
}

func TestTextBind(t *testing.T) {
	names := func(list ...string) []*model.Value {
		var out []*model.Value
		for _, n := range list {
			out = append(out, value(n, model.Int64, free("b"), free("s")))
		}
		return out
	}
	for _, c := range []struct {
		inputs []*model.Value
		names  [3]string
		fails  string
	}{
		{names("input_ids"), [3]string{"input_ids"}, ""},
		{names("input_ids", "token_type_ids", "attention_mask"), [3]string{"input_ids", "token_type_ids", "attention_mask"}, ""},
		{names("Attention_Mask", "tokens", "segment_ids"), [3]string{"tokens", "segment_ids", "Attention_Mask"}, ""},
		{names("input"), [3]string{"input"}, ""},
		{names("input_ids", "decoder_input_ids"), [3]string{}, "decoder_input_ids"},
		{names("input_ids", "position"), [3]string{}, "position"},
		{names("attention_mask"), [3]string{}, "no input for token ids"},
		{nil, [3]string{}, "no input for token ids"},
		{[]*model.Value{value("input_ids", model.Float32)}, [3]string{}, "float32"},
		{[]*model.Value{value("input_ids", model.Int32)}, [3]string{"input_ids"}, ""},
	} {
		in := &Text{}
		err := in.Bind(c.inputs)
		if c.fails == "" && (err != nil || in.names != c.names) {
			t.Errorf("%v, %v; want %v", in.names, err, c.names)
		}
		if c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("error %v, want %q in it", err, c.fails)
		}
	}
}

func TestTextFeed(t *testing.T) {
	in := &Text{Texts: []string{"1 2 3", "4", ""}, Encoder: words{}, Pad: 7, Empty: 9, MaxLength: 2}
	if err := in.Bind([]*model.Value{value("input_ids", model.Int32, free("b"), free("s")), value("attention_mask", model.Int64, free("b"), free("s"))}); err != nil {
		t.Fatal(err)
	}
	feed, mask, err := in.Feed(0, 3)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := model.Data[int32](feed["input_ids"])
	if want := []int32{1, 2, 4, 7, 9, 7}; err != nil || !reflect.DeepEqual(ids, want) {
		t.Errorf("ids %v, %v; want %v", ids, err, want)
	}
	bits, err := model.Data[int64](mask)
	if want := []int64{1, 1, 1, 0, 1, 0}; err != nil || !reflect.DeepEqual(bits, want) || feed["attention_mask"] == nil {
		t.Errorf("mask %v, %v; want %v", bits, err, want)
	}
	long := &Text{Texts: []string{"1 2 3 4 5 6", "1"}, Encoder: words{}}
	if err := long.Bind([]*model.Value{value("ids", model.Int64, free("b"), fixed(4))}); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		feed, _, err := long.Feed(i, i+1)
		if err != nil || !reflect.DeepEqual(feed["ids"].Shape(), []int{1, 4}) {
			t.Errorf("a model of length 4 is given %v, %v", feed["ids"].Shape(), err)
		}
	}
	if err := (&Text{Fixed: 8}).Bind([]*model.Value{value("ids", model.Int64, free("b"), fixed(4))}); err == nil {
		t.Error("a length that the model does not take")
	}
}

func TestFeeds(t *testing.T) {
	in := &Text{Texts: []string{"1", "2", "3", "4", "5"}, Encoder: words{}}
	if err := in.Bind([]*model.Value{value("ids", model.Int64)}); err != nil {
		t.Fatal(err)
	}
	for batch, want := range map[int]int{0: 5, 1: 5, 2: 2, 5: 1, 9: 1} {
		feeds := Feeds(in, batch)
		for range 2 { // restartable
			n := 0
			for f, err := range feeds.All() {
				if err != nil || f["ids"].Shape()[0] != min(max(batch, 1), 5) {
					t.Errorf("batch %d: %v, %v", batch, f["ids"].Shape(), err)
				}
				n++
			}
			if n != want || feeds.N != want {
				t.Errorf("batch %d: %d feeds of %d, want %d", batch, n, feeds.N, want)
			}
		}
	}
	if n := Feeds(&Text{}, 1).N; n != 0 {
		t.Errorf("%d feeds of no texts", n)
	}
}
