//go:build !static

package quantize_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

var schemeTypes = []model.DType{model.Int8, model.Uint8, model.Int4, model.Uint4, model.Int16, model.Uint16, model.Float8E4M3FN, model.Float8E5M2}

// randomTensor makes values of one of several kinds: even spread, normal, ties of the scale 0.5, every exponent,
// subnormals, zeros, constants.
func randomTensor(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	kind, a := rng.IntN(7), float32(math.Exp(rng.NormFloat64()*3))
	for i := range x {
		switch kind {
		case 0:
			x[i] = (rng.Float32()*2 - 1) * a
		case 1:
			x[i] = float32(rng.NormFloat64())*a + 0.3*a
		case 2:
			x[i] = float32(rng.IntN(1025)-512) * 0.25
		case 3:
			x[i] = float32(math.Ldexp(rng.Float64()*2-1, rng.IntN(120)-60))
		case 4:
			x[i] = float32(math.Ldexp(rng.Float64()*2-1, -130))
		case 5:
			if rng.IntN(8) == 0 {
				x[i] = float32(rng.NormFloat64())
			}
		case 6:
			x[i] = a
		}
	}
	return x
}

// randomScheme makes a scheme with a shape for it, of 1 to 4 dimensions and up to a few hundred elements.
func randomScheme(rng *rand.Rand, d model.DType) (quantize.Scheme, []int) {
	rank := 1 + rng.IntN(4)
	shape := make([]int, rank)
	for i := range shape {
		shape[i] = 1 + rng.IntN([]int{400, 24, 9, 5}[rank-1])
	}
	s := quantize.Scheme{DType: d, Symmetric: rng.IntN(2) == 0, Axis: rng.IntN(rank)}
	switch rng.IntN(3) {
	case 0:
		s.Granularity, s.Axis = quantize.PerTensor, 0
	case 1:
		s.Granularity = quantize.PerChannel
	default:
		s.Granularity, s.Group = quantize.PerGroup, []int{1, 3, 4, 16, 32}[rng.IntN(5)]
		if rng.IntN(2) == 0 {
			shape[s.Axis] = 1 + rng.IntN(100)
		}
		if n, _ := model.NumElements(shape); n == shape[s.Axis] && s.Group >= n {
			s.Granularity, s.Group, s.Axis = quantize.PerTensor, 0, 0 // ONNX Runtime takes one scale as that of the tensor
		}
	}
	if d.IsFloat() {
		s.Symmetric = true
	}
	return s, shape
}

// qdqGraph computes q = QuantizeLinear(x, s, z) and y = DequantizeLinear(q, s, z), everything an input.
func qdqGraph(s quantize.Scheme, rank, scaleRank int) *model.Graph {
	free := func(name string, d model.DType, rank int) *model.Value {
		v := &model.Value{Name: name, Type: model.Type{DType: d, Shape: model.Shape{}}}
		for range rank {
			v.Type.Shape = append(v.Type.Shape, model.Dim{Size: unknown})
		}
		return v
	}
	q, dq := node("QuantizeLinear", "q", "x", "s", "z"), node("DequantizeLinear", "y", "q", "s", "z")
	for _, n := range []*model.Node{q, dq} {
		if s.Granularity != quantize.PerTensor {
			n.Attrs = append(n.Attrs, model.IntAttr("axis", int64(s.Axis)))
		}
		if s.Granularity == quantize.PerGroup {
			n.Attrs = append(n.Attrs, model.IntAttr("block_size", int64(s.Group)))
		}
	}
	g := graphOf(values(free("x", model.Float32, rank), free("s", model.Float32, scaleRank), free("z", s.DType, scaleRank)),
		values(free("q", s.DType, rank), free("y", model.Float32, rank)), nil, q, dq)
	g.Model.IRVersion, g.Model.Opsets[0].Version = 10, 21
	return g
}

// TestSchemesInRuntime compares 1,000 tensors of each type, of random shape, granularity and axis, with the bits of ONNX
// Runtime's QuantizeLinear and DequantizeLinear; half of them with parameters that are not those of the tensor, so
// that values saturate and zero points are odd.
func TestSchemesInRuntime(t *testing.T) {
	rt := onnxRuntime(t)
	total := 0
	for _, d := range schemeTypes {
		rng := rand.New(rand.NewPCG(uint64(d), 6))
		sessions := map[string]engine.Session{}
		for range 1000 {
			s, shape := randomScheme(rng, d)
			n, _ := model.NumElements(shape)
			x := randomTensor(rng, n)
			g, err := s.ChooseParams(x, shape)
			if err != nil {
				t.Fatal(err)
			}
			if rng.IntN(2) == 0 {
				for i := range g.Params {
					g.Params[i].Scale = float32(math.Ldexp(1+rng.Float64(), rng.IntN(12)-8))
					if !d.IsFloat() {
						span := schemeRange(d)
						g.Params[i].ZeroPoint = span.Min + int32(rng.IntN(int(span.Max-span.Min)+1))
					}
				}
			}
			scale, zero, err := g.Tensors()
			if err != nil {
				t.Fatal(err)
			}
			key := fmt.Sprint(s.Granularity, s.Axis, s.Group, len(shape))
			if sessions[key] == nil {
				if sessions[key], err = rt.Load(context.Background(), engine.Artifact{Graph: qdqGraph(s, len(shape), scale.Rank())}, engine.Options{Threads: 1, Spin: -1}); err != nil {
					t.Fatal(err)
				}
			}
			out, err := sessions[key].Run(context.Background(), engine.Feed{"x": model.FromSlice(shape, x), "s": scale, "z": zero})
			if err != nil {
				t.Fatalf("%+v of %v: %v", s, shape, err)
			}
			q, err := g.Quantize(x)
			if err != nil {
				t.Fatal(err)
			}
			if !sameTensor(q, out["q"]) {
				t.Errorf("%+v of %v: QuantizeLinear differs%s", s, shape, firstDifference(q, out["q"]))
				continue
			}
			y, err := g.Dequantize(q)
			if err != nil {
				t.Fatal(err)
			}
			if back := model.FromSlice(shape, y); !sameTensor(back, out["y"]) {
				t.Errorf("%+v of %v: DequantizeLinear differs%s", s, shape, firstDifference(back, out["y"]))
			}
			total++
		}
		for _, s := range sessions {
			s.Close()
		}
	}
	if want := 1000 * len(schemeTypes); total < want {
		t.Errorf("%d tensors agree, want %d", total, want)
	}
}

func schemeRange(d model.DType) quantize.Range {
	return map[model.DType]quantize.Range{model.Int8: quantize.Int8Range, model.Uint8: quantize.Uint8Range, model.Int4: quantize.Int4Range,
		model.Uint4: quantize.Uint4Range, model.Int16: quantize.Int16Range, model.Uint16: quantize.Uint16Range}[d]
}

func firstDifference(a, b *model.Tensor) string {
	x, err1 := a.Float32()
	y, err2 := b.Float32()
	if err1 != nil || err2 != nil || len(x) != len(y) {
		return fmt.Sprint(": ", a.Shape(), b.Shape(), err1, err2)
	}
	for i := range x {
		if math.Float32bits(x[i]) != math.Float32bits(y[i]) {
			return fmt.Sprintf(": element %d is %v, want %v", i, x[i], y[i])
		}
	}
	return ""
}

// TestFloat8InRuntime compares the rounding of 8-bit floats with ONNX Runtime for every 16-bit pattern of the upper half
// of a float32, with a tie, a bit above and a bit below it.
func TestFloat8InRuntime(t *testing.T) {
	var x []float32
	for hi := range uint32(1 << 16) {
		if hi>>7&0xff == 0xff {
			continue
		}
		for _, lo := range []uint32{0, 1, 0x8000, 0xffff} {
			x = append(x, math.Float32frombits(hi<<16|lo))
		}
	}
	inf := float32(math.Inf(1))
	x = append(x, inf, -inf, float32(math.NaN()))
	for _, d := range []model.DType{model.Float8E4M3FN, model.Float8E5M2} {
		s := quantize.Scheme{DType: d, Granularity: quantize.PerTensor}
		g, err := s.NewGrid([]int{len(x)})
		if err != nil {
			t.Fatal(err)
		}
		scale, zero, err := g.Tensors()
		if err != nil {
			t.Fatal(err)
		}
		out := runORT(t, qdqGraph(s, 1, 0), engine.Feed{"x": model.FromSlice([]int{len(x)}, x), "s": scale, "z": zero})
		q, err := g.Quantize(x)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := q.Bytes()
		b, _ := out["q"].Bytes()
		for i := range a {
			if a[i] != b[i] && x[i] == x[i] {
				t.Fatalf("%s of %v: %#x, want %#x", d, x[i], a[i], b[i])
			}
		}
		if last := a[len(a)-1] & 0x7f; last != 0x7f {
			t.Errorf("%s of NaN: %#x", d, last)
		}
		y, _ := g.Dequantize(q)
		z, _ := out["y"].Float32()
		if !slices.Equal(y[:len(y)-1], z[:len(z)-1]) {
			t.Errorf("%s: DequantizeLinear differs", d)
		}
	}
}

// TestSchemeCorners: what the specifications leave open is defined here.
func TestSchemeCorners(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, d := range append(slices.Clone(schemeTypes), model.Float16, model.BFloat16) {
		for _, c := range []quantize.Scheme{{Granularity: quantize.PerTensor}, {Granularity: quantize.PerChannel, Axis: -1}, {Granularity: quantize.PerGroup, Axis: 0, Group: 2}} {
			c.DType = d
			for _, shape := range [][]int{{0}, {3, 0}, {0, 4}} { // empty
				g, err := c.ChooseParams(nil, shape)
				if err != nil {
					t.Fatalf("%s %s %v: %v", d, c.Granularity, shape, err)
				}
				q, err := g.Quantize(nil)
				if err != nil || q.Len() != 0 || !slices.Equal(q.Shape(), shape) {
					t.Errorf("%s %s %v: %v %v", d, c.Granularity, shape, q, err)
				}
				if y, err := g.Dequantize(q); err != nil || len(y) != 0 {
					t.Errorf("%s %s %v: %v %v", d, c.Granularity, shape, y, err)
				}
			}
			half := d == model.Float16 || d == model.BFloat16
			for _, x := range [][]float32{{0, 0, 0}, {0, 0x1p-140, -0x1p-149}} { // no range, or one of subnormals
				g, err := c.ChooseParams(x, []int{3})
				if err != nil || slices.ContainsFunc(g.Params, func(p quantize.Params) bool { return p != quantize.Params{Scale: 1} }) {
					t.Errorf("%s %v: %+v %v", d, x, g, err)
					continue
				}
				q, err := g.Quantize(x)
				if err != nil {
					t.Fatal(err)
				}
				y, _ := g.Dequantize(q)
				for _, v := range y {
					if v != 0 && !half {
						t.Errorf("%s of %v: %v", d, x, y)
					}
				}
			}
			for _, bad := range []float32{inf, -inf, nan} {
				g, err := c.ChooseParams([]float32{1, bad, 2}, []int{3})
				if half && err == nil {
					_, err = g.Quantize([]float32{1, math.MaxFloat32, 2}) // finite, and an infinity once it is rounded
				}
				if err == nil {
					t.Errorf("%s of %v: no error", d, bad)
				}
			}
		}
	}
	for _, c := range []quantize.Scheme{{DType: model.Int8}, {DType: model.Float32, Granularity: quantize.PerTensor},
		{DType: model.Int8, Granularity: quantize.PerChannel, Axis: 2}, {DType: model.Int8, Granularity: quantize.PerGroup, Axis: 0}} {
		if _, err := c.NewGrid([]int{3, 4}); err == nil {
			t.Errorf("%+v: no error", c)
		}
	}
	if _, err := (quantize.Scheme{DType: model.Int8, Granularity: quantize.PerTensor}).ChooseParams(make([]float32, 5), []int{2, 3}); err == nil {
		t.Error("5 elements of shape [2 3]: no error")
	}
}

// TestDynamicQuantizeInRuntime compares DynamicParams and Quantize with ONNX Runtime's DynamicQuantizeLinear.
func TestDynamicQuantizeInRuntime(t *testing.T) {
	n := &model.Node{Op: "DynamicQuantizeLinear", Inputs: []string{"x"}, Outputs: []string{"q", "s", "z"}}
	u8 := func(name string, rank model.Shape) *model.Value {
		return &model.Value{Name: name, Type: model.Type{DType: model.Uint8, Shape: rank}}
	}
	s := session(t, graphOf(values(value("x", unknown)), values(u8("q", model.Shape{{Size: unknown}}), value("s"), u8("z", model.Shape{})), nil, n))
	rng := rand.New(rand.NewPCG(1, 9))
	for range 1000 {
		x := randomTensor(rng, 1+rng.IntN(400))
		out, err := s.Run(context.Background(), engine.Feed{"x": model.FromSlice([]int{len(x)}, x)})
		if err != nil {
			t.Fatal(err)
		}
		p := quantize.DynamicParams(extremes(x))
		q := make([]uint8, len(x))
		quantize.Quantize(q, x, p, quantize.Uint8Range)
		want, _ := out["q"].Bytes()
		ws, _ := out["s"].Float32()
		wz, _ := out["z"].Bytes()
		if !bytes.Equal(q, want) || ws[0] != p.Scale || int32(wz[0]) != p.ZeroPoint {
			t.Fatalf("%v: %+v, want %v and %v", x, p, ws, wz)
		}
	}
}
