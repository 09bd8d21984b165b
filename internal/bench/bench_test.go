package main

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

func TestSelectRows(t *testing.T) {
	all := selectRows([]int{1, 2}, regexp.MustCompile(""))
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.name] {
			t.Errorf("two rows are called %q", r.name)
		}
		seen[r.name] = true
		for name, x := range r.feed(rand.New(rand.NewPCG(1, 0))) {
			n, err := model.NumElements(x.Shape())
			if err != nil || n != x.Len() || n == 0 {
				t.Errorf("%s: input %q has shape %v and %d elements", r.name, name, x.Shape(), x.Len())
			}
		}
	}
	if got := selectRows([]int{2}, regexp.MustCompile("^silero VAD fp32 50")); len(got) != 1 || got[0].threads != 2 {
		t.Errorf("the silero row with 2 threads: got %d rows", len(got))
	}
}

// A padded batch has a full sequence first and shorter ones after it, with masks that say so.
func TestTokensPadded(t *testing.T) {
	f := tokens(3, 17, true)(rand.New(rand.NewPCG(1, 0)))
	ids, err := model.Data[int64](f["input_ids"])
	if err != nil {
		t.Fatal(err)
	}
	mask, err := model.Data[int64](f["attention_mask"])
	if err != nil {
		t.Fatal(err)
	}
	for b := range 3 {
		n := 0
		for i := range 17 {
			n += int(mask[b*17+i])
			if (mask[b*17+i] == 1) != (ids[b*17+i] != 0) {
				t.Errorf("sequence %d: mask %d over id %d at %d", b, mask[b*17+i], ids[b*17+i], i)
			}
		}
		if (n == 17) != (b == 0) {
			t.Errorf("sequence %d has %d of 17 tokens", b, n)
		}
	}
}

func TestDifference(t *testing.T) {
	a := engine.Feed{"y": model.FromSlice([]int{2}, []float32{1, 4})}
	b := engine.Feed{"y": model.FromSlice([]int{2}, []float32{2, 4})}
	d, err := difference(a, b)
	if err != nil || math.Abs(d-0.25) > 1e-12 { // |1-2| / 4
		t.Errorf("got %v, %v, want 0.25", d, err)
	}
	b["y"] = model.FromSlice([]int{1}, []float32{2})
	if _, err := difference(a, b); err == nil {
		t.Error("outputs of different shapes are accepted")
	}
}

func TestSummarise(t *testing.T) {
	n := &contender{name: "native", wall: []float64{1, 1.1, 0.9}, cpu: []float64{1, 1, 1}}
	o := &contender{name: "ort", wall: []float64{2, 2.2, 1.8}, cpu: []float64{3, 3, 3}}
	b := &bench{}
	res := &result{Row: "row", Rounds: 3}
	if err := b.summarise([]*contender{n, o}, res); err != nil {
		t.Fatal(err)
	}
	q := res.Ratios[0]
	if math.Abs(q.Wall-2) > 1e-9 || math.Abs(q.Min-2) > 1e-9 || math.Abs(q.CPU-3) > 1e-9 {
		t.Errorf("got %+v, want 2 on the clock and 3 of CPU", q)
	}
	var out bytes.Buffer
	if err := markdown(&out, &report{CPU: "cpu", Results: []*result{res, {Row: "other", Skipped: "why"}, {Row: "third", Elsewhere: "which lacks AMX", Goal: goal{Floor: 3, Aim: 4.5}}}}, settings{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| row | 1000.00 (900.00) | 2000.00 (1800.00) | **2.00**", "| other | not measured: why |", "| third | not measured on this host, which lacks AMX ||||||3, 4.5|"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestVerdict(t *testing.T) {
	g, share := goal{Floor: 1, Aim: 1.2}, goal{Floor: 0.9, Aim: 0.98, Bandwidth: true}
	with := func(rounds int, lo, roof, cosine, ort float64) *result {
		return &result{Rounds: rounds, Ratios: []ratio{{Wall: 9, Lo: lo}}, RoofLo: roof, Cosine: cosine, CosineORT: ort}
	}
	for _, c := range []struct {
		goal goal
		res  *result
		want string
	}{
		{g, with(20, 0.99, 0, 0, 0), "open"}, {g, with(20, 1, 0, 0, 0), "holds"}, {g, with(20, 1.2, 0, 0, 0), "holds, the aim too"},
		{g, with(19, 2, 0, 0, 0), "open: fewer than 20 rounds"}, {share, with(20, 5, 0.89, 0, 0), "open"}, {share, with(20, 0.1, 0.91, 0, 0), "holds"},
		{goal{3, 4.5, false, 0.9999}, with(20, 5, 0, 0.9998, 0), "open: the cosine is below 0.9999"},
		{g, with(20, 2, 0, 0.99, 0.995), "open: the cosine is below that of ONNX Runtime"}, {g, with(20, 1.1, 0, 0.9945, 0.995), "holds"},
		{goal{Aim: 1.5}, with(20, 1.4, 0, 0, 0), "below the aim"}, {goal{}, with(20, 9, 0, 0, 0), "-"}, {g, &result{Rounds: 20}, "-"},
	} {
		if got := c.goal.verdict(c.res); got != c.want {
			t.Errorf("%v of %+v: %q, want %q", c.goal, c.res, got, c.want)
		}
	}
}

func TestCosine(t *testing.T) {
	mask := model.FromSlice([]int{1, 2}, []int64{1, 0})
	a := model.FromSlice([]int{1, 2, 2}, []float32{1, 0, 5, 5})
	b := model.FromSlice([]int{1, 2, 2}, []float32{3, 4, 9, 1})
	for _, c := range []struct {
		feed engine.Feed
		want float64
	}{{engine.Feed{"attention_mask": mask}, 0.6}, {nil, (3 + 45 + 5) / math.Sqrt(51*107)}} { // of the kept rows (1, 0) and (3, 4); of all numbers
		if got, err := cosine(c.feed, engine.Feed{"y": a}, engine.Feed{"y": b}); err != nil || math.Abs(got-c.want) > 1e-12 {
			t.Errorf("got %v, %v, want %v", got, err, c.want)
		}
	}
}

// The training row does steps, and without a Python says so.
func TestTrainingRow(t *testing.T) {
	b := &bench{settings: settings{rounds: 2, tries: 1, sample: 1, seed: 1}}
	res, err := b.trainingRow(t.Context(), row{name: "step", feed: words(32, 8), threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Timings) != 1 || res.Timings[0].Min <= 0 || !strings.Contains(res.Note, "native figure alone") || len(res.Ratios) != 0 {
		t.Errorf("got %+v", res)
	}
	b.python = "/bin/false"
	if _, err := b.trainingRow(t.Context(), row{name: "step", feed: words(32, 8), threads: 1}); err == nil {
		t.Error("a Python that fails gives a figure")
	}
}

func TestFlags(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-list", "-threads", "1", "-rows", "load"}, &out, &log); err != nil || out.String() != "MiniLM fp32 load to first result, T1\nMiniLM int8 load to first result, T1\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	for _, args := range [][]string{{"-rounds", "1"}, {"-threads", "0"}, {"-rows", "no such row"}, {"-rows", "("}} {
		if err := run(context.Background(), args, &out, &log); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}

// With two threads every row, those that load too, is timed without spinning as well; with one there is nothing to wait for.
func TestContenders(t *testing.T) {
	b := &bench{}
	for _, c := range []struct {
		r    row
		want int
	}{{row{threads: 1}, 2}, {row{threads: 2}, 4}, {row{threads: 1, load: true}, 2}, {row{threads: 2, load: true}, 4}} {
		cs := b.contenders(c.r)
		if len(cs) != c.want || c.want == 4 && (cs[2].options.Spin >= 0 || cs[3].options.Spin >= 0 || cs[0].options.Spin != 0) {
			t.Errorf("%d threads, load %t: %d contenders", c.r.threads, c.r.load, len(cs))
		}
	}
}
