package measure

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is USER_HZ, the unit of times in /proc: 100 on every architecture that Linux exports to users.
const ticksPerSecond = 100

func hostThreads() int { return runtime.NumCPU() }

// HostCPUTime returns the CPU time that all processes of this machine used since boot (Linux; elsewhere
// errors.ErrUnsupported or a file error). Inside a guest it is the guest's.
func HostCPUTime() (time.Duration, error) { return hostCPUTime(os.DirFS("/proc")) }

// hostCPUTime reads the first line of stat below proc: user, nice, system, irq, softirq, steal excluded.
func hostCPUTime(proc fs.FS) (time.Duration, error) {
	f, err := proc.Open("stat")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := make([]byte, maxAttribute)
	n, err := f.Read(b)
	if n == 0 && err != nil {
		return 0, err
	}
	return parseProcStat(string(b[:n]))
}

// procStart returns when a process started, in ticks since boot: field 22 of its stat below proc; "" where that cannot be read.
func procStart(proc fs.FS, pid int) string {
	b, err := fs.ReadFile(proc, strconv.Itoa(pid)+"/stat")
	if err != nil {
		return ""
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name in field 2 may hold anything
	if len(f) < 20 {
		return ""
	}
	return f[19]
}

// parseProcStat returns user + nice + system + irq + softirq of the line "cpu ...".
func parseProcStat(s string) (time.Duration, error) {
	line, _, _ := strings.Cut(s, "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("measure: /proc/stat: %.60q is not the line of all CPUs", line)
	}
	var sum uint64
	for _, i := range []int{1, 2, 3, 6, 7} {
		v, err := strconv.ParseUint(f[i], 10, 53)
		if err != nil {
			return 0, fmt.Errorf("measure: /proc/stat: field %d: %.40q", i, f[i])
		}
		sum += v
	}
	return ticks(sum)
}

// ticks converts USER_HZ ticks; more than 290 years are refused.
func ticks(n uint64) (time.Duration, error) {
	const tick = time.Second / ticksPerSecond
	if n > uint64(1<<63-1)/uint64(tick) {
		return 0, fmt.Errorf("measure: %d clock ticks are not a time", n)
	}
	return time.Duration(n) * tick, nil
}

// ParseProcStat returns user + system time of a process and of its children that were waited for, from the
// text of /proc/PID/stat (fields 14 to 17; the name in parentheses may hold anything).
func ParseProcStat(text []byte) (time.Duration, error) {
	i := bytes.LastIndexByte(text, ')')
	if i < 0 {
		return 0, errors.New("measure: /proc/self/stat: no process name")
	}
	f := strings.Fields(string(text[i+1:]))
	if len(f) < 15 {
		return 0, fmt.Errorf("measure: /proc/self/stat: %d fields", len(f))
	}
	var sum uint64
	for k := 11; k < 15; k++ {
		v, err := strconv.ParseUint(f[k], 10, 53)
		if err != nil {
			return 0, fmt.Errorf("measure: /proc/self/stat: field %d: %.40q", k+3, f[k])
		}
		sum += v
	}
	return ticks(sum)
}

// PeakRSS returns the most resident memory that this process ever had, in bytes, from /proc/self/status (VmHWM).
// errors.ErrUnsupported where there is no such file.
func PeakRSS() (uint64, error) {
	b, err := os.ReadFile("/proc/self/status")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("measure: peak memory: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return 0, fmt.Errorf("measure: peak memory: %w", err)
	}
	return ParseVmHWM(b)
}

// ParseVmHWM returns the VmHWM line of a /proc/PID/status text in bytes.
func ParseVmHWM(status []byte) (uint64, error) {
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte("VmHWM:"))
		if !ok {
			continue
		}
		f := strings.Fields(string(rest))
		if len(f) != 2 || f[1] != "kB" {
			return 0, fmt.Errorf("measure: VmHWM: %.40q, want a number of kB", rest)
		}
		v, err := strconv.ParseUint(f[0], 10, 53)
		if err != nil {
			return 0, fmt.Errorf("measure: VmHWM: %.40q is not a number", f[0])
		}
		return v * 1024, nil
	}
	return 0, errors.New("measure: VmHWM: no such line")
}
