//go:build !static

package conformance_test

import (
	"fmt"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// Sequences of several blocks of 384 keys. ONNX Runtime adds the exponentials of a row, up to 1500 of them, in another order:
// that is worth a few units in the last place of float32 (6e-8) of the largest output.
const longTol = 5e-6

func TestLongMultiHeadAttention(t *testing.T) {
	rt, r := reference(t), newSource(21)
	for n := range 8 {
		b, s, keys, h, d := 1+n%2, 1+r.IntN(150), 500+r.IntN(1000), 2, 16
		in := []*model.Tensor{r.floats(b, s, h*d), r.floats(b, keys, h*d), r.floats(b, keys, h*d), nil, r.mask(n%4, b, s, keys, true), nil, nil, nil}
		if n%2 == 0 {
			in[5] = r.floats(1, h, s, keys)
		}
		o := one{name: fmt.Sprintf("MultiHeadAttention %d of %d keys", n, keys), domain: microsoft, op: "MultiHeadAttention", inputs: in,
			outputs: []model.DType{f32}, attrs: []model.Attr{i("num_heads", int64(h))}}
		o.check(t, rt, longTol)
	}
}

func TestLongGroupQueryAttention(t *testing.T) {
	rt, r := reference(t), newSource(22)
	for n := range 12 {
		b, kv, h, d, s, past := 1, 2, 6, 16, 1, 600+r.IntN(900)
		lens := []int32{int32(past)}
		if n%3 == 0 { // a prompt
			s, past = past, 0
			lens[0] = int32(s - 1)
		}
		in := make([]*model.Tensor, 12)
		in[0], in[1], in[2] = r.floats(b, s, h*d), r.floats(b, s, kv*d), r.floats(b, s, kv*d)
		in[5], in[6] = ints32(lens...), model.FromSlice([]int{1}, []int32{int32(past + s)})
		if past > 0 {
			in[3], in[4] = r.floats(b, kv, past, d), r.floats(b, kv, past, d)
		}
		attrs := []model.Attr{i("num_heads", int64(h)), i("kv_num_heads", int64(kv))}
		if n%2 == 0 {
			in[11] = r.floats(h)
		}
		if n%4 == 1 {
			attrs = append(attrs, i("local_window_size", int64(300+r.IntN(500))))
		}
		if n%4 == 2 {
			attrs = append(attrs, f("softcap", 2))
		}
		o := one{name: fmt.Sprintf("GroupQueryAttention %d: new %d past %d", n, s, past), domain: microsoft, op: "GroupQueryAttention",
			inputs: in, outputs: []model.DType{f32, f32, f32}, attrs: attrs}
		o.check(t, rt, longTol)
	}
}

func TestLongAttention(t *testing.T) {
	rt, r := reference(t), newSource(23)
	for n := range 12 {
		b, h, kv, d, s, past := 1+n%2, 4, 2, 16, 1+r.IntN(200), 0
		keys := 500 + r.IntN(900)
		in := []*model.Tensor{r.floats(b, h, s, d), r.floats(b, kv, keys, d), r.floats(b, kv, keys, d), nil, nil, nil}
		attrs := []model.Attr{i("is_causal", int64(n%2))}
		if n%3 == 1 {
			past = 400 + r.IntN(300)
			in[4], in[5] = r.floats(b, kv, past, d), r.floats(b, kv, past, d)
		}
		switch n % 4 {
		case 2:
			in[3] = r.floats(s, past+keys)
		case 3:
			m := make([]bool, b*s*(past+keys))
			for k := range m {
				m[k] = k%(past+keys) == 0 || r.IntN(3) > 0
			}
			in[3] = model.FromSlice([]int{b, 1, s, past + keys}, m)
		}
		outputs := []model.DType{f32}
		if past > 0 {
			outputs = []model.DType{f32, f32, f32}
		}
		if n%5 == 4 {
			outputs = []model.DType{f32, none, none, f32}
			if past > 0 {
				outputs[1], outputs[2] = f32, f32
			}
			attrs = append(attrs, i("qk_matmul_output_mode", int64(n%4)))
		}
		o := one{name: fmt.Sprintf("Attention %d: %d queries, %d+%d keys", n, s, past, keys), op: "Attention", opset: 23, inputs: in, outputs: outputs, attrs: attrs}
		o.check(t, rt, longTol)
	}
}
