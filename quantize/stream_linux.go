package quantize

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// freeMemory returns the bytes that this process may still take; 0 where that is not known.
func freeMemory() int64 { return availableMemory(os.DirFS("/")) }

// FreeDisk returns the bytes that are free where path is going to be, in folders that may not be there yet; -1 where that is not known.
func FreeDisk(path string) int64 {
	var st unix.Statfs_t
	dir := filepath.Dir(path)
	err := unix.Statfs(dir, &st)
	for ; errors.Is(err, unix.ENOENT) && filepath.Dir(dir) != dir; err = unix.Statfs(dir, &st) {
		dir = filepath.Dir(dir)
	}
	if err != nil || st.Blocks == 0 { // ramfs, a tmpfs without a limit and others count no blocks
		return -1
	}
	return int64(st.Bavail) * max(st.Frsize, 1)
}

// diskSpeed returns the bytes per second that a file without a name in the folder took: up to 64 MiB or a fifth of a
// second of writing, and bringing that to the disk. 0 where there can be no such file.
func diskSpeed(dir string) float64 {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return 0
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	b := make([]byte, 1<<20)
	for i := range b {
		b[i] = byte(i * i >> 7) // not all zeros, which some disks store in no time
	}
	start, written := time.Now(), 0
	for written < 64<<20 && time.Since(start) < 200*time.Millisecond {
		n, err := f.Write(b)
		written += n
		if err != nil {
			break
		}
	}
	if f.Sync() != nil {
		return 0
	}
	return float64(written) / time.Since(start).Seconds()
}
