package model

import (
	"fmt"
	"os"
	"unsafe"
)

// Part calls fn with the bytes from lo to hi of the tensor, which must not be kept or changed. Where the bytes lie in a
// mapped file, only these are touched, inside Guard, and their memory is given back to the system afterwards, as by Forget, that of less than a
// page with the next such part elsewhere: reading a tensor part by part takes the memory of one part. It fails for String, on a range outside the tensor, when
// the tensor cannot be read, and with the error of fn.
func (t *Tensor) Part(lo, hi int, fn func(b []byte) error) error {
	if t.dtype == String {
		return fmt.Errorf("model: string tensor: %w: it has no bytes", ErrType)
	}
	if size := t.ByteSize(); lo < 0 || hi < lo || hi > size {
		return fmt.Errorf("model: bytes %d to %d of a tensor of %d bytes", lo, hi, size)
	}
	window := t.inFile()
	if window == nil {
		raw, err := t.Bytes()
		if err != nil {
			return err
		}
		return fn(raw[lo:hi])
	}
	b := window[lo:hi:hi]
	if err := t.mem.Touch(b); err != nil {
		return err
	}
	if len(b) < os.Getpagesize() {
		defer t.mem.passed(t, b)
	} else {
		defer t.forget(b)
	}
	return t.mem.Guard(func() error { return fn(b) })
}

// Forget gives the memory of the pages that the bytes lie in back to the system where they lie in a mapped file; they are read from there
// again when they are touched, by the next Bytes first. Otherwise, for bytes that fill no page, and where Keep was called for any of the
// bytes, it does nothing; pages that they share with other bytes for which Keep was called stay.
func (t *Tensor) Forget() {
	if window := t.inFile(); window != nil && t.mem.alive() == nil {
		t.forget(window)
	}
}

// inFile is the window of a mapped file that the tensor's bytes lie in, or nil.
func (t *Tensor) inFile() []byte {
	if t.lazy == nil || t.mem == nil || !t.mem.mapped {
		return nil
	}
	return t.lazy.window
}

// forget gives b, a part of the window, back.
func (t *Tensor) forget(b []byte) {
	if t.mem.forget(b) {
		t.lazy.forgotten.Add(1)
	}
}

// Keep is for who hands the bytes out to be written to: neither Forget nor Part gives them back from then on, so that what
// is written stays. It fails when the tensor cannot be read.
func (t *Tensor) Keep() error {
	if err := t.force(); err != nil || t.mem == nil || !t.mem.mapped {
		return err
	}
	t.mem.keep(t.raw)
	return nil
}

// keep notes that b, when it is a part of the mapping, must not be forgotten.
func (m *Mapping) keep(b []byte) {
	if len(b) == 0 || !m.holds(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) {
		return
	}
	lo := m.offset(b)
	m.mu.Lock()
	m.kept = append(m.kept, [2]int{lo, lo + len(b)})
	m.mu.Unlock()
}

// offset is that of b, a part of the mapping.
func (m *Mapping) offset(b []byte) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(b))) - uintptr(unsafe.Pointer(unsafe.SliceData(m.data))))
}
