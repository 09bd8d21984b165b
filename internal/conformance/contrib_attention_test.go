//go:build !static

package conformance_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// mask returns a mask over keys in one of the forms that attention takes. With seen, no row hides all keys.
func (r source) mask(form, b, s, keys int, seen bool) *model.Tensor {
	if seen && (form == 2 || form == 3) {
		t := r.mask(form, b, s, keys, false)
		v, err := model.Data[int32](t)
		if err != nil {
			panic(err)
		}
		for k := 0; k < len(v); k += keys {
			v[k] = 1
		}
		return t
	}
	switch form {
	case 1: // ends
		v := make([]int32, b)
		for k := range v {
			v[k] = int32(1 + r.IntN(keys))
		}
		return ints32(v...)
	case 2:
		return r.ints(2, b, keys)
	case 3:
		return r.ints(2, b, s, keys)
	case 4: // ends, then starts
		v := make([]int32, 2*b)
		for k := range b {
			v[k] = int32(1 + r.IntN(keys))
			v[b+k] = int32(r.IntN(int(v[k])))
		}
		return ints32(v...)
	}
	return nil
}

func TestMultiHeadAttention(t *testing.T) {
	rt, r := reference(t), newSource(5)
	for n := range 96 {
		b, s, keys, h, d := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(9), 1+r.IntN(4), 8*(1+r.IntN(3))
		causal, bias, past, form, layout := r.IntN(2), r.IntN(2), 0, r.IntN(4), n%5
		q := r.floats(b, s, h*d)
		var k, v, pk, pv *model.Tensor
		switch layout {
		case 0:
			k, v = r.floats(b, keys, h*d), r.floats(b, keys, h*d)
		case 1: // cached keys, and new ones behind them
			past, keys = 1+r.IntN(6), s
			k, v = r.floats(b, s, h*d), r.floats(b, s, h*d)
			pk, pv = r.floats(b, h, past, d), r.floats(b, h, past, d)
		case 2: // cross attention on keys that are ready
			k, v, bias = r.floats(b, h, keys, d), r.floats(b, h, keys, d), 0
		case 3:
			k = r.floats(b, keys, h, 2, d)
			bias = 0
		case 4:
			q, keys, bias = r.floats(b, s, h, 3, d), s, 0
		}
		if layout != 1 && layout != 4 {
			causal = 0 // defined where the queries are the last keys
		}
		in := []*model.Tensor{q, k, v, nil, nil, nil, pk, pv}
		if bias == 1 {
			in[3] = r.floats(3 * h * d)
		}
		in[4] = r.mask(form, b, s, past+keys, n%4 == 0)
		if r.IntN(2) == 0 {
			in[5] = r.floats([]int{1, b}[r.IntN(2)], []int{1, h}[r.IntN(2)], s, past+keys)
		}
		o := one{name: fmt.Sprintf("MultiHeadAttention %d: layout %d mask %d causal %d bias %d batch %d queries %d keys %d+%d", n, layout, form, causal, bias, b, s, past, keys),
			domain: microsoft, op: "MultiHeadAttention", inputs: in, outputs: []model.DType{f32},
			attrs: []model.Attr{i("num_heads", int64(h)), i("unidirectional", int64(causal))}}
		tol := 2e-6
		if n%4 != 0 { // rows that see nothing: their scores are near the filter, whose unit in the last place is 8e-6
			o.attrs, tol = append(o.attrs, f("mask_filter_value", -100)), 2e-5
		}
		if layout == 0 || layout == 1 {
			o.outputs = []model.DType{f32, f32, f32}
		}
		if n%7 == 0 {
			o.attrs = append(o.attrs, f("scale", 0.3))
		}
		if layout == 3 || layout == 4 { // ONNX Runtime has the packed forms on GPUs only: it gets the parts
			parts := o
			parts.inputs = slices.Clone(in)
			if layout == 3 {
				parts.inputs[1], parts.inputs[2] = unpacked(k, 0), unpacked(k, 1)
			} else {
				parts.inputs[0], parts.inputs[1], parts.inputs[2] = unpacked(q, 0), unpacked(q, 1), unpacked(q, 2)
			}
			o.oracle = &parts
		}
		o.check(t, rt, tol)
	}
}

// unpacked returns part i of a packed tensor [B, S, heads, parts, size] as [B, S, heads*size].
func unpacked(t *model.Tensor, i int) *model.Tensor {
	n := t.Shape()
	v, err := t.Float32()
	if err != nil {
		panic(err)
	}
	var out []float32
	for at := i * n[4]; at < len(v); at += n[3] * n[4] {
		out = append(out, v[at:at+n[4]]...)
	}
	return model.FromSlice([]int{n[0], n[1], n[2] * n[4]}, out)
}

func TestContribAttention(t *testing.T) {
	rt, r := reference(t), newSource(6)
	for n := range 64 {
		b, s, h, d, w := 1+r.IntN(3), 1+r.IntN(9), 1+r.IntN(4), 8*(1+r.IntN(3)), 1+r.IntN(40)
		past, form, dv := 0, r.IntN(5), d
		in := []*model.Tensor{r.floats(b, s, w), nil, nil, nil, nil, nil}
		if n%3 == 0 {
			past = 1 + r.IntN(5)
			in[4] = r.floats(2, b, h, past, d)
		}
		attrs := []model.Attr{i("num_heads", int64(h)), i("unidirectional", int64(r.IntN(2)))}
		outputs := []model.DType{f32, f32}
		if n%4 == 1 && past == 0 {
			dv, outputs = d+8, outputs[:1]
			attrs = append(attrs, model.IntsAttr("qkv_hidden_sizes", int64(h*d), int64(h*d), int64(h*dv)))
		}
		in[1], in[2] = r.floats(w, h*(2*d+dv)), r.floats(h*(2*d+dv))
		if n%4 == 0 && form == 4 {
			form = 1
		}
		in[3] = r.mask(form, b, s, past+s, n%4 == 0)
		if past == 0 && r.IntN(2) == 0 { // ONNX Runtime takes no bias beside a cache
			in[5] = r.floats(1, h, s, past+s)
		}
		o := one{name: fmt.Sprintf("Attention %d: mask %d batch %d queries %d past %d", n, form, b, s, past), domain: microsoft, op: "Attention",
			inputs: in, outputs: outputs, attrs: attrs}
		if n%2 == 0 {
			o.constant = []int{1, 2}
		}
		tol := 5e-6
		if n%4 != 0 {
			o.attrs, tol = append(o.attrs, f("mask_filter_value", -100)), 3e-5
		}
		o.check(t, rt, tol)
	}
}

func TestGroupQueryAttention(t *testing.T) {
	rt, r := reference(t), newSource(7)
	for n := range 96 {
		b, kv, d := 1+r.IntN(3), 1+r.IntN(3), 16*(1+r.IntN(2))
		h, s, past := kv*(1+r.IntN(3)), 1+r.IntN(9), 0
		kind := n % 3
		lens := make([]int32, b)
		in := make([]*model.Tensor, 12)
		switch kind {
		case 0: // the prompt: every entry is full
			for k := range lens {
				lens[k] = int32(s - 1)
			}
		case 1: // one new position behind caches of different lengths
			s, past = 1, 4+r.IntN(9)
			for k := range lens {
				lens[k] = int32(r.IntN(past + 1))
			}
			lens[r.IntN(b)] = int32(past)
		case 2: // several new positions
			b, past = 1, 1+r.IntN(9)
			s = 2 + r.IntN(4)
			lens = []int32{int32(past + s - 1)}
		}
		in[5], in[6] = ints32(lens...), model.FromSlice([]int{1}, []int32{int32(past + s)})
		if past > 0 {
			in[3], in[4] = r.floats(b, kv, past, d), r.floats(b, kv, past, d)
		}
		if n%2 == 0 {
			in[0], in[1], in[2] = r.floats(b, s, h*d), r.floats(b, s, kv*d), r.floats(b, s, kv*d)
		} else {
			in[0] = r.floats(b, s, (h+2*kv)*d)
		}
		attrs := []model.Attr{i("num_heads", int64(h)), i("kv_num_heads", int64(kv))}
		if r.IntN(2) == 0 {
			in[7], in[8] = caches(64, d/2)
			attrs = append(attrs, i("do_rotary", 1), i("rotary_interleaved", int64(r.IntN(2))))
		}
		if r.IntN(3) == 0 {
			attrs = append(attrs, i("local_window_size", int64(1+r.IntN(5))))
		}
		if r.IntN(3) == 0 {
			attrs = append(attrs, f("softcap", 2))
		}
		switch r.IntN(4) {
		case 0:
			attrs = append(attrs, i("smooth_softmax", 1))
		case 1:
			in[11] = r.floats(h)
		}
		if r.IntN(3) == 0 {
			in[10] = r.floats([]int{1, b}[r.IntN(2)], []int{1, h}[r.IntN(2)], s, past+s)
		}
		o := one{name: fmt.Sprintf("GroupQueryAttention %d: kind %d batch %d new %d past %d lengths %v", n, kind, b, s, past, lens), domain: microsoft,
			op: "GroupQueryAttention", inputs: in, outputs: []model.DType{f32, f32, f32}, attrs: attrs}
		if past > 0 {
			o.skip = func(out int, at []int) bool { return out > 0 && at[2] > int(lens[at[0]]) } // behind the last key
		}
		o.check(t, rt, 2e-6)
	}
}
