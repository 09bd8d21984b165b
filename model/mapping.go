package model

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// ErrTruncated is wrapped by errors about a file that became shorter while it was mapped.
var ErrTruncated = errors.New("file is truncated")

// Mapping is a file in memory: mapped privately (copy-on-write) where the system can, so that opening
// costs nothing and a write to the memory stays in this process; read into memory elsewhere.
//
// A page of a mapped file that no longer exists faults when it is touched. Bytes of a Mapping are
// therefore touched the first time inside Guard, which turns the fault into an error: Tensor and Lazy do
// so on the first call of Tensor.Bytes, and remember. Who works with the bytes afterwards does so inside Guard too, as the engine and the
// stages do: outside of it a file that is cut off while its weights are in use ends the process.
type Mapping struct {
	path   string
	file   *os.File // kept open to ask for the size again; nil when data is ordinary memory
	data   []byte
	mapped bool
	closed atomic.Bool

	mu   sync.Mutex
	kept [][2]int // offsets from and to of bytes that are handed out to be written to
	last readPart // of the parts below a page
}

// readPart is a part of a tensor that has been read: its offsets in the file.
type readPart struct {
	of       *Tensor
	from, to int
}

// MapFile maps the regular file at path.
func MapFile(path string) (*Mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("model: %s is not a regular file", path)
	}
	if err == nil && st.Size() > int64(maxMap) {
		err = fmt.Errorf("model: %s: %d bytes are too many for this machine", path, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	m := &Mapping{path: path, file: f}
	if err := m.fill(int(st.Size())); err != nil {
		f.Close()
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return m, nil
}

const maxMap = 1<<(unsafe.Sizeof(uintptr(0))*8-2) - 1

// Path returns the name that the file was opened by.
func (m *Mapping) Path() string { return m.path }

// Bytes returns the file. Reading them outside Guard may fault, see Mapping.
func (m *Mapping) Bytes() []byte { return m.data }

// SameFile reports whether path names the file of m.
func (m *Mapping) SameFile(path string) bool {
	st, err := os.Stat(path)
	if err != nil || m.file == nil || m.closed.Load() {
		return false
	}
	mine, err := m.file.Stat()
	return err == nil && os.SameFile(st, mine)
}

// Guard is the function Guard for a file that must be open.
func (m *Mapping) Guard(fn func() error) error {
	if err := m.alive(); err != nil {
		return err
	}
	return Guard(func() []*Mapping { return []*Mapping{m} }, fn)
}

func (m *Mapping) holds(addr uintptr) bool {
	if !m.mapped || len(m.data) == 0 || m.closed.Load() {
		return false
	}
	base := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
	return addr >= base && addr < base+(uintptr(len(m.data))+65535)&^65535
}

// Touch reads one byte of every page of b, a part of Bytes, after comparing the size of the file with what
// it was. It returns ErrTruncated when a page is gone.
func (m *Mapping) Touch(b []byte) error {
	return m.Guard(func() error {
		if err := m.whole(); err != nil {
			return err
		}
		if m.mapped && !populate(b) {
			touch(b)
		}
		return nil
	})
}

//go:noinline
func touch(b []byte) byte {
	const step = 4096 // no supported system has smaller pages
	var x byte
	for i := 0; i < len(b); i += step {
		x ^= b[i]
	}
	if len(b) > 0 {
		x ^= b[len(b)-1]
	}
	return x
}

// Tensor returns a Tensor whose bytes are b, a part of Bytes, without touching or copying them.
func (m *Mapping) Tensor(dtype DType, shape []int, b []byte) (*Tensor, error) {
	if dtype == String {
		return nil, fmt.Errorf("model: a string tensor has no raw bytes")
	}
	t, err := m.Lazy(dtype, shape, func() ([]byte, []string, error) { return b, nil, m.Touch(b) })
	if err == nil && len(b) != dtype.Size(t.n) {
		err = fmt.Errorf("model: %s tensor of shape %v needs %d bytes, has %d", dtype, shape, dtype.Size(t.n), len(b))
	}
	if err != nil {
		return nil, err
	}
	t.lazy.window = b
	return t, nil
}

// Lazy is NewLazy for a load function that reads bytes of m; it runs inside Guard.
func (m *Mapping) Lazy(dtype DType, shape []int, load func() ([]byte, []string, error)) (*Tensor, error) {
	t, err := NewLazy(dtype, shape, func() (raw []byte, strs []string, err error) {
		err = m.Guard(func() (e error) { raw, strs, e = load(); return e })
		return raw, strs, err
	})
	if err != nil {
		return nil, err
	}
	t.mem = m
	return t, nil
}

func (m *Mapping) alive() error {
	if m.closed.Load() {
		return fmt.Errorf("model: %s: %w", m.path, os.ErrClosed)
	}
	return nil
}

// Close releases the memory. Tensors over it give an error from then on, and byte slices taken from them
// must not be used any more.
func (m *Mapping) Close() error {
	if m.closed.Swap(true) {
		return nil
	}
	err := m.release()
	if m.file != nil {
		err = errors.Join(err, m.file.Close())
	}
	return err
}
