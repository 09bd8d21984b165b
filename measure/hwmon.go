package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hwmonGarbage is unsigned 32-bit all ones × 1000: what broken sensors say.
const hwmonGarbage = 4294967295000

// maxHwmonRails is how many energyN and powerN files of one device are looked at.
const maxHwmonRails = 8

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

// Hwmon reads power and energy sensors of Linux's hwmon: AMD and Intel GPUs, ACPI power meters such as NVIDIA Grace's, and
// AMD's energy driver of older kernels. Power is integrated and needs a Guard.
type Hwmon struct {
	fsys    fs.FS
	now     func() time.Duration
	sensors []hwmonSensor
}

type hwmonSensor struct {
	file   string
	device string // canonical path of the device, "" where there is no link
	domain Domain
	source Source
	energy bool // µJ counter, else power in µW
	count  counter
	power  powerSensor
}

// NewHwmon finds the sensors below fsys, the root of sysfs. Sensors are keyed by device, for hwmon numbers change from boot
// to boot; a sensor that says garbage at the start is left out. A rail that several files or drivers show is counted once:
// energy before averaged power before power, and a second driver of the same device is shown but not added. ErrNoCounter
// when none is left.
func NewHwmon(fsys fs.FS, o SensorOptions) (*Hwmon, error) {
	m := &Hwmon{fsys: fsys, now: o.clock()}
	entries, err := fs.ReadDir(fsys, "class/hwmon")
	if err != nil {
		return nil, fmt.Errorf("%w: hwmon: %w", ErrNoCounter, err)
	}
	used, devices := map[string]bool{}, map[string]string{}
	for _, e := range entries[:min(len(entries), maxZones)] {
		dir := path.Join("class/hwmon", e.Name())
		name, base, err := hwmonName(fsys, dir)
		known, ok := hwmonDrivers[driverOf(name)]
		if err != nil || !ok {
			continue
		}
		key, device := hwmonKey(fsys, dir, name)
		first, had := devices[device]
		for _, s := range hwmonRails(fsys, base, name, key, known) {
			if used[s.domain.Zone] {
				s.domain.Zone += "@" + e.Name()
			}
			used[s.domain.Zone] = true
			if s.device = device; device != "" && had && first != name {
				s.domain.Headline = false
				s.source.Note = joinNote(s.source.Note, "second view of a device that driver "+first+" shows too")
			}
			m.sensors = append(m.sensors, s)
		}
		if device != "" && !had {
			devices[device] = name
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

// hwmonName returns the driver's name and the folder of its attributes: old drivers keep them in the device's folder.
func hwmonName(fsys fs.FS, dir string) (name, base string, err error) {
	for _, base = range []string{dir, path.Join(dir, "device")} {
		if name, err = readAttribute(fsys, path.Join(base, "name")); err == nil {
			break
		}
	}
	if err != nil {
		return "", "", err
	}
	for _, base = range []string{dir, path.Join(dir, "device")} {
		for _, f := range []string{"energy1_input", "power1_average", "power1_input"} {
			if _, err := fs.Stat(fsys, path.Join(base, f)); err == nil {
				return name, base, nil
			}
		}
	}
	return name, dir, nil
}

// hwmonRails lists the sensors of one device: of every index its energy counter, else its averaged, else its present power.
func hwmonRails(fsys fs.FS, base, name, key string, known hwmonDriver) []hwmonSensor {
	var out []hwmonSensor
	for i := 1; i <= maxHwmonRails; i++ {
		n := strconv.Itoa(i)
		for _, f := range []string{"energy" + n + "_input", "power" + n + "_average", "power" + n + "_input"} {
			v, err := readCount(fsys, path.Join(base, f))
			if errors.Is(err, fs.ErrNotExist) || v >= hwmonGarbage && !strings.HasPrefix(f, "energy") {
				continue
			}
			label := hwmonLabel(fsys, base, n, strings.HasPrefix(f, "energy"))
			d := known(hwmonDevice{fsys: fsys, base: base, name: name, key: key, label: label})
			if d.Scope == "" {
				break // a part of another rail that nobody needs by itself
			}
			s := hwmonSensor{file: path.Join(base, f), energy: strings.HasPrefix(f, "energy"),
				domain: Domain{Scope: d.Scope, Name: strings.TrimSpace(name + " " + label), Zone: "hwmon/" + key + "/" + f, Headline: d.Headline},
				source: Source{Name: "hwmon", Kind: Measured, UAbs: 0.1, URatio: 0.05, Resolution: 1, Period: hwmonPeriod(fsys, base, n), Note: d.note}}
			s.count.spec = counterSpec{perJoule: MicroPerUnit, pmax: hwmonMost, period: s.source.Period, wide: true,
				moves: d.Headline} // a discrete board or a socket always draws some power, an integrated GPU need not
			s.power = powerSensor{hold: sensorHold, limit: hwmonMost}
			out = append(out, s)
			break
		}
	}
	return out
}

// hwmonMost is the power above which a reading is garbage: milliwatts taken for microwatts look like kilowatts.
const hwmonMost = 4000

// hwmonLabel is what the driver calls the rail.
func hwmonLabel(fsys fs.FS, base, n string, energy bool) string {
	files := []string{"power" + n + "_oem_info", "power" + n + "_label"}
	if energy {
		files = []string{"energy" + n + "_label"}
	}
	for _, f := range files {
		if s, err := readAttribute(fsys, path.Join(base, f)); err == nil && s != "" {
			return s
		}
	}
	return ""
}

// hwmonPeriod is the driver's averaging interval where it says one, in ms, else 100 ms.
func hwmonPeriod(fsys fs.FS, base, n string) time.Duration {
	for _, f := range []string{"power" + n + "_average_interval", "update_interval"} {
		if v, err := readCount(fsys, path.Join(base, f)); err == nil && v > 0 && v <= 60_000 {
			return time.Duration(v) * time.Millisecond
		}
	}
	return nvmlPeriod
}

// hwmonKey names the device behind a hwmon folder, or its driver where there is no link, and its canonical path.
func hwmonKey(fsys fs.FS, dir, name string) (key, device string) {
	if target, err := fs.ReadLink(fsys, path.Join(dir, "device")); err == nil {
		return name + "-" + path.Base(target), path.Join(resolveLink(fsys, dir), target)
	}
	return name, ""
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
		d := DomainReading{Domain: s.domain, Source: s.source, Energy: Microjoules(c.sum)}
		c.tell(&d)
		r.Domains[i] = d
	}
	if ok == 0 {
		return r, firstErr
	}
	return r, nil
}

// Period returns the longest update period of the sensors.
func (m *Hwmon) Period() time.Duration {
	var most time.Duration
	for _, s := range m.sensors {
		most = max(most, s.source.Period)
	}
	return most
}

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
