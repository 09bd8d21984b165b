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
	if len(b) < unix.Getpagesize() {
		return false
	}
	from := m.offset(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.drop(from, from+len(b))
}

// block is the number of the stretch that the system maps around the byte at an offset.
func (m *Mapping) block(at int) int { return (m.base() + at) / around }

// base is how far behind a multiple of around the mapping begins.
func (m *Mapping) base() int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(m.data))) & (around - 1))
}

// passed notes that t has been read in b, less than a page of it. Such parts often follow each other in a page, so it is the one before that is
// given back, what was mapped around it included, once another stretch is read: one stretch stays, however many are read.
func (m *Mapping) passed(t *Tensor, b []byte) {
	if len(b) == 0 {
		return
	}
	from := m.offset(b)
	to := from + len(b)
	m.mu.Lock()
	defer m.mu.Unlock()
	last, next := m.last, readPart{t, from, to}
	if last.of != nil {
		start := m.block(from)*around - m.base()
		if m.block(last.to-1) == m.block(from) {
			next.from, next.to = max(min(last.from, from), start), max(last.to, to)
			last.to = max(start, 0)
		}
		if last.from < last.to && m.drop(last.from, last.to) {
			last.of.lazy.forgotten.Add(1)
		}
	}
	m.last = next
}

// drop is forget of the bytes from an offset to another; m.mu is held.
func (m *Mapping) drop(from, to int) bool {
	page, base := unix.Getpagesize(), m.base()
	lo, hi := max((base+from)&^(around-1)-base, 0), min((base+to+around-1)&^(around-1)-base, len(m.data))
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
