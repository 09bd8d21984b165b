//go:build unix

package measure

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockFile takes an exclusive lock that ends with the process.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// noFollow refuses a symbolic link in a folder that everybody may write to.
const noFollow = unix.O_NOFOLLOW
