package quantize_test

import (
	"errors"
	"math"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// TestStoredLeaves: weights that are only stored in fewer bits are left, with the reason, where they hold no number or nothing, and go through
// where they are all zero.
func TestStoredLeaves(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for name, c := range map[string]struct {
		w   *model.Tensor
		why string // "": it is stored
	}{
		"nan":      {with(normal(1, 64, 64), 37, nan), "holds a value that is not finite"},
		"infinite": {with(normal(1, 64, 64), 5, inf), "holds a value that is not finite"},
		"empty":    {normal(1, 64, 0), "empty"},
		"vector":   {normal(1, 64), "a vector"},
		"zeros":    {model.FromSlice([]int{64, 64}, make([]float32, 64*64)), ""},
	} {
		for _, dtype := range []model.DType{model.Float8E4M3FN, model.Float8E5M2, model.Int16, model.Uint16} {
			g := graphOf(values(value("x", 4, 64)), values(value("y", unknown, unknown)), map[string]*model.Tensor{"w": c.w}, node("MatMul", "y", "x", "w"))
			notes, err := quantize.QDQWeights{DType: dtype, Symmetric: dtype == model.Int16}.Apply(g)
			n := noteOf(notes, "w")
			if c.why == "" {
				if err != nil || n.Action == model.Left {
					t.Errorf("%s, %s: %v, %+v", name, dtype, err, n)
				}
				continue
			}
			if !errors.Is(err, quantize.ErrNothing) || n.Action != model.Left || n.Reason != c.why || g.Initializer("w") != c.w {
				t.Errorf("%s, %s: %v, %+v", name, dtype, err, n)
			}
		}
	}
}
