package onnx

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// flush asks the system to begin with bringing what was written to the disk, and waits for none of it.
func flush(f *os.File) { _ = unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE) }

// allocate reserves disk blocks for size bytes; errors.ErrUnsupported where the file system has no such call.
func allocate(f *os.File, size int64) error {
	if size == 0 {
		return nil
	}
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}
