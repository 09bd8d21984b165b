package quantize_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// weightOnly applies the settings to a clone of g.
func weightOnly(t testing.TB, g *model.Graph, o quantize.WeightOnly) (*model.Graph, []model.Note) {
	t.Helper()
	h := g.Clone()
	notes, err := o.Apply(context.Background(), h)
	if err != nil {
		t.Fatalf("%+v: %v", o, err)
	}
	if err := model.Validate(h); err != nil {
		t.Fatalf("%+v: the written graph is not valid: %v", o, err)
	}
	return h, notes
}

func TestWeightOnlyLeaves(t *testing.T) {
	x, out := values(value("x", 4, 64)), values(value("y", unknown, unknown))
	for name, c := range map[string]struct {
		w     *model.Tensor
		nodes []*model.Node
		why   string
	}{
		"nan":             {with(normal(1, 64, 64), 37, float32(math.NaN())), []*model.Node{node("MatMul", "y", "x", "w")}, "holds a value that is not finite"},
		"left-hand side":  {normal(1, 64, 4), []*model.Node{node("MatMul", "y", "w", "x")}, "input 0 of MatMul, not its right-hand side"},
		"stack":           {normal(1, 3, 64, 4), []*model.Node{node("MatMul", "y", "x", "w")}, "a stack of matrices, of rank 3"},
		"vector":          {normal(1, 64), []*model.Node{node("MatMul", "y", "x", "w")}, "a vector"},
		"empty":           {normal(1, 64, 0), []*model.Node{node("MatMul", "y", "x", "w")}, "empty"},
		"other operator":  {normal(1, 4, 64), []*model.Node{node("Mul", "y", "x", "w")}, "read by Mul, which has no weight-only form"},
		"convolution":     {normal(1, 4, 64, 3, 3), []*model.Node{node("Conv", "y", "x", "w")}, "read by Conv, which has no weight-only form"},
		"also read plain": {normal(1, 64, 64), []*model.Node{node("MatMul", "a", "x", "w"), node("Transpose", "b", "w"), node("MatMul", "y", "a", "b")}, "read by Transpose, which has no weight-only form"},
		"odd table":       {normal(1, 600, 63), []*model.Node{node("Gather", "y", "w", "i")}, "rows of 63 elements, which do not fill bytes"},
		"unread":          {normal(1, 64, 64), []*model.Node{node("Relu", "y", "x")}, "no node reads it"},
	} {
		g := graphOf(x, out, map[string]*model.Tensor{"w": c.w, "i": model.FromSlice([]int{1}, []int64{3})}, c.nodes...)
		notes, err := quantize.WeightOnly{}.Apply(context.Background(), g)
		if !errors.Is(err, quantize.ErrNothing) || noteOf(notes, "w").Action != model.Left || noteOf(notes, "w").Reason != c.why {
			t.Errorf("%s: %v, %+v", name, err, notes)
		}
		if g.Initializer("w") != c.w || g.Nodes[0].Op != c.nodes[0].Op {
			t.Errorf("%s: the graph was changed", name)
		}
	}
}

func TestWeightOnlyRefuses(t *testing.T) {
	g := graphOf(values(value("x", 4, 64)), values(value("y", 4, 64)), map[string]*model.Tensor{"w": normal(1, 64, 64)}, node("MatMul", "y", "x", "w"))
	for _, o := range []quantize.WeightOnly{{Bits: 3}, {Group: 8}, {Group: 48}, {Group: -2}, {Algorithm: "best"}, {Format: "gguf"}, {Ops: []string{"Conv"}},
		{Algorithm: quantize.GPTQ}, {Algorithm: quantize.AWQ}} {
		if _, err := o.Apply(context.Background(), g.Clone()); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	quantized := func(op, domain string) *model.Graph {
		n := node(op, "q", "x", "s")
		n.Domain = domain
		return graphOf(values(value("x", 4, 64)), values(value("y", 4, 64)), map[string]*model.Tensor{"w": normal(1, 64, 64), "s": model.Scalar(float32(1))},
			n, node("MatMul", "y", "x", "w"))
	}
	for _, g := range []*model.Graph{quantized("MatMulInteger", ""), quantized("ConvInteger", ""), quantized("DynamicQuantizeLSTM", "com.microsoft"),
		quantized("DequantizeLinear", ""), quantized("MatMulNBits", "com.microsoft"), quantized("QLinearConv", "")} {
		if _, err := (quantize.WeightOnly{}).Apply(context.Background(), g); !errors.Is(err, quantize.ErrQuantized) {
			t.Errorf("%s: %v", g.Nodes[0].Op, err)
		}
	}
}

// TestWeightOnlyError: no weight is further from the original than half a step of its group, in both formats.
func TestWeightOnlyError(t *testing.T) {
	const k, n = 100, 30
	w := normal(1, k, n)
	x, _ := w.Float32()
	for _, o := range []quantize.WeightOnly{{}, {Symmetric: true}, {Bits: 8}, {Bits: 8, Symmetric: true, Group: 64}, {Group: quantize.WholeChannel}} {
		o.Format = quantize.QDQ
		g := graphOf(values(value("x", unknown, k)), values(value("y", unknown, n)), map[string]*model.Tensor{"w": w}, node("MatMul", "y", "x", "w"))
		h, notes := weightOnly(t, g, o)
		q, err := h.Initializer("w_quantized").Float32()
		if err != nil {
			t.Fatal(err)
		}
		s, _ := h.Initializer("w_scale").Float32()
		z := make([]float32, len(s))
		if zero := h.Initializer("w_zero_point"); zero != nil {
			z, _ = zero.Float32()
		}
		block := int(h.Nodes[0].Int("block_size", 0))
		for i := range x {
			at := i/n/block*n + i%n
			step := math.Abs(float64(s[at]))
			limit := 0.5
			if o.Symmetric { // the extreme of the other sign has no code of its own
				limit = 1
			}
			if d := math.Abs(float64(x[i]) - float64(q[i]-z[at])*float64(s[at])); d > step*limit*(1+1e-4) {
				t.Fatalf("%+v: weight %d: %v from %v of %v", o, i, d, q[i], step)
			}
		}
		if h.Opset("") != 21 || len(notes) != 2 || notes[0].Weight != "(model)" {
			t.Errorf("%+v: opset %d, notes %+v", o, h.Opset(""), notes)
		}
	}
}
