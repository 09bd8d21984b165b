package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// full is a writer on a disk that takes n more bytes.
type full struct{ n int }

var errNoSpace = errors.New("no space left on device")

func (f *full) Write(b []byte) (int, error) {
	if n := min(f.n, len(b)); n < len(b) {
		f.n = 0
		return n, errNoSpace
	}
	f.n -= len(b)
	return len(b), nil
}

// A result that cannot be written is a failure, in text as in JSON.
func TestLostOutput(t *testing.T) {
	const spam = "../../testdata/spam/model.onnx"
	for _, args := range [][]string{
		{"help"}, {"help", "inspect"}, {"inspect", spam}, {"inspect", spam, "--json"}, {"verify", spam}, {"verify", spam, "--json"}, {"completion", "bash"}, {"doctor"}, {"doctor", "--json"},
	} {
		for _, room := range []int{0, 10} {
			var errs bytes.Buffer
			if code := run(t.Context(), append([]string{"wattshed"}, args...), strings.NewReader(""), &full{room}, &errs); code != exitFailed || !strings.Contains(errs.String(), errNoSpace.Error()) {
				t.Errorf("%v with room for %d bytes: exit %d: %s", args, room, code, &errs)
			}
		}
	}
}
