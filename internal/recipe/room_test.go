package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/quantize"
	"github.com/wattshed/wattshed/testdata"
)

const roomRecipe = `version: 1
model: model.onnx
task: {kind: classification, data: test.jsonl, train: train.jsonl}
target: {threads: 1}
measure: {pairs: 2, max_pairs: 2, max_seconds: 1, block_seconds: 0.004, inputs: 2}
search: {max_trials: 1, schemes: [{scheme: fp16}]}
variants:
  - name: half
    stages: [{quantize: {scheme: fp16}}]
  - name: int8
    stages: [{quantize: {scheme: int8}}]
  - name: sparse
    stages: [{prune: {sparsity: 0.5}}]
  - name: sparse-half
    stages: [{prune: {sparsity: 0.5}}, {quantize: {scheme: fp16}}]
`

// TestRoom: a run and a search that do not fit the disk of their folder are refused before anything is written, with what is needed and what is
// free; what is needed is what the models then take, and a run that goes on needs what is missing.
func TestRoom(t *testing.T) {
	ctx := context.Background()
	rec := parseIn(t, fixtureDir(t), roomRecipe)
	out := filepath.Join(t.TempDir(), "not", "there")
	o := options(out)
	free := int64(1000)
	o.FreeDisk = func(path string) int64 {
		if !strings.HasPrefix(path, out) {
			t.Errorf("asked for the disk of %s", path)
		}
		return free
	}
	refused := func(what string, err error) (needed int64) {
		t.Helper()
		if !errors.Is(err, quantize.ErrDisk) {
			t.Fatalf("%s: %v", what, err)
		}
		var left int64
		text := err.Error()
		if i := strings.LastIndex(text, ": not enough"); i > 0 {
			text = text[strings.LastIndex(text[:i], ": ")+2 : i]
		}
		if n, err := fmt.Sscanf(text, "%d bytes are needed, %d are free", &needed, &left); n != 2 || left != free {
			t.Fatalf("%s: %q: %v", what, text, err)
		}
		return needed
	}
	_, err := Run(ctx, rec, o)
	needed := refused("run", err)
	_, _, err = Search(ctx, rec, o)
	if n := refused("search", err); n <= needed || n > 3*needed/2 { // the recipe's own variants come first, and one model of fp16 is beside them
		t.Errorf("a search needs %d bytes, a run %d", n, needed)
	}
	if _, err := os.Stat(filepath.Dir(out)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused run left something: %v", err)
	}

	free = needed
	res, err := compute(ctx, rec, o)
	if err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, v := range res.Variants[1:] {
		sum += v.File.Bytes
	}
	if d := float64(needed-sum) / float64(sum); d < -0.15 || d > 0.15 { // an estimate: of the metadata and names that a stage adds it knows little
		t.Errorf("%d bytes were said to be needed, the models take %d", needed, sum)
	}
	if err := os.Remove(filepath.Join(out, variantsName, "half.onnx")); err != nil {
		t.Fatal(err)
	}
	o.Resume, free = true, 10
	_, err = Run(ctx, rec, o)
	if n := refused("resumed", err); n <= 10 || n > needed/2 {
		t.Errorf("one variant is missing of %d bytes, and %d are needed", needed, n)
	}
}

// TestRoomOfSearch: without variants a search needs room for one model.
func TestRoomOfSearch(t *testing.T) {
	rec := parseIn(t, fixtureDir(t), roomRecipe[:strings.Index(roomRecipe, "variants:")])
	o := options(filepath.Join(t.TempDir(), "search"))
	o.FreeDisk = func(string) int64 { return 1000 }
	if _, _, err := Search(context.Background(), rec, o); !errors.Is(err, quantize.ErrDisk) || !strings.Contains(err.Error(), "1000 are free") {
		t.Error(err)
	}
	if _, err := os.Stat(o.Out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused search left something: %v", err)
	}
}

// TestRoomOfBuiltin: of a built-in model, which no file holds, the least that its variants take is known, and its own size.
func TestRoomOfBuiltin(t *testing.T) {
	data, err := os.ReadFile("../../testdata/spam/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	rec := parseIn(t, t.TempDir(), "version: 1\nmodel: builtin:spam-lstm\ntask: {kind: fidelity}\ninputs: {random: {n: 2}}\nvariants: [{name: a, stages: [{quantize: {scheme: bf16}}]}]\n")
	o := options(t.TempDir())
	o.Builtin = testdata.FS
	want := int64(len(data)) * 3 / 2
	o.FreeDisk = func(string) int64 { return want - 1 }
	if _, err := Run(context.Background(), rec, o); !errors.Is(err, quantize.ErrDisk) || !strings.Contains(err.Error(), fmt.Sprintf("%d bytes are needed, %d are free", want, want-1)) {
		t.Error(err)
	}
}
