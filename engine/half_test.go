package engine_test

import (
	"math"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

func half(t *testing.T, d model.DType, x *model.Tensor) *model.Tensor {
	t.Helper()
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	h, err := model.FromFloat32(d, x.Shape(), v)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Half-size weights behind a Cast, as `storage: weights` writes them, give the bits that the same graph gives with the
// weights widened beforehand, and a table of which rows are gathered stays half-size.
func TestHalfWeightsBehindCast(t *testing.T) {
	for _, d := range []model.DType{model.Float16, model.BFloat16} {
		build := func(wide bool) *model.Graph {
			b := newBuilder(7, 13)
			ids := b.input("ids", model.Int64, model.Shape{{Size: -1}})
			weight := func(shape ...int) string {
				h := half(t, d, randomTensor(b.r, 1, shape...))
				if wide {
					x, err := h.Float32()
					if err != nil {
						t.Fatal(err)
					}
					return b.constant(model.FromSlice(shape, x))
				}
				return b.node("Cast", []string{b.constant(h)}, model.IntAttr("to", int64(model.Float32)))
			}
			x := b.node("Gather", []string{weight(50, 12), ids})
			b.output(b.node("Relu", []string{b.node("MatMul", []string{x, weight(12, 9)})}))
			return b.g
		}
		in := engine.Feed{"ids": model.FromSlice([]int{4}, []int64{3, 49, 0, 3})}
		want := run(t, load(t, build(true), engine.Options{NoFusion: true}), in)
		s := load(t, build(false), engine.Options{})
		if got := run(t, s, in); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", d, got, want)
		}
		// 50*12 halves of the table, and the packed matrix: 12 rows of one panel of 32 columns of float32.
		if w := s.Info().WeightBytes; w < 50*12*2 || w > 50*12*2+12*32*4+12*9*4 {
			t.Errorf("%s: %d bytes of weights", d, w)
		}
	}
}

// A graph in half precision, whose constant matrix is kept packed, against float64 sums. The inputs are exact; the output
// is rounded to half once, 2^-8 relative for bfloat16, after float32 sums of 12 terms.
func TestHalfGraph(t *testing.T) {
	for _, d := range []model.DType{model.Float16, model.BFloat16} {
		b := newBuilder(8, 13)
		x := half(t, d, randomTensor(b.r, 1, 3, 12))
		w := half(t, d, randomTensor(b.r, 1, 12, 9))
		name := b.input("x", d, model.Shape{{Size: -1}, {Size: 12}})
		wn := b.constant(w)
		b.output(b.node("MatMul", []string{name, wn}))
		b.output(b.node("Gemm", []string{name, wn}))
		s := load(t, b.g, engine.Options{})
		out, err := s.Run(t.Context(), engine.Feed{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		xv, _ := engine.Float64s(x)
		wv, _ := engine.Float64s(w)
		for _, v := range s.Outputs() {
			if out[v.Name].DType() != d {
				t.Fatalf("output of type %s, want %s", out[v.Name].DType(), d)
			}
			got, err := engine.Float64s(out[v.Name])
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				var want, mass float64
				for k := range 12 {
					p := xv[i/9*12+k] * wv[k*9+i%9]
					want += p
					mass += math.Abs(p)
				}
				if tol := math.Abs(want)/256 + mass*12/(1<<24); !(math.Abs(got[i]-want) <= tol) {
					t.Errorf("%s: element %d is %g, want %g", d, i, got[i], want)
				}
			}
		}
	}
}
