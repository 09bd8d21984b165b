package measure

import (
	"io/fs"
	"path"
	"regexp"
	"sort"
	"strings"
)

const (
	powercapClass   = "class/powercap"
	powercapDevices = "devices/virtual/powercap"
	maxZones        = 4096
)

// zoneName matches the ids of energy zones; they are hexadecimal: the eleventh is intel-rapl:a.
var zoneName = regexp.MustCompile(`^(intel-rapl|intel-rapl-mmio)(:[0-9a-f]+)+$`)

// zone is one powercap zone.
type zone struct {
	key     string // canonical device path below devices/virtual/powercap
	dir     string // where its files are
	control string // intel-rapl, intel-rapl-mmio
	name    string // package-0, dram, ...
	parent  string // key of the zone around it, or ""
	off     bool   // enabled is 0
	scope   Scope
	rng     uint64
	pmax    Watts
	counted bool
	note    string
}

// discoverZones finds every energy zone below fsys (the root of sysfs), each once by canonical path, sorted by
// key, and decides which ones the headline "cpu+dram" counts.
func discoverZones(fsys fs.FS) ([]zone, error) {
	found := map[string]string{} // key -> dir
	entries, err := fs.ReadDir(fsys, powercapClass)
	for _, e := range entries {
		if zoneName.MatchString(e.Name()) {
			collect(fsys, resolveLink(fsys, path.Join(powercapClass, e.Name())), found)
		}
	}
	for _, control := range []string{"intel-rapl", "intel-rapl-mmio"} {
		for _, c := range childZones(fsys, path.Join(powercapDevices, control)) {
			collect(fsys, c, found)
		}
	}
	if len(found) == 0 {
		return nil, err
	}
	zones := make([]zone, 0, len(found))
	for key, dir := range found {
		zones = append(zones, readZone(fsys, key, dir))
	}
	sort.Slice(zones, func(i, j int) bool { return zones[i].key < zones[j].key })
	countZones(zones)
	return zones, nil
}

// collect adds the zone at dir and those nested in it.
func collect(fsys fs.FS, dir string, found map[string]string) {
	key := zoneKey(dir)
	if _, had := found[key]; had || len(found) >= maxZones {
		return
	}
	if _, err := fs.Stat(fsys, path.Join(dir, "name")); err != nil {
		return
	}
	found[key] = dir
	for _, c := range childZones(fsys, dir) {
		collect(fsys, c, found)
	}
}

// childZones lists the folders of dir that are zones; links (device, subsystem) are not followed.
func childZones(fsys fs.FS, dir string) []string {
	entries, _ := fs.ReadDir(fsys, dir)
	var out []string
	for _, e := range entries {
		if e.IsDir() && zoneName.MatchString(e.Name()) {
			out = append(out, path.Join(dir, e.Name()))
		}
	}
	return out
}

// zoneKey is the canonical identity of a zone: its path below devices/virtual/powercap, rebuilt from the id
// where only the flat class folder exists (intel-rapl:0:1 -> intel-rapl/intel-rapl:0/intel-rapl:0:1).
func zoneKey(dir string) string {
	if key, ok := strings.CutPrefix(dir, powercapDevices+"/"); ok {
		return key
	}
	parts := strings.Split(path.Base(dir), ":")
	key := parts[0]
	for i := 1; i < len(parts); i++ {
		key += "/" + strings.Join(parts[:i+1], ":")
	}
	return key
}

// readZone reads what does not change. What cannot be read is left at its zero value.
func readZone(fsys fs.FS, key, dir string) zone {
	z := zone{key: key, dir: dir}
	z.control, _, _ = strings.Cut(path.Base(dir), ":")
	z.name, _ = readAttribute(fsys, path.Join(dir, "name"))
	if p := path.Dir(key); strings.Contains(p, ":") {
		z.parent = p
	}
	z.rng, _ = readCount(fsys, path.Join(dir, "max_energy_range_uj"))
	if on, err := readAttribute(fsys, path.Join(dir, "enabled")); err == nil && on == "0" {
		z.off, z.note = true, "zone is disabled, its counter is read all the same"
	}
	z.scope = zoneScope(z.name)
	z.pmax = zonePower(fsys, dir)
	return z
}

// zoneScope decides by name, never by number: psys is often intel-rapl:1, the id of a second package.
func zoneScope(name string) Scope {
	switch {
	case strings.HasPrefix(name, "package"):
		return ScopePackage
	case name == "dram":
		return ScopeDRAM
	case name == "core":
		return ScopeCore
	case name == "uncore":
		return ScopeUncore
	case name == "psys":
		return ScopePlatform
	}
	return ScopeOther
}

// zonePower returns 2 × the largest believable constraint_*_max_power_uw, or 0 when there is none.
func zonePower(fsys fs.FS, dir string) Watts {
	var most uint64
	for _, c := range []string{"0", "1", "2"} {
		v, err := readCount(fsys, path.Join(dir, "constraint_"+c+"_max_power_uw"))
		if err == nil && v <= 4_000_000_000 {
			most = max(most, v)
		}
	}
	return Watts(2 * float64(most) / MicroPerUnit)
}

// countZones marks the zones of the headline scope: every package once, and the dram zones inside the packages
// that are counted. The same package seen through two control types is one package: the view with dram wins,
// then intel-rapl. Equal values prove nothing: two sockets under equal load count alike.
func countZones(zones []zone) {
	hasDRAM := map[string]bool{}
	for _, z := range zones {
		if z.scope == ScopeDRAM {
			hasDRAM[z.parent] = true
		}
	}
	best := map[string]int{} // package name -> index of the best view; per control type names are unique
	for i, z := range zones {
		if z.scope != ScopePackage {
			continue
		}
		j, had := best[z.name]
		switch {
		case !had:
			best[z.name] = i
		case zones[j].control == z.control:
			best[z.key] = i // a second package that calls itself alike: its own
		case hasDRAM[z.key] && !hasDRAM[zones[j].key],
			hasDRAM[z.key] == hasDRAM[zones[j].key] && z.control == "intel-rapl":
			best[z.name] = i
		}
	}
	counted := map[string]bool{}
	for _, i := range best {
		zones[i].counted = true
		counted[zones[i].key] = true
	}
	for i := range zones {
		z := &zones[i]
		switch {
		case z.scope == ScopeDRAM:
			z.counted = counted[z.parent]
		case z.scope == ScopePackage && !z.counted:
			z.note = "second view of a package that is counted under another control type"
		case z.scope == ScopePlatform:
			z.note = "platform contains the packages: shown beside, never added"
		}
	}
}
