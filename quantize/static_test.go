package quantize_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/quantize"
)

// feedsOf makes Feeds of feeds.
func feedsOf(feeds ...engine.Feed) engine.Feeds {
	return engine.Feeds{N: len(feeds), All: func() iter.Seq2[engine.Feed, error] {
		return func(yield func(engine.Feed, error) bool) {
			for _, f := range feeds {
				if !yield(f, nil) {
					return
				}
			}
		}
	}}
}

// staticFixtureFeeds are the calibration inputs of gen_static.py.
func staticFixtureFeeds() engine.Feeds {
	var feeds []engine.Feed
	for i := range 8 {
		feeds = append(feeds, engine.Feed{"x": model.FromSlice([]int{1, 3, 16, 16}, generated(uint64(8*(i+1)), 3*16*16))})
	}
	return feedsOf(feeds...)
}

// TestStaticAsQuantizer compares every scale, zero point and integer with those that onnxruntime.quantization writes for the
// same ranges.
func TestStaticAsQuantizer(t *testing.T) {
	file, err := os.Open("../testdata/quantize/static_ranges.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	ranges, err := quantize.ReadCalibration(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, reduce := range map[string]bool{"static_qdq.onnx": false, "static_reduced.onnx": true} {
		want, got := parse(t, name), parse(t, "static_float.onnx")
		s := quantize.Static{ReduceRange: &reduce}
		_, err := s.ApplyWith(context.Background(), got, func(context.Context, *model.Graph, []string) (*quantize.Calibration, error) { return ranges, nil }, engine.Feeds{})
		if err != nil {
			t.Fatal(err)
		}
		compared := 0
		for _, theirs := range want.Initializers() {
			ours := strings.Replace(theirs, ".b_quantized_", ".b_", 1)
			if theirs == "y_scale" || theirs == "y_zero_point" { // the last product leaves in float here: nothing reads it in 8 bits
				continue
			}
			a, b := got.Initializer(ours), want.Initializer(theirs)
			if a == nil || !sameTensor(a, b) {
				t.Errorf("%s: %s differs from %s of onnxruntime.quantization", name, ours, theirs)
				continue
			}
			compared++
		}
		if compared < 40 {
			t.Errorf("%s: %d tensors compared", name, compared)
		}
	}
}

// TestCalibrateAsQuantizer compares the ranges found by the native engine with those that onnxruntime.quantization's
// calibrator found by ONNX Runtime: the two runtimes sum in different orders.
func TestCalibrateAsQuantizer(t *testing.T) {
	file, err := os.Open("../testdata/quantize/static_ranges.json")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want, err := quantize.ReadCalibration(file)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"x", "ar", "bc", "c", "d", "p", "f", "gr", "y"}
	got, err := quantize.Static{}.Calibrate(context.Background(), parse(t, "static_float.onnx"), names, staticFixtureFeeds())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		g, w := got.Ranges[name], want.Ranges[name]
		tolerance := 1e-6 * float64(w.Hi-w.Lo) // a few roundings of float32
		if math.Abs(float64(g.Lo-w.Lo)) > tolerance || math.Abs(float64(g.Hi-w.Hi)) > tolerance {
			t.Errorf("%s: %v, want %v", name, g, w)
		}
	}
}

// TestRangesAsQuantizer compares percentile and entropy calibration with those of onnxruntime.quantization on the same inputs. Percentiles
// are those of the values, so that both agree to the bins of the histograms. Entropy is a search that both make with histograms of
// their own, theirs of 128 bins, ours of 4,096: what counts is how near the quantized values are to the float ones, and ours are never
// further off than theirs by more than a twentieth.
func TestRangesAsQuantizer(t *testing.T) {
	names := []string{"x", "ar", "bc", "c", "d", "p", "f", "gr", "y"}
	values := map[string][]float32{}
	g := parse(t, "static_float.onnx")
	s, err := engine.Native{}.Load(context.Background(), engine.Artifact{Graph: g}, engine.Options{Threads: 1, Watch: &engine.Watch{Names: names[1:], See: func(name string, v *model.Tensor) error {
		x, err := v.Float32()
		values[name] = append(values[name], x...)
		return err
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for f, err := range staticFixtureFeeds().All() {
		if err != nil {
			t.Fatal(err)
		}
		x, err := f["x"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		values["x"] = append(values["x"], x...)
		if _, err := s.Run(context.Background(), f); err != nil {
			t.Fatal(err)
		}
	}
	off := func(x []float32, r quantize.Interval) (sum float64) {
		p, err := quantize.ChooseParams(r.Lo, r.Hi, quantize.Uint8Range, false)
		if err != nil {
			t.Fatal(err)
		}
		_, back := thereAndBack[uint8](x, p, quantize.Uint8Range)
		for i, v := range x {
			sum += float64(v-back[i]) * float64(v-back[i])
		}
		return sum / float64(len(x))
	}
	for _, method := range []quantize.Method{quantize.Percentile, quantize.Entropy} {
		file, err := os.Open("../testdata/quantize/static_ranges_" + string(method) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		want, err := quantize.ReadCalibration(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := quantize.Static{Method: method, Percentile: map[bool]float64{true: 99.99}[method == quantize.Percentile]}.Calibrate(context.Background(), g, names, staticFixtureFeeds())
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			our, their := got.Ranges[name], want.Ranges[name]
			a, b := off(values[name], our), off(values[name], their)
			t.Logf("%s %s: %v with an error of %.3g, theirs %v with %.3g", method, name, our, a, their, b)
			if a > 1.05*b {
				t.Errorf("%s %s: mean squared error %.4g, theirs %.4g", method, name, a, b)
			}
			// theirs has 2,048 bins over the range, ours 2,048 to each side of 0 up to the next power of two
			bins := 2*float64(their.Hi-their.Lo)/2048 + 4*math.Max(math.Abs(float64(their.Lo)), math.Abs(float64(their.Hi)))/2048
			if method == quantize.Percentile && (math.Abs(float64(our.Lo-their.Lo)) > bins || math.Abs(float64(our.Hi-their.Hi)) > bins) {
				t.Errorf("%s %s: %v, theirs %v: more than %.3g apart", method, name, our, their, bins)
			}
		}
	}
}

// TestStaticNotes: every weight is accounted for.
func TestStaticNotes(t *testing.T) {
	g := parse(t, "static_float.onnx")
	yes := true
	notes, err := quantize.Static{ReduceRange: &yes, Exclude: []string{"c2"}}.Apply(context.Background(), g, staticFixtureFeeds())
	if err != nil {
		t.Fatal(err)
	}
	for w, want := range map[string][2]string{
		"c1.w": {"int8 (7 bits) per-channel", ""}, "c1.b": {"int32", "scale of the input"}, "c2.w": {model.Left, `excluded by "c2"`}, "c2.b": {model.Left, `excluded by "c2"`},
		"g.w": {"int8 (7 bits) per-channel", ""}, "(model)": {"reduce_range on", "as asked for"},
	} {
		if n := noteOf(notes, w); n.Action != want[0] || !strings.Contains(n.Reason, want[1]) {
			t.Errorf("%s: %+v, want %v", w, n, want)
		}
	}
	if h := histogram(g); h["Clip"] != 1 || h["Conv"] != 3 {
		t.Errorf("operators %v", h)
	}
}

// TestStaticLeaves has what static quantization leaves in float, and why.
func TestStaticLeaves(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		weights map[string]*model.Tensor
		nodes   []*model.Node
		exclude []string
		why     string
	}{
		"nan":       {map[string]*model.Tensor{"w": with(normal(1, 16, 16), 37, nan)}, []*model.Node{node("MatMul", "y", "x", "w")}, nil, "not finite"},
		"left-hand": {map[string]*model.Tensor{"w": normal(1, 16, 4)}, []*model.Node{node("MatMul", "y", "w", "x")}, nil, "not its right-hand side"},
		"excluded":  {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{node("MatMul", "y", "x", "w")}, []string{"Mat*"}, `excluded by "Mat*"`},
		"alpha": {map[string]*model.Tensor{"w": normal(1, 16, 16)}, []*model.Node{{Op: "Gemm", Inputs: []string{"x", "w"}, Outputs: []string{"y"}, Attrs: []model.Attr{model.FloatAttr("alpha", 0.5)}}},
			nil, "Gemm with alpha 0.5"},
		"empty": {map[string]*model.Tensor{"w": normal(1, 16, 0)}, []*model.Node{node("MatMul", "y", "x", "w")}, nil, "empty"},
		"gru":   {map[string]*model.Tensor{"w": normal(1, 1, 12, 16), "r": normal(2, 1, 12, 4)}, []*model.Node{node("GRU", "y", "x", "w", "r")}, []string{"GRU"}, `excluded by "GRU"`},
	} {
		t.Run(name, func(t *testing.T) {
			g := graphOf(values(value("x", 4, 16)), values(value("y", unknown, unknown)), c.weights, c.nodes...)
			before := g.Clone()
			notes, err := quantize.Static{Exclude: c.exclude}.Apply(context.Background(), g, feedsOf(engine.Feed{"x": normal(3, 4, 16)}))
			if !errors.Is(err, quantize.ErrNothing) {
				t.Fatalf("got %v, want ErrNothing", err)
			}
			if n := noteOf(notes, "w"); n.Action != model.Left || !strings.Contains(n.Reason, c.why) {
				t.Errorf("%+v, want %q", n, c.why)
			}
			if len(g.Nodes) != len(before.Nodes) || g.Nodes[0].Op != before.Nodes[0].Op || !slices.Equal(g.Initializers(), before.Initializers()) {
				t.Error("the graph was changed")
			}
		})
	}
}

// TestReduceRange: x86 without VNNI needs 7-bit weights, others do not.
func TestReduceRange(t *testing.T) {
	for _, c := range []struct {
		target   quantize.Target
		arch     string
		features []string
		want     bool
	}{
		{quantize.ONNXRuntimeCPU, "amd64", []string{"avx2", "fma"}, true}, {quantize.ONNXRuntimeCPU, "amd64", []string{"avx2", "avxvnni"}, false},
		{quantize.ONNXRuntimeCPU, "amd64", []string{"avx512f", "avx512vnni"}, false}, {quantize.OpenVINO, "amd64", nil, true},
		{quantize.TensorRT, "amd64", nil, false}, {quantize.ONNXRuntimeCPU, "arm64", nil, false},
	} {
		if got, why := c.target.ReduceRange(c.arch, c.features); got != c.want || why == "" {
			t.Errorf("%+v: %v, %q", c, got, why)
		}
	}
}

// TestStaticRefuses has settings and models that are refused as a whole.
func TestStaticRefuses(t *testing.T) {
	feeds := staticFixtureFeeds()
	for name, s := range map[string]quantize.Static{
		"target": {Target: "abacus"}, "format": {Format: "other"}, "method": {Method: "guess"}, "percentile": {Method: quantize.Percentile, Percentile: 20},
		"granularity": {Granularity: "per-bit"}, "ops": {Ops: []string{"Softmax"}}, "format of target": {Target: quantize.TensorRT, Format: quantize.QOperator},
		"pattern": {Exclude: []string{"["}}, "smooth": {Smooth: 2},
	} {
		if _, err := s.Apply(context.Background(), parse(t, "static_float.onnx"), feeds); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := (quantize.Static{}).Apply(context.Background(), parse(t, "static_float.onnx"), engine.Feeds{}); !errors.Is(err, quantize.ErrNoFeeds) {
		t.Errorf("without inputs: %v", err)
	}
	if _, err := (quantize.Static{}).Apply(context.Background(), parse(t, "static_qdq.onnx"), feeds); !errors.Is(err, quantize.ErrQuantized) {
		t.Errorf("quantized already: %v", err)
	}
	bad := feedsOf(engine.Feed{"x": with(normal(1, 1, 3, 16, 16), 5, float32(math.Inf(1)))})
	if _, err := (quantize.Static{}).Apply(context.Background(), parse(t, "static_float.onnx"), bad); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("infinite input: %v", err)
	}
}

// TestStaticNaN: where a weight or a bias is what makes an activation a NaN, the error of calibration names it, not the activation alone.
func TestStaticNaN(t *testing.T) {
	nan := float32(math.NaN())
	for name, bad := range map[string]string{"b1": `input 2, "b1", of Conv "c1"`, "w1": `input 1, "w1", of Conv "c1"`, "": `value "x" holds a value that is not finite`} {
		weights := map[string]*model.Tensor{"w1": normal(1, 4, 3, 3, 3), "b1": normal(2, 4), "w2": normal(3, 8, 4, 3, 3), "b2": normal(4, 8)}
		x := normal(5, 1, 3, 12, 12)
		if name == "" {
			x = with(x, 7, nan)
		} else {
			weights[name] = with(weights[name], 2, nan)
		}
		g := graphOf(values(value("x", 1, 3, 12, 12)), values(value("y", 1, 8, 8, 8)), weights, node("Conv", "c1", "x", "w1", "b1"), node("Relu", "r", "c1"), node("Conv", "y", "r", "w2", "b2"))
		_, err := quantize.Static{}.Apply(context.Background(), g, feedsOf(engine.Feed{"x": x}))
		if err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%v, want %s", err, bad)
		}
	}
}
