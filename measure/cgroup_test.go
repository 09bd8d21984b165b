package measure

import (
	"errors"
	"math"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// files makes a file system of texts.
func files(m map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range m {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// TestCgroup: the tightest limit of the groups around the process holds; 64 CPUs of the machine are not billed to a pod of 1.5.
func TestCgroup(t *testing.T) {
	var cpuinfo strings.Builder
	for range 64 {
		cpuinfo.WriteString("processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763 64-Core Processor\nphysical id\t: 0\n\n")
	}
	root := files(map[string]string{
		"proc/cpuinfo":                          cpuinfo.String(),
		"proc/meminfo":                          "MemTotal: 263000000 kB\n",
		"proc/self/cgroup":                      "1:name=systemd:/x\n0::/kube/pod1/c1\n",
		"sys/fs/cgroup/kube/pod1/cpu.max":       "150000 100000\n",
		"sys/fs/cgroup/kube/pod1/memory.max":    "max\n",
		"sys/fs/cgroup/kube/pod1/c1/cpu.max":    "max 100000\n",
		"sys/fs/cgroup/kube/pod1/c1/memory.max": "2147483648\n",
		"sys/fs/cgroup/kube/pod1/c1/cpu.stat":   "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n",
		"sys/fs/cgroup/kube/memory.max":         "8589934592\n",
	})
	h := ReadHost(root)
	if h.CPULimit != 1.5 || h.MemoryBytes != 2<<30 || h.Threads != 64 {
		t.Errorf("%+v", h)
	}
	if d, err := CgroupCPUTime(root); err != nil || d != 2500*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := CgroupCPUTime(fstest.MapFS{}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("no cgroup: %v", err)
	}
	m, err := ModelOf(h)
	if err != nil {
		t.Fatal(err)
	}
	h.CPULimit = 0
	whole, err := ModelOf(h)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := float64(m.At(1)), float64(whole.At(1))*1.5/64; math.Abs(got-want) > 1e-9 || !strings.Contains(m.Assumption, "1.5 of 64 CPUs") {
		t.Errorf("%v W at full load, want %v: %s", got, want, m.Assumption)
	}
	b := &bench{} // 1 CPU busy of 1.5: load 2/3
	meter := NewModel(m, ModelOptions{Now: b.Now, CPUTime: b.CPUTime})
	if _, err := meter.Read(); err != nil {
		t.Fatal(err)
	}
	b.work(time.Second)
	r, err := meter.Read()
	if want := float64(m.At(2. / 3)); err != nil || math.Abs(float64(r.Domains[0].Energy.Joules())-want) > 1e-5 {
		t.Errorf("%v J, want %v, %v", r.Domains[0].Energy.Joules(), want, err)
	}
}

// TestGuestOfKnownHost: the generation is taken from a model number only, never from a generic name.
func TestGuestOfKnownHost(t *testing.T) {
	for _, c := range []struct {
		product, cpu string
		lo, hi       float64 // W per vCPU, from the table
	}{
		{"Amazon EC2 m5.large", "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", 0.638949, 3.9673},
		{"Google Google Compute Engine", "AMD EPYC 7B12", 0.68, 4.11}, // a custom number tells nothing
		{"Microsoft Corporation Virtual Machine", "AMD EPYC 7763 64-Core Processor", 0.44539, 2.01933},
		{"Google Google Compute Engine", "Intel(R) Xeon(R) CPU @ 2.20GHz", 0.68, 4.11},
		{"QEMU Standard PC", "Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", 0.68, 4.11},
	} {
		m, err := ModelOf(HostFacts{CPU: c.cpu, Product: c.product, Threads: 2, Virtualized: true})
		if err != nil || math.Abs(float64(m.At(0))-2*c.lo) > 1e-9 || math.Abs(float64(m.At(1))-2*c.hi) > 1e-9 {
			t.Errorf("%s, %s: %v to %v W, want %v to %v, %v", c.product, c.cpu, m.At(0), m.At(1), 2*c.lo, 2*c.hi, err)
		}
	}
}
