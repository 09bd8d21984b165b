//go:build !static

package conformance_test

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/internal/conformance"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// What model/onnx writes and raises is judged here by ONNX Runtime, over the operator tests and real models.

const corpusFile = "../../testdata/conformance/onnx-node-1.23.2.tgz"

func reference(t *testing.T) *ort.Runtime {
	t.Helper()
	dir := os.Getenv("WATTSHED_ASSETS")
	found, _ := filepath.Glob(filepath.Join(dir, "ort", "libonnxruntime.so*"))
	if dir == "" || len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("WATTSHED_ASSETS has no ort/libonnxruntime.so")
		}
		t.Skip("WATTSHED_ASSETS has no ort/libonnxruntime.so")
	}
	return &ort.Runtime{Library: found[0]}
}

func realModels(t *testing.T) []string {
	t.Helper()
	var files []string
	for _, id := range []string{"M1", "M3", "M10", "M12", "M14cls", "M31"} {
		m, _ := filepath.Glob(filepath.Join(os.Getenv("WATTSHED_ASSETS"), id, "*.onnx"))
		if len(m) == 0 {
			t.Fatalf("asset %s is missing", id)
		}
		files = append(files, m...)
	}
	return files
}

func load(rt *ort.Runtime, path string) (engine.Session, error) {
	return rt.Load(context.Background(), engine.Artifact{Path: path}, engine.Options{Threads: 1, Spin: -1})
}

// TestWrittenModelsLoad: ONNX Runtime loads what was written wherever it loads the original.
func TestWrittenModelsLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("loads thousands of models in ONNX Runtime alone: no kernel has a part in it")
	}
	rt := reference(t)
	dir := t.TempDir()
	check := func(name, original string) bool {
		s, err := load(rt, original)
		if err != nil {
			return false // the original is beyond this runtime
		}
		s.Close()
		f, err := onnx.Open(original)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return true
		}
		defer f.Close()
		written := filepath.Join(dir, "written.onnx")
		if err := onnx.Save(written, f.Graph(), onnx.WriteOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
			return true
		}
		if s, err = load(rt, written); err != nil {
			t.Errorf("%s: %v", name, err)
			return true
		}
		s.Close()
		return true
	}
	loaded := 0
	for _, path := range realModels(t) {
		if !check(filepath.Base(path), path) {
			t.Errorf("%s does not load", path)
		}
	}
	cases, err := conformance.ReadCorpus(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		path := filepath.Join(dir, "original.onnx")
		if err := os.WriteFile(path, c.Model, 0o666); err != nil {
			t.Fatal(err)
		}
		if check(c.Name, path) {
			loaded++
		}
	}
	if loaded < 1700 { // ONNX Runtime 1.32.0 loads 1,765
		t.Errorf("ONNX Runtime loaded %d of %d operator tests", loaded, len(cases))
	}
	t.Logf("%d of %d operator tests load, before and after", loaded, len(cases))
}

// raised saves g and its copy at target, and returns what ONNX Runtime computes from feed with each; false where it
// cannot run the original.
func raised(t *testing.T, rt *ort.Runtime, g *model.Graph, target int64, feed engine.Feed) (before, after engine.Feed, ok bool) {
	dir := t.TempDir()
	run := func(g *model.Graph, name string) (engine.Feed, error) {
		path := filepath.Join(dir, name)
		if err := onnx.Save(path, g, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		s, err := load(rt, path)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return s.Run(context.Background(), feed)
	}
	before, err := run(g, "before.onnx")
	if err != nil {
		return nil, nil, false
	}
	up := g.Clone()
	if err := onnx.UpConvert(up, target); err != nil {
		t.Errorf("opset %d: %v", target, err)
		return nil, nil, false
	}
	if after, err = run(up, "after.onnx"); err != nil {
		t.Errorf("opset %d: %v", target, err)
		return nil, nil, false
	}
	return before, after, true
}

// sameFeed compares outputs: floats to 1e-6 of the largest, which leaves room for another choice of fused
// kernels at another opset (none was seen: every difference was 0), everything else exactly.
func sameFeed(t *testing.T, what string, a, b engine.Feed) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d outputs", what, len(a), len(b))
	}
	for name, x := range a {
		y := b[name]
		if y == nil || x.DType() != y.DType() || !slices.Equal(x.Shape(), y.Shape()) {
			t.Errorf("%s: output %s is of another type or shape", what, name)
			continue
		}
		if x.DType() == model.String {
			p, _ := x.Strings()
			q, _ := y.Strings()
			if !slices.Equal(p, q) {
				t.Errorf("%s: output %s differs", what, name)
			}
			continue
		}
		p, err1 := x.Float32()
		q, err2 := y.Float32()
		if err1 != nil || err2 != nil {
			t.Errorf("%s: output %s: %v, %v", what, name, err1, err2)
			continue
		}
		largest, worst := 0.0, 0.0
		for i := range p {
			u, v := float64(p[i]), float64(q[i])
			if u == v || u != u && v != v {
				continue
			}
			worst = max(worst, math.Abs(u-v))
			if u-v != u-v {
				worst = math.Inf(1)
			}
		}
		for _, v := range p {
			if u := math.Abs(float64(v)); u == u && !math.IsInf(u, 0) {
				largest = max(largest, u)
			}
		}
		if worst > 1e-6*largest || !x.DType().IsFloat() && worst > 0 {
			t.Errorf("%s: output %s differs by %g (largest %g)", what, name, worst, largest)
		}
	}
}

// TestRaisedCorpus: the operator tests of opset 7 to 20 give the same results at opset 21.
func TestRaisedCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("runs hundreds of models in ONNX Runtime alone: no kernel has a part in it")
	}
	rt := reference(t)
	cases, err := conformance.ReadCorpus(corpusFile)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, c := range cases {
		g, err := onnx.Parse(c.Model, onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if v := g.Opset(""); v < 7 || v > 20 || random(c.Name) || c.Name == "test_scan_sum" { // a Scan of opset 8 is refused
			continue
		}
		feed := engine.Feed{}
		for i, in := range c.Inputs {
			if x, _, err := onnx.ParseTensor(in); err == nil && i < len(g.Inputs) && g.Inputs[i].Type.Raw == nil {
				feed[g.Inputs[i].Name] = x
			}
		}
		if before, after, ok := raised(t, rt, g, 21, feed); ok {
			ran++
			sameFeed(t, c.Name, before, after)
		}
	}
	if ran < 700 {
		t.Errorf("%d tests ran", ran)
	}
	t.Logf("%d tests give the same at opset 21", ran)
}

func random(name string) bool {
	for _, part := range []string{"bernoulli", "training_dropout", "seed", "random"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// TestRaisedAssets: real models give the same results at opset 13, 17 and 21.
func TestRaisedAssets(t *testing.T) {
	if testing.Short() {
		t.Skip("runs large models in ONNX Runtime alone: no kernel has a part in it")
	}
	rt := reference(t)
	for _, path := range realModels(t) {
		f, err := onnx.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range []int64{13, 17, 21} {
			g := f.Graph()
			if g.Opset("") >= target {
				continue
			}
			before, after, ok := raised(t, rt, g, target, sample(t, filepath.Base(path), g))
			if !ok {
				t.Errorf("%s does not run", path)
				continue
			}
			sameFeed(t, filepath.Base(path), before, after)
		}
		f.Close()
	}
}

// sample returns seeded random inputs of sizes that the model takes.
func sample(t *testing.T, name string, g *model.Graph) engine.Feed {
	rng := rand.New(rand.NewPCG(1, 2))
	feed := engine.Feed{}
	for _, in := range g.Inputs {
		if g.Initializer(in.Name) != nil {
			continue
		}
		free := []int{1, 16, 16, 16} // sizes of dimensions that are not fixed
		switch {
		case strings.Contains(name, "ppocr"):
			free = []int{1, 3, 48, 192}
		case strings.Contains(name, "orientation"):
			free = []int{1, 3, 224, 224}
		case in.Name == "state":
			free = []int{2, 1, 128}
		case strings.Contains(name, "silero") && in.Name == "input" && !strings.Contains(name, "sequence"):
			free = []int{1, 576}
		}
		shape := make([]int, len(in.Type.Shape))
		n := 1
		for i, d := range in.Type.Shape {
			if shape[i] = int(d.Size); !d.Known() {
				shape[i] = free[i]
			}
			n *= shape[i]
		}
		switch in.Type.DType {
		case model.Int64:
			v := make([]int64, n)
			for i := range v {
				switch {
				case in.Name == "sr":
					v[i] = 16000
				case strings.Contains(in.Name, "mask"):
					v[i] = 1
				case strings.Contains(in.Name, "type"):
					v[i] = rng.Int64N(2)
				default:
					v[i] = rng.Int64N(1000)
				}
			}
			feed[in.Name] = model.FromSlice(shape, v)
		case model.Float32:
			v := make([]float32, n)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
			feed[in.Name] = model.FromSlice(shape, v)
		default:
			t.Fatalf("%s: input %s is %s", name, in.Name, in.Type.DType)
		}
	}
	return feed
}
