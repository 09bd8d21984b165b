package measure

import (
	"encoding/binary"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Boottime returns CLOCK_BOOTTIME: monotonic, and counting while the machine sleeps.
func Boottime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Duration(time.Now().UnixNano())
	}
	return time.Duration(ts.Nano())
}

// OpenPerf opens a system-wide perf event of one CPU for counting: it is the PerfOpener of this machine.
func OpenPerf(typ uint32, config uint64, cpu int) (PerfCounter, error) {
	attr := unix.PerfEventAttr{Type: typ, Config: config}
	attr.Size = uint32(unix.PERF_ATTR_SIZE_VER0)
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return perfFD(fd), nil
}

type perfFD int

// Read reads the 64-bit count; a short read is an error.
func (fd perfFD) Read() (uint64, error) {
	var b [8]byte
	n, err := unix.Read(int(fd), b[:])
	if err != nil {
		return 0, err
	}
	if n != len(b) {
		return 0, unix.EIO
	}
	return binary.NativeEndian.Uint64(b[:]), nil
}

// Close closes the descriptor.
func (fd perfFD) Close() error { return unix.Close(int(fd)) }

// startTime tells when a process started, in ticks since boot; "" where that cannot be read.
func startTime(pid int) string { return procStart(os.DirFS("/proc"), pid) }
