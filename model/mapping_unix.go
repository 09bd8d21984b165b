//go:build unix

package model

import (
	"io"

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

// forget gives the memory of the whole pages in b, a part of the mapping, back to the system, unless some of b is kept; they
// are read from the file again when they are touched again. It reports whether it did.
func (m *Mapping) forget(b []byte) bool {
	page := unix.Getpagesize()
	from := m.offset(b)
	lo, hi := (from+page-1)&^(page-1), (from+len(b))&^(page-1)
	if from+len(b) == len(m.data) { // nothing is behind it in the last page
		hi = len(m.data)
	}
	if lo >= hi {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.kept {
		if k[0] < hi && lo < k[1] {
			return false
		}
	}
	return unix.Madvise(m.data[lo:hi], unix.MADV_DONTNEED) == nil // where it is refused the memory stays
}
