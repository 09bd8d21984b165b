package engine_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestLayout compares random networks of image operators with what they give without any pass. The two differ in the order
// of additions and in Winograd's products: Exact leaves the additions, far below 1e-5 of the largest output here, where no
// sum has more than a thousand terms; otherwise the bound is that of Options.Exact.
func TestLayout(t *testing.T) {
	moved := 0
	for seed := range uint64(150) {
		b := newBuilder(seed, 18)
		shape := b.imageNet()
		feed := engine.Feed{"x": randomTensor(b.r, 1, shape...)}
		var want engine.Feed
		for _, o := range []engine.Options{{Threads: 1, NoFusion: true}, {Threads: 1, Exact: true}, {Threads: 2, Exact: true}, {Threads: 1}} {
			tol := 1e-5
			if !o.Exact {
				tol = 1e-4
			}
			s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: b.g}, o)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for range 2 { // the second run has recycled memory
				out, err := s.Run(context.Background(), feed)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if want == nil {
					want = out
				}
				sameOutputs(t, fmt.Sprintf("seed %d, %+v", seed, o), out, want, tol)
			}
			ops := s.Info().Ops
			moved += ops["wattshed.BlockedConv"] + ops["wattshed.BlockedScale"] + ops["wattshed.BlockedMaxPool"] + ops["wattshed.BlockedMean"]
			s.Close()
		}
	}
	if moved < 1000 {
		t.Fatalf("only %d operators were moved to the blocked layout", moved)
	}
}

// sameOutputs fails unless max|got-want| <= tol max|want| for every output.
func sameOutputs(t *testing.T, what string, got, want engine.Feed, tol float64) {
	t.Helper()
	for name, w := range want {
		if fmt.Sprint(w.Shape()) != fmt.Sprint(got[name].Shape()) {
			t.Fatalf("%s: output %s has shape %v, want %v", what, name, got[name].Shape(), w.Shape())
		}
		a, _ := w.Float32()
		g, _ := got[name].Float32()
		var top float64
		for _, v := range a {
			top = max(top, math.Abs(float64(v)))
		}
		for i := range a {
			if !(math.Abs(float64(a[i])-float64(g[i])) <= tol*top) {
				t.Fatalf("%s: output %s[%d] is %g, want %g, largest %g", what, name, i, g[i], a[i], top)
			}
		}
	}
}

// imageNet adds a random network of image operators with branches and several outputs; it returns the shape of its input x.
func (b *builder) imageNet() []int {
	r := b.r
	ch, h, w, n := []int{1, 3, 16, 20, 32}[r.IntN(5)], 4+r.IntN(9), 4+r.IntN(12), 1+r.IntN(2)
	in := []int{n, ch, h, w}
	declared := model.Shape{{Size: int64(n)}, {Size: int64(ch)}, {Size: int64(h)}, {Size: int64(w)}}
	if r.IntN(3) == 0 {
		declared[2], declared[3] = model.Dim{Size: -1, Param: "h"}, model.Dim{Size: -1, Param: "w"}
	}
	x := b.input("x", model.Float32, declared)
	conv := func(x string, cin, cout, groups, k, stride int) string {
		s := 1 / math.Sqrt(float64(cin/groups*k*k))
		ins := []string{x, b.weight(s, cout, cin/groups, k, k)}
		if r.IntN(2) == 0 {
			ins = append(ins, b.weight(0.3, cout))
		}
		p := k / 2
		return b.node("Conv", ins, model.IntAttr("group", int64(groups)), intsAttr("strides", []int{stride, stride}), intsAttr("pads", []int{p, p, p, p}))
	}
	act := func(x string) string {
		switch r.IntN(6) {
		case 0:
			return b.node("Relu", []string{x})
		case 1:
			return b.node("HardSwish", []string{x})
		case 2:
			return b.node("HardSigmoid", []string{x}, model.FloatAttr("alpha", 0.3))
		case 3:
			return b.node("Clip", []string{x, b.scalar(0), b.scalar(6)})
		case 4:
			return b.node("Sigmoid", []string{x})
		}
		return x
	}
	for range 4 + r.IntN(8) {
		switch r.IntN(9) {
		case 0, 1: // any convolution
			k, s, cout := 1+2*r.IntN(3), 1+r.IntN(2), []int{8, 16, 24, 32, 48, 5}[r.IntN(6)]
			x = act(conv(x, ch, cout, 1, k, s))
			ch, h, w = cout, (h-1)/s+1, (w-1)/s+1
		case 2:
			x = act(conv(x, ch, ch, ch, 3+2*r.IntN(2), 1))
		case 3: // residual
			y := conv(act(conv(x, ch, ch, 1, 3, 1)), ch, ch, 1, 1, 1)
			x = act(b.node("Add", []string{y, x}))
		case 4: // squeeze and excite
			m := b.node("GlobalAveragePool", []string{x})
			m = conv(b.node("Relu", []string{conv(m, ch, 4, 1, 1, 1)}), 4, ch, 1, 1, 1)
			m = b.node("HardSigmoid", []string{b.node("Add", []string{m, b.weight(0.3, 1, ch, 1, 1)})})
			in := []string{x, m}
			if r.IntN(2) == 0 {
				in[0], in[1] = in[1], in[0]
			}
			x = b.node("Mul", in)
		case 5:
			if h > 2 && w > 2 {
				x = b.node([]string{"MaxPool", "AveragePool"}[r.IntN(2)], []string{x}, intsAttr("kernel_shape", []int{3, 3}),
					intsAttr("strides", []int{1, 1}), intsAttr("pads", []int{1, 1, 1, 1}), model.IntAttr("count_include_pad", int64(r.IntN(2))))
			}
		case 6: // branches
			a, c := act(conv(x, ch, 16, 1, 1, 1)), conv(x, ch, 24, 1, 3, 1)
			x, ch = b.node("Concat", []string{a, c}, model.IntAttr("axis", 1)), 40
		case 7: // an output in the middle, and an operator that knows no blocks
			b.output(x)
			x = b.node("Transpose", []string{b.node("Transpose", []string{x}, intsAttr("perm", []int{0, 1, 3, 2}))}, intsAttr("perm", []int{0, 1, 3, 2}))
		case 8: // a normalisation that no convolution takes in, factors and summands that one does
			x = b.node("Mul", []string{b.weight(1, ch, 1, 1), x})
			x = b.node("Add", []string{x, b.weight(1, 1, ch, 1, 1)})
			x = act(b.node("BatchNormalization", []string{b.node("Mul", []string{x, b.scalar(1.5)}), b.weight(1, ch), b.weight(1, ch), b.weight(1, ch),
				b.constant(randomVariance(b, ch))}))
		}
	}
	b.output(x)
	return in
}

// randomVariance is a tensor of positive numbers.
func randomVariance(b *builder, n int) *model.Tensor {
	v := make([]float32, n)
	for i := range v {
		v[i] = 0.5 + b.r.Float32()
	}
	return model.FromSlice([]int{n}, v)
}
