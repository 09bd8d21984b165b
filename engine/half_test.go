package engine_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/kernel"
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
		s := load(t, build(false), engine.Options{Exact: true})
		if got := run(t, s, in); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", d, got, want)
		}
		// 50*12 halves of the table and the packed matrix: one panel of 16 columns of halves and 12 rows, in bfloat16 32.
		if w := s.Info().WeightBytes; w < 50*12*2 || w > 50*12*2+32*16*2 {
			t.Errorf("%s: %d bytes of weights", d, w)
		}
	}
}

// Weights in bfloat16 behind a Cast, transposed or not: with Exact the bits of float32 weights; else the left side may be rounded to bfloat16
// too, 2^-8 of every product at most, before sums of 70 terms in float32. The profile says which it was.
func TestBFloat16Weights(t *testing.T) {
	const m, k, n = 5, 70, 40
	for _, transposed := range []bool{false, true} {
		b := newBuilder(9, 13)
		x := randomTensor(b.r, 1, m, k)
		shape := []int{k, n}
		if transposed {
			shape = []int{n, k}
		}
		h := half(t, model.BFloat16, randomTensor(b.r, 1, shape...))
		w := b.node("Cast", []string{b.constant(h)}, model.IntAttr("to", int64(model.Float32)))
		if transposed {
			w = b.node("Transpose", []string{w})
		}
		b.output(b.node("Relu", []string{b.node("MatMul", []string{b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: k}}), w})}))
		in := engine.Feed{"x": x}
		s := load(t, b.g, engine.Options{Exact: true})
		if want, got := run(t, load(t, b.g, engine.Options{NoFusion: true}), in), run(t, s, in); !slices.Equal(got, want) {
			t.Errorf("transposed %v: Exact changed the bits", transposed)
		}
		if size := s.Info().WeightBytes; size > 96*64*2 { // padded to panels
			t.Errorf("transposed %v: %d bytes of weights", transposed, size)
		}
		fast := load(t, b.g, engine.Options{Profile: true})
		got := run(t, fast, in)
		fast16 := kernel.BF16Fast()
		for _, p := range fast.Profile() {
			if !strings.HasPrefix(p.Kernel, "gemm") {
				continue
			}
			is16 := strings.HasSuffix(p.Kernel, "amx") || strings.HasSuffix(p.Kernel, "avx512bf16")
			if !strings.HasPrefix(p.Kernel, "gemm-bf16-") || is16 != fast16 {
				t.Errorf("transposed %v: kernel %s, bfloat16 products are fast: %v", transposed, p.Kernel, fast16)
			}
		}
		xv, _ := engine.Float64s(x)
		wv, _ := engine.Float64s(h)
		for i := range got {
			var want, mass float64
			for q := range k {
				at := q*n + i%n
				if transposed {
					at = i%n*k + q
				}
				p := xv[i/n*k+q] * wv[at]
				want += p
				mass += math.Abs(p)
			}
			if tol := mass * (1.0/256 + k/float64(1<<24)); !(math.Abs(float64(got[i])-max(want, 0)) <= tol) {
				t.Errorf("transposed %v: element %d is %g, want %g", transposed, i, got[i], max(want, 0))
			}
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

// retype changes every float32 weight and input declaration of a graph to d.
func retype(t *testing.T, g *model.Graph, d model.DType) {
	t.Helper()
	for _, name := range slices.Clone(g.Initializers()) {
		if w := g.Initializer(name); w.DType() == model.Float32 {
			g.SetInitializer(name, as(t, d, w))
		}
	}
	for _, v := range g.Inputs {
		v.Type.DType = d
	}
}

func as(t *testing.T, d model.DType, x *model.Tensor) *model.Tensor {
	t.Helper()
	if d != model.Float64 {
		return half(t, d, x)
	}
	v, err := x.Float32()
	if err != nil {
		t.Fatal(err)
	}
	w := make([]float64, len(v))
	for i := range v {
		w[i] = float64(v[i])
	}
	return model.FromSlice(x.Shape(), w)
}

// A transformer in half or double precision: the passes see its attention as they see that of a float32 graph, and the
// result is that of the graph as it stands. Every value of the latter is rounded to half, the fused operators round fewer:
// two blocks of normalised values differ by some roundings of 2^-11 (float16) or 2^-8 (bfloat16) of values below 4. In
// double precision what is fused is what float64 kernels compute, to the bit.
func TestAttentionOfOtherTypes(t *testing.T) {
	for d, tol := range map[model.DType]float64{model.Float16: 16 * 4.0 / 2048, model.BFloat16: 16 * 4.0 / 256, model.Float64: 0} {
		g := transformer(3, 2, 8, 2, false)
		retype(t, g, d)
		in := sentence(5, 2, 7, 16)
		for name, x := range in {
			in[name] = as(t, d, x)
		}
		want := run(t, load(t, g, engine.Options{NoFusion: true}), in)
		got := run(t, load(t, g, engine.Options{}), in)
		if len(got) != len(want) {
			t.Fatalf("%s: %d values, want %d", d, len(got), len(want))
		}
		for i := range got {
			if e := math.Abs(float64(got[i] - want[i])); !(e <= tol) {
				t.Fatalf("%s: value %d is %g, want %g", d, i, got[i], want[i])
			}
		}
	}
}

// The plan without fusions, which such an attention takes, spreads its loops over the threads of a run that may be cancelled.
func TestUnfusedOnThreads(t *testing.T) {
	g := transformer(3, 2, 8, 1, false)
	retype(t, g, model.Float64)
	in := sentence(5, 12, 200, 16) // 38,400 elements, of which loops are spread
	for name, x := range in {
		in[name] = as(t, model.Float64, x)
	}
	want := run(t, load(t, g, engine.Options{NoFusion: true, Threads: 1}), in)
	if got := run(t, load(t, g, engine.Options{Threads: 2}), in); !slices.Equal(got, want) {
		t.Error("the values differ from those of one thread without fusion")
	}
}
