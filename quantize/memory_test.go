package quantize_test

import (
	"testing"
	"testing/fstest"

	"github.com/wattshed/wattshed/quantize"
)

// TestAvailableMemory: the files are as proc(5), cgroups(7) and the kernel's documentation of control groups describe
// them, one group within another, seen from inside and outside of a container.
func TestAvailableMemory(t *testing.T) {
	const mib = 1 << 20
	base := map[string]string{"proc/meminfo": "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20480000 kB\n"}
	v2 := "25 1 0:23 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
	v1 := "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {map[string]string{"proc/meminfo": ""}, 0},
		"no groups":     {nil, 20000 * mib},
		"version 2, nested": {map[string]string{"proc/self/cgroup": "0::/user.slice/job\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/user.slice/memory.max": "536870912\n", "sys/fs/cgroup/user.slice/memory.current": "104857600\n", "sys/fs/cgroup/user.slice/memory.stat": "anon 1\ninactive_file 20971520\n",
			"sys/fs/cgroup/user.slice/job/memory.max": "max\n", "sys/fs/cgroup/user.slice/job/memory.current": "1\n"}, 512*mib - 100*mib + 20*mib},
		"version 2, the inner one is tighter": {map[string]string{"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/memory.max": "536870912\n", "sys/fs/cgroup/a/b/memory.max": "268435456\n", "sys/fs/cgroup/a/b/memory.current": "1048576\n"}, 255 * mib},
		"version 2, full": {map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": v2,
			"sys/fs/cgroup/a/memory.max": "1048576\n", "sys/fs/cgroup/a/memory.current": "2097152\n"}, 1},
		"version 2, in a name space of its own": {map[string]string{"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": v2, "sys/fs/cgroup/memory.max": "134217728\n"}, 128 * mib},
		"version 2 beside 1": {map[string]string{"proc/self/cgroup": "4:memory:/docker/abc\n1:cpu:/docker/abc\n0::/\n", "proc/self/mountinfo": v1 + "41 31 0:40 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "268435456\n", "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": "67108864\n",
			"sys/fs/cgroup/memory/docker/abc/memory.stat": "inactive_file 5\ntotal_inactive_file 1048576\n"}, 256*mib - 63*mib},
		"version 1, inside a container": {map[string]string{"proc/self/cgroup": "4:memory:/docker/abc/job\n", "proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup ro,memory\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n", "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n"}, 256 * mib},
		"version 1, without limit": {map[string]string{"proc/self/cgroup": "4:memory:/\n", "proc/self/mountinfo": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 20000 * mib},
		"spoilt":                   {map[string]string{"proc/self/cgroup": "4\n0::\n::\n", "proc/self/mountinfo": "a - b\n" + v2 + " - \n", "sys/fs/cgroup/memory.max": "many\n"}, 20000 * mib},
	} {
		root := fstest.MapFS{}
		for _, files := range []map[string]string{base, c.files} {
			for path, text := range files {
				root[path] = &fstest.MapFile{Data: []byte(text)}
			}
		}
		if got := quantize.AvailableMemory(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", name, got, c.want)
		}
	}
}
