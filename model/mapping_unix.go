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

// around is what the system may map about a page that is touched (fault_around_bytes of Linux), by addresses that are multiples of it.
const around = 64 << 10

// forget gives the memory of the pages that b, a part of the mapping, lies in back to the system, unless some of b is kept; they are read
// from the file again when they are touched again, for bytes beside b too. What was mapped around b is among them, up to bytes that are
// kept: it would stay, tile by tile, and the system may have mapped megabytes around a page, and lets go of all that when it gives up one
// of them. It reports whether it did.
func (m *Mapping) forget(b []byte) bool {
	page := unix.Getpagesize()
	if len(b) < page {
		return false
	}
	from := m.offset(b)
	to := from + len(b)
	base := int(uintptr(unsafe.Pointer(unsafe.SliceData(m.data))) & (around - 1))
	lo, hi := max((base+from)&^(around-1)-base, 0), min((base+to+around-1)&^(around-1)-base, len(m.data))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.kept {
		switch {
		case k[0] < to && from < k[1]:
			return false
		case k[1] <= from:
			lo = max(lo, (k[1]+page-1)&^(page-1))
		case k[0] >= to:
			hi = min(hi, k[0]&^(page-1))
		}
	}
	return lo < hi && unix.Madvise(m.data[lo:hi], unix.MADV_DONTNEED) == nil // where it is refused the memory stays
}
