package grad

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// refStep is one step of an optimiser in float64, from the papers' formulas.
type refStep func(w, g float64, s []float64, lr float64, t int) float64

func adamRef(wd, l2 float64) refStep {
	return func(w, g float64, s []float64, lr float64, t int) float64 {
		g += l2 * w
		s[0] = 0.9*s[0] + 0.1*g
		s[1] = 0.999*s[1] + 0.001*g*g
		m, v := s[0]/(1-math.Pow(0.9, float64(t))), s[1]/(1-math.Pow(0.999, float64(t)))
		return w - lr*wd*w - lr*m/(math.Sqrt(v)+1e-8)
	}
}

func TestOptimizers(t *testing.T) {
	for name, c := range map[string]struct {
		o     Optimizer
		ref   refStep
		decay bool
	}{
		"AdamW":          {AdamW{WeightDecay: 0.1}, adamRef(0.1, 0), true},
		"AdamW no decay": {AdamW{WeightDecay: 0.1}, adamRef(0, 0), false},
		"Adam":           {Adam{L2: 0.1}, adamRef(0, 0.1), true},
		"SGD":            {SGD{}, func(w, g float64, _ []float64, lr float64, _ int) float64 { return w - lr*g }, true},
		"momentum": {SGD{Momentum: 0.9, WeightDecay: 0.1}, func(w, g float64, s []float64, lr float64, _ int) float64 {
			s[0] = 0.9*s[0] + g
			return w*(1-lr*0.1) - lr*s[0]
		}, true},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		const n = 37
		w, g, want := make([]float32, n), make([]float32, n), make([]float64, n)
		slots, ref := make([][]float32, c.o.Slots()), make([][]float64, n)
		for k := range slots {
			slots[k] = make([]float32, n)
		}
		for i := range w {
			w[i] = float32(r.NormFloat64())
			want[i], ref[i] = float64(w[i]), make([]float64, 2)
		}
		for step := 1; step <= 20; step++ {
			for i := range g {
				g[i] = float32(r.NormFloat64())
				want[i] = c.ref(want[i], float64(g[i]), ref[i], 0.01, step)
			}
			c.o.Update(w, g, slots, 0.01, step, c.decay)
		}
		// 20 steps with a handful of roundings of 2^-24 each; the square root of the second moment passes on half of its
		// relative error, and float32 forms of 0.999 and 1-0.999 differ from the decimal ones by 5e-5 of the latter
		for i := range w {
			if d := math.Abs(float64(w[i]) - want[i]); d > 2e-5*math.Max(1, math.Abs(want[i])) {
				t.Errorf("%s: w[%d] = %g, want %g", name, i, w[i], want[i])
			}
		}
	}
}

func TestClipNorm(t *testing.T) {
	grads := [][]float32{{3, 0}, {0, 4}}
	norm, err := ClipNorm(grads, 1)
	if err != nil || norm != 5 {
		t.Fatalf("norm %g, %v; want 5", norm, err)
	}
	if math.Abs(float64(grads[0][0])-0.6) > 1e-7 || math.Abs(float64(grads[1][1])-0.8) > 1e-7 {
		t.Errorf("clipped to %v, want 0.6 and 0.8", grads)
	}
	grads = [][]float32{{3, 0}, {0, 4}}
	for _, limit := range []float32{0, 5} {
		if _, err := ClipNorm(grads, limit); err != nil || grads[0][0] != 3 {
			t.Errorf("limit %g changed the gradient to %v, %v", limit, grads, err)
		}
	}
	if _, err := ClipNorm([][]float32{{float32(math.NaN())}}, 1); err == nil {
		t.Error("no error for a NaN")
	}
	if _, err := ClipNorm([][]float32{{float32(math.Inf(1))}}, 1); err == nil {
		t.Error("no error for an infinity")
	}
}

func TestSchedules(t *testing.T) {
	if f := (Constant{}).Factor(7, 10); f != 1 {
		t.Errorf("constant: %g", f)
	}
	s := Cosine{Warmup: 0.1, Floor: 0.2}
	for step := 1; step <= 110; step++ {
		want := float64(step) / 10
		if step > 10 {
			x := math.Min(float64(step-10)/90, 1)
			want = 0.2 + 0.8*(1+math.Cos(math.Pi*x))/2
		}
		if f := s.Factor(step, 100); math.Abs(float64(f)-want) > 1e-6 { // a handful of roundings of numbers up to 2
			t.Errorf("step %d: factor %g, want %g", step, f, want)
		}
	}
	if f := (Cosine{}).Factor(1, 1); math.IsNaN(float64(f)) || f < 0 || f > 1 {
		t.Errorf("one step: %g", f)
	}
	if f := (Cosine{Warmup: 1}).Factor(10, 10); f != 1 {
		t.Errorf("warm-up to the end: %g", f)
	}
}

func TestDecays(t *testing.T) {
	g := &model.Graph{Nodes: []*model.Node{{Op: "LSTM", Inputs: []string{"x", "W", "R", "B"}}}}
	for name, shape := range map[string][]int{"W": {1, 4, 2}, "R": {1, 4, 1}, "B": {1, 8}, "bias": {3}, "linear": {2, 3}} {
		g.SetInitializer(name, model.FromSlice(shape, make([]float32, product(shape))))
	}
	for name, want := range map[string]bool{"W": true, "R": true, "B": false, "bias": false, "linear": true, "none": false} {
		if Decays(g, name) != want {
			t.Errorf("Decays(%q) = %v", name, !want)
		}
	}
}
