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

// forget gives the memory of the pages that b, a part of the mapping, lies in back to the system, unless some of b is kept; they are read
// from the file again when they are touched again, for bytes beside b too. The pages at both ends are among them, but where bytes beside b
// are kept there: the system may have mapped megabytes around a page that was touched, and lets go of all that when it gives up one of
// them. It reports whether it did.
func (m *Mapping) forget(b []byte) bool {
	page := unix.Getpagesize()
	from := m.offset(b)
	to := from + len(b)
	lo, hi := from&^(page-1), min((to+page-1)&^(page-1), len(m.data))
	if len(b) < page {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.kept {
		switch {
		case k[0] < to && from < k[1]:
			return false
		case k[1] <= from && lo < k[1]:
			lo = (from + page - 1) &^ (page - 1)
		case k[0] >= to && k[0] < hi:
			hi = to &^ (page - 1)
		}
	}
	return lo < hi && unix.Madvise(m.data[lo:hi], unix.MADV_DONTNEED) == nil // where it is refused the memory stays
}
