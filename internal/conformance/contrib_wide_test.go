//go:build !static

package conformance_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// Wider draws of the operators of com.microsoft: sizes that are no multiple of any vector or block, ranks, broadcasting and
// attributes that the tests beside them leave alone.

// wideTol is what a product of up to 200 terms, or a softmax, may differ by as a share of the largest element: both runtimes
// add in float32, in different orders.
const wideTol = 4e-6

func TestWideMatMul(t *testing.T) {
	rt, r := reference(t), newSource(41)
	for n := range 160 {
		m, k, w := 1+r.IntN(70), 1+r.IntN(200), 1+r.IntN(90)
		ta, tb := r.IntN(2), r.IntN(2)
		batch := [][2][]int{{nil, nil}, {{2, 3}, {2, 3}}, {{2, 3}, {3}}, {{2, 1}, {1, 4}}, {{5}, nil}, {nil, {2, 2}}}[r.IntN(6)]
		shape := func(lead []int, trans, rows, cols int) []int {
			if trans == 1 {
				rows, cols = cols, rows
			}
			return append(append([]int{}, lead...), rows, cols)
		}
		o := one{name: fmt.Sprintf("FusedMatMul %d: %v %d%d %dx%dx%d", n, batch, ta, tb, m, k, w), domain: microsoft, op: "FusedMatMul", outputs: []model.DType{f32},
			inputs: []*model.Tensor{r.floats(shape(batch[0], ta, m, k)...), r.floats(shape(batch[1], tb, k, w)...)},
			attrs:  []model.Attr{i("transA", int64(ta)), i("transB", int64(tb)), f("alpha", float32(4*r.Float64()-2))}}
		if n%3 == 0 {
			o.constant = []int{1}
		}
		o.sized = n%2 == 0
		o.check(t, rt, wideTol)
	}
}

func TestWideNorms(t *testing.T) {
	rt, r := reference(t), newSource(42)
	for n := range 96 {
		b, s, w := 1+r.IntN(3), 1+r.IntN(20), 8+r.IntN(1500)
		shape := []int{b, s, w}
		if n%4 == 3 {
			shape = shape[1:]
		}
		in := []*model.Tensor{r.floats(shape...), r.floats(shape...), r.floats(w), r.floats(w), r.floats(w)}
		outputs := []model.DType{f32, none, none, f32}
		if n%2 == 0 {
			outputs = outputs[:1]
		}
		op, optional := "SkipLayerNormalization", []int{3, 4}
		if n%3 == 0 { // no beta
			op, in, optional = "SkipSimplifiedLayerNormalization", append(in[:3:3], in[4]), []int{3}
		}
		for _, k := range optional {
			if r.IntN(3) == 0 {
				in[k] = nil
			}
		}
		o := one{name: fmt.Sprintf("%s %d: %v", op, n, shape), domain: microsoft, op: op, inputs: in, outputs: outputs, attrs: []model.Attr{f("epsilon", []float32{1e-12, 1e-5, 1e-2}[r.IntN(3)])}}
		if n%2 == 1 {
			o.constant = []int{2}
		}
		o.check(t, rt, 5e-6) // rows of hundreds of elements: the mean and the variance of both differ by a few units
	}
}

func TestWideMultiHeadAttention(t *testing.T) {
	rt, r := reference(t), newSource(43)
	for n := range 128 {
		b, s, h, d, dv := 1+r.IntN(4), 1+r.IntN(70), 1+r.IntN(6), 1+r.IntN(80), 1+r.IntN(80)
		keys, past, causal := 1+r.IntN(130), 0, 0
		in := make([]*model.Tensor, 8)
		if n%3 == 0 {
			keys, past, dv = s, r.IntN(40), d
			causal = r.IntN(2)
			if past > 0 {
				in[6], in[7] = r.floats(b, h, past, d), r.floats(b, h, past, d)
			}
		}
		in[0], in[1], in[2] = r.floats(b, s, h*d), r.floats(b, keys, h*d), r.floats(b, keys, h*dv)
		if r.IntN(2) == 0 {
			in[3] = r.floats(2*h*d + h*dv)
		}
		form := r.IntN(4)
		in[4] = r.mask(form, b, s, past+keys, true)
		if r.IntN(2) == 0 {
			in[5] = r.floats([]int{1, b}[r.IntN(2)], []int{1, h}[r.IntN(2)], s, past+keys)
		}
		o := one{name: fmt.Sprintf("MultiHeadAttention %d: mask %d causal %d batch %d heads %d of %d and %d, queries %d keys %d+%d", n, form, causal, b, h, d, dv, s, past, keys),
			domain: microsoft, op: "MultiHeadAttention", inputs: in, outputs: []model.DType{f32}, attrs: []model.Attr{i("num_heads", int64(h)), i("unidirectional", int64(causal))}}
		if past > 0 {
			o.outputs = []model.DType{f32, f32, f32}
		}
		if r.IntN(3) == 0 {
			o.attrs = append(o.attrs, f("scale", float32(r.Float64())))
		}
		o.check(t, rt, longTol)
	}
}

func TestWideAttention(t *testing.T) {
	rt, r := reference(t), newSource(44)
	for n := range 96 {
		b, s, h, d, w := 1+r.IntN(4), 1+r.IntN(60), 1+r.IntN(6), 1+r.IntN(70), 1+r.IntN(150)
		past, form := 0, r.IntN(4)
		in := []*model.Tensor{r.floats(b, s, w), nil, nil, nil, nil, nil}
		if n%2 == 0 {
			past = r.IntN(50)
			in[4] = r.floats(2, b, h, past, d)
		}
		in[1], in[2], in[3] = r.floats(w, 3*h*d), r.floats(3*h*d), r.mask(form, b, s, past+s, true)
		if in[4] == nil && r.IntN(2) == 0 {
			in[5] = r.floats(1, h, s, s)
		}
		o := one{name: fmt.Sprintf("Attention %d: mask %d batch %d heads %d of %d, queries %d past %d", n, form, b, h, d, s, past), domain: microsoft, op: "Attention",
			inputs: in, outputs: []model.DType{f32, f32}, attrs: []model.Attr{i("num_heads", int64(h)), i("unidirectional", int64(r.IntN(2)))}}
		if n%3 != 0 {
			o.constant = []int{1, 2}
		}
		if r.IntN(3) == 0 {
			o.attrs = append(o.attrs, f("scale", 0.05+float32(r.Float64())/10))
		}
		if w < 8 {
			o.attrs = append(o.attrs, f("scale", 0.2))
		}
		o.check(t, rt, 1e-5) // queries and keys are sums of up to 150 products already
	}
}

func TestWideGroupQueryAttention(t *testing.T) {
	rt, r := reference(t), newSource(45)
	for n := range 128 {
		kv, d := 1+r.IntN(4), 8*(1+r.IntN(12))
		h, b, s, past := kv*(1+r.IntN(4)), 1+r.IntN(3), 1+r.IntN(60), 0
		lens := make([]int32, b)
		for k := range lens {
			lens[k] = int32(s - 1)
		}
		if n%2 == 1 { // one new position behind caches of different lengths
			s, past = 1, 1+r.IntN(150)
			for k := range lens {
				lens[k] = int32(r.IntN(past + 1))
			}
			lens[r.IntN(b)] = int32(past)
		}
		in := make([]*model.Tensor, 12)
		in[5], in[6] = ints32(lens...), model.FromSlice([]int{1}, []int32{int32(past + s)})
		if past > 0 {
			in[3], in[4] = r.floats(b, kv, past, d), r.floats(b, kv, past, d)
		}
		if n%3 == 0 {
			in[0] = r.floats(b, s, (h+2*kv)*d)
		} else {
			in[0], in[1], in[2] = r.floats(b, s, h*d), r.floats(b, s, kv*d), r.floats(b, s, kv*d)
		}
		attrs := []model.Attr{i("num_heads", int64(h)), i("kv_num_heads", int64(kv))}
		if r.IntN(2) == 0 && d%16 == 0 {
			in[7], in[8] = caches(256, d/2)
			attrs = append(attrs, i("do_rotary", 1), i("rotary_interleaved", int64(r.IntN(2))))
		}
		if r.IntN(3) == 0 {
			attrs = append(attrs, i("local_window_size", int64(1+r.IntN(90))))
		}
		if r.IntN(3) == 0 {
			attrs = append(attrs, f("softcap", float32(1+9*r.Float64())))
		}
		if r.IntN(3) == 0 {
			attrs = append(attrs, f("scale", float32(0.02+r.Float64()/4)))
		}
		if r.IntN(3) == 0 {
			in[10] = r.floats([]int{1, b}[r.IntN(2)], []int{1, h}[r.IntN(2)], s, past+s)
		}
		o := one{name: fmt.Sprintf("GroupQueryAttention %d: batch %d, %d and %d heads of %d, new %d past %d lengths %v", n, b, h, kv, d, s, past, lens), domain: microsoft,
			op: "GroupQueryAttention", inputs: in, outputs: []model.DType{f32, f32, f32}, attrs: attrs}
		if past > 0 {
			o.skip = func(out int, at []int) bool { return out > 0 && at[2] > int(lens[at[0]]) } // behind the last key
		}
		o.check(t, rt, longTol)
	}
}

func TestWideRotary(t *testing.T) {
	rt, r := reference(t), newSource(46)
	for n := range 72 {
		b, s, h, half := 1+r.IntN(4), 1+r.IntN(40), 1+r.IntN(9), 1+r.IntN(64)
		cos, sin := caches(80, half)
		pos := model.FromSlice([]int{1}, []int64{int64(r.IntN(40))})
		if n%2 == 1 {
			v := make([]int64, b*s)
			for k := range v {
				v[k] = int64(r.IntN(80))
			}
			pos = model.FromSlice([]int{b, s}, v)
		}
		shape := []int{b, s, h * 2 * half}
		if n%3 == 1 {
			shape = []int{b, h, s, 2 * half}
		}
		attrs := []model.Attr{i("interleaved", int64(r.IntN(2))), i("num_heads", int64(h))}
		if n%3 == 2 {
			attrs = append(attrs, i("rotary_embedding_dim", int64(2*half)))
			shape[2] += h * 2 * r.IntN(10)
		}
		o := one{name: fmt.Sprintf("RotaryEmbedding %d: %v", n, shape), domain: microsoft, op: "RotaryEmbedding", attrs: attrs,
			inputs: []*model.Tensor{r.floats(shape...), pos, cos, sin}, outputs: []model.DType{f32}}
		o.check(t, rt, 1e-6)
	}
}

// TestQLinearWhere: bytes are those of ONNX Runtime, broadcasting in all three operands.
func TestQLinearWhere(t *testing.T) {
	rt := reference(t)
	r := quant{rand.New(rand.NewPCG(47, 0))}
	run := &byteRun{rt: rt}
	for n := range 60 {
		signed := n%2 == 0
		dt := map[bool]model.DType{false: model.Uint8, true: model.Int8}[signed]
		w := 1 + r.IntN(40)
		shapes := [][3][]int{{{3, w}, {3, w}, {3, w}}, {{w}, {2, 3, w}, {3, 1}}, {{2, 1, w}, {1}, {2, 3, 1}}, {{4, 1}, {4, w}, {w}}}[r.IntN(4)]
		yes := make([]bool, 1)
		for _, d := range shapes[0] {
			yes = make([]bool, len(yes)*d)
		}
		for k := range yes {
			yes[k] = r.IntN(2) == 0
		}
		o := &one{name: fmt.Sprintf("QLinearWhere %d %v", n, shapes), domain: microsoft, op: "QLinearWhere", outputs: []model.DType{dt}, constant: []int{2, 3, 5, 6, 7, 8},
			inputs: []*model.Tensor{model.FromSlice(shapes[0], yes), r.bytes(signed, shapes[1]...), r.scale(0.01), r.zero(signed), r.bytes(signed, shapes[2]...), r.scale(0.01), r.zero(signed), r.scale(0.01), r.zero(signed)}}
		g, feed := o.graph()
		if d, share := run.difference(t, g, feed, engine.Options{}); d != 0 {
			t.Errorf("%s: differs by %v in %.3f of the bytes", o.name, d, share)
		}
	}
	if n := run.distinct(); n < 200 {
		t.Errorf("the outputs have %d different bytes only", n)
	}
}
