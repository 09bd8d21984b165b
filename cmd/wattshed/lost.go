package main

import "io"

// A resultWriter remembers the first error of writing results, which the commands that print text leave to it.
type resultWriter struct {
	w   io.Writer
	err error
}

// Write writes to w, and nothing any more after an error.
func (r *resultWriter) Write(b []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.w.Write(b)
	r.err = err
	return n, err
}
