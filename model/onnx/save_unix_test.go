//go:build unix

package onnx_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wattshed/wattshed/model"
	"github.com/wattshed/wattshed/model/onnx"
)

// TestSaveSpecial: what is no file is refused and stays what it is.
func TestSaveSpecial(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	g := &model.Graph{Name: "g", Model: &model.Info{IRVersion: 10}}
	g.SetOpset("", 17)
	for path, word := range map[string]string{pipe: "a pipe", dir: "a folder"} {
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := onnx.Save(path, g, onnx.WriteOptions{}); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v, want %q", path, err, word)
		}
		if after, err := os.Stat(path); err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s is %v now, it was %v (%v)", path, after, before.Mode(), err)
		}
	}
}
