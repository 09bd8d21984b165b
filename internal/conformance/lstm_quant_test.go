//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// lstm draws a DynamicQuantizeLSTM of b sequences in at most steps steps. Its weights are at most 1 by magnitude, the other
// floats of the given size.
func (r source) lstm(n, steps, b int, lens []int32, size float32) *one {
	in, h := 1+r.IntN(30), 1+r.IntN(40)
	direction, d := []string{"forward", "reverse", "bidirectional"}[n%3], 1+n%3/2
	q := quant(r)
	weights := func(k int, largest float32) (w, scale, zero *model.Tensor) {
		per := []int{d}
		if n%2 == 0 {
			per = []int{d, 4 * h}
		}
		size, _ := model.NumElements(per)
		s, z := make([]float32, size), make([]uint8, size)
		for i := range s {
			s[i] = largest / 128 * (0.5 + r.Float32()/2)
		}
		scale = model.FromSlice(per, s)
		if n%4 < 2 {
			return q.weights(d, k, 4*h), scale, model.FromSlice(per, make([]int8, size))
		}
		for i := range z {
			z[i] = 119
		}
		return q.bytes(false, d, k, 4*h), scale, model.FromSlice(per, z)
	}
	small := func(shape ...int) *model.Tensor {
		t := r.floats(shape...)
		x, _ := model.Data[float32](t)
		for i := range x {
			x[i] *= size
		}
		return t
	}
	f32 := model.Float32
	o := &one{op: "DynamicQuantizeLSTM", domain: "com.microsoft", constant: []int{1, 2, 8, 9, 10, 11}, outputs: []model.DType{f32, f32, f32},
		attrs: []model.Attr{model.IntAttr("hidden_size", int64(h)), model.StringAttr("direction", direction)}}
	w, ws, wz := weights(in, 1)
	rec, rs, rz := weights(h, 1)
	o.inputs = []*model.Tensor{small(steps, b, in), w, rec, small(d, 8*h), nil, small(d, b, h), small(d, b, h), nil, ws, wz, rs, rz}
	if lens != nil {
		o.inputs[4] = model.FromSlice([]int{b}, lens)
	}
	if n%5 == 0 {
		o.inputs[7] = small(d, 3*h)
	}
	o.name = fmt.Sprintf("lstm %d of %d steps, %v of %d inputs, %d units, %s, %s", n, steps, lens, in, h, direction, w.DType())
	return o
}

// TestDynamicQuantizeLSTM: what ONNX Runtime with one thread quantizes together, the inputs up to the longest sequence and the states that
// the step before computed, makes the scales here too. The weights have 7 bits where it would saturate. A sum in another order can take an
// element to the next of 255 steps, whose effect the tolerances allow; scales of other elements fail nearly every case that is made for them.
func TestDynamicQuantizeLSTM(t *testing.T) {
	rt, r := reference(t), newSource(97)
	for n := range 60 {
		steps, b := 4+r.IntN(9), 2+r.IntN(4)
		r.lstm(n, steps, b, nil, 0.5).check(t, rt, 5e-3)

		// Steps that no sequence has are large.
		lens, longest := make([]int32, b), int32(0)
		for i := range lens {
			lens[i] = 1 + int32(r.IntN(steps-1))
			longest = max(longest, lens[i])
		}
		o := r.lstm(n, steps, b, lens, 0.5)
		x, _ := model.Data[float32](o.inputs[0])
		for i := int(longest) * len(x) / steps; i < len(x); i++ {
			x[i] *= 100
		}
		o.check(t, rt, 5e-3)

		// The first sequence is over after one step, with states far larger than those of the others.
		for i := range lens {
			lens[i] = int32(steps - i%2)
		}
		lens[0] = 1
		o = r.lstm(n, steps, b, lens, 0.005)
		for _, in := range []int{5, 6} {
			s, _ := model.Data[float32](o.inputs[in])
			h := o.inputs[in].Shape()[2]
			for i := range s {
				if i/h%b == 0 {
					s[i] *= 400
				}
			}
		}
		o.skip = func(out int, at []int) bool { return at[len(at)-2] == 0 }
		o.check(t, rt, 3e-4)
	}
}
