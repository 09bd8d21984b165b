//go:build unix

package onnx

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock marks f as being written by this process, until it is closed.
func lock(f *os.File) {
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // where there are no locks, sweep removes nothing either
}

// sweep removes what killed processes left of path under temporary names: files that nobody holds the lock of.
func sweep(path string) {
	left, err := filepath.Glob(escape(path) + ".*-*.partial")
	if err != nil {
		return
	}
	for _, name := range left {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.Remove(name)
		}
		f.Close()
	}
}

// escape returns path as a pattern that matches itself alone.
func escape(path string) string {
	var b []byte
	for i := range len(path) {
		if c := path[i]; c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '\\')
		}
		b = append(b, path[i])
	}
	return string(b)
}
