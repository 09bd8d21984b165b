package measure

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// maxAttribute is the most that one sysfs attribute can hold (a page).
const maxAttribute = 4096

// readAttribute reads one small file and trims the white space around its text.
func readAttribute(fsys fs.FS, name string) (string, error) {
	b, err := readLimited(fsys, name, maxAttribute)
	return strings.TrimSpace(string(b)), err
}

// readLimited reads a file of at most limit bytes; a longer one is an error.
func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("measure: %s: more than %d bytes", name, limit)
	}
	return b, nil
}

// parseCount reads an unsigned decimal counter value: digits only, at most 64 bits.
func parseCount(s string) (uint64, error) {
	v, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("measure: %.40q is not an unsigned 64-bit count: %w", s, errGarbage)
	}
	return v, nil
}

// readCount reads a file that holds one unsigned decimal number.
func readCount(fsys fs.FS, name string) (uint64, error) {
	s, err := readAttribute(fsys, name)
	if err != nil {
		return 0, err
	}
	return parseCount(s)
}

// parseCPUList reads the kernel's list format, such as "0,32" or "0-3,8". At most 65,536 CPUs.
func parseCPUList(s string) ([]int, error) {
	const most = 1 << 16
	var out []int
	for _, part := range strings.Split(strings.TrimSpace(s), ",") {
		lo, hi, span := strings.Cut(part, "-")
		a, err := strconv.ParseUint(lo, 10, 31)
		b := a
		if err == nil && span {
			b, err = strconv.ParseUint(hi, 10, 31)
		}
		if err != nil || b < a || b-a >= most || len(out)+int(b-a) >= most {
			return nil, fmt.Errorf("measure: CPU list %.40q: bad part %.20q", s, part)
		}
		for c := a; c <= b; c++ {
			out = append(out, int(c))
		}
	}
	return out, nil
}

// resolveLink follows the symbolic links that name itself may be (up to 8 of them), inside fsys. A name that
// is no link, or a file system that has none, comes back unchanged.
func resolveLink(fsys fs.FS, name string) string {
	for range 8 {
		target, err := fs.ReadLink(fsys, name)
		if err != nil || path.IsAbs(target) {
			return name
		}
		next := path.Join(path.Dir(name), target)
		if !fs.ValidPath(next) {
			return name
		}
		name = next
	}
	return name
}
