package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
)

// SourceStatus is one line of the doctor's list of energy sources.
type SourceStatus struct {
	Name       string        `json:"name"` // perf, powercap, nvml, hwmon, battery, model
	Kind       Kind          `json:"kind"`
	Present    bool          `json:"present"`
	Readable   bool          `json:"readable"`
	Why        string        `json:"why"`              // what was found, or why it cannot be read
	Fix        string        `json:"fix,omitempty"`    // the exact command that mends it
	Scopes     []string      `json:"scopes,omitempty"` // zones or rails seen
	Period     time.Duration `json:"period_ns,omitempty"`
	Resolution Microjoules   `json:"resolution_uj,omitempty"`
	Headline   bool          `json:"headline"` // a meter of this package reads it for the headline figure
}

// OpenOptions are the injected parts of Open and Sources. The zero value is usable.
type OpenOptions struct {
	Perf    PerfOpener                    // default OpenPerf
	Now     func() time.Duration          // default Boottime
	CPUTime func() (time.Duration, error) // default ProcessCPU; for the model
	NVML    func() (NVML, error)          // default LoadNVML
}

// Open returns the best meter below root, the root of the file system (os.DirFS("/")): perf events, then
// powercap, then the model. name picks one of "perf", "powercap", "nvml", "hwmon", "battery", "model"; "" or "auto"
// the best of perf, powercap and model that reads (boards are joined only when they are asked for, see Join); the model
// then says which counter was there and could not be read. A named source that cannot be read is an error, never another source. Close it where it is an io.Closer.
func Open(root fs.FS, name string, o OpenOptions) (Meter, error) {
	h := ReadHost(root)
	sys, err := fs.Sub(root, "sys")
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	switch name {
	case "perf":
		return openPerf(sys, h, o)
	case "powercap":
		return openPowercap(sys, h, o)
	case "model":
		return openModel(h, o, nil)
	case "nvml":
		return openNVIDIA(o)
	case "hwmon":
		m, err := NewHwmon(sys, SensorOptions{Now: o.Now})
		if err != nil {
			return nil, err
		}
		return headlineReads(m)
	case "battery":
		m, err := NewBattery(sys, SensorOptions{Now: o.Now})
		if err != nil {
			return nil, err
		}
		return headlineReads(m)
	case "", "auto":
		m, perr := openPerf(sys, h, o)
		if perr == nil {
			return m, nil
		}
		m, cerr := openPowercap(sys, h, o)
		if cerr == nil {
			return m, nil
		}
		return openModel(h, o, errors.Join(perr, cerr))
	}
	return nil, fmt.Errorf("measure: no energy source is called %q; there are auto, perf, powercap, nvml, hwmon, battery, model", name)
}

// openPerf opens the perf meter and makes sure that its headline reads.
func openPerf(sys fs.FS, h HostFacts, o OpenOptions) (Meter, error) {
	tdp, _ := TDP(h.CPU)
	m, err := NewPerf(sys, PerfOptions{Now: o.Now, Open: o.Perf, TDP: tdp, AMD: h.Vendor == "AuthenticAMD", VM: h.Virtualized})
	if err != nil {
		return nil, err
	}
	return headlineReads(m)
}

// openPowercap opens the powercap meter and makes sure that its headline reads.
func openPowercap(sys fs.FS, h HostFacts, o OpenOptions) (Meter, error) {
	tdp, _ := TDP(h.CPU)
	m, err := NewPowercap(sys, PowercapOptions{Now: o.Now, TDP: tdp, AMD: h.Vendor == "AuthenticAMD", VM: h.Virtualized})
	if err != nil {
		return nil, err
	}
	return headlineReads(m)
}

// openModel opens the model. Where why holds a permission error, a counter exists and its figures say so.
func openModel(h HostFacts, o OpenOptions, why error) (Meter, error) {
	pm, err := ModelOf(h)
	if err != nil {
		return nil, err
	}
	if errors.Is(why, ErrPermission) {
		pm.Assumption += "; a counter exists but is not readable (" + strings.ReplaceAll(why.Error(), "\n", "; ") + ")"
	}
	return NewModel(pm, ModelOptions{Now: o.Now, CPUTime: o.CPUTime}), nil
}

// headlineReads takes the first reading: every headline domain must answer, or the total would be a part.
func headlineReads(m Meter) (Meter, error) {
	r, err := m.Read()
	n := 0
	for _, d := range r.Domains {
		if !d.Domain.Headline {
			continue
		}
		n++
		if len(d.Errors) > 0 && err == nil {
			err = fmt.Errorf("%w: domain %s (%s): %s", ErrPermission, d.Domain.Zone, d.Domain.Name, strings.Join(d.Errors, ", "))
		}
	}
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: no package among the domains", ErrNoCounter)
	}
	if err != nil {
		if c, ok := m.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		return nil, err
	}
	return m, nil
}

// Sources lists every energy source that this package knows, whether it is present below root and readable, why
// not, and the command that mends it. The model comes last and always reads.
func Sources(root fs.FS, o OpenOptions) []SourceStatus {
	h := ReadHost(root)
	sys, err := fs.Sub(root, "sys")
	if err != nil {
		sys = root
	}
	perf := SourceStatus{Name: "perf", Kind: Measured, Period: powercapPeriod, Resolution: 61, Headline: true}
	if l, err := readPerfLayout(sys); err != nil {
		perf.Why = absent(err, h, "the kernel shows no perf power PMU")
	} else {
		perf.Present = true
		for _, e := range l.events {
			perf.Scopes = append(perf.Scopes, e.name)
		}
		m, err := openPerf(sys, h, o)
		perf.judge(m, err, PerfFix)
	}
	pcap := SourceStatus{Name: "powercap", Kind: Measured, Period: powercapPeriod, Resolution: 61, Headline: true}
	if zones, err := discoverZones(sys); len(zones) == 0 {
		pcap.Why = absent(err, h, "the kernel shows no powercap zone")
	} else {
		pcap.Present = true
		for _, z := range zones {
			pcap.Scopes = append(pcap.Scopes, z.key+" ("+z.name+")")
		}
		m, err := openPowercap(sys, h, o)
		pcap.judge(m, err, PowercapFix)
	}
	out := []SourceStatus{perf, pcap, nvidiaStatus(root, o), hwmonStatus(sys), batteryStatus(sys)}
	model := SourceStatus{Name: "model", Kind: Modelled, Present: true, Readable: true, Headline: true}
	if pm, err := ModelOf(h); err == nil {
		model.Why = fmt.Sprintf("%s; u_abs %.0f %%; a ratio of variants is their ratio of CPU times, not of energy", pm.Assumption, 100*pm.UAbs)
	}
	return append(out, model)
}

// absent words why a counter is not there.
func absent(err error, h HostFacts, what string) string {
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err.Error()
	case h.Virtualized:
		return what + ": this is a virtual machine, its host keeps the counters"
	case h.Container:
		return what + ": containers may hide it; the counters are the host's"
	}
	return what
}

// judge fills in whether a present source reads.
func (s *SourceStatus) judge(m Meter, err error, fix string) {
	if err != nil {
		s.Why, s.Fix = err.Error(), fix
		if !errors.Is(err, ErrPermission) {
			s.Fix = ""
		}
		return
	}
	s.Readable = true
	if d, ok := m.(Describer); ok {
		s.Why = d.Describe()
	}
	if c, ok := m.(io.Closer); ok {
		_ = c.Close() // it was only read from
	}
}

// nvidiaStatus tells whether an NVIDIA driver is loaded and its boards answer.
func nvidiaStatus(root fs.FS, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "nvml", Kind: Measured, Period: nvmlPeriod, Resolution: 1000, Headline: true, Why: "no NVIDIA driver is loaded"}
	v, err := readLimited(root, "proc/driver/nvidia/version", 64<<10)
	if err != nil {
		return s
	}
	s.Present = true
	m, err := openNVIDIA(o)
	s.judge(m, err, "")
	if n, ok := m.(*NVIDIA); ok {
		for _, b := range n.boards {
			s.Scopes = append(s.Scopes, b.domain.Zone+" ("+b.domain.Name+")")
		}
	}
	line, _, _ := strings.Cut(string(v), "\n")
	s.Why += "; driver " + strings.TrimSpace(line)
	return s
}

func openNVIDIA(o OpenOptions) (Meter, error) {
	load := o.NVML
	if load == nil {
		load = LoadNVML
	}
	lib, err := load()
	if err != nil {
		return nil, err
	}
	m, err := NewNVIDIA(lib, NVIDIAOptions{Now: o.Now})
	if err != nil {
		return nil, errors.Join(err, lib.Close())
	}
	return headlineReads(m)
}

// hwmonStatus lists power and energy sensors.
func hwmonStatus(sys fs.FS) SourceStatus {
	s := SourceStatus{Name: "hwmon", Kind: Measured, Period: nvmlPeriod, Headline: true, Why: "no power or energy sensor"}
	m, err := NewHwmon(sys, SensorOptions{})
	if err != nil {
		return s
	}
	s.Present = true
	for _, x := range m.sensors {
		s.Scopes = append(s.Scopes, x.domain.Zone+" ("+x.domain.Name+")")
	}
	_, err = m.Read()
	s.judge(m, err, "")
	return s
}

// batteryStatus lists batteries and whether they discharge.
func batteryStatus(sys fs.FS) SourceStatus {
	s := SourceStatus{Name: "battery", Kind: Measured, Period: batteryPeriod, Headline: true, Why: "no battery"}
	m, err := NewBattery(sys, SensorOptions{})
	if err != nil {
		return s
	}
	s.Present = true
	for _, dir := range m.packs {
		s.Scopes = append(s.Scopes, path.Base(dir))
	}
	_, err = m.Read()
	s.judge(m, err, "")
	if errors.Is(err, errCharging) {
		s.Fix = "unplug the charger"
	}
	return s
}
