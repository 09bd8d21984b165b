package quantize_test

import (
	"context"
	"iter"
	"math"
	"runtime"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/quantize"
)

// TestCalibrateOrder: the ranges of a whole calibration hardly depend on the order of the runs. Min-max does not at all; the
// moving average does by design and is left out; the histograms may move by one of their bins (2048 over a range that doubled
// once more at most: 2/2048 of the width), and what the search of entropy and MSE makes of it by one of their steps (1/64).
func TestCalibrateOrder(t *testing.T) {
	g := parse(t, "static_float.onnx")
	var feeds []engine.Feed
	for feed, err := range staticFixtureFeeds().All() {
		if err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, feed)
	}
	var back []engine.Feed
	for i := range feeds {
		back = append(back, feeds[(len(feeds)-1-i)*5%len(feeds)])
	}
	names := []string{"x", "ar", "bc", "c", "d", "p", "f", "gr", "y"}
	for method, tolerance := range map[quantize.Method]float64{quantize.MinMax: 0, quantize.Percentile: 2.0 / 2048, quantize.Entropy: 1.0 / 32, quantize.MSE: 1.0 / 32} {
		s := quantize.Static{Method: method}
		one, err1 := s.Calibrate(context.Background(), g, names, feedsOf(feeds...))
		two, err2 := s.Calibrate(context.Background(), g, names, feedsOf(back...))
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for _, name := range names {
			a, b := one.Ranges[name], two.Ranges[name]
			width := float64(a.Hi - a.Lo)
			if math.Abs(float64(a.Lo-b.Lo)) > tolerance*width || math.Abs(float64(a.Hi-b.Hi)) > tolerance*width {
				t.Errorf("%s of %q: %v, in another order %v", method, name, a, b)
			}
		}
	}
}

// TestCalibrateMemory: what a calibration holds does not grow with its runs: after 400 of them the heap is that after 20, to a
// quarter of the 400 x 3 KiB that keeping the smallest activation alone would take.
func TestCalibrateMemory(t *testing.T) {
	g := parse(t, "static_float.onnx")
	var first engine.Feed
	for feed := range staticFixtureFeeds().All() {
		first = feed
		break
	}
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	for _, method := range quantize.Methods {
		var early, late int64
		feeds := engine.Feeds{N: 400, All: func() iter.Seq2[engine.Feed, error] {
			return func(yield func(engine.Feed, error) bool) {
				for i := range 400 {
					switch i {
					case 20:
						early = live()
					case 399:
						late = live()
					}
					if !yield(first, nil) {
						return
					}
				}
			}
		}}
		if _, err := (quantize.Static{Method: method, Threads: 1}).Calibrate(context.Background(), g, []string{"x", "ar", "bc", "y"}, feeds); err != nil {
			t.Fatal(err)
		}
		if late-early > 300<<10 {
			t.Errorf("%s: %d bytes after 20 runs, %d after 400", method, early, late)
		}
	}
}
