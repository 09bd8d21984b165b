package measure

import (
	"io/fs"
	"path"
	"strings"
)

// hwmonDevice is what a driver is judged by.
type hwmonDevice struct {
	fsys            fs.FS
	base, name, key string
	label           string // of one rail
}

// hwmonRole is what one rail measures.
type hwmonRole struct {
	Scope    Scope // "": leave it out
	Headline bool
	note     string
}

// hwmonDriver decides what a rail of its devices measures.
type hwmonDriver func(hwmonDevice) hwmonRole

// hwmonDrivers are the drivers whose sensors are known; everything else (fans, supplies, voltage regulators) is left alone.
var hwmonDrivers = map[string]hwmonDriver{
	"amdgpu":      amdgpuRole,
	"i915":        intelGPURole,
	"xe":          intelGPURole,
	"power_meter": acpiRole,
	"amd_energy":  amdEnergyRole,
}

// driverOf strips what a driver adds to its name per unit: i915_gt0 is a tile of an i915.
func driverOf(name string) string {
	if d, _, ok := strings.Cut(name, "_gt"); ok && d == "i915" {
		return d
	}
	return name
}

// amdgpuRole: a board that can be capped is a discrete one; an integrated GPU has no cap and lies inside the CPU's package.
func amdgpuRole(d hwmonDevice) hwmonRole {
	if _, err := fs.Stat(d.fsys, path.Join(d.base, "power1_cap")); err != nil {
		return hwmonRole{Scope: ScopeGPU, note: "no power cap: an integrated GPU, which may lie inside the package of the CPU"}
	}
	return hwmonRole{Scope: ScopeGPU, Headline: true, note: "driver's figure; two-die modules report on one die"}
}

// intelGPURole: the card contains its package and its tiles; the GPU at 00:02.0 is the integrated one, inside the CPU's package.
func intelGPURole(d hwmonDevice) hwmonRole {
	switch {
	case strings.Contains(d.name, "_gt"):
		return hwmonRole{Scope: ScopeOther, note: "one tile of the card"}
	case d.label == "pkg":
		return hwmonRole{Scope: ScopeOther, note: "package of the card: part of it"}
	case strings.HasSuffix(d.key, "-0000:00:02.0") || d.key == d.name:
		return hwmonRole{Scope: ScopeGPU, note: "may lie inside the package of the CPU"}
	}
	return hwmonRole{Scope: ScopeGPU, Headline: true}
}

// acpiRole reads the labels of NVIDIA Grace: the module contains Grace and the GPU, Grace contains its CPU rail, I/O and
// memory. An ACPI meter without such a label measures the machine.
func acpiRole(d hwmonDevice) hwmonRole {
	l := strings.ToLower(d.label)
	switch {
	case strings.HasPrefix(l, "module"):
		return hwmonRole{Scope: ScopePlatform, note: "module: contains Grace and its GPU, never added to them"}
	case strings.HasPrefix(l, "grace"), strings.HasPrefix(l, "total"):
		return hwmonRole{Scope: ScopePackage, Headline: true, note: "socket with its memory"}
	case strings.HasPrefix(l, "cpu"):
		return hwmonRole{Scope: ScopeCore, note: "rail inside the socket"}
	case strings.HasPrefix(l, "sysio"), strings.HasPrefix(l, "soc"), strings.HasPrefix(l, "dram"):
		return hwmonRole{Scope: ScopeOther, note: "rail inside the socket"}
	}
	return hwmonRole{Scope: ScopePlatform, note: "ACPI power meter of the machine"}
}

// amdEnergyRole: sockets count, cores are parts of them.
func amdEnergyRole(d hwmonDevice) hwmonRole {
	if strings.HasPrefix(d.label, "Esocket") {
		return hwmonRole{Scope: ScopePackage, Headline: true}
	}
	return hwmonRole{}
}
