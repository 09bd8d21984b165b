package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
)

// cgroupMount is where version 2 of control groups is mounted.
const cgroupMount = "sys/fs/cgroup"

// maxCgroupDepth bounds how many groups above this process are looked at.
const maxCgroupDepth = 32

// cgroupDirs lists the folders of this process's control group and of those around it below root, innermost first. Inside a
// container's name space the list is the mount itself.
func cgroupDirs(root fs.FS) []string {
	b, err := readLimited(root, "proc/self/cgroup", maxAttribute)
	if err != nil {
		return []string{cgroupMount}
	}
	var out []string
	for dir := path.Join(cgroupMount, parseCgroup(b)); len(out) < maxCgroupDepth; dir = path.Dir(dir) {
		if dir == cgroupMount || !strings.HasPrefix(dir, cgroupMount) {
			break
		}
		if _, err := fs.Stat(root, dir); err == nil {
			out = append(out, dir)
		}
	}
	return append(out, cgroupMount)
}

// parseCgroup returns the path of the version 2 line "0::/path" of /proc/PID/cgroup, "/" where there is none.
func parseCgroup(text []byte) string {
	for line := range strings.Lines(string(text)) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok && path.IsAbs(p) {
			return path.Clean(p)
		}
	}
	return "/"
}

// cgroupLimits returns how many CPUs and bytes of memory the groups around this process allow; 0 where nothing is limited.
func cgroupLimits(root fs.FS) (cpus float64, memory uint64) {
	for _, dir := range cgroupDirs(root) {
		if s, err := readAttribute(root, path.Join(dir, "cpu.max")); err == nil {
			if c, err := parseCPUMax(s); err == nil && c > 0 && (cpus == 0 || c < cpus) {
				cpus = c
			}
		}
		if v, err := readCount(root, path.Join(dir, "memory.max")); err == nil && v > 0 && (memory == 0 || v < memory) {
			memory = v
		}
	}
	return cpus, memory
}

// parseCPUMax reads "max 100000" (0: no limit) or "150000 100000", quota over period in µs: 1.5 CPUs.
func parseCPUMax(s string) (float64, error) {
	f := strings.Fields(s)
	if len(f) > 0 && f[0] == "max" {
		return 0, nil
	}
	if len(f) == 2 {
		quota, err1 := strconv.ParseUint(f[0], 10, 53)
		period, err2 := strconv.ParseUint(f[1], 10, 32)
		if err1 == nil && err2 == nil && quota > 0 && period > 0 {
			return float64(quota) / float64(period), nil
		}
	}
	return 0, fmt.Errorf("measure: cpu.max: %.60q", s)
}

// CgroupCPUTime returns the CPU time that all processes of this process's control group used, from usage_usec of its cpu.stat
// (version 2). errors.ErrUnsupported where there is no such file.
func CgroupCPUTime(root fs.FS) (time.Duration, error) {
	for _, dir := range cgroupDirs(root) {
		b, err := readLimited(root, path.Join(dir, "cpu.stat"), maxAttribute)
		if err == nil {
			return parseCPUStat(b)
		}
	}
	return 0, fmt.Errorf("measure: cgroup CPU time: %w", errors.ErrUnsupported)
}

// parseCPUStat returns the line "usage_usec N".
func parseCPUStat(text []byte) (time.Duration, error) {
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseUint(strings.TrimSpace(v), 10, 63)
			if err != nil || us > math.MaxInt64/uint64(time.Microsecond) {
				return 0, fmt.Errorf("measure: cpu.stat: usage_usec %.40q", v)
			}
			return time.Duration(us) * time.Microsecond, nil
		}
	}
	return 0, errors.New("measure: cpu.stat: no usage_usec")
}
