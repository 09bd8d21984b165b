//go:build !static

package prune_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/engine/ort"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/prune"
)

// asset returns the path of a real model; without it the test is skipped, except in CI.
func asset(t testing.TB, path string) string {
	t.Helper()
	p := filepath.Join(os.Getenv("WATTSHED_ASSETS"), path)
	if _, err := os.Stat(p); os.Getenv("WATTSHED_ASSETS") == "" || err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("WATTSHED_ASSETS has no %s", path)
		}
		t.Skipf("WATTSHED_ASSETS has no %s", path)
	}
	return p
}

var patterns = []prune.Options{{Sparsity: 0.5}, {Sparsity: 0.5, Pattern: prune.Global{}}, {Pattern: prune.NM{N: 2, M: 4}}}

// TestMiniLM prunes a real transformer to half, writes it, and compares ONNX Runtime with the native engine on it.
func TestMiniLM(t *testing.T) {
	path, lib := asset(t, "M1/all-minilm-l6-v2.onnx"), asset(t, "ort/libonnxruntime.so.1.32.0")
	original, err := onnx.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	ids := model.FromSlice([]int{1, 12}, []int64{101, 2023, 2003, 1037, 2146, 6251, 2008, 2097, 2022, 7861, 8270, 102})
	ones, zeros := model.FromSlice([]int{1, 12}, []int64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}), model.FromSlice([]int{1, 12}, make([]int64, 12))
	feed := engine.Feed{"input_ids": ids, "attention_mask": ones, "token_type_ids": zeros}
	for _, o := range patterns {
		g := original.Clone()
		mask, notes, err := prune.Select(g, o)
		if err != nil {
			t.Fatal(err)
		}
		if s := mask.Sparsity(); len(mask) != 36 || s != 0.5 {
			t.Errorf("%d weights, sparsity %v", len(mask), s)
		}
		if err := prune.Apply(g, mask); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "pruned.onnx")
		if err := onnx.Save(file, g, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		var outs [2][]float32
		for i, rt := range []engine.Runtime{&ort.Runtime{Library: lib}, engine.Native{}} {
			s, err := rt.Load(context.Background(), engine.Artifact{Path: file}, engine.Options{Threads: 1, Spin: -1})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(context.Background(), feed)
			if err != nil {
				t.Fatal(err)
			}
			if outs[i], err = out["last_hidden_state"].Float32(); err != nil {
				t.Fatal(err)
			}
			s.Close()
		}
		var worst float64
		for i := range outs[0] {
			worst = max(worst, math.Abs(float64(outs[0][i]-outs[1][i])))
		}
		// float32 sums of up to 1,536 terms in another order, through six layers; outputs are of the order of 1
		if worst > 1e-4 || len(outs[0]) != 12*384 {
			t.Errorf("%v: ONNX Runtime and the native engine differ by %g in %d elements", notes[2], worst, len(outs[0]))
		}
	}
}

// BenchmarkMiniLM selects and masks half of 10.6 million weights.
func BenchmarkMiniLM(b *testing.B) {
	g, err := onnx.Load(asset(b, "M1/all-minilm-l6-v2.onnx"))
	if err != nil {
		b.Fatal(err)
	}
	for _, o := range patterns {
		name := "unstructured"
		if o.Pattern != nil {
			name = o.Pattern.Name()
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				c := g.Clone()
				mask, _, err := prune.Select(c, o)
				if err == nil {
					err = prune.Apply(c, mask)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
