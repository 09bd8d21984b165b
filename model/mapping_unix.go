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

// forget gives the memory of the pages that b, a part of the mapping, lies in back to the system, unless some of them is kept; they are read
// from the file again when they are touched again, for bytes beside b too. The pages at both ends are among them: the system may have
// mapped megabytes around a page that was touched, and lets go of all that when it gives up one of them. It reports whether it did.
func (m *Mapping) forget(b []byte) bool {
	page := unix.Getpagesize()
	from := m.offset(b)
	lo, hi := from&^(page-1), min((from+len(b)+page-1)&^(page-1), len(m.data))
	if lo >= hi || len(b) < page {
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
