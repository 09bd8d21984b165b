package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"time"
)

// SourceStatus is one line of the doctor's list of energy sources.
type SourceStatus struct {
	Name       string        `json:"name"` // as in Open
	Kind       Kind          `json:"kind"`
	Present    bool          `json:"present"`
	Readable   bool          `json:"readable"`
	Why        string        `json:"why"`              // what was found, or why it cannot be read
	Fix        string        `json:"fix,omitempty"`    // the exact command that mends it
	Scopes     []string      `json:"scopes,omitempty"` // zones or rails seen
	Period     time.Duration `json:"period_ns,omitempty"`
	Resolution Microjoules   `json:"resolution_uj,omitempty"`
	ReadCost   time.Duration `json:"read_cost_ns,omitempty"` // median time of one Read
	Cross      string        `json:"cross_check"`            // what another view of the same says, or why there is none: see CrossChecked
	Headline   bool          `json:"headline"`               // a meter of this package reads it for the headline figure
}

// ModuleFix loads the kernel's drivers of the counters of Intel and AMD CPUs.
const ModuleFix = "sudo modprobe rapl intel_rapl_common intel_rapl_msr"

// Sources lists every energy source that this package knows, whether it is present below root and readable, why
// not, and the command that mends it. The model comes last and always reads.
func Sources(root fs.FS, o OpenOptions) []SourceStatus {
	h := ReadHost(root)
	sys, err := fs.Sub(root, "sys")
	if err != nil {
		sys = root
	}
	out := []SourceStatus{perfStatus(sys, h, o), powercapStatus(sys, h, o), nvidiaStatus(root, sys, h, o),
		hwmonStatus(sys, o), jetsonStatus(root, sys, o), batteryStatus(sys, o), powermetricsStatus(o), ipmiStatus(root, h, o)}
	out = append(out,
		SourceStatus{Name: "redfish", Kind: Measured, Period: redfishSpec.every, Resolution: 2 * MicroPerUnit, Headline: true,
			Why: "asked only when named: --meter redfish:https://HOST, with WATTSHED_REDFISH_USER and WATTSHED_REDFISH_PASSWORD set", Fix: RedfishFix},
		SourceStatus{Name: "prometheus", Kind: Measured, Period: time.Second, Headline: true, Fix: PrometheusFix,
			Why: "asked only when named: --meter prometheus:http://HOST:9400/metrics (DCGM, Kepler, Scaphandre, node_exporter; #METRIC for any other); steps are the exporter's"})
	model := SourceStatus{Name: "model", Kind: Modelled, Present: true, Readable: true, Headline: true}
	if pm, err := ModelOf(h); err == nil {
		model.Why = fmt.Sprintf("%s; u_abs %.0f %%; a ratio of variants is their ratio of CPU times, not of energy", pm.Assumption, 100*pm.UAbs)
	}
	return append(out, model)
}

func perfStatus(sys fs.FS, h HostFacts, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "perf", Kind: Measured, Period: powercapPeriod, Resolution: 61, Headline: true}
	l, err := readPerfLayout(sys)
	if err != nil {
		s.Why, s.Fix = absent(err, h, "the kernel shows no perf power PMU")
		return s
	}
	s.Present = true
	for _, e := range l.events {
		s.Scopes = append(s.Scopes, e.name)
	}
	m, err := openPerf(sys, h, o)
	s.judge(m, err, PerfFix)
	return s
}

func powercapStatus(sys fs.FS, h HostFacts, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "powercap", Kind: Measured, Period: powercapPeriod, Resolution: 61, Headline: true}
	zones, err := discoverZones(sys)
	if len(zones) == 0 {
		s.Why, s.Fix = absent(err, h, "the kernel shows no powercap zone")
		return s
	}
	s.Present = true
	for _, z := range zones {
		s.Scopes = append(s.Scopes, z.key+" ("+z.name+")")
	}
	m, err := openPowercap(sys, h, o)
	s.judge(m, err, PowercapFix)
	if note := raplNote(PowercapOptions{VM: h.Virtualized, SGX: h.SGX}); note != "" {
		s.Why += "; " + note
	}
	return s
}

// absent words why a counter is not there, and what may bring it.
func absent(err error, h HostFacts, what string) (why, fix string) {
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err.Error(), ""
	case h.Virtualized:
		return what + ": this is a virtual machine, its host keeps the counters", ""
	case h.Container:
		return what + ": containers may hide it; the counters are the host's", ""
	case h.Vendor == "GenuineIntel" || h.Vendor == "AuthenticAMD":
		return what + ": its module may not be loaded", ModuleFix
	}
	return what, ""
}

// judge fills in whether a present source reads, and what one read takes.
func (s *SourceStatus) judge(m Meter, err error, fix string) {
	if err != nil {
		if s.Why = err.Error(); ofPermission(err) {
			s.Fix = fix
		}
		return
	}
	s.Readable = true
	if d, ok := m.(Describer); ok {
		s.Why = d.Describe()
	}
	if p, ok := m.(Perioder); ok && p.Period() > 0 {
		s.Period = p.Period()
	}
	s.ReadCost = readCost(m)
	if c, ok := m.(io.Closer); ok {
		_ = c.Close() // it was only read from
	}
}

// readCost returns the median time of a few reads.
func readCost(m Meter) time.Duration {
	var cost []time.Duration
	for range 9 {
		t := time.Now()
		_, _ = m.Read()
		cost = append(cost, time.Since(t))
	}
	slices.Sort(cost)
	return cost[len(cost)/2]
}

// BlockLength is the length of a block of m whose wanted length is want: at least 50 periods of its slowest counter, so that the edges
// weigh 2 % of a period each at most. They are 5 s of NVML's, 100 s of a management controller's, 500 s of a battery's.
func BlockLength(want time.Duration, m Meter) time.Duration {
	if p, ok := m.(Perioder); ok {
		return max(want, blockPeriods*p.Period())
	}
	return want
}

// blockPeriods is the least number of update periods of a counter in a block; DefaultBlock the wanted length.
const (
	blockPeriods = 50
	DefaultBlock = time.Second
)

// ReadOverhead returns the median time of one Read of m, and the share of time that reads take at the default settings: two per
// block (see BlockLength), and those of the Guard where m asks for one.
func ReadOverhead(m Meter) (read time.Duration, share float64) {
	read = readCost(m)
	block := BlockLength(DefaultBlock, m)
	share = 2 * read.Seconds() / block.Seconds()
	if g, ok := m.(Guarded); ok && g.GuardPeriod() > 0 {
		share += read.Seconds() / g.GuardPeriod().Seconds()
	}
	return read, share
}

// hwmonStatus lists power and energy sensors.
func hwmonStatus(sys fs.FS, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "hwmon", Kind: Measured, Period: nvmlPeriod, Resolution: 1, Headline: true, Why: "no power or energy sensor that is known"}
	m, err := NewHwmon(sys, SensorOptions{Now: o.Now})
	if err != nil {
		return s
	}
	s.Present = true
	for _, x := range m.sensors {
		s.Scopes = append(s.Scopes, x.domain.Zone+" ("+x.domain.Name+")")
	}
	_, err = headlineReads(m)
	s.judge(m, err, HwmonFix)
	return s
}

// batteryStatus lists batteries and whether they discharge.
func batteryStatus(sys fs.FS, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "battery", Kind: Measured, Period: batteryPeriod, Resolution: 10, Headline: true, Why: "no battery"} // 1 µW for 10 s
	m, err := NewBattery(sys, SensorOptions{Now: o.Now})
	if err != nil {
		return s
	}
	s.Present = true
	for _, dir := range m.packs {
		s.Scopes = append(s.Scopes, path.Base(dir))
	}
	_, err = headlineReads(m)
	s.judge(m, err, BatteryFix)
	if errors.Is(err, errCharging) {
		s.Fix = "unplug the charger; it reads while this prints Discharging: cat /sys/class/power_supply/BAT*/status"
	}
	return s
}

// powermetricsStatus tells whether Apple's tool answers.
func powermetricsStatus(o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "powermetrics", Kind: Measured, Period: powermetricsEvery, Resolution: 1000, Headline: true, Why: "powermetrics is a part of macOS"}
	if runtime.GOOS == "darwin" {
		s.Present = true
		m, err := openPowermetrics(o)
		s.judge(m, err, PowermetricsFix)
	}
	return s
}

// ipmiStatus tells whether a management controller is there and answers.
func ipmiStatus(root fs.FS, h HostFacts, o OpenOptions) SourceStatus {
	s := SourceStatus{Name: "ipmi", Kind: Measured, Period: 2 * time.Second, Resolution: 2 * MicroPerUnit, Headline: true, Why: "no management controller (/dev/ipmi0)"}
	if _, err := fs.Stat(root, "dev/ipmi0"); err != nil {
		switch {
		case h.Virtualized:
			s.Why += ": this is a virtual machine, its host has the controller; ask it by redfish"
		case h.Vendor != "":
			s.Why += ": its driver may not be loaded"
			s.Fix = IPMIModuleFix
		}
		return s
	}
	s.Present = true
	fetch := o.IPMI
	if fetch == nil {
		if _, err := exec.LookPath("ipmitool"); err != nil {
			s.Why, s.Fix = "/dev/ipmi0 is there, ipmitool is not", "sudo apt-get install ipmitool"
			return s
		}
		fetch = IPMITool
	}
	m := NewIPMI(fetch, ExternalOptions{Now: o.Now})
	if err := m.Poll(o.context()); err != nil {
		s.Why, s.Fix = err.Error(), IPMIFix
		return s
	}
	s.judge(m, nil, "")
	return s
}

// Advice says in sentences what a machine without a readable counter means and what would give it one. It is empty where some
// source measures.
func Advice(h HostFacts, list []SourceStatus) []string {
	denied := ""
	for _, s := range list {
		if s.Kind == Measured && s.Readable {
			return nil
		}
		if s.Kind == Measured && s.Present && denied == "" {
			denied = s.Name
		}
	}
	var out []string
	if denied != "" {
		out = append(out, "An energy counter exists ("+denied+") but cannot be read: energy is modelled from CPU time until it can.")
	} else {
		out = append(out, "No energy counter exists on this machine: energy is modelled from CPU time, and no saving of energy can be shown, only one of CPU time.")
	}
	if m, err := ModelOf(h); err == nil {
		out = append(out, fmt.Sprintf("The model assumes: %s, within ±%.0f %%.", m.Assumption, 100*m.UAbs))
	}
	switch {
	case denied != "":
		out = append(out, "Needed: the command given with that source.")
	case h.Virtualized:
		out = append(out, "Needed: bare metal (a metal instance) with RAPL, or a view from outside of the guest: the host's management controller "+
			"(--meter redfish:https://HOST) or a wall meter behind an exporter (--meter prometheus:URL#METRIC).")
	default:
		out = append(out, "Needed: a kernel that shows RAPL ("+ModuleFix+"), a management controller (--meter ipmi, --meter redfish:https://HOST) "+
			"or a wall meter behind an exporter (--meter prometheus:URL#METRIC).")
	}
	return out
}
