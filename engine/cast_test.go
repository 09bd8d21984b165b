package engine_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestCastsThatLoseNothing converts random bit patterns through chains of three types, with passes and without: the values
// are the same (a NaN may have another payload), and of the conversions that change nothing none is left.
func TestCastsThatLoseNothing(t *testing.T) {
	types := []model.DType{model.Bool, model.Int8, model.Uint8, model.Int16, model.Uint16, model.Int32, model.Uint32, model.Int64, model.Uint64,
		model.Float16, model.BFloat16, model.Float32, model.Float64}
	r := rand.New(rand.NewPCG(8, 8))
	shorter := 0
	for _, a := range types {
		for _, b := range types {
			for _, c := range types {
				g := &model.Graph{Name: "casts", Model: &model.Info{IRVersion: 8, Opsets: []model.Opset{{Version: 13}}},
					Inputs: []*model.Value{{Name: "x", Type: model.Type{DType: a}}}, Outputs: []*model.Value{{Name: "y"}}}
				node := func(op, in, out string, attrs ...model.Attr) {
					g.Nodes = append(g.Nodes, &model.Node{Op: op, Inputs: []string{in}, Outputs: []string{out}, Attrs: attrs})
				}
				node("Cast", "x", "b", model.IntAttr("to", int64(b)))
				node("Flatten", "b", "f")
				node("Cast", "b", "c", model.IntAttr("to", int64(c)))
				node("Cast", "c", "d", model.IntAttr("to", int64(c)))
				node("Flatten", "d", "y", model.IntAttr("axis", 0))
				raw := make([]byte, a.Size(64))
				for i := range raw {
					if raw[i] = byte(r.Uint32()); a == model.Bool {
						raw[i] &= 1
					}
				}
				x, err := model.NewTensor(a, []int{64}, raw)
				if err != nil {
					t.Fatal(err)
				}
				var out [2][]float64
				for i, plain := range []bool{false, true} {
					s := load(t, g, engine.Options{Threads: 1, NoFusion: plain})
					if !plain && s.Info().Ops["Cast"] < 2 {
						shorter++
					}
					if n := s.Info().Ops["Cast"]; !plain && n > 2 {
						t.Errorf("%s to %s to %s: %d conversions", a, b, c, n)
					}
					y, err := s.Run(t.Context(), engine.Feed{"x": x})
					if err != nil {
						t.Fatal(err)
					}
					if out[i], err = engine.Float64s(y["y"]); err != nil {
						t.Fatal(err)
					}
				}
				same := func(x, y float64) bool { return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y }
				if !slices.EqualFunc(out[0], out[1], same) {
					t.Errorf("%s to %s to %s: values differ", a, b, c)
				}
			}
		}
	}
	if shorter < 13*13*3 { // at least one of the first two conversions goes when types repeat, and for every widening
		t.Errorf("%d chains became shorter", shorter)
	}
}
