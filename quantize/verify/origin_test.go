package verify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/quantize/verify"
)

// TestAgainstInfinities: infinities that both models have are no difference, and a value that became one is a difference that JSON can hold.
func TestAgainstInfinities(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		to   float32
		json string
	}{{inf, `"max_abs":0.25`}, {0, `"max_abs":null`}, {float32(math.NaN()), `"max_abs":null`}} {
		original, g := float(), float()
		edit(original, "table", func(x []float32) { x[7], x[len(x)-1] = 0.5, inf })
		edit(g, "table", func(x []float32) { x[7], x[len(x)-1] = 0.25, c.to })
		restored, _ := verify.Against(g, original)
		if len(restored) != 1 || c.to == inf && (restored[0].Max != 0.25 || restored[0].SQNR < 20) {
			t.Fatalf("%+v", restored)
		}
		if b, err := json.Marshal(restored); err != nil || !strings.Contains(string(b), c.json) || strings.Count(string(b), "sqnr_db") != 1 {
			t.Errorf("%s, %v, want %s", b, err, c.json)
		}
	}
}

// TestAgainstPruned: float weights that were pruned are in the list with their zeros; the error is that of the weights taken away.
func TestAgainstPruned(t *testing.T) {
	g := float()
	edit(g, "table", func(x []float32) {
		for i, v := range x {
			if math.Abs(float64(v)) < 0.6745 { // half of a normal distribution
				x[i] = 0
			}
		}
	})
	restored, found := verify.Against(g, float())
	if len(restored) != 1 || len(found) != 0 {
		t.Fatalf("%+v, %v", restored, found)
	}
	r := restored[0]
	// the inner half of a normal distribution has 0.0716 of its variance, which is 11.45 dB
	if r.Weight != "table" || r.DType != "float32" || r.Zeros == nil || math.Abs(*r.Zeros-0.5) > 0.02 || math.Abs(r.SQNR-11.45) > 0.5 || r.Max > 0.6745 {
		t.Errorf("%+v, zeros %v", r, *r.Zeros)
	}
	if restored, found = verify.Against(float(), float()); len(restored) != 0 || len(found) != 0 {
		t.Errorf("the same model: %+v, %v", restored, found)
	}
}

// TestAgainstAnother: a model that was not made from the original has one finding, which says so, whether its weights have other shapes,
// other values, other names, or are quantized besides.
func TestAgainstAnother(t *testing.T) {
	renewed := func(g *model.Graph) *model.Graph {
		for i, name := range []string{"table", "w1", "w2", "W", "R"} {
			g.SetInitializer(name, normal(uint64(40+i), g.Initializer(name).Shape()...))
		}
		return g
	}
	narrow := float()
	for name, shape := range map[string][]int{"table": {200, 32}, "w1": {32, 16}, "w2": {12, 16}, "W": {1, 16, 12}, "R": {1, 16, 4}} {
		narrow.SetInitializer(name, normal(9, shape...))
	}
	renamed := float()
	for _, name := range []string{"table", "w1", "w2", "W", "R"} {
		tensor := renamed.Initializer(name)
		renamed.SetInitializer("other."+name, tensor)
		for _, n := range renamed.Nodes {
			if i := slices.Index(n.Inputs, name); i >= 0 {
				n.Inputs[i] = "other." + name
			}
		}
		renamed.RemoveInitializer(name)
	}
	quantized := renewed(float())
	if _, err := (quantize.Dynamic{}).Apply(quantized); err != nil {
		t.Fatal(err)
	}
	for what, g := range map[string]*model.Graph{"other values": renewed(float()), "other shapes": narrow, "quantized": quantized, "other names": renamed} {
		restored, found := verify.Against(g, float())
		if len(found) != 1 || found[0].Rule != verify.RuleOrigin || !strings.Contains(found[0].What, "not a quantization of that model") || len(restored) > 0 {
			t.Errorf("%s: %v, %+v", what, found, restored)
		}
	}
}

// TestAgainstFolded: a weight whose channels a folded BatchNormalization rescaled is compared but for the scale; another one of the same name
// is not taken for it.
func TestAgainstFolded(t *testing.T) {
	original := &model.Graph{Name: "o", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x", model.Float32, 1, 8, 6, 6)}, Outputs: []*model.Value{value("y", model.Float32, 1, 16, 6, 6)}}
	original.SetOpset("", 17)
	original.SetInitializer("w", normal(1, 16, 8, 1, 1))
	for i, name := range []string{"s", "b", "m", "v"} {
		original.SetInitializer(name, normal(uint64(2+i), 16))
		edit(original, name, func(x []float32) {
			for i := range x {
				x[i] = float32(math.Abs(float64(x[i]))) + 0.1
			}
		})
	}
	original.Nodes = []*model.Node{{Op: "Conv", Name: "conv", Inputs: []string{"x", "w"}, Outputs: []string{"c"}},
		{Op: "BatchNormalization", Name: "norm", Inputs: []string{"c", "s", "b", "m", "v"}, Outputs: []string{"y"}}}
	for _, seed := range []uint64{1, 77} {
		g := original.Clone()
		g.SetInitializer("w", normal(seed, 16, 8, 1, 1))
		if _, err := (quantize.Static{DataFree: true}).Apply(context.Background(), g, engine.Feeds{}); err != nil {
			t.Fatal(err)
		}
		restored, found := verify.Against(g, original)
		same := len(found) == 0 && len(restored) == 1 && restored[0].SQNR > 30 // 7 bits: 36 dB and some
		if same != (seed == 1) {
			t.Errorf("seed %d: %+v, %v", seed, restored, found)
		}
		if seed != 1 {
			continue
		}
		// What Stored gives is the same weight in the original's scale: channels of any factor keep a ratio above 30 dB.
		w, _ := original.Initializer("w").Float32()
		one, ok := verify.Stored(g, original, "w")
		if !ok || one.SQNR != restored[0].SQNR || len(one.Values) != len(w) || !(quantize.SQNR(w, one.Values) > 30) {
			t.Errorf("stored: %v dB, %d values of %d, %v dB in the original's scale", one.SQNR, len(one.Values), len(w), quantize.SQNR(w, one.Values))
		}
		if one, ok := verify.Stored(g, original, "s"); ok {
			t.Errorf("a scale that is folded away is stored: %+v", one)
		}
	}
}

// TestAgainstTrained: training moves weights and leaves them alike: no finding, and every moved weight in the list.
func TestAgainstTrained(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	g := float()
	for _, name := range []string{"table", "w1", "w2"} {
		edit(g, name, func(x []float32) {
			for i := range x {
				x[i] += float32(0.5 * rng.NormFloat64())
			}
		})
	}
	if restored, found := verify.Against(g, float()); len(restored) != 3 || len(found) != 0 {
		t.Errorf("%+v, %v", restored, found)
	}
}

// TestStoredOne: asked for one weight, Stored restores that one alone: it takes a fraction of the memory of all.
func TestStoredOne(t *testing.T) {
	const weights, rows, columns = 16, 256, 256
	original := &model.Graph{Name: "o", Model: &model.Info{IRVersion: 10}, Inputs: []*model.Value{value("x0", model.Float32, 1, rows)}}
	original.SetOpset("", 17)
	for i := range weights {
		name := fmt.Sprintf("w%02d", i)
		original.SetInitializer(name, normal(uint64(i), rows, columns))
		original.Nodes = append(original.Nodes, &model.Node{Op: "MatMul", Inputs: []string{fmt.Sprint("x", i), name}, Outputs: []string{fmt.Sprint("x", i+1)}})
	}
	original.Outputs = []*model.Value{value(fmt.Sprint("x", weights), model.Float32, 1, columns)}
	g := original.Clone()
	if _, err := (quantize.Dynamic{}).Apply(g); err != nil {
		t.Fatal(err)
	}
	restored, _ := verify.Against(g, original)
	if len(restored) != weights {
		t.Fatalf("%d weights are restored, want %d", len(restored), weights)
	}
	var before, after runtime.MemStats
	for _, want := range restored {
		runtime.ReadMemStats(&before)
		one, ok := verify.Stored(g, original, want.Weight)
		runtime.ReadMemStats(&after)
		if !ok || one.SQNR != want.SQNR || len(one.Values) != rows*columns {
			t.Errorf("%s: %v, %v dB of %d values, want %v dB", want.Weight, ok, one.SQNR, len(one.Values), want.SQNR)
		}
		if took, all := after.TotalAlloc-before.TotalAlloc, uint64(weights*rows*columns*4); took > all/2 {
			t.Errorf("%s: %d bytes are taken, all weights are %d", want.Weight, took, all)
		}
	}
}
