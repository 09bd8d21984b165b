package model_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// resident returns the bytes of files that this process has mapped.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "RssFile:")
	if !ok {
		t.Skip("the system does not tell")
	}
	kb, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestPartResident: a tensor that is read part by part leaves little of it in memory, wherever it begins: not what the system maps around each
// part. The limit is a sixteenth of the file, where 60 KB around each part of 100,000 bytes are more than half of it. So do parts of less than a page,
// one after another or far from each other.
func TestPartResident(t *testing.T) {
	const size, begin = 64 << 20, 60_001
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ part, step int }{"large": {100_000, 100_000}, "small": {1000, 1000}, "two to a stretch": {40, 40_000}, "far": {1000, 300_000}} {
		m, err := model.MapFile(path)
		if err != nil {
			t.Fatal(err)
		}
		x, err := m.Tensor(model.Uint8, []int{size - begin}, m.Bytes()[begin:])
		if err != nil {
			t.Fatal(err)
		}
		before := resident(t)
		for at := 0; at < x.Len(); at += c.step {
			if err := x.Part(at, min(at+c.part, x.Len()), func(b []byte) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if more := resident(t) - before; more > size/16 {
			t.Errorf("%s: %d bytes of %d are left in memory", name, more, size)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
