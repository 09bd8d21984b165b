package engine_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// FuzzRun: whatever a file says, inference of shapes, Compile and two Runs with small random inputs end, without a panic,
// a mistake of ours that the engine reports as an internal error, or memory beyond the bound. Seeds are node tests of at
// most 2 KiB.
func FuzzRun(f *testing.F) {
	file, err := os.Open("../testdata/conformance/onnx-node-1.23.2.tgz")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			f.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/model.onnx") || h.Size > 2048 {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		if n++; n%3 == 0 {
			f.Add(b, uint64(n))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, seed uint64) {
		if len(b) > 1<<16 {
			return
		}
		g, err := onnx.Parse(b, onnx.Options{})
		if err != nil {
			return
		}
		_ = model.InferShapes(g.Clone()) // an error is a good answer
		runRandom(t, g, rand.New(rand.NewPCG(seed, 2)))
	})
}

// runRandom compiles and runs a graph twice with random inputs. Errors are expected, internal ones are not.
func runRandom(t *testing.T, g *model.Graph, r *rand.Rand) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	s, err := engine.Native{}.Load(ctx, engine.Artifact{Graph: g}, engine.Options{Threads: 2, Memory: 64 << 20})
	if err != nil {
		if strings.Contains(err.Error(), "internal error") {
			t.Fatal(err)
		}
		return
	}
	defer s.Close()
	in := engine.Feed{}
	for _, v := range s.Inputs() {
		if in[v.Name] = randomInput(r, v); in[v.Name] == nil {
			return
		}
	}
	for range 2 {
		_, err := s.Run(ctx, in)
		if err != nil && strings.Contains(err.Error(), "internal error") && !errors.Is(err, engine.ErrMemory) {
			t.Fatal(err)
		}
	}
}

// randomInput returns a tensor that a declaration allows, nil when it would be large or is no tensor of numbers.
func randomInput(r *rand.Rand, v *model.Value) *model.Tensor {
	d := v.Type.DType
	if !d.Valid() || d == model.String || v.Type.Raw != nil {
		return nil
	}
	shape, n := make([]int, len(v.Type.Shape)), 1
	for i, s := range v.Type.Shape {
		shape[i] = r.IntN(4)
		if s.Known() {
			shape[i] = int(min(s.Size, 1<<13))
		}
		if n *= shape[i]; n > 1<<13 {
			return nil
		}
	}
	raw := make([]byte, d.Size(n))
	if r.IntN(2) == 0 { // small numbers, or anything
		for i := 0; i < len(raw); i += max(1, d.Bits()/8) {
			raw[i] = byte(r.IntN(4))
		}
	} else {
		for i := range raw {
			raw[i] = byte(r.Uint32())
		}
	}
	if d == model.Bool {
		for i := range raw {
			raw[i] &= 1
		}
	}
	t, err := model.NewTensor(d, shape, raw)
	if err != nil {
		return nil
	}
	return t
}
