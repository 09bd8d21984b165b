package quantize_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestDataFree: for a normalized convolutional model with the inputs that it assumes, ranges from the weights alone give
// nearly what calibration gives.
func TestDataFree(t *testing.T) {
	w := map[string]*model.Tensor{"w1": normal(1, 16, 3, 3, 3), "s1": positive(2, 16), "t1": normal(3, 16), "m1": scaled(normal(4, 16), func(int) float64 { return 0.1 }), "v1": scaled(positive(5, 16), func(int) float64 { return 27 }),
		"w2": scaled(normal(6, 16, 16, 1, 1), func(int) float64 { return 0.25 }), "b2": normal(7, 16), "w3": scaled(normal(8, 10, 16), func(int) float64 { return 0.25 })}
	g := graphOf(values(value("x", unknown, 3, 12, 12)), values(value("y", unknown, 10)), w,
		node("Conv", "a", "x", "w1"), node("BatchNormalization", "n", "a", "s1", "t1", "m1", "v1"), node("Relu", "r", "n"), node("Conv", "c", "r", "w2", "b2"), node("Add", "d", "r", "c"),
		node("GlobalAveragePool", "p", "d"), node("Flatten", "f", "p"), having(node("Gemm", "y", "f", "w3"), model.IntAttr("transB", 1)))
	feeds := staticFeeds(g, 8)
	want := outputs(t, g, feeds)
	calibrated, _ := quantized(t, g, quantize.Static{}, feeds)
	free := g.Clone()
	notes, err := quantize.Static{DataFree: true}.Apply(context.Background(), free, engine.Feeds{})
	if err != nil {
		t.Fatal(err)
	}
	said := false
	for _, n := range notes {
		said = said || n.Weight == "(model)" && n.Reason == "six standard deviations over the weights alone, without data (inputs taken as standard normal)"
	}
	if !said {
		t.Errorf("no note says that no data were used: %+v", notes)
	}
	power := distance(want, zeros(want))
	a, b := 10*math.Log10(power/distance(want, outputs(t, calibrated, feeds))), 10*math.Log10(power/distance(want, outputs(t, free, feeds)))
	// ranges of six deviations where the data reach four: a bit, or 6 dB, and another for sums of correlated values
	if b < a-15 || b < 15 {
		t.Errorf("%.1f dB above the noise, %.1f dB with calibration", b, a)
	}
	unruly := graphOf(values(value("x", unknown, 16)), values(value("y", unknown, 16)), map[string]*model.Tensor{"w": normal(1, 16, 16)}, node("Exp", "h", "x"), node("MatMul", "y", "h", "w"))
	if _, err := (quantize.Static{DataFree: true}).Apply(context.Background(), unruly, engine.Feeds{}); !errors.Is(err, quantize.ErrNoFeeds) {
		t.Errorf("a value without a rule: %v", err)
	}
}

// zeros returns zeros of the shape of x.
func zeros(x [][]float32) [][]float32 {
	out := make([][]float32, len(x))
	for i := range x {
		out[i] = make([]float32, len(x[i]))
	}
	return out
}
