package engine_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// unfused are patterns of x that the passes find, with shapes of x for which the operators they find have no form: what broadcasting makes larger, and
// what has no elements.
var unfused = map[string]struct {
	build func(b *builder, x string) string
	rank  int
	feeds [][]int
}{
	"layer norm of one column": {func(b *builder, x string) string {
		d := b.node("Sub", []string{x, b.node("ReduceMean", []string{x}, model.IntsAttr("axes", -1))})
		v := b.node("ReduceMean", []string{b.node("Pow", []string{d, b.scalar(2)})}, model.IntsAttr("axes", -1))
		y := b.node("Div", []string{d, b.node("Sqrt", []string{b.node("Add", []string{v, b.scalar(1e-5)})})})
		return b.node("Add", []string{b.node("Mul", []string{y, b.weight(1, 6)}), b.weight(1, 6)})
	}, 3, [][]int{{2, 3, 6}, {2, 3, 1}, {2, 0, 6}, {0, 3, 1}}},
	"layer norm with a number of four dimensions": {func(b *builder, x string) string {
		eps := b.constant(model.FromSlice([]int{1, 1, 1, 1}, []float32{1e-5}))
		d := b.node("Sub", []string{x, b.node("ReduceMean", []string{x}, model.IntsAttr("axes", -1))})
		v := b.node("ReduceMean", []string{b.node("Pow", []string{d, b.scalar(2)})}, model.IntsAttr("axes", -1))
		y := b.node("Div", []string{d, b.node("Sqrt", []string{b.node("Add", []string{v, eps})})})
		return b.node("Add", []string{b.node("Mul", []string{y, b.weight(1, 6)}), b.weight(1, 6)})
	}, 2, [][]int{{2, 6}}},
	"attention masked by its own scores": {func(b *builder, x string) string {
		p := scoresOf(b, x)
		p = b.node("Softmax", []string{b.node("Add", []string{p, p})}, model.IntAttr("axis", -1))
		return b.node("MatMul", []string{p, twoHeads(b, x, 0, 2, 1, 3)})
	}, 3, [][]int{{2, 7, 8}}},
	"attention to its own scores": {func(b *builder, x string) string {
		p := scoresOf(b, x)
		return b.node("MatMul", []string{b.node("Softmax", []string{p}, model.IntAttr("axis", -1)), p})
	}, 3, [][]int{{2, 7, 8}}},
	"attention guarded by a number of five dimensions": {func(b *builder, x string) string {
		p := b.node("Softmax", []string{scoresOf(b, x)}, model.IntAttr("axis", -1))
		p = b.node("Where", []string{b.node("IsNaN", []string{p}), b.constant(model.FromSlice([]int{1, 1, 1, 1, 1}, []float32{0})), p})
		return b.node("MatMul", []string{p, twoHeads(b, x, 0, 2, 1, 3)})
	}, 3, [][]int{{2, 7, 8}}},
	"rms norm of one column": {func(b *builder, x string) string {
		v := b.node("ReduceMean", []string{b.node("Mul", []string{x, x})}, model.IntsAttr("axes", -1))
		y := b.node("Div", []string{x, b.node("Sqrt", []string{b.node("Add", []string{v, b.scalar(1e-5)})})})
		return b.node("Mul", []string{y, b.weight(1, 6)})
	}, 3, [][]int{{2, 3, 6}, {2, 3, 1}, {2, 0, 6}}},
	"gelu with a number of four dimensions": {func(b *builder, x string) string {
		one := func(v float32) string { return b.constant(model.FromSlice([]int{1, 1, 1, 1}, []float32{v})) }
		e := b.node("Erf", []string{b.node("Div", []string{x, one(math.Sqrt2)})})
		return b.node("Mul", []string{b.node("Mul", []string{x, b.node("Add", []string{e, b.scalar(1)})}), b.scalar(0.5)})
	}, 2, [][]int{{2, 3}, {0, 3}}},
	"hard swish with a number of four dimensions": {func(b *builder, x string) string {
		three := b.constant(model.FromSlice([]int{1, 1, 1, 1}, []float32{3}))
		h := b.node("Clip", []string{b.node("Add", []string{x, three}), b.scalar(0), b.scalar(6)})
		return b.node("Div", []string{b.node("Mul", []string{x, h}), b.scalar(6)})
	}, 3, [][]int{{2, 3, 4}}},
	"attention to no keys": {attended, 3, [][]int{{2, 7, 8}, {2, 2, 8}, {2, 0, 8}, {0, 5, 8}}},
	"largest byte of padding": {func(b *builder, x string) string {
		s, z := b.scalar(0.01), b.constant(model.Scalar(uint8(128)))
		q := func(x string) string {
			return b.node("DequantizeLinear", []string{b.node("QuantizeLinear", []string{x, s, z}), s, z})
		}
		s2, z2 := b.scalar(0.03), b.constant(model.Scalar(uint8(200)))
		y := b.node("MaxPool", []string{q(x)}, model.IntsAttr("kernel_shape", 2, 2), model.IntsAttr("pads", 1, 1, 1, 1))
		return b.node("DequantizeLinear", []string{b.node("QuantizeLinear", []string{y, s2, z2}), s2, z2})
	}, 4, [][]int{{1, 3, 4, 4}, {1, 3, 0, 4}, {1, 3, 1, 1}}},
}

// twoHeads is a product of x as two heads of 4, transposed.
func twoHeads(b *builder, x string, perm ...int64) string {
	r := b.node("Reshape", []string{b.linear(x, 8, 8), b.ints(0, 0, 2, 4)})
	return b.node("Transpose", []string{r}, model.IntsAttr("perm", perm...))
}

// scoresOf is the product of queries and keys of x.
func scoresOf(b *builder, x string) string {
	return b.node("MatMul", []string{twoHeads(b, x, 0, 2, 1, 3), twoHeads(b, x, 0, 2, 3, 1)})
}

// attended is attention of x to all but its first two rows, two heads of 4.
func attended(b *builder, x string) string {
	y := b.node("Slice", []string{x, b.ints(2), b.ints(100), b.ints(1)})
	p := b.node("Mul", []string{b.node("MatMul", []string{twoHeads(b, x, 0, 2, 1, 3), twoHeads(b, y, 0, 2, 3, 1)}), b.scalar(0.5)})
	p = b.node("Softmax", []string{p}, model.IntAttr("axis", -1))
	o := b.node("Transpose", []string{b.node("MatMul", []string{p, twoHeads(b, y, 0, 2, 1, 3)})}, model.IntsAttr("perm", 0, 2, 1, 3))
	return b.node("Reshape", []string{o, b.ints(0, 0, 8)})
}

// TestUnfusedShapes: what a pass finds gives for every shape what its operators give one by one, within 1e-5 of the largest, since sums are taken in
// another order; or both fail.
func TestUnfusedShapes(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 15))
	for name, c := range unfused {
		b := newBuilder(4, 13)
		shape := make(model.Shape, c.rank)
		for i := range shape {
			shape[i] = model.Dim{Size: -1, Param: string(rune('a' + i))}
		}
		if c.rank > 2 { // known where a weight says it
			shape[2].Size = map[bool]int64{true: 8, false: -1}[c.feeds[0][2] == 8]
		}
		b.output(c.build(b, b.input("x", model.Float32, shape)))
		plain := load(t, b.g, engine.Options{NoFusion: true})
		fused := load(t, b.g, engine.Options{})
		for _, s := range c.feeds {
			feed := engine.Feed{"x": randomTensor(r, 1, s...)}
			want, err := plain.Run(t.Context(), feed)
			got, err2 := fused.Run(t.Context(), feed)
			if err != nil || err2 != nil {
				if (err == nil) != (err2 == nil) {
					t.Errorf("%s, %v: %v, one by one %v", name, s, err2, err)
				}
				continue
			}
			y := b.g.Outputs[0].Name
			a, _ := got[y].Float32()
			w, _ := want[y].Float32()
			if !slices.Equal(got[y].Shape(), want[y].Shape()) {
				t.Errorf("%s, %v: shape %v, one by one %v", name, s, got[y].Shape(), want[y].Shape())
				continue
			}
			largest := float32(0)
			for _, v := range w {
				largest = max(largest, v, -v)
			}
			for i, v := range w {
				if d := math.Abs(float64(a[i] - v)); !(d <= 1e-5*float64(largest)) {
					t.Errorf("%s, %v: element %d is %v, one by one %v", name, s, i, a[i], v)
					break
				}
			}
		}
	}
}
