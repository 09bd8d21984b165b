package quantize_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/engine"
	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
	"github.com/wattshed/wattshed/quantize"
)

// TestCheckpoints: whatever an interrupted job has left of its finished weights (none, some, all, damaged ones, those of
// other settings or of other inputs), the next one ends with the bytes of a job that keeps none.
func TestCheckpoints(t *testing.T) {
	gemm := having(node("Gemm", "d", "c", "wt", "b"), model.IntAttr("transB", 1))
	g := graphOf(values(value("x", 2, 64), value("ids", 2)), values(value("y", 2, 48), value("d", 2, 64), value("e", 2, 64)), map[string]*model.Tensor{
		"w": normal(2, 64, 96), "v": normal(3, 96, 64), "wt": normal(4, 64, 64), "b": normal(5, 64), "u": normal(6, 64, 48), "same": normal(7, 64, 48), "table": normal(8, 400, 64)},
		node("MatMul", "h", "x", "w"), node("MatMul", "c", "h", "v"), gemm, node("MatMul", "y1", "d", "u"), node("MatMul", "y2", "d", "same"), node("Add", "y", "y1", "y2"),
		node("Gather", "e", "table", "ids"))
	g.Inputs[1].Type.DType = model.Int64
	feeds := func(seed uint64) engine.Feeds {
		var list []engine.Feed
		for i := range uint64(3) {
			list = append(list, engine.Feed{"x": normal(seed+i, 2, 64), "ids": model.FromSlice([]int{2}, []int64{1, 3})})
		}
		return feedsOf(list...)
	}
	run := func(o quantize.WeightOnly) []byte {
		t.Helper()
		h := g.Clone()
		if _, err := o.Apply(context.Background(), h); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := onnx.Write(&b, h, onnx.WriteOptions{}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, a := range []quantize.Algorithm{quantize.GPTQ, quantize.AWQ, quantize.HQQ} {
		for _, format := range []quantize.Format{quantize.NBits, quantize.QDQ} {
			o := quantize.WeightOnly{Algorithm: a, Format: format, Symmetric: a == quantize.HQQ, Feeds: feeds(20)}
			want := run(o)
			o.Checkpoints = filepath.Join(t.TempDir(), "kept")
			same := func(when string) {
				t.Helper()
				if !bytes.Equal(run(o), want) {
					t.Errorf("%s %s: %s: other bytes", a, format, when)
				}
			}
			same("a new folder")
			files, err := filepath.Glob(filepath.Join(o.Checkpoints, "weight-*"))
			if want := map[bool]int{true: 6, false: 5}[format == quantize.NBits]; err != nil || len(files) < want {
				t.Fatalf("%s %s: %v are kept, want %d: %v", a, format, files, want, err)
			}
			same("all finished")
			for i, f := range files { // one after another, the first and later the last of two that share an input
				os.Remove(f)
				if i%2 == 0 {
					same("some finished")
				}
			}
			same("none finished")
			for i, f := range files {
				b, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				if b[len(b)-1-i] ^= 1; i == 1 {
					b = b[:len(b)/2]
				}
				if err := os.WriteFile(f, b, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			same("damaged")
			other := o
			other.Group = 16
			run(other)
			same("other settings")
			if other = o; o.NeedsFeeds() {
				other.Feeds = feeds(90)
				if bytes.Equal(run(other), want) {
					t.Errorf("%s %s: what was seen of other inputs counts", a, format)
				}
				same("other inputs")
			}
		}
	}
}
