package recipe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMeasureKeepsBlocks: a measurement that is interrupted has its blocks on disk; with Resume it goes on with them, without it they are set
// aside, and a finished one leaves nothing.
func TestMeasureKeepsBlocks(t *testing.T) {
	fix, out := fixtureDir(t), filepath.Join(t.TempDir(), "kept")
	rec := func() *Recipe {
		return &Recipe{Model: filepath.Join(fix, "model.onnx"), Dir: ".", Inputs: InputsSpec{Random: &RandomSpec{Seed: new(uint64(3)), N: 4}},
			Target: TargetSpec{Sequence: 8, Threads: 1}, Measure: MeasureSpec{Pairs: 4, MaxPairs: 4, BlockSeconds: 0.002}}
	}
	others := []string{filepath.Join(fix, "model.onnx")}
	interrupt := func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		o := options(out)
		seen := 0
		o.Progress = func(what string, _, _ int) {
			if strings.Contains(what, "measuring") {
				if seen++; seen == 5 {
					cancel()
				}
			}
		}
		if _, err := Measure(ctx, rec(), others, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	blocks := func(name string) int {
		b, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte(`{"kind":"block"`))
	}
	interrupt()
	kept := blocks(journalName)
	if kept == 0 || kept >= 8 {
		t.Fatalf("%d blocks are kept of an interrupted measurement of 8", kept)
	}
	o := options(out)
	o.Resume = true
	res, err := Measure(context.Background(), rec(), others, o)
	if err != nil {
		t.Fatal(err)
	}
	first := 0
	for _, b := range res.Blocks {
		if b.Session == 0 {
			first++
		}
	}
	if first != kept || len(res.Blocks) != 8 {
		t.Errorf("%d of %d blocks are from before the interruption, want %d of 8", first, len(res.Blocks), kept)
	}
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a finished measurement leaves %s: %v", out, err)
	}
	interrupt()
	kept = blocks(journalName)
	if _, err := Measure(context.Background(), rec(), others, options(out)); err != nil {
		t.Fatal(err)
	}
	if got := blocks(asideName); got != kept {
		t.Errorf("%d blocks are set aside, want %d", got, kept)
	}
	if err := os.WriteFile(filepath.Join(out, journalName), []byte("second"), 0o644); err != nil {
		t.Fatal(err)
	}
	if aside, err := setAside(out); err != nil || aside != filepath.Join(out, asideName+".2") || blocks(asideName) != kept {
		t.Errorf("a second journal is set aside as %q, %v", aside, err)
	}
	if aside, err := setAside(out); err != nil || aside != "" {
		t.Errorf("no journal is set aside as %q, %v", aside, err)
	}
	other := rec()
	interrupt()
	other.Measure.Seed = new(uint64(7))
	if _, err := Measure(context.Background(), other, others, o); !errors.Is(err, ErrOtherRun) {
		t.Errorf("another recipe goes on with the journal: %v", err)
	}
}
