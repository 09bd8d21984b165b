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
		"guest":       {machine(t, guest), []string{"No energy counter exists", "1 vCPU", "bare metal"}, []string{measure.RedfishFix, measure.PrometheusFix}},
		"bare metal":  {machine(t, metal), []string{"No energy counter exists", "kernel that shows RAPL"}, []string{measure.ModuleFix, measure.IPMIModuleFix, measure.RedfishFix, measure.PrometheusFix}},
		"locked away": {machine(t, metal, "perf_power"), []string{"An energy counter exists (perf)", "command given"}, []string{measure.PerfFix, measure.ModuleFix, measure.IPMIModuleFix, measure.RedfishFix, measure.PrometheusFix}},
		"readable":    {machine(t, metal, "powercap_intel_client"), nil, []string{measure.ModuleFix, measure.IPMIModuleFix, measure.RedfishFix, measure.PrometheusFix}},
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

// closed answers EACCES for the files that end in one of the names.
type closed struct {
	fs.FS
	names []string
}

func (c closed) Open(name string) (fs.File, error) {
	for _, n := range c.names {
		if strings.HasSuffix(name, n) {
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
		}
	}
	return c.FS.Open(name)
}

// ReadLink keeps the links of the tree.
func (c closed) ReadLink(name string) (string, error) { return fs.ReadLink(c.FS, name) }

// Lstat goes with ReadLink.
func (c closed) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(c.FS, name) }

// TestFixes: what is there and cannot be read comes with the exact command, for every source that has files or a driver.
func TestFixes(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	board := func(osRelease string, more map[string]string) fstest.MapFS {
		root := machine(t, metal)
		root["sys/bus/pci/devices/0000:01:00.0/vendor"], root["sys/bus/pci/devices/0000:01:00.0/class"] = file("0x10de\n"), file("0x030200\n")
		root["sys/bus/pci/devices/0000:02:00.0/vendor"], root["sys/bus/pci/devices/0000:02:00.0/class"] = file("0x10de\n"), file("0x040300\n") // its sound
		root["etc/os-release"] = file(osRelease)
		for name, text := range more {
			root[name] = file(text)
		}
		return root
	}
	driver := map[string]string{"proc/driver/nvidia/version": "NVRM version: 570\n"}
	noLibrary := func() (measure.NVML, error) { return nil, measure.ErrNoCounter }
	xavier := machine(t, metal, "jetson_xavier_iio")
	orin := machine(t, metal)
	orin["proc/device-tree/model"] = file("NVIDIA Jetson Orin Nano\x00")
	for _, c := range []struct {
		name, source string
		root         fs.FS
		present      bool
		why, fix     string
	}{
		{"board without driver, Ubuntu", "nvml", board("NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", nil), true, "0000:01:00.0), its driver is not loaded", "ubuntu-drivers install"},
		{"board without driver, Debian", "nvml", board("ID=debian\n", nil), true, "not loaded", "sudo apt-get install -y nvidia-driver && sudo modprobe nvidia"},
		{"board without driver, Rocky", "nvml", board("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", nil), true, "not loaded", "sudo dnf"},
		{"board without driver, another system", "nvml", board("", nil), true, "not loaded", "sudo modprobe nvidia"},
		{"driver without library", "nvml", board("ID=debian\n", driver), true, "no energy counter", "sudo apt-get install -y nvidia-driver"},
		{"driver without library, in a container", "nvml", board("ID=debian\n", map[string]string{"proc/driver/nvidia/version": "NVRM version: 570\n", ".dockerenv": ""}), true, "no energy counter", measure.NVMLFix},
		{"no board", "nvml", machine(t, metal), false, "no PCI bus is shown", ""},
		{"Jetson that may not be read", "jetson", closed{machine(t, metal, "jetson_orin_nx"), []string{"curr1_input"}}, true, "VDD_IN): EACCES", measure.JetsonFix},
		{"older Jetson that may not be read", "jetson", closed{xavier, []string{"in_power0_input"}}, true, "VDD_IN): EACCES", measure.JetsonIIOFix},
		{"Jetson without its driver", "jetson", orin, true, "NVIDIA Jetson Orin Nano: ", measure.JetsonModule},
		{"no Jetson", "jetson", machine(t, metal), false, "no Jetson", ""},
		{"board that may not be read", "hwmon", closed{machine(t, metal, "hwmon_gpus"), []string{"hwmon0/power1_average"}}, true, "EACCES", measure.HwmonFix},
		{"battery that may not be read", "battery", closed{machine(t, metal, "battery"), []string{"BAT1/current_now"}}, true, "permission denied", measure.BatteryFix},
		{"guest", "ipmi", machine(t, guest), false, "virtual machine", ""},
		{"server without the driver of its controller", "ipmi", machine(t, metal), false, "driver may not be loaded", measure.IPMIModuleFix},
	} {
		for _, s := range measure.Sources(c.root, measure.OpenOptions{NVML: noLibrary}) {
			if s.Name != c.source {
				continue
			}
			if s.Present != c.present || s.Readable || !strings.Contains(s.Why, c.why) || (c.fix == "") != (s.Fix == "") || !strings.Contains(s.Fix, c.fix) {
				t.Errorf("%s: %+v", c.name, s)
			}
		}
	}
}

// TestEverySourceIsComplete: each source says whether it is present and readable, why not or what it is, its period and step, and what
// another view of the same says.
func TestEverySourceIsComplete(t *testing.T) {
	for name, root := range map[string]fs.FS{"guest": machine(t, guest), "metal": machine(t, metal, "powercap_intel_client", "perf_power", "hwmon_gpus", "battery", "jetson_xavier_iio")} {
		list := measure.Sources(root, measure.OpenOptions{Perf: func(uint32, uint64, int) (measure.PerfCounter, error) { return nil, syscall.EACCES }})
		measure.CrossChecked(list, []measure.CrossCheck{{Scope: measure.ScopePackage, A: "perf", B: "powercap", Difference: 0.003, Agree: true},
			{Scope: measure.ScopeGPU, A: "nvml", B: "nvml power", Difference: 0.3}})
		for _, s := range list {
			if s.Why == "" || s.Cross == "" || s.Kind == measure.Measured && s.Period == 0 || s.Present && s.Kind == measure.Measured && s.Resolution == 0 {
				t.Errorf("%s: %+v", name, s)
			}
			if want := map[string]string{"powercap": "package: agrees with perf within 0.3 %", "nvml": "gpu: CONTRADICTS nvml power by 30.0 %", "model": "none: a model"}[s.Name]; !strings.HasPrefix(s.Cross, want) {
				t.Errorf("%s: cross-check of %s: %q", name, s.Name, s.Cross)
			}
		}
	}
}
