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
