//go:build unix

package model_test

import (
	"bytes"
	"math/rand/v2"
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

// TestForgetNeighbours: whatever tensors of a file are read in parts and given back, of any length, with pages in common, the bytes of all are those
// of the file, and bytes that are kept stay what was written to them.
func TestForgetNeighbours(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	page := os.Getpagesize()
	for range 30 {
		file := make([]byte, 1+r.IntN(60*page))
		for i := range file {
			file[i] = byte(r.Uint32())
		}
		path := filepath.Join(t.TempDir(), "w")
		if err := os.WriteFile(path, file, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := model.MapFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var xs []*model.Tensor
		var want [][]byte
		for at := 0; at < len(file); {
			n := min([]int{1 + r.IntN(9), 1 + r.IntN(page), 1 + r.IntN(8*page), page}[r.IntN(4)], len(file)-at)
			x, err := m.Tensor(model.Uint8, []int{n}, m.Bytes()[at:at+n])
			if err != nil {
				t.Fatal(err)
			}
			xs, want = append(xs, x), append(want, bytes.Clone(file[at:at+n]))
			if r.IntN(6) == 0 { // the caller's to write to
				if err := x.Keep(); err != nil {
					t.Fatal(err)
				}
				b, err := x.Bytes()
				if err != nil {
					t.Fatal(err)
				}
				for i := range b {
					b[i] ^= 0x55
				}
				want[len(want)-1] = bytes.Clone(b)
			}
			at += n
		}
		for range 300 {
			i := r.IntN(len(xs))
			lo := r.IntN(xs[i].Len())
			hi := lo + 1 + r.IntN(min(xs[i].Len()-lo, []int{page - 1, 4 * page}[r.IntN(2)]))
			switch r.IntN(3) {
			case 0:
				xs[i].Forget()
			default:
				err := xs[i].Part(lo, hi, func(b []byte) error {
					if !bytes.Equal(b, want[i][lo:hi]) {
						t.Errorf("bytes %d to %d of %d differ", lo, hi, xs[i].Len())
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			k := r.IntN(len(xs))
			if b, err := xs[k].Bytes(); err != nil || !bytes.Equal(b, want[k]) {
				t.Fatalf("tensor %d of %d bytes differs: %v", k, len(b), err)
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
