package measure

import (
	"bufio"
	"bytes"
	"io/fs"
	"strconv"
	"strings"
)

// HostFacts is what /proc and /sys tell about a machine. Fields that could not be read are zero.
type HostFacts struct {
	CPU         string // model name
	Vendor      string // GenuineIntel, AuthenticAMD, ...
	Sockets     int
	Cores       int // physical, as far as the guest is shown
	Threads     int // logical CPUs
	Virtualized bool
	Product     string // DMI system vendor and product
	Container   bool
	CPULimit    float64 // CPUs that the cgroup allows; 0: all
	MemoryBytes uint64  // of the cgroup where that is limited, else of the machine
	SGX         bool    // readings of RAPL may be filtered
}

// ReadHost reads the facts below root, the root of the file system (os.DirFS("/")).
func ReadHost(root fs.FS) HostFacts {
	var h HostFacts
	if b, err := readLimited(root, "proc/cpuinfo", 8<<20); err == nil {
		h = ParseCPUInfo(b)
	}
	vendor, _ := readAttribute(root, "sys/class/dmi/id/sys_vendor")
	product, _ := readAttribute(root, "sys/class/dmi/id/product_name")
	h.Product = strings.TrimSpace(vendor + " " + product)
	if _, err := fs.Stat(root, "proc/device-tree/hypervisor"); err == nil {
		h.Virtualized = true
	}
	for _, name := range []string{"QEMU", "KVM", "VMware", "VirtualBox", "Xen", "Virtual Machine", "Google Compute", "Amazon EC2", "Firecracker"} {
		h.Virtualized = h.Virtualized || strings.Contains(h.Product, name) && !strings.Contains(h.Product, ".metal")
	}
	for _, name := range []string{".dockerenv", "run/.containerenv"} {
		if _, err := fs.Stat(root, name); err == nil {
			h.Container = true
		}
	}
	if b, err := readLimited(root, "proc/meminfo", 64<<10); err == nil {
		h.MemoryBytes = parseMemTotal(b)
	}
	cpus, memory := cgroupLimits(root)
	if memory > 0 && (h.MemoryBytes == 0 || memory < h.MemoryBytes) {
		h.MemoryBytes = memory
	}
	if cpus > 0 && cpus < float64(h.Threads) {
		h.CPULimit = cpus
	}
	return h
}

// share is the part of the machine's CPUs that this process may use, and a sentence that says so where it is not all.
func (h HostFacts) share() (float64, string) {
	if h.CPULimit <= 0 || h.Threads <= 0 || h.CPULimit >= float64(h.Threads) {
		return 1, ""
	}
	return h.CPULimit / float64(h.Threads), "; share of a control group limited to " + strconv.FormatFloat(h.CPULimit, 'g', 4, 64) +
		" of " + strconv.Itoa(h.Threads) + " CPUs"
}

// ParseCPUInfo reads the text of /proc/cpuinfo. Lines longer than 64 KiB end the parse.
func ParseCPUInfo(text []byte) HostFacts {
	var h HostFacts
	sockets, cores := map[string]bool{}, map[string]bool{}
	socket := ""
	sc := bufio.NewScanner(bytes.NewReader(text))
	for sc.Scan() {
		key, val, ok := strings.Cut(sc.Text(), ":")
		if !ok {
			continue
		}
		key, val = strings.TrimSpace(key), strings.TrimSpace(val)
		switch key {
		case "processor":
			h.Threads++
		case "model name", "Processor", "Hardware":
			if h.CPU == "" {
				h.CPU = val
			}
		case "vendor_id":
			h.Vendor = val
		case "physical id":
			socket = val
			sockets[val] = true
		case "core id":
			cores[socket+"/"+val] = true
		case "flags", "Features":
			for _, f := range strings.Fields(val) {
				h.Virtualized = h.Virtualized || f == "hypervisor"
				h.SGX = h.SGX || f == "sgx"
			}
		}
	}
	h.Sockets, h.Cores = max(len(sockets), min(1, h.Threads)), len(cores)
	if h.Cores == 0 {
		h.Cores = h.Threads
	}
	return h
}

// parseMemTotal returns the MemTotal line of /proc/meminfo in bytes, or 0.
func parseMemTotal(text []byte) uint64 {
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte("MemTotal:"))
		if !ok {
			continue
		}
		f := strings.Fields(string(rest))
		if len(f) == 2 && f[1] == "kB" {
			v, err := strconv.ParseUint(f[0], 10, 53)
			if err == nil {
				return v * 1024
			}
		}
	}
	return 0
}
