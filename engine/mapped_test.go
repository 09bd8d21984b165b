package engine_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// TestMappedTruncated: a model's file that is truncated while a session uses it, at load and between two runs, is an error that names it, on whatever
// thread the memory is missed; what is packed goes on to give what it gave. In a process of its own, which a fault that is no error would end.
func TestMappedTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	if dir := os.Getenv("ENGINE_TRUNCATE"); dir != "" {
		mappedTruncated(t, dir)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMappedTruncated$", "-test.v")
	cmd.Env = append(os.Environ(), "ENGINE_TRUNCATE="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMappedTruncated") {
		t.Errorf("%v\n%s", err, out)
	}
}

// large is a model whose operators read constants as they lie in the file, at every run.
func large() *model.Graph {
	b := newBuilder(5, 17)
	x := b.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 512}})
	table := b.weight(1, 512, 512)
	y := b.node("Add", []string{x, table})
	y = b.node("Mul", []string{y, b.weight(1, 512, 512)})
	y = b.node("Max", []string{y, table})
	b.output(b.node("Add", []string{y, b.node("Gather", []string{table, b.node("Cast", []string{b.node("ArgMax", []string{x}, model.IntAttr("keepdims", 0))}, model.IntAttr("to", 7))})}))
	return b.g
}

func mappedTruncated(t *testing.T, dir string) {
	r := rand.New(rand.NewPCG(8, 8))
	dense := newBuilder(6, 17)
	h := dense.linear(dense.input("x", model.Float32, model.Shape{{Size: -1}, {Size: 96}}), 96, 256)
	dense.output(dense.linear(dense.node("Relu", []string{h}), 256, 32))
	models := []struct {
		name string
		g    *model.Graph
		in   engine.Feed
		must bool // a run must fail
	}{
		{"constants", large(), engine.Feed{"x": randomTensor(r, 1, 512, 512)}, true},
		{"dense", dense.g, engine.Feed{"x": randomTensor(r, 1, 40, 96)}, false},
		{"transformer", transformer(3, 4, 16, 2, false), sentence(3, 2, 40, 64), false},
		{"quantized", transformer(4, 4, 16, 2, true), sentence(4, 2, 40, 64), false},
		{"images", images(5), engine.Feed{"x": randomTensor(r, 1, 2, 3, 40, 40)}, false},
	}
	failed := map[string]int{}
	for _, m := range models {
		for _, o := range []engine.Options{{Threads: 1}, {Threads: 3}, {Threads: 1, NoFusion: true}, {Threads: 3, NoFusion: true, Packs: new(engine.Packs)}} {
			path := filepath.Join(dir, m.name+".onnx")
			mapped := func() *onnx.File {
				if err := onnx.Save(path, m.g, onnx.WriteOptions{}); err != nil {
					t.Fatal(err)
				}
				f, err := onnx.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range f.Graph().Weights() { // the first touch is guarded by the tensor
					if _, err := w.Tensor.Bytes(); err != nil {
						t.Fatal(err)
					}
				}
				return f
			}
			cut := func() {
				if err := os.Truncate(path, 0); err != nil {
					t.Fatal(err)
				}
			}
			remove := func(f *onnx.File) {
				if err := errors.Join(f.Close(), os.Remove(path)); err != nil {
					t.Error(err)
				}
			}
			says := func(err error) {
				t.Helper()
				if !errors.Is(err, model.ErrTruncated) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "internal") {
					t.Errorf("%s, %+v: %v", m.name, o, err)
				}
			}
			f := mapped()
			cut()
			s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Graph: f.Graph()}, o)
			if err == nil { // nothing was packed
				_, err = s.Run(t.Context(), m.in)
				s.Close()
			}
			says(err)
			remove(f)

			f = mapped()
			o.Packs = nil
			if s, err = (engine.Native{}).Load(t.Context(), engine.Artifact{Graph: f.Graph()}, o); err != nil {
				t.Fatal(err)
			}
			want := run(t, s, m.in)
			if files := s.(engine.Mapped).Mappings(); len(files) != 1 || files[0].Path() != path || model.Whole(files) != nil {
				t.Errorf("%s: files %v", m.name, files)
			}
			cut()
			says(model.Whole(s.(engine.Mapped).Mappings()))
			for range 2 {
				out, err := s.Run(t.Context(), m.in)
				if err != nil {
					failed[m.name]++
					says(err)
					continue
				}
				got, err := out[s.Outputs()[0].Name].Float32()
				if err != nil || m.must || !slices.Equal(got, want) {
					t.Errorf("%s, %+v: a run without the weights: %v", m.name, o, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			remove(f)
		}
	}
	if failed["constants"] != 8 {
		t.Errorf("failed runs: %v", failed)
	}
}

// TestMappedFeed: an input that lies in a file of the caller's is the caller's to guard: the fault passes through the session, which can be used on.
func TestMappedFeed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	path := filepath.Join(t.TempDir(), "x")
	r := rand.New(rand.NewPCG(9, 9))
	good := randomTensor(r, 1, 1, 3, 160, 160)
	raw, err := good.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, raw, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := model.MapFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	x, err := m.Tensor(model.Float32, good.Shape(), m.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{1, 3} {
		s := load(t, images(5), engine.Options{Threads: threads})
		want := run(t, s, engine.Feed{"x": good})
		if threads == 1 {
			if got := run(t, s, engine.Feed{"x": x}); !slices.Equal(got, want) {
				t.Error("a mapped input gives another output")
			}
			if err := os.Truncate(path, 1000); err != nil {
				t.Fatal(err)
			}
		}
		err := m.Guard(func() error { _, err := s.Run(t.Context(), engine.Feed{"x": x}); return err })
		if !errors.Is(err, model.ErrTruncated) || !strings.Contains(err.Error(), path) {
			t.Errorf("%d threads: %v", threads, err)
		}
		if got := run(t, s, engine.Feed{"x": good}); !slices.Equal(got, want) {
			t.Errorf("%d threads: another output after the fault", threads)
		}
	}
}
