//go:build !static

package quantize_test

import (
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

func TestHalfWeightsLeaves(t *testing.T) {
	big, inf := float32(65520), float32(math.Inf(1))
	w := map[string]*model.Tensor{"fits": with(normal(1, 16, 16), 3, 65519), "beyond": with(normal(2, 16, 16), 7, -big), "infinite": with(normal(3, 16, 16), 0, inf),
		"small": normal(4, 63), "zero": with(normal(5, 16, 16), 9, 1e-9), "int": model.FromSlice([]int{64}, make([]int64, 64)), "scale": normal(6, 64)}
	g := graphOf(values(value("x", 16, 16)), values(value("y", 16, 16)), w, node("MatMul", "a", "x", "fits"), node("MatMul", "b", "a", "beyond"),
		node("MatMul", "c", "b", "infinite"), node("MatMul", "y", "c", "zero"), node("Mul", "m", "small", "small"), node("Reshape", "r", "c", "int"),
		node("DequantizeLinear", "d", "x", "scale"))
	h := g.Clone()
	notes, err := quantize.HalfWeights(h, model.Float16)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][2]string{"fits": {"fp16", ""}, "beyond": {model.Left, "element 7 is -65520, beyond the range of fp16"}, "infinite": {"fp16", ""},
		"small": {model.Left, "fewer than 64 elements"}, "zero": {"fp16", "1 of 256 values are too small and become 0"}, "int": {model.Left, "stored as int64"},
		"scale": {model.Left, "read by DequantizeLinear, a quantized operator"}} {
		if n := noteOf(notes, name); n.Action != want[0] || n.Reason != want[1] {
			t.Errorf("%s: %+v, want %q", name, n, want)
		}
	}
	if notes, err = quantize.HalfWeights(g, model.BFloat16); err != nil || noteOf(notes, "beyond").Action != "bf16" {
		t.Errorf("bf16: %v, %+v", err, noteOf(notes, "beyond"))
	}
	x, err := h.Initializer("fits_fp16").Float32()
	if err != nil || x[3] != 65504 || h.Initializer("fits") != nil {
		t.Errorf("%v, %v", x[:4], err)
	}
	if x, err := h.Initializer("infinite_fp16").Float32(); err != nil || x[0] != inf {
		t.Errorf("%v, %v", x[:4], err)
	}
}

func TestHalfErrors(t *testing.T) {
	g := graphOf(values(value("x", 4, 16)), values(value("y", 4, 16)), map[string]*model.Tensor{"w": with(normal(1, 16, 16), 0, 1e9)}, node("MatMul", "y", "x", "w"))
	for name, apply := range map[string]func(*model.Graph, model.DType) ([]model.Note, error){"weights": func(g *model.Graph, d model.DType) ([]model.Note, error) { return quantize.HalfWeights(g, d) }, "graph": quantize.HalfGraph} {
		if _, err := apply(g, model.Int8); err == nil {
			t.Errorf("%s: int8 is accepted", name)
		}
		if notes, err := apply(g, model.Float16); !errors.Is(err, quantize.ErrNothing) || noteOf(notes, "w").Reason != "element 0 is 1e+09, beyond the range of fp16" {
			t.Errorf("%s: %v, %+v", name, err, notes)
		}
		if len(g.Nodes) != 1 || g.Initializer("w").DType() != model.Float32 {
			t.Errorf("%s: the graph was changed", name)
		}
	}
	m3 := loadAsset(t, "M3/all-minilm-l6-v2-q.onnx")
	if _, err := quantize.HalfWeights(m3, model.Float16); !errors.Is(err, quantize.ErrNothing) || !errors.Is(err, quantize.ErrQuantized) {
		t.Errorf("a quantized model: %v", err)
	}
}

// TestHalfGraphShares: two readers of one value share a Cast, and a weight read both ways is stored twice.
func TestHalfGraphShares(t *testing.T) {
	g := graphOf(values(value("x", 4, 16)), values(value("y", 4, 16), value("p", 4, 16)), map[string]*model.Tensor{"w": normal(1, 16, 16), "v": normal(2, 16, 16), "e": normal(3, 4, 16)},
		node("MatMul", "a", "x", "w"), node("MatMul", "b", "x", "v"), node("Add", "s", "a", "b"), node("Add", "y", "s", "e"), node("Pow", "p", "y", "e"))
	notes, err := quantize.HalfGraph(g, model.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Validate(g); err != nil {
		t.Error(err)
	}
	h := histogram(g)
	if h["Cast"] != 3 { // of x once, of y for the output, of y for Pow
		t.Errorf("operators %v", h)
	}
	if n := noteOf(notes, "e"); n.Reason != "kept as float32 too, for Pow" || n.BytesAfter != n.BytesBefore*3/2 {
		t.Errorf("%+v", n)
	}
	if g.Initializer("w").DType() != model.Float16 || g.Initializer("e").DType() != model.Float32 || g.Initializer("e_fp16").DType() != model.Float16 {
		t.Error("weights are stored otherwise")
	}
	if n := noteOf(notes, "(1 nodes)"); n.Action != model.Left || len(n.Ops) != 1 || n.Ops[0] != "Pow" {
		t.Errorf("%+v", n)
	}
}
