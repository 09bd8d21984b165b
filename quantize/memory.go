package quantize

import (
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// availableMemory returns the bytes that this process may still take, by the files under root, the file system of Linux:
// what the machine has available (proc(5), MemAvailable), and what the control groups of the process and all groups
// around them leave (memory.max less memory.current of version 2, memory.limit_in_bytes less memory.usage_in_bytes
// of version 1); pages of files that a group holds and does not use count as free. 0 where nothing is known, 1 where
// nothing is left.
func availableMemory(root fs.FS) int64 {
	free := fieldOf(root, "proc/meminfo", "MemAvailable:") << 10
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	mounts, _ := fs.ReadFile(root, "proc/self/mountinfo")
	for line := range strings.Lines(string(groups)) { // number:controllers:path
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) != 3 {
			continue
		}
		v2 := part[0] == "0" && part[1] == ""
		if !v2 && !hasWord(part[1], "memory") {
			continue
		}
		for mount := range strings.Lines(string(mounts)) {
			// number parent device ROOT POINT options... - TYPE source OPTIONS
			left, right, ok := strings.Cut(mount, " - ")
			l, r := strings.Fields(left), strings.Fields(right)
			if !ok || len(l) < 5 || len(r) < 3 || v2 != (r[0] == "cgroup2") || !v2 && (r[0] != "cgroup" || !hasWord(r[2], "memory")) {
				continue
			}
			if n := groupFree(root, l[4], within(part[2], l[3]), v2); n > 0 && (free == 0 || n < free) {
				free = n
			}
		}
	}
	return free
}

// within returns the path of a control group below a mount whose root is the group top.
func within(group, top string) string {
	if top == "/" {
		return path.Clean(group)
	}
	if rest, ok := strings.CutPrefix(group, top); ok {
		return path.Clean("/" + rest)
	}
	return "/" // of another name space: the mount shows the process's own group
}

// groupFree returns the least that the group and those around it leave, 0 where they have no limit.
func groupFree(root fs.FS, mount, group string, v2 bool) int64 {
	limit, usage, idle := "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	if v2 {
		limit, usage, idle = "memory.max", "memory.current", "inactive_file"
	}
	least := int64(0)
	for ; ; group = path.Dir(group) {
		dir := strings.TrimPrefix(path.Join(mount, group), "/")
		most := fieldOf(root, path.Join(dir, limit), "")
		if most > 0 && most < 1<<60 { // version 1 says none by a very large number
			used := fieldOf(root, path.Join(dir, usage), "") - fieldOf(root, path.Join(dir, "memory.stat"), idle)
			if n := max(most-max(used, 0), 1); least == 0 || n < least {
				least = n
			}
		}
		if group == "/" || group == "." {
			return least
		}
	}
}

// fieldOf returns the number after a word that begins a line of a file, or the only one in it; 0 where there is none.
func fieldOf(root fs.FS, name, word string) int64 {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if word != "" {
			if len(f) < 2 || f[0] != word {
				continue
			}
			f = f[1:]
		}
		if len(f) > 0 {
			n, _ := strconv.ParseInt(f[0], 10, 64)
			return n
		}
	}
	return 0
}

// hasWord reports whether a list with commas has a word.
func hasWord(list, word string) bool {
	return strings.Contains(","+list+",", ","+word+",")
}
