package measure_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// machine makes a root of proc/cpuinfo and the trees below sys.
func machine(t *testing.T, cpuinfo string, trees ...string) fstest.MapFS {
	t.Helper()
	root := fstest.MapFS{"proc/cpuinfo": {Data: []byte(cpuinfo)}}
	for _, name := range trees {
		for file, f := range tree(t, name) {
			root["sys/"+file] = f
		}
	}
	return root
}

const (
	metal = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz\nflags\t: fpu sgx\n"
	guest = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nflags\t: fpu hypervisor\n"
)

// TestAdvice: what doctor says of a machine without a counter, of one whose counter is locked away, and of one that reads.
func TestAdvice(t *testing.T) {
	deny := func(uint32, uint64, int) (measure.PerfCounter, error) { return nil, syscall.EACCES }
	for name, c := range map[string]struct {
		root  fs.FS
		says  []string
		fixes []string
	}{
		"guest":       {machine(t, guest), []string{"No energy counter exists", "1 vCPU", "bare metal"}, nil},
		"bare metal":  {machine(t, metal), []string{"No energy counter exists", "kernel that shows RAPL"}, []string{measure.ModuleFix}},
		"locked away": {machine(t, metal, "perf_power"), []string{"An energy counter exists (perf)", "command given"}, []string{measure.PerfFix, measure.ModuleFix}},
		"readable":    {machine(t, metal, "powercap_intel_client"), nil, []string{measure.ModuleFix}},
	} {
		list := measure.Sources(c.root, measure.OpenOptions{Perf: deny})
		said := strings.Join(measure.Advice(measure.ReadHost(c.root), list), " ")
		for _, want := range c.says {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is not in %q", name, want, said)
			}
		}
		if len(c.says) == 0 && said != "" {
			t.Errorf("%s: %q", name, said)
		}
		var fixes []string
		for _, s := range list {
			if s.Fix != "" && !strings.Contains(strings.Join(fixes, "\n"), s.Fix) {
				fixes = append(fixes, s.Fix)
			}
		}
		if strings.Join(fixes, "\n") != strings.Join(c.fixes, "\n") {
			t.Errorf("%s: fixes %q, want %q", name, fixes, c.fixes)
		}
	}
}

// TestSourcesOfServers: a management controller that answers, one that does not, SGX, periods and steps.
func TestSourcesOfServers(t *testing.T) {
	root := machine(t, metal, "powercap_intel_client", "jetson_orin_nx")
	root["dev/ipmi0"] = &fstest.MapFile{}
	answer := func(context.Context) ([]byte, error) { return external(t, "ipmi_dcmi.txt"), nil }
	status := func(o measure.OpenOptions) map[string]measure.SourceStatus {
		out := map[string]measure.SourceStatus{}
		for _, s := range measure.Sources(root, o) {
			out[s.Name] = s
		}
		return out
	}
	got := status(measure.OpenOptions{IPMI: answer})
	if s := got["ipmi"]; !s.Present || !s.Readable || s.Period != 2*time.Second {
		t.Errorf("%+v", s)
	}
	if s := got["powercap"]; !s.Readable || !strings.Contains(s.Why, "SGX") || s.Period != time.Millisecond || s.Resolution != 61 || s.ReadCost <= 0 {
		t.Errorf("%+v", s)
	}
	if s := got["jetson"]; !s.Readable || len(s.Scopes) != 3 {
		t.Errorf("%+v", s)
	}
	off := status(measure.OpenOptions{IPMI: func(context.Context) ([]byte, error) { return external(t, "ipmi_deactivated.txt"), nil }})
	if s := off["ipmi"]; !s.Present || s.Readable || s.Fix != measure.IPMIFix || !strings.Contains(s.Why, "deactivated") {
		t.Errorf("%+v", s)
	}
	m, err := measure.Open(root, "powercap+ipmi", measure.OpenOptions{IPMI: answer})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Read()
	if names, _ := headline(r); err != nil || names != "package-0, dram" {
		t.Errorf("the server around the package was added to it: %s, %v", names, err)
	}
	if c, ok := m.(interface{ Close() error }); !ok || c.Close() != nil {
		t.Error("not closed")
	}
	for _, bad := range []string{"wallplug", "perf:1", "powercap+", "redfish:", "prometheus:x", "battery"} {
		if _, err := measure.Open(root, bad, measure.OpenOptions{}); err == nil {
			t.Errorf("%s was opened", bad)
		}
	}
	if _, err := measure.Open(root, "wallplug", measure.OpenOptions{}); !errors.Is(err, measure.ErrNoSource) {
		t.Error(err)
	}
}
