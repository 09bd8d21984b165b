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
	if got := selectRows([]int{2}, regexp.MustCompile("^silero VAD fp32")); len(got) != 1 || got[0].threads != 2 {
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
	if err := markdown(&out, &report{CPU: "cpu", Results: []*result{res, {Row: "other", Skipped: "why"}}}, settings{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| row | 1000.00 (900.00) | 2000.00 (1800.00) | **2.00**", "| other | not measured: why |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestFlags(t *testing.T) {
	var out, log bytes.Buffer
	if err := run(context.Background(), []string{"-list", "-threads", "1", "-rows", "load"}, &out, &log); err != nil || out.String() != "MiniLM fp32 load to first result, T1\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	for _, args := range [][]string{{"-rounds", "1"}, {"-threads", "0"}, {"-rows", "no such row"}, {"-rows", "("}} {
		if err := run(context.Background(), args, &out, &log); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
}
