package quantize_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestHalfOverflow: activations that leave the range of float16 stay in float32, named with their tensor; without calibration
// inputs the same graph gives infinities, and a note says that nobody looked. (float16: largest 65504, IEEE 754.)
func TestHalfOverflow(t *testing.T) {
	big := scaled(normal(1, 16, 32), func(int) float64 { return 5e3 })
	g := graphOf(values(value("x", unknown, 16)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": big, "v": scaled(normal(2, 32, 64), func(int) float64 { return 1e-5 }), "u": normal(3, 64, 8)},
		node("MatMul", "a", "x", "w"), node("Relu", "r", "a"), node("MatMul", "b", "r", "v"), node("MatMul", "y", "b", "u"))
	feeds := staticFeeds(g, 4)
	for _, f := range feeds {
		f["x"] = scaled(f["x"], func(int) float64 { return 20 })
	}
	want := outputs(t, g, feeds)
	blind, seeing := g.Clone(), g.Clone()
	notes, err := quantize.HalfGraph(blind, model.Float16)
	if err != nil {
		t.Fatal(err)
	}
	if n := noteOf(notes, "(model)"); n.Action != "activations not observed" {
		t.Errorf("%+v", n)
	}
	if finite := allFinite(outputs(t, blind, feeds)); finite {
		t.Error("the graph was to overflow in fp16")
	}
	notes, err = quantize.Half{DType: model.Float16, Feeds: feedsOf(feeds...)}.Apply(context.Background(), seeing)
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Validate(seeing); err != nil {
		t.Fatal(err)
	}
	got := outputs(t, seeing, feeds)
	power := 0.0
	for _, y := range want {
		for _, v := range y {
			power += float64(v) * float64(v)
		}
	}
	if d := distance(want, got); !(d < power*1e-4) { // 11 bits of every factor: 60 dB, over two products
		t.Errorf("squared error %g of %g", d, power)
	}
	text := ""
	for _, n := range notes {
		text += n.Reason + "\n"
	}
	for _, name := range []string{`"a" reaches`, `"r" reaches`, `"r", which it reads, reaches`} {
		if !strings.Contains(text, name) {
			t.Errorf("no note has %s: %s", name, text)
		}
	}
	if n := noteOf(notes, "(model)"); n.Action != "observed 5 activations" || n.Reason != "2 of them leave the range of fp16 in 4 runs of calibration inputs" {
		t.Errorf("%+v", n)
	}
	if n := noteOf(notes, "u"); n.Action != "fp16" {
		t.Errorf("%+v", n)
	}
}

func allFinite(all [][]float32) bool {
	for _, y := range all {
		for _, v := range y {
			if v-v != 0 {
				return false
			}
		}
	}
	return true
}

// TestHalfOverflowInBodies: values of a Loop, also those that enter its body, are seen.
func TestHalfOverflowInBodies(t *testing.T) {
	g := loopGraph(normal(1, 8, 8), 2e5)
	notes, err := quantize.Half{DType: model.Float16, Feeds: feedsOf(engine.Feed{"x": normal(5, 4, 8)})}.Apply(context.Background(), g)
	if !errors.Is(err, quantize.ErrNothing) { // the only weight is read by a product that overflows
		t.Fatal(err)
	}
	text := ""
	for _, n := range notes {
		text += n.Reason + "\n"
	}
	if !strings.Contains(text, `"m" reaches`) {
		t.Errorf("notes %s", text)
	}
}

// TestHalfExclude: nodes named by operator, output or weight stay in float32.
func TestHalfExclude(t *testing.T) {
	g := graphOf(values(value("x", unknown, 16)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": normal(1, 16, 32), "v": normal(2, 32, 32), "u": normal(3, 32, 8)},
		node("MatMul", "a", "x", "w"), node("Sigmoid", "s", "a"), node("MatMul", "b", "s", "v"), node("MatMul", "y", "b", "u"))
	notes, err := quantize.Half{DType: model.BFloat16, Exclude: []string{"Sig*", "u"}}.Apply(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	if n := noteOf(notes, "u"); n.Action != model.Left || n.Reason != "read by MatMul, computed in float32" {
		t.Errorf("%+v", n)
	}
	if n := noteOf(notes, "v"); n.Action != "bf16" {
		t.Errorf("%+v", n)
	}
	kept := 0
	for _, n := range notes {
		if strings.HasPrefix(n.Reason, "computed in float32: excluded by") {
			kept++
		}
	}
	if kept != 2 {
		t.Errorf("notes %+v", notes)
	}
	if _, err := (quantize.Half{DType: model.Float16, Exclude: []string{"["}}).Apply(context.Background(), g); err == nil {
		t.Error("a pattern without an end is accepted")
	}
}

// loopGraph multiplies x by factor and then by w three times in a Loop: the state "s" enters the body, "m" is its product.
func loopGraph(w *model.Tensor, factor float32) *model.Graph {
	body := &model.Graph{Name: "body", Inputs: []*model.Value{{Name: "i", Type: model.Type{DType: model.Int64, Shape: model.FixedShape()}}, {Name: "c", Type: model.Type{DType: model.Bool, Shape: model.FixedShape()}}, value("s", unknown, 8)},
		Outputs: []*model.Value{{Name: "c2", Type: model.Type{DType: model.Bool, Shape: model.FixedShape()}}, value("m", unknown, 8)},
		Nodes:   []*model.Node{node("Identity", "c2", "c"), node("MatMul", "m", "s", "w")}}
	return graphOf(values(value("x", unknown, 8)), values(value("y", unknown, 8)), map[string]*model.Tensor{"w": w, "f": model.Scalar(factor),
		"trips": model.Scalar(int64(3)), "go": model.Scalar(true)},
		node("Mul", "h", "x", "f"), having(node("Loop", "y", "trips", "go", "h"), model.Attr{Name: "body", Kind: model.AttrGraph, G: body}))
}
