package main

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// countdown is a context that is canceled at its n-th look: an interrupt at a place that a test chooses.
type countdown struct {
	context.Context
	cancel context.CancelFunc
	left   atomic.Int64
}

func (c *countdown) Err() error {
	if c.left.Add(-1) < 0 {
		c.cancel()
	}
	return c.Context.Err()
}

// TestInterrupts interrupts the commands that are over too soon for a signal to meet them: at the first place where each looks for an
// interrupt, at the second and so on until one run ends undisturbed. An interrupted one says so and leaves the folder as it was.
func TestInterrupts(t *testing.T) {
	dir := t.TempDir()
	if err := prepare(dir); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if code, out, msg := call("measure", "small.onnx", "--sequence", "8", "--pairs", "2", "--precision", "1", "--block-seconds", "0.01", "--max-seconds", "1", "--json", "--quiet"); code != 0 {
		t.Fatal(msg)
	} else if err := os.WriteFile("result.json", []byte(out), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"prune", "small.onnx", "-o", "x.onnx", "--sparsity", "0.5", "--quiet"},
		{"quantize", "small.onnx", "-o", "x.onnx", "--scheme", "int8", "--quiet"},
		{"quantize", "small.onnx", "-o", "x.onnx", "--scheme", "int8", "--stream", "--quiet"},
		{"quantize", "small.onnx", "-o", "x.onnx", "--scheme", "int8-static", "--sequence", "8", "--samples", "2", "--quiet"},
		{"eval", "small.onnx", "--task", "test.jsonl", "--quiet"},
		{"report", "result.json", "--out", "."},
		{"doctor"},
	} {
		name := strings.Join(args, " ")
		before := files(t)
		for n := int64(0); ; n++ {
			ctx, cancel := context.WithCancel(context.Background())
			c := &countdown{Context: ctx, cancel: cancel}
			c.left.Store(n)
			var out, errs bytes.Buffer
			code := run(c, append([]string{"wattshed"}, args...), nil, &out, &errs)
			cancel()
			if code == exitOK {
				if n < 1 {
					t.Errorf("%s: never looks for an interrupt", name)
				}
				break
			}
			if code != exitFailed || !strings.Contains(errs.String(), "error: interrupted") {
				t.Fatalf("%s: interrupted at look %d: exit %d: %s", name, n, code, &errs)
			}
			if after := files(t); !slices.Equal(after, before) {
				t.Fatalf("%s: interrupted at look %d: it left %v, before there was %v", name, n, after, before)
			}
		}
		for _, f := range files(t) { // for the next command
			if !slices.Contains(before, f) {
				os.RemoveAll(f)
			}
		}
	}
}

// files lists all files under the working folder.
func files(t *testing.T) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
