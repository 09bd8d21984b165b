package quantize

import (
	"context"
	"iter"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
)

// TestSensitivities: of two products in a row, the one whose error reaches the output undamped does more harm; figures agree
// with the same sums in float64.
func TestSensitivities(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	random := func(scale float64, shape ...int) *model.Tensor {
		x := make([]float32, shape[0]*shape[1])
		for i := range x {
			x[i] = float32(rng.NormFloat64() * scale)
		}
		return model.FromSlice(shape, x)
	}
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 8},
		Inputs:  []*model.Value{{Name: "x", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(4, 16)}}},
		Outputs: []*model.Value{{Name: "y", Type: model.Type{DType: model.Float32, Shape: model.FixedShape(4, 8)}}}}
	g.SetOpset("", 17)
	g.SetInitializer("good", random(0.2, 16, 12))
	bad := random(0.2, 12, 8)
	x, _ := bad.Float32()
	x[5] = 40 // one scale for all of it is then far too coarse for the others
	g.SetInitializer("bad", model.FromSlice([]int{12, 8}, x))
	g.SetInitializer("unread", random(1, 3, 3))
	g.Nodes = []*model.Node{
		{Op: "MatMul", Inputs: []string{"x", "good"}, Outputs: []string{"h"}},
		{Op: "MatMul", Inputs: []string{"h", "bad"}, Outputs: []string{"y"}},
	}
	feeds := []engine.Feed{{"x": random(1, 4, 16)}, {"x": random(1, 4, 16)}}
	s := Sensing{Scheme: Scheme{DType: model.Int8, Symmetric: true, Granularity: PerTensor},
		Feeds: engine.Feeds{N: 2, All: func() iter.Seq2[engine.Feed, error] {
			return func(yield func(engine.Feed, error) bool) {
				for _, f := range feeds {
					if !yield(f, nil) {
						return
					}
				}
			}
		}},
		Load: func(ctx context.Context, g *model.Graph) (engine.Session, error) {
			return engine.Native{}.Load(ctx, engine.Artifact{Graph: g}, engine.Options{Threads: 1, Profile: true})
		},
		Score: func(context.Context, engine.Session) ([]float64, error) { return []float64{1, 0, 1, 1}, nil },
	}
	list, err := s.Sensitivities(context.Background(), g)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || list[0].Weight != "bad" || list[1].Weight != "good" {
		t.Fatalf("%+v", list)
	}
	for _, r := range list {
		w, _ := g.Initializer(r.Weight).Float32()
		most := 0.0
		for _, v := range w {
			most = max(most, math.Abs(float64(v)))
		}
		signal, noise := 0.0, 0.0
		for _, v := range w {
			d := float64(v) - math.RoundToEven(float64(v)/(most/127))*most/127
			signal += float64(v) * float64(v)
			noise += d * d
		}
		// Scale and quotient are float32 in one and float64 in the other.
		if want := 10 * math.Log10(signal/noise); math.Abs(r.SQNR-want) > 0.01 {
			t.Errorf("%s: %v dB, want %v", r.Weight, r.SQNR, want)
		}
		if r.Score == nil || r.Score.Value != 0 || r.Score.N != 4 || r.Score.CI95 == nil || r.Score.CI95[0] > 0 || r.Score.CI95[1] < 0 || !(r.KL >= 0) || !(r.Output < 100) || !(r.Share >= 0 && r.Share <= 1) {
			t.Errorf("%+v", r)
		}
	}
	if !(list[0].KL > list[1].KL) {
		t.Errorf("divergence %v and %v", list[0].KL, list[1].KL)
	}
	if d := divergence([]float32{0, float32(math.Log(3))}, []float32{0, 0}); math.Abs(d-(0.25*math.Log(0.5)+0.75*math.Log(1.5))) > 1e-7 {
		t.Errorf("divergence of (1/4, 3/4) from (1/2, 1/2): %v", d)
	}
}
