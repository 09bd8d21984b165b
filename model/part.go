package model

import "fmt"

// Part calls fn with the bytes from lo to hi of the tensor, which must not be kept or changed. Where the bytes lie in a
// mapped file, only these are touched, inside Guard, and their memory is given back to the system afterwards: reading
// a tensor part by part takes the memory of one part. It fails for String, on a range outside the tensor, when
// the tensor cannot be read, and with the error of fn.
func (t *Tensor) Part(lo, hi int, fn func(b []byte) error) error {
	if t.dtype == String {
		return fmt.Errorf("model: string tensor: %w: it has no bytes", ErrType)
	}
	if size := t.ByteSize(); lo < 0 || hi < lo || hi > size {
		return fmt.Errorf("model: bytes %d to %d of a tensor of %d bytes", lo, hi, size)
	}
	if t.mem == nil || t.window == nil || !t.mem.mapped {
		raw, err := t.Bytes()
		if err != nil {
			return err
		}
		return fn(raw[lo:hi])
	}
	b := t.window[lo:hi:hi]
	if err := t.mem.Touch(b); err != nil {
		return err
	}
	defer t.mem.forget(b)
	return t.mem.Guard(func() error { return fn(b) })
}

// Forget gives the memory of the bytes back to the system where they lie in a mapped file; they are read from there again
// when they are touched. Otherwise it does nothing.
func (t *Tensor) Forget() {
	if t.mem != nil && t.window != nil && t.mem.mapped && t.mem.alive() == nil {
		t.mem.forget(t.window)
	}
}
