package engine

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
)

// freeMemory returns the bytes of memory that this process can still get: MemAvailable of /proc/meminfo (proc(5)), or what
// is left below memory.max of its control group (cgroup v2) where that is less. Where neither can be read, as on systems
// other than Linux, it is maxTensorBytes.
func freeMemory() int64 {
	free := int64(maxTensorBytes)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kib, ok := field(b, "MemAvailable:"); ok {
			free = kib << 10
		}
	}
	const group = "/sys/fs/cgroup/"
	most, ok := groupNumber(group + "memory.max")
	used, ok2 := groupNumber(group + "memory.current")
	if !ok || !ok2 {
		return free
	}
	if b, err := os.ReadFile(group + "memory.stat"); err == nil {
		if cache, ok := field(b, "inactive_file"); ok { // given up under pressure
			used -= min(cache, used)
		}
	}
	return min(free, max(most-used, 0))
}

// field returns the number behind a name at the start of a line.
func field(b []byte, name string) (int64, bool) {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) >= 2 && f[0] == name {
			v, err := strconv.ParseInt(f[1], 10, 64)
			return v, err == nil && v < 1<<50
		}
	}
	return 0, false
}

// groupNumber reads a file that holds one number; "max" is none.
func groupNumber(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return v, err == nil
}
