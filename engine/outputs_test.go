package engine_test

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// passingOn is a model whose outputs but the last, which reads its input, are constants in one way or another.
func passingOn() *model.Graph {
	b := newBuilder(11, 17)
	x := b.input("x", model.Float32, model.Shape{{Size: 3}})
	cond := b.input("cond", model.Bool, model.Shape{})
	w := b.weight(1, 8, 1024)
	s, err := model.NewStrings([]int{2}, []string{"one", "two"})
	if err != nil {
		panic(err)
	}
	words, none := b.constant(s), b.constant(model.FromSlice([]int{0, 3}, []float32{}))
	bytes := b.constant(model.FromSlice([]int{256}, slices.Repeat([]int8{-3, 7}, 128)))
	own := model.FromSlice([]int{300}, slices.Repeat([]float32{1, 2, 3}, 100))
	branch := func(v string) *model.Graph {
		g := &model.Graph{Name: v, Outputs: []*model.Value{{Name: v + "/then"}}, Nodes: []*model.Node{{Op: "Identity", Name: v + "/pass", Inputs: []string{v}, Outputs: []string{v + "/then"}}}}
		if v == "own" {
			g.SetInitializer(v, own)
		}
		return g
	}
	for _, name := range []string{w, words, bytes, none,
		b.node("Identity", []string{w}),
		b.node("Reshape", []string{w, b.ints(1, -1, 8, 1024)}),
		b.node("Cast", []string{bytes}, model.IntAttr("to", int64(model.Uint8))),
		b.node("If", []string{cond}, model.Attr{Name: "then_branch", Kind: model.AttrGraph, G: branch(w)}, model.Attr{Name: "else_branch", Kind: model.AttrGraph, G: branch("own")}),
		b.node("SequenceAt", []string{b.node("SequenceConstruct", []string{w, w}), b.constant(model.Scalar(int64(1)))}),
		b.node("Add", []string{x, x}),
	} {
		b.output(name)
	}
	return b.g
}

// elements prints the elements of a tensor.
func elements(x *model.Tensor) (string, error) {
	if x.DType() == model.String {
		s, err := x.Strings()
		return fmt.Sprint(x.Shape(), s), err
	}
	b, err := x.Bytes()
	return fmt.Sprint(x.DType(), x.Shape(), b), err
}

// TestOutputsOutlive: outputs that are constants of the model are the caller's: they can be read when the session is closed and its file is
// unmapped, and what is written to them is seen by no other run.
func TestOutputsOutlive(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a fault is a panic of this test
	g := passingOn()
	dir := t.TempDir()
	for i, external := range []onnx.WriteOptions{{}, {External: true}} {
		path := filepath.Join(dir, fmt.Sprint(i, ".onnx"))
		if err := onnx.Save(path, g, external); err != nil {
			t.Fatal(err)
		}
		for _, o := range []engine.Options{{Threads: 1}, {Threads: 1, NoFusion: true}} {
			for _, cond := range []bool{true, false} {
				feed := engine.Feed{"x": model.FromSlice([]int{3}, []float32{1, 2, 3}), "cond": model.Scalar(cond)}
				s, err := engine.Native{}.Load(t.Context(), engine.Artifact{Path: path}, o)
				if err != nil {
					t.Fatal(err)
				}
				var want map[string]string
				var kept engine.Feed
				for n := range 3 {
					out, err := s.Run(t.Context(), feed)
					if err != nil {
						t.Fatal(err)
					}
					seen := map[string]string{}
					for name, x := range out {
						if seen[name], err = elements(x); err != nil {
							t.Fatal(name, err)
						}
						if n == 1 {
							if b, err := x.Bytes(); err == nil {
								clear(b)
							}
						}
					}
					if n == 0 {
						want, kept = seen, out
					} else if fmt.Sprint(seen) != fmt.Sprint(want) {
						t.Errorf("run %d gives something else", n)
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				for name, x := range kept {
					if got, err := elements(x); err != nil || got != want[name] {
						t.Errorf("%s, NoFusion %v: %q after the session is closed: %v", name, o.NoFusion, got[:min(len(got), 40)], err)
					}
				}
			}
		}
	}
}

// TestSequenceOutlives is TestOutputsOutlive for the elements of a sequence, which Plan.Exec returns.
func TestSequenceOutlives(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	b := newBuilder(12, 17)
	x, w := b.input("x", model.Float32, model.Shape{{Size: 3}}), b.weight(1, 2000)
	b.output(b.node("SequenceConstruct", []string{w, b.node("Add", []string{x, x}), x}))
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := onnx.Save(path, b.g, onnx.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	f, err := onnx.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := engine.Compile(f.Graph(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := model.FromSlice([]int{3}, []float32{1, 2, 3})
	out, err := p.Exec(t.Context(), nil, map[string]any{"x": in})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	seq, _ := out[b.g.Outputs[0].Name].([]*model.Tensor)
	if len(seq) != 3 || seq[2] != in {
		t.Fatalf("%v", out)
	}
	got, err := elements(seq[0])
	if err != nil {
		t.Fatal(err)
	}
	if want, err := elements(b.g.Initializer(w)); err != nil || got != want {
		t.Error("another constant", err)
	}
}
