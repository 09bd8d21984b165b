package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// chainFile writes a chain of three products, the middle one of which nothing quantizes, and returns its bytes.
func chainFile(t *testing.T, path string, external bool) []byte {
	t.Helper()
	const width = 256
	float := model.Type{DType: model.Float32, Shape: model.Shape{{Param: "batch", Size: -1}, {Size: width}}}
	g := &model.Graph{Name: "chain", Inputs: []*model.Value{{Name: "x", Type: float}}, Outputs: []*model.Value{{Name: "h2", Type: float}}, Model: &model.Info{IRVersion: 10}}
	g.SetOpset("", 21)
	rng := rand.New(rand.NewPCG(3, 4))
	x := "x"
	for i := range 3 {
		w := make([]float32, width*width)
		for i := range w {
			w[i] = float32(rng.NormFloat64()) / 16
		}
		name, out := fmt.Sprintf("w%d", i), fmt.Sprintf("h%d", i)
		g.SetInitializer(name, model.FromSlice([]int{width, width}, w))
		op := "MatMul"
		if i == 1 {
			op = "Sub" // of a batch of 256
		}
		g.Nodes = append(g.Nodes, &model.Node{Name: "n" + name, Op: op, Inputs: []string{x, name}, Outputs: []string{out}})
		x = out
	}
	if err := onnx.Save(path, g, onnx.WriteOptions{External: external}); err != nil {
		t.Fatal(err)
	}
	if external {
		path += ".data"
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cutting is a stage before which the model's file loses its end, when all of it has been read once.
type cutting struct {
	Stage
	t    *testing.T
	file string
	size int64
}

func (c cutting) Apply(ctx context.Context, g *model.Graph, env *Env) (*model.Graph, []model.Note, error) {
	for _, w := range g.Weights() {
		if _, err := w.Tensor.Bytes(); err != nil {
			c.t.Error(err)
		}
	}
	if err := os.Truncate(c.file, c.size); err != nil {
		c.t.Error(err)
	}
	return c.Stage.Apply(ctx, g, env)
}

// TestStagesTruncated: a model that loses its end while a stage has it in memory, all of its weights or the last few bytes, which then read as zeros,
// is an error that names the file, and nothing is written.
func TestStagesTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	for _, external := range []bool{false, true} {
		dir := t.TempDir()
		in, out := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "out.onnx")
		whole := chainFile(t, in, external)
		source := in
		if external {
			source += ".data"
		}
		for _, st := range []Stage{
			&Quantize{Scheme: "fp16"}, &Quantize{Scheme: "bf16"}, &Quantize{Scheme: "fp16", Storage: "graph", Calibration: "random"}, &Quantize{Scheme: "int8"},
			&Quantize{Scheme: "int8-static", Calibration: "random", Samples: 2}, &Quantize{Scheme: "int8-static", Calibration: "random", Samples: 2, Smooth: 0.5, BiasCorrection: true, Rounding: "adaptive"},
			&Quantize{Scheme: "int8-static", Calibration: "data-free"}, &Quantize{Scheme: "int16", Mode: "weight-only"}, &Quantize{Scheme: "fp8-e4m3"}, &Quantize{Scheme: "fp8-e5m2"},
			&Quantize{Scheme: "int4"}, &Quantize{Scheme: "int4", Format: "qdq"}, &Quantize{Scheme: "int4", Algorithm: "hqq"},
			&Quantize{Scheme: "int4", Algorithm: "gptq", Calibration: "random", Samples: 2}, &Quantize{Scheme: "int4", Algorithm: "awq", Calibration: "random", Samples: 2},
			&Prune{Sparsity: 0.5}, &Prune{Pattern: "2:4"},
		} {
			for _, size := range []int64{4096, int64(len(whole)) - 4} {
				if err := os.WriteFile(source, whole, 0o666); err != nil {
					t.Fatal(err)
				}
				s := Single{In: in, Out: out, Runtimes: natives, Threads: 2, Inputs: &Recipe{Dir: dir, Target: TargetSpec{Batch: 256}}}
				s.Stage = cutting{st, t, source, size}
				_, err := ApplyStage(context.Background(), s)
				if !errors.Is(err, model.ErrTruncated) || !strings.Contains(err.Error(), source) {
					t.Errorf("%v, external %v, cut to %d bytes: %v", st.Options(), external, size, err)
				}
				left, _ := filepath.Glob(filepath.Join(dir, "*"))
				if want := map[bool]int{false: 1, true: 2}[external]; len(left) != want {
					t.Errorf("%v: left behind: %v", st.Options(), left)
				}
				if now, err := os.ReadFile(source); err != nil || !bytes.Equal(now, whole[:size]) {
					t.Errorf("%v: the source was changed: %v", st.Options(), err)
				}
			}
		}
	}
}

// cutter is the native runtime, which cuts the file off at the second run of any session.
type cutter struct {
	engine.Native
	t    *testing.T
	file string
	size int64
	runs int
}

func (c *cutter) Load(ctx context.Context, a engine.Artifact, o engine.Options) (engine.Session, error) {
	s, err := c.Native.Load(ctx, a, o)
	if err != nil {
		return nil, err
	}
	return &cutSession{s, c}, nil
}

type cutSession struct {
	engine.Session
	c *cutter
}

func (s *cutSession) Mappings() []*model.Mapping { return s.Session.(engine.Mapped).Mappings() }

func (s *cutSession) Run(ctx context.Context, in engine.Feed, outputs ...string) (engine.Feed, error) {
	if s.c.runs++; s.c.runs == 2 {
		if err := os.Truncate(s.c.file, s.c.size); err != nil {
			s.c.t.Error(err)
		}
	}
	return s.Session.Run(ctx, in, outputs...)
}

// TestRunsTruncated: a model that loses its end while it is measured, scored, or quantized weight by weight is an error that names the file, even
// where only the last bytes are missing and every run goes on to give something.
func TestRunsTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	dir := t.TempDir()
	in, other := filepath.Join(dir, "in.onnx"), filepath.Join(dir, "other.onnx")
	whole := chainFile(t, in, false)
	recipe := func() *Recipe {
		return &Recipe{Version: 1, Dir: dir, Model: in, Inputs: InputsSpec{Random: &RandomSpec{Seed: new(uint64(3)), N: 4}},
			Target: TargetSpec{Threads: 2, Batch: 256}, Measure: MeasureSpec{Pairs: 2, MaxPairs: 2, BlockSeconds: 0.002}}
	}
	for name, do := range map[string]func(*Recipe, Options) error{
		"measure": func(r *Recipe, o Options) error {
			_, err := Measure(context.Background(), r, []string{other}, o)
			return err
		},
		"outcomes": func(r *Recipe, o Options) error {
			_, err := Outcomes(context.Background(), r, []string{other}, o)
			return err
		},
		"sensitivity": func(r *Recipe, o Options) error {
			_, err := Sensitivity(context.Background(), r, Sensitive{Scheme: "int8", Samples: 2}, o)
			return err
		},
		"run": func(r *Recipe, o Options) error {
			r.Variants, o.Out = []VariantSpec{{Name: "small", Stages: []StageSpec{{Quantize: &Quantize{Scheme: "int8"}}}}}, filepath.Join(dir, "run")
			defer os.RemoveAll(o.Out)
			if err := r.check(); err != nil {
				return err
			}
			_, err := Run(context.Background(), r, o)
			if _, e := os.Stat(filepath.Join(o.Out, "result.json")); e == nil {
				t.Error("run: there is a result")
			}
			return err
		},
	} {
		for _, size := range []int64{4096, int64(len(whole)) - 4} {
			for _, path := range []string{in, other} {
				if err := os.WriteFile(path, whole, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			c := &cutter{t: t, file: in, size: size}
			o := options("")
			o.Runtimes = map[string]engine.Runtime{"native": c}
			err := do(recipe(), o)
			if !errors.Is(err, model.ErrTruncated) || !strings.Contains(err.Error(), in) {
				t.Errorf("%s, cut to %d of %d bytes after %d runs: %v", name, size, len(whole), c.runs, err)
			}
		}
	}
}
