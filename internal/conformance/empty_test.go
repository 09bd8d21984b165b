//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestNoSteps: recurrent operators over sequences of which some have no steps, and over no steps at all, from states that are not zero.
func TestNoSteps(t *testing.T) {
	rt, r := reference(t), newSource(44)
	for n := range 72 {
		op, gates := []string{"RNN", "GRU", "LSTM"}[n%3], []int{1, 3, 4}[n%3]
		direction, d := []string{"forward", "reverse", "bidirectional"}[n/3%3], 1+n/3%3/2
		steps, b, in, h := 1+r.IntN(5), 1+r.IntN(4), 1+r.IntN(9), 1+r.IntN(20)
		lens := make([]int32, b)
		for k := range lens {
			lens[k] = int32(r.IntN(steps + 1))
		}
		if lens[r.IntN(b)] = 0; n%8 == 7 {
			steps, lens = 0, make([]int32, b)
		}
		o := one{name: fmt.Sprintf("%s %d %s of %d steps %v", op, n, direction, steps, lens), op: op, outputs: []model.DType{f32, f32}, constant: []int{1, 2, 3},
			attrs:  []model.Attr{i("hidden_size", int64(h)), model.StringAttr("direction", direction)},
			inputs: []*model.Tensor{r.floats(steps, b, in), r.floats(d, gates*h, in), r.floats(d, gates*h, h), r.floats(d, 2*gates*h), ints32(lens...), r.floats(d, b, h)}}
		if op == "LSTM" {
			o.outputs, o.inputs = append(o.outputs, f32), append(o.inputs, r.floats(d, b, h))
		}
		o.check(t, rt, 1e-4) // weights that are not scaled: gates are saturated or err by 1e-6 of their sums
	}
}

// TestAffineGridCorners: aligned corners of axes of several positions as in ONNX Runtime, and of one position, which the reference of ONNX
// (numpy.arange with an infinite step) puts at -1.
func TestAffineGridCorners(t *testing.T) {
	rt, r := reference(t), newSource(45)
	for n := range 12 {
		size := []int64{int64(1 + r.IntN(3)), 1, int64(2 + r.IntN(5)), int64(2 + r.IntN(5))}
		o := one{name: fmt.Sprintf("AffineGrid %d", n), op: "AffineGrid", opset: 20, outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(int(size[0]), 2, 3), model.FromSlice([]int{4}, size)}, attrs: []model.Attr{i("align_corners", int64(n%2))}}
		o.check(t, rt, 1e-6)
		if n%2 == 0 {
			continue
		}
		size[0], size[2] = 1, 1
		theta := r.floats(1, 2, 3)
		o.inputs = []*model.Tensor{theta, model.FromSlice([]int{4}, size)}
		g, feed := o.graph()
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: g}, engine.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		m, _ := engine.Float64s(theta)
		got, _ := engine.Float64s(out["y0"])
		for k, v := range got {
			x, row := 2*float64(k/2)/float64(size[3]-1)-1, m[k%2*3:]
			if want := row[0]*x - row[1] + row[2]; math.Abs(v-want) > 1e-6 {
				t.Errorf("AffineGrid %d: element %d is %v, want %v", n, k, v, want)
			}
		}
	}
}
