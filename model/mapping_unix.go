//go:build unix

package model

import (
	"io"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fill maps the file, or reads it where its file system cannot be mapped.
func (m *Mapping) fill(size int) error {
	if size == 0 {
		return nil
	}
	b, err := unix.Mmap(int(m.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err == nil {
		m.data, m.mapped = b, true
		return nil
	}
	m.data = make([]byte, size)
	_, err = io.ReadFull(m.file, m.data)
	return err
}

func (m *Mapping) release() error {
	if !m.mapped {
		return nil
	}
	return unix.Munmap(m.data)
}

// pages returns the whole pages that b, a part of the mapping, lies in.
func (m *Mapping) pages(b []byte) []byte {
	page := uintptr(unix.Getpagesize())
	base := uintptr(unsafe.Pointer(unsafe.SliceData(m.data)))
	lo := (uintptr(unsafe.Pointer(unsafe.SliceData(b))) - base) &^ (page - 1)
	hi := min((uintptr(unsafe.Pointer(unsafe.SliceData(b)))-base+uintptr(len(b))+page-1)&^(page-1), uintptr(len(m.data)))
	return m.data[lo:hi]
}

// forget gives the memory of b, a part of the mapping, back to the system, with the rest of its first and last page; it
// is read from the file again when it is touched again.
func (m *Mapping) forget(b []byte) {
	if len(b) > 0 {
		_ = unix.Madvise(m.pages(b), unix.MADV_DONTNEED) // where it is refused the memory stays
	}
}
