package engine_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// padded is the position that position i of a padded dimension of n is read at, by steps of one from the image (Pad, ONNX operators); -1 is the fill value.
func padded(i, n int, mode string) int {
	if mode == "constant" && (i < 0 || i >= n) {
		return -1
	}
	for i < 0 || i >= n {
		switch {
		case mode == "edge" && i < 0, n == 1:
			i = 0
		case mode == "edge":
			i = n - 1
		case mode == "wrap" && i < 0:
			i += n
		case mode == "wrap":
			i -= n
		case i < 0: // reflect
			i = -i
		default:
			i = 2*(n-1) - i
		}
	}
	return i
}

// Pad of random shapes, cropped too, in every mode, for elements of 4, 8 and 1 bytes.
func TestPadModes(t *testing.T) {
	rng := rand.New(rand.NewPCG(31, 1))
	modes := []string{"constant", "edge", "reflect", "wrap"}
	for i := range 400 {
		mode := modes[i%len(modes)]
		shape := make([]int, 1+rng.IntN(3))
		pads, out := make([]int64, 2*len(shape)), make([]int, len(shape))
		size, outSize := 1, 1
		for k := range shape {
			shape[k] = 1 + rng.IntN(7)
			pads[k], pads[len(shape)+k] = int64(rng.IntN(12)-2), int64(rng.IntN(12)-2)
			out[k] = max(0, shape[k]+int(pads[k]+pads[len(shape)+k]))
			size, outSize = size*shape[k], outSize*out[k]
		}
		source := make([]int, outSize)
		for j := range source {
			rest, str := j, 1
			for k := len(shape) - 1; k >= 0; k-- {
				s := padded(rest%out[k]-int(pads[k]), shape[k], mode)
				if rest /= out[k]; s < 0 || source[j] < 0 {
					source[j] = -1
				} else {
					source[j] += s * str
				}
				str *= shape[k]
			}
		}
		what := fmt.Sprintf("%v by %v, %s", shape, pads, mode)
		comparePad[float32](t, what, mode, shape, out, pads, source, size)
		comparePad[int64](t, what, mode, shape, out, pads, source, size)
		comparePad[uint8](t, what, mode, shape, out, pads, source, size)
	}
}

func comparePad[T float32 | int64 | uint8](t *testing.T, what, mode string, shape, out []int, pads []int64, source []int, size int) {
	t.Helper()
	x, want := make([]T, size), make([]T, len(source))
	for j := range x {
		x[j] = T(j % 250)
	}
	for j, s := range source {
		if want[j] = 251; s >= 0 {
			want[j] = x[s]
		}
	}
	in := model.FromSlice(shape, x)
	b := newBuilder(1, 19)
	name := b.input("x", in.DType(), nil)
	b.output(b.node("Pad", []string{name, b.constant(model.FromSlice([]int{len(pads)}, pads)), b.constant(model.Scalar(T(251)))}, model.StringAttr("mode", mode)))
	s := load(t, b.g, engine.Options{Threads: 1})
	y, err := s.Run(t.Context(), engine.Feed{name: in})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for _, v := range y {
		got, err := model.Data[T](v)
		if err != nil || !slices.Equal(v.Shape(), out) || !slices.Equal(got, want) {
			t.Fatalf("%s of %s: %v %v, want %v (%v)", what, v.DType(), v.Shape(), got, want, err)
		}
	}
}

// TestPadManyRuns has more runs and more rows than a call remembers, in every mode.
func TestPadManyRuns(t *testing.T) {
	for _, mode := range []string{"constant", "edge", "reflect", "wrap"} {
		const rows, cols, before, above = 3, 2, 301, 300
		b := newBuilder(3, 19)
		x := b.input("x", model.Int32, model.FixedShape(rows, cols))
		b.output(b.node("Pad", []string{x, b.ints(above, before, above, before)}, model.StringAttr("mode", mode)))
		in := []int32{1, 2, 3, 4, 5, 6}
		out, err := load(t, b.g, engine.Options{}).Run(t.Context(), engine.Feed{"x": model.FromSlice([]int{rows, cols}, in)})
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range out {
			got, err := model.Data[int32](y)
			if err != nil {
				t.Fatal(err)
			}
			w := before + cols + before
			for k, v := range got {
				want := int32(0)
				if i, j := padded(k/w-above, rows, mode), padded(k%w-before, cols, mode); i >= 0 && j >= 0 {
					want = in[i*cols+j]
				}
				if v != want {
					t.Fatalf("%s: element %d is %d, want %d", mode, k, v, want)
				}
			}
		}
	}
}
