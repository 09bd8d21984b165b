package engine_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// normalized adds a batch normalisation of ch channels.
func (b *builder) normalized(x string, ch int) string {
	var v [4][]float32
	for i := range v {
		v[i] = make([]float32, ch)
		for k := range v[i] {
			if v[i][k] = float32(0.3 * b.r.NormFloat64()); i == 0 || i == 3 {
				v[i][k] = 1 + 0.2*v[i][k]
			}
		}
	}
	in := []string{x}
	for i := range v {
		in = append(in, b.constant(model.FromSlice([]int{ch}, v[i])))
	}
	return b.node("BatchNormalization", in)
}

// Convolutions whose weights are stored in half precision, with batch normalisations behind them, hold them so, and give what the graph as it
// stands gives: the factors of the normalisation are rounded once more, so that a weight is within 2^-23 of its own, as are the 400 products of a sum of
// the second convolution and those of the first; the largest sum is some 20 times a product.
func TestConvHoldsHalf(t *testing.T) {
	for _, d := range []model.DType{model.Float16, model.BFloat16} {
		b := newBuilder(21, 13)
		x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 24}, {Size: 9}, {Size: 11}})
		count := 0
		weight := func(shape ...int) string {
			count += shape[0] * shape[1] * shape[2] * shape[3]
			h := half(t, d, randomTensor(b.r, 0.1, shape...))
			return b.node("Cast", []string{b.constant(h)}, model.IntAttr("to", int64(model.Float32)))
		}
		y := b.node("Relu", []string{b.normalized(b.node("Conv", []string{x, weight(48, 24, 3, 3)}, model.IntsAttr("pads", 1, 1, 1, 1)), 48)})
		y = b.node("Relu", []string{b.normalized(b.node("Conv", []string{y, weight(48, 1, 3, 3)}, model.IntAttr("group", 48)), 48)})
		b.output(b.node("Conv", []string{y, weight(32, 48, 1, 1)}))
		in := engine.Feed{"x": randomTensor(b.r, 1, 2, 24, 9, 11)}
		want := run(t, load(t, b.g, engine.Options{NoFusion: true}), in)
		s := load(t, b.g, engine.Options{Exact: true}) // no tiles, whose weights are float32
		got, largest := run(t, s, in), 0.0
		for _, v := range want {
			largest = max(largest, math.Abs(float64(v)))
		}
		for i, v := range got {
			if diff := math.Abs(float64(v - want[i])); !(diff <= 2e-6*largest) {
				t.Fatalf("%s: element %d is %g, want %g", d, i, v, want[i])
			}
		}
		// Channels are filled up to 32 of 24; biases and factors are 2 * 4 bytes for each of 128 channels, and two biases are there as tensors too.
		if w, most := s.Info().WeightBytes, int64(2*(count+8*48*9)+2*4*128+2*4*48); w > most {
			t.Errorf("%s: %d bytes of weights, want %d at most", d, w, most)
		}
	}
}

// The weights of recurrent operators are held once, in half precision where they are stored so, and give the bits of the widened ones.
func TestRecurrentHoldsWeightsOnce(t *testing.T) {
	for _, op := range []struct {
		name  string
		gates int
	}{{"LSTM", 4}, {"GRU", 3}, {"RNN", 1}} {
		for _, d := range []model.DType{model.Float32, model.Float16, model.BFloat16} {
			const in, h = 40, 32
			build := func(wide bool) *model.Graph {
				b := newBuilder(22, 14)
				x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: -1}, {Size: in}})
				weight := func(shape ...int) string {
					w := randomTensor(b.r, 0.2, shape...)
					if d == model.Float32 {
						return b.constant(w)
					}
					n := half(t, d, w)
					if wide {
						v, err := n.Float32()
						if err != nil {
							t.Fatal(err)
						}
						return b.constant(model.FromSlice(shape, v))
					}
					return b.node("Cast", []string{b.constant(n)}, model.IntAttr("to", int64(model.Float32)))
				}
				w := weight(1, op.gates*h, in)
				b.output(b.node(op.name, []string{x, w, weight(1, op.gates*h, h)}, model.IntAttr("hidden_size", h)))
				return b.g
			}
			feed := engine.Feed{"x": randomTensor(newBuilder(23, 14).r, 1, 7, 3, in)}
			want := run(t, load(t, build(true), engine.Options{Exact: true}), feed)
			s := load(t, build(false), engine.Options{Exact: true})
			if got := run(t, s, feed); !sameBits(got, want) {
				t.Errorf("%s, %s: other bits", op.name, d)
			}
			rows := in + h
			if d == model.BFloat16 {
				rows = 64 + h // of 32 each
			}
			if w, most := s.Info().WeightBytes, int64(op.gates*h*rows*d.Bits()/8); w > most {
				t.Errorf("%s, %s: %d bytes of weights, want %d at most", op.name, d, w, most)
			}
		}
	}
}

// tiledGraph is a chain of 3x3 convolutions that are computed by tiles.
func tiledGraph(layers, ch int) *model.Graph {
	b := newBuilder(24, 13)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: int64(ch)}, {Size: 32}, {Size: 32}})
	for range layers {
		x = b.node("Relu", []string{b.node("Conv", []string{x, b.weight(0.05, ch, ch, 3, 3)}, model.IntsAttr("pads", 1, 1, 1, 1))})
	}
	b.output(x)
	return b.g
}

// Transformed weights are counted, are made once for sessions that share their weights, and take a quarter of all weights, or 2 MiB, at most.
func TestTiledWeightsAreBounded(t *testing.T) {
	const layers, ch = 20, 96
	in := engine.Feed{"x": randomTensor(newBuilder(25, 13).r, 1, 1, ch, 32, 32)}
	packs := new(engine.Packs)
	first := load(t, tiledGraph(layers, ch), engine.Options{Packs: packs})
	plain := first.Info().WeightBytes
	want := run(t, first, in)
	made := first.Info().WeightBytes - plain
	if one := int64(4 * 36 * ch * ch); made < one || made > max(plain/4, 2<<20) {
		t.Errorf("%d bytes of transformed weights beside %d, want %d at least", made, plain, one)
	}
	size := packs.Bytes()
	if size < plain+made {
		t.Errorf("%d bytes are shared, of %d and %d", size, plain, made)
	}
	second := load(t, tiledGraph(layers, ch), engine.Options{Packs: packs})
	if !sameBits(run(t, second, in), want) {
		t.Error("a session that shares weights gives other bits")
	}
	if !sameBits(run(t, load(t, tiledGraph(layers, ch), engine.Options{}), in), want) {
		t.Error("a session of its own gives other bits")
	}
	if got := packs.Bytes(); got != size {
		t.Errorf("%d bytes are held for two sessions, %d for one", got, size)
	}
}

// Casts of large values work in the memory of the run: only what leaves it is new.
func TestCastInArena(t *testing.T) {
	const n = 1 << 18
	b := newBuilder(26, 13)
	x := b.input("x", model.Bool, model.Shape{{Size: -1}})
	y := b.node("Cast", []string{x}, model.IntAttr("to", int64(model.Float32)))
	y = b.node("Cast", []string{b.node("Neg", []string{y})}, model.IntAttr("to", int64(model.Float16)))
	y = b.node("Cast", []string{b.node("Abs", []string{y})}, model.IntAttr("to", int64(model.Float32)))
	b.output(b.node("ReduceSum", []string{y}))
	v := make([]bool, n)
	for i := range v {
		v[i] = i%4 == 0
	}
	s := load(t, b.g, engine.Options{NoFusion: true})
	in := engine.Feed{"x": model.FromSlice([]int{n}, v)}
	if got := run(t, s, in); len(got) != 1 || got[0] != n/4 {
		t.Fatalf("the sum is %v, want %d", got, n/4)
	}
	run(t, s, in) // the placement is known
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		run(t, s, in)
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / 4; got > n {
		t.Errorf("%d bytes are allocated in a run of %d values", got, n)
	}
}
