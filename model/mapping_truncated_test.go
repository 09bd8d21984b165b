package model_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestTruncated cuts a file off under its mapping, in a process of its own, since a fault that is not turned into an
// error ends it.
func TestTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files are read, not mapped, on windows")
	}
	if path := os.Getenv("MODEL_TRUNCATE"); path != "" {
		truncate(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o666); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestTruncated$", "-test.v")
	cmd.Env = append(os.Environ(), "MODEL_TRUNCATE="+path)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestTruncated") {
		t.Errorf("%v\n%s", err, out)
	}
}

func truncate(t *testing.T, path string) {
	m, err := model.MapFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, err := m.Tensor(model.Uint8, []int{4096}, m.Bytes()[:4096])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Bytes(); err != nil {
		t.Fatal(err)
	}
	forgotten, err := m.Tensor(model.Uint8, []int{1 << 18}, m.Bytes()[1<<18:1<<19])
	if err != nil {
		t.Fatal(err)
	}
	flat, err := forgotten.Reshape([]int{1 << 9, 1 << 9})
	if err != nil {
		t.Fatal(err)
	}
	forgotten.Forget()
	after, err := m.Tensor(model.Uint8, []int{1 << 19}, m.Bytes()[1<<19:])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the error is remembered
		if _, err := after.Bytes(); !errors.Is(err, model.ErrTruncated) {
			t.Errorf("a weight behind the end: %v", err)
		}
	}
	for _, x := range []*model.Tensor{forgotten, flat} { // read before, given back, and gone since
		if _, err := x.Bytes(); !errors.Is(err, model.ErrTruncated) {
			t.Errorf("a forgotten weight behind the end: %v", err)
		}
	}
	// The fault itself, without the comparison of sizes before it.
	err = m.Guard(func() error {
		if m.Bytes()[1<<19] == 1 {
			return errors.New("read a byte that is not there")
		}
		return nil
	})
	if !errors.Is(err, model.ErrTruncated) {
		t.Errorf("a byte behind the end: %v", err)
	}
	lazy, err := m.Lazy(model.Uint8, []int{1}, func() ([]byte, []string, error) {
		return []byte{m.Bytes()[1<<20-1]}, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lazy.Bytes(); !errors.Is(err, model.ErrTruncated) {
		t.Errorf("a decoded weight behind the end: %v", err)
	}
}
