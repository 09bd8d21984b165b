package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// ErrHostBusy is returned by LockHost while another process measures this machine.
var ErrHostBusy = errors.New("measure: another process measures this machine")

// HostLock is the right to count this machine's counters. Counters are machine-wide: two processes that both claimed them
// would report the same joules twice.
type HostLock struct{ f *os.File }

// HostDir is the folder of the machine's lock and ledger: the same for every process and user of a machine, whatever their
// environment says. A container with a /tmp of its own has locks of its own, unless a folder is shared and named.
func HostDir() string {
	if runtime.GOOS == "windows" {
		if dir := os.Getenv("ProgramData"); dir != "" {
			return dir
		}
	} else if info, err := os.Stat("/tmp"); err == nil && info.IsDir() {
		return "/tmp"
	}
	return os.TempDir()
}

func lockName(dir string) string {
	if dir == "" {
		dir = HostDir()
	}
	return filepath.Join(dir, "wattshed-meter.lock")
}

// HostHolder returns the process that holds the lock in dir (HostDir() for ""), as far as the lock's file and the processes that
// run now tell; 0 where the file names none that still runs, as with a holder that cannot write another user's file. It takes no lock,
// so it is in nobody's way.
func HostHolder(dir string) int {
	f, err := os.OpenFile(lockName(dir), os.O_RDONLY|noFollow, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	return holder(f)
}

// holder is the running process that wrote itself into the lock's file; 0 where there is none. The number alone is not enough: a killed
// holder leaves its own, which the system gives to another process later. When a process started tells the two apart.
func holder(f *os.File) int {
	text, _ := io.ReadAll(io.LimitReader(f, 64))
	number, start, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, err := strconv.ParseUint(number, 10, 31)
	pid := int(n)
	if err != nil || pid == 0 || !running(pid) {
		return 0
	}
	if now := startTime(pid); now != "" && now != start {
		return 0
	}
	return pid
}

// LockHost takes the machine-wide lock, a file in dir (HostDir() for ""). The lock ends with the process, however it
// ends. ErrHostBusy names the process that holds it, where the file does.
func LockHost(dir string) (*HostLock, error) {
	name := lockName(dir)
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
		pid := holder(f)
		f.Close()
		if pid > 0 {
			return nil, fmt.Errorf("%w: process %d", ErrHostBusy, pid)
		}
		return nil, fmt.Errorf("%w (%s)", ErrHostBusy, name)
	}
	_ = f.Chmod(0o644) // others must be able to open it, whatever this process hides from them by default
	// Who holds it is a courtesy to others: the file of another user cannot be written, and is locked all the same. What an earlier
	// holder left in it then names no running process, or one that started at another time.
	if f.Truncate(0) == nil {
		_ = writeAt(f, fmt.Sprintf("%d %s\n", os.Getpid(), startTime(os.Getpid())))
	}
	return &HostLock{f}, nil
}

func writeAt(f *os.File, s string) error {
	_, err := f.WriteAt([]byte(s), 0)
	return err
}

// Release gives the lock back; the file stays, and names nobody.
func (l *HostLock) Release() error {
	_ = l.f.Truncate(0) // a courtesy too
	return l.f.Close()
}
