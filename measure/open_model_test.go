package measure

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestModelOfWhom: the model takes the CPU time that it is asked to take: of the control group, or of another process with its children.
func TestModelOfWhom(t *testing.T) {
	cpuinfo := strings.Repeat("processor\t: 0\nmodel name\t: Mystery 1\n\n", 4)
	stat := func(ticks string) *fstest.MapFile { // fields 14 to 17 are user, system, and those of children
		return &fstest.MapFile{Data: []byte("42 (a (odd) name) S 1 1 1 0 -1 0 0 0 0 0 " + ticks + " 20 0 1 0")}
	}
	root := fstest.MapFS{"proc/cpuinfo": {Data: []byte(cpuinfo)}, "proc/self/cgroup": {Data: []byte("0::/box\n")},
		"sys/fs/cgroup/box/cpu.stat": {Data: []byte("usage_usec 0\n")}, "proc/42/stat": stat("0 0 0 0")}
	for name, step := range map[string]func(){
		"model:cgroup": func() { root["sys/fs/cgroup/box/cpu.stat"] = &fstest.MapFile{Data: []byte("usage_usec 2000000\n")} },
		"model:42":     func() { root["proc/42/stat"] = stat("100 50 25 25") }, // 2 s at 100 ticks a second
	} {
		now := time.Duration(0)
		m, err := Open(root, name, OpenOptions{Now: func() time.Duration { return now }})
		if err != nil {
			t.Fatal(name, err)
		}
		pm, err := ModelOf(ReadHost(root))
		if err != nil {
			t.Fatal(err)
		}
		now += time.Second
		step()
		r, err := m.Read()
		if err != nil {
			t.Fatal(name, err)
		}
		want := float64(pm.At(0.5)) // 2 CPU seconds in 1 s on 4 CPUs
		if got := float64(r.Domains[0].Energy.Joules()); math.Abs(got-want) > 1e-5 {
			t.Errorf("%s: %v J, want %v", name, got, want)
		}
		if !strings.Contains(r.Domains[0].Source.Note, "CPU time of") {
			t.Errorf("%s: %q", name, r.Domains[0].Source.Note)
		}
	}
	if _, err := Open(root, "model:43", OpenOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a process that is not there: %v", err)
	}
	if _, err := Open(root, "model:x", OpenOptions{}); !errors.Is(err, ErrNoSource) {
		t.Errorf("model:x: %v", err)
	}
}
