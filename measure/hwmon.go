package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// hwmonGarbage is unsigned 32-bit all ones × 1000: what broken sensors say.
const hwmonGarbage = 4294967295000

// SensorOptions are the injected parts of the sensor meters. The zero value is usable.
type SensorOptions struct {
	Now func() time.Duration // clock that counts suspend; default Boottime
}

func (o SensorOptions) clock() func() time.Duration {
	if o.Now == nil {
		return Boottime
	}
	return o.Now
}

// Hwmon reads power and energy sensors of Linux's hwmon: AMD and Intel GPUs, ACPI power meters such as NVIDIA Grace's. Power is
// integrated and needs a Guard.
type Hwmon struct {
	fsys    fs.FS
	now     func() time.Duration
	sensors []hwmonSensor
}

type hwmonSensor struct {
	file   string
	domain Domain
	source Source
	energy bool // µJ counter, else power in µW
	count  counter
	power  powerSensor
}

// hwmonScopes tells what the drivers that are known measure. Only a discrete GPU is a headline of its own: an integrated one lies
// inside the package, and an ACPI meter's module contains the others.
var hwmonScopes = map[string]struct {
	scope    Scope
	headline bool
	note     string
}{
	"amdgpu":      {ScopeGPU, true, "driver's figure; two-die modules report on one die"},
	"i915":        {ScopeGPU, false, "may lie inside the package of the CPU"},
	"xe":          {ScopeGPU, false, "may lie inside the package of the CPU"},
	"power_meter": {ScopePlatform, false, "ACPI power meter; a module contains its CPU and GPU"},
}

// NewHwmon finds the sensors below fsys, the root of sysfs. Sensors are keyed by device, for hwmon numbers change from boot
// to boot; a sensor that says garbage at the start is left out. ErrNoCounter when none is left.
func NewHwmon(fsys fs.FS, o SensorOptions) (*Hwmon, error) {
	m := &Hwmon{fsys: fsys, now: o.clock()}
	entries, err := fs.ReadDir(fsys, "class/hwmon")
	if err != nil {
		return nil, fmt.Errorf("%w: hwmon: %w", ErrNoCounter, err)
	}
	used := map[string]bool{}
	for _, e := range entries[:min(len(entries), maxZones)] {
		dir := path.Join("class/hwmon", e.Name())
		name, err := readAttribute(fsys, path.Join(dir, "name"))
		known, ok := hwmonScopes[name]
		if err != nil || !ok {
			continue
		}
		for _, f := range []string{"energy1_input", "power1_average", "power1_input"} {
			v, err := readCount(fsys, path.Join(dir, f))
			if errors.Is(err, fs.ErrNotExist) || v >= hwmonGarbage {
				continue
			}
			s := hwmonSensor{file: path.Join(dir, f), energy: strings.HasPrefix(f, "energy"),
				domain: Domain{Scope: known.scope, Name: name, Zone: "hwmon/" + hwmonKey(fsys, dir, name) + "/" + f, Headline: known.headline},
				source: Source{Name: "hwmon", Kind: Measured, UAbs: 0.1, URatio: 0.05, Resolution: 1, Period: nvmlPeriod, Note: known.note}}
			if label, err := readAttribute(fsys, path.Join(dir, "power1_oem_info")); err == nil && label != "" {
				s.domain.Name += " " + label
			}
			if used[s.domain.Zone] {
				s.domain.Zone += "@" + e.Name()
			}
			used[s.domain.Zone] = true
			s.count.spec = counterSpec{perJoule: MicroPerUnit, pmax: 1500, period: nvmlPeriod, wide: true}
			s.power = powerSensor{hold: sensorHold, limit: 4000}
			m.sensors = append(m.sensors, s)
			break // one view per device: energy and power are the same rail
		}
	}
	if len(m.sensors) == 0 {
		return nil, fmt.Errorf("%w: hwmon has no power or energy sensor that is known", ErrNoCounter)
	}
	if len(m.sensors) == 1 {
		m.sensors[0].domain.Headline = true // nothing else that it could contain or lie in
	}
	return m, nil
}

// hwmonKey is the device behind a hwmon folder, or its driver's name where there is no link.
func hwmonKey(fsys fs.FS, dir, name string) string {
	if target, err := fs.ReadLink(fsys, path.Join(dir, "device")); err == nil {
		return name + "-" + path.Base(target)
	}
	return name
}

// Read reads every sensor once.
func (m *Hwmon) Read() (Reading, error) {
	r := Reading{At: m.now(), Domains: make([]DomainReading, len(m.sensors))}
	ok := 0
	var firstErr error
	for i := range m.sensors {
		s := &m.sensors[i]
		v, err := readCount(m.fsys, s.file)
		if err == nil && v >= hwmonGarbage && !s.energy {
			err = errGarbage
		}
		if err == nil {
			ok++
		} else if firstErr == nil {
			firstErr = fmt.Errorf("hwmon: %s: %w", s.domain.Zone, err)
		}
		c := &s.count
		if s.energy {
			c.read(r.At, v, err)
		} else {
			c = &s.power.counter
			s.power.read(r.At, float64(v)/MicroPerUnit, err)
		}
		d := DomainReading{Domain: s.domain, Source: s.source, Energy: Microjoules(c.sum), Errors: c.errs}
		d.Gaps, d.Status = c.state()
		r.Domains[i] = d
	}
	if ok == 0 {
		return r, firstErr
	}
	return r, nil
}

// Period returns the assumed update period of the sensors.
func (m *Hwmon) Period() time.Duration { return nvmlPeriod }

// GuardPeriod is 100 ms where power is integrated.
func (m *Hwmon) GuardPeriod() time.Duration {
	for _, s := range m.sensors {
		if !s.energy {
			return sensorGuard
		}
	}
	return 60 * time.Second
}

// Describe names the sensors.
func (m *Hwmon) Describe() string {
	var s []string
	for _, x := range m.sensors {
		s = append(s, x.domain.Name)
	}
	slices.Sort(s)
	return "hwmon: " + strings.Join(s, ", ")
}
