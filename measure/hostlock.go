package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ErrHostBusy is returned by LockHost while another process measures this machine.
var ErrHostBusy = errors.New("measure: another process measures this machine")

// HostLock is the right to count this machine's counters. Counters are machine-wide: two processes that both claimed them
// would report the same joules twice.
type HostLock struct{ f *os.File }

// LockHost takes the machine-wide lock, a file in dir (os.TempDir() for ""). The lock ends with the process, however it
// ends. ErrHostBusy names the process that holds it.
func LockHost(dir string) (*HostLock, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	name := filepath.Join(dir, "wattshed-meter.lock")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|noFollow, 0o666)
	if errors.Is(err, fs.ErrPermission) { // another user's: it can be locked all the same
		if theirs, err2 := os.OpenFile(name, os.O_RDONLY|noFollow, 0); err2 == nil {
			f, err = theirs, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("measure: host lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		if pid, perr := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31); perr == nil {
			return nil, fmt.Errorf("%w: process %d", ErrHostBusy, pid)
		}
		return nil, fmt.Errorf("%w (%s)", ErrHostBusy, name)
	}
	// Who holds it is a courtesy to others: the file of another user cannot be written, and is locked all the same.
	if f.Truncate(0) == nil {
		_ = writeAt(f, strconv.Itoa(os.Getpid())+"\n")
	}
	return &HostLock{f}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// Release gives the lock back; the file stays.
func (l *HostLock) Release() error { return l.f.Close() }
