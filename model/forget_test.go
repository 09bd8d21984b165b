//go:build unix

package model_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/wattshed/wattshed/model"
)

// TestForget: what is given back is read from the file again, the pages at the ends of the bytes too; what was kept stays, in a page that is
// shared with bytes that are given back as well.
func TestForget(t *testing.T) {
	page := os.Getpagesize()
	path := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(path, make([]byte, 8*page), 0o666); err != nil {
		t.Fatal(err)
	}
	part := func(m *model.Mapping, lo, hi int) *model.Tensor {
		x, err := m.Tensor(model.Uint8, []int{hi - lo}, m.Bytes()[lo:hi])
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	const before, first, second, last, behind = 0, 1, 2, 3, 4 // where bytes are written
	for name, c := range map[string]struct {
		keep []int // of these
		lost []int // what the file has again
	}{
		"nothing kept": {nil, []int{before, first, second, last, behind}},
		"before":       {[]int{before}, []int{second, last, behind}},
		"behind":       {[]int{behind}, []int{before, first, second}},
		"both":         {[]int{before, behind}, []int{second}},
		"itself":       {[]int{second}, nil},
	} {
		m, err := model.MapFile(path)
		if err != nil {
			t.Fatal(err)
		}
		lo, hi := page+page/2, 4*page+page/2
		at := []int{page, lo, 2*page + 7, hi - 1, hi}
		for _, k := range c.keep {
			if err := part(m, at[k], at[k]+1).Keep(); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range at {
			m.Bytes()[i] = 9 // in this process alone; only what is kept may be written to
		}
		want := []byte{9, 9, 9, 9, 9}
		for _, k := range c.lost {
			want[k] = 0
		}
		part(m, lo, hi).Forget()
		for k, i := range at {
			if got := m.Bytes()[i]; got != want[k] {
				t.Errorf("%s: byte %d is %d, want %d", name, k, got, want[k])
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
