package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
	"time"
)

// Battery measures the whole machine, screen included, by the power that its batteries give. It is valid only while every
// battery is discharging; any other state is a gap.
type Battery struct {
	fsys  fs.FS
	now   func() time.Duration
	packs []string
	power powerSensor
}

const batteryPeriod = 10 * time.Second

// errCharging is what a reading on mains power is.
const errCharging = sensorError("not every battery is discharging")

// NewBattery finds the batteries below fsys, the root of sysfs. ErrNoCounter when there is none.
func NewBattery(fsys fs.FS, o SensorOptions) (*Battery, error) {
	const class = "class/power_supply"
	entries, err := fs.ReadDir(fsys, class)
	if err != nil {
		return nil, fmt.Errorf("%w: battery: %w", ErrNoCounter, err)
	}
	m := &Battery{fsys: fsys, now: o.clock(), power: powerSensor{hold: 3 * batteryPeriod, limit: 1000}}
	for _, e := range entries[:min(len(entries), maxZones)] {
		dir := path.Join(class, e.Name())
		if kind, err := readAttribute(fsys, path.Join(dir, "type")); err == nil && kind == "Battery" && strings.HasPrefix(e.Name(), "BAT") {
			m.packs = append(m.packs, dir)
		}
	}
	if len(m.packs) == 0 {
		return nil, fmt.Errorf("%w: no battery", ErrNoCounter)
	}
	return m, nil
}

// leastBattery is the power below which no pack runs a machine, alone or beside others: milliwatts given as microwatts look like that. A pack
// that gives exactly nothing is one that waits for its turn.
const leastBattery = 0.05

// watts sums the packs: power_now in µW, or current_now in µA times voltage_now in µV. Some drivers give a discharge the sign
// of the current, so the status decides and the sign does not.
func (m *Battery) watts() (float64, error) {
	sum := 0.0
	for _, dir := range m.packs {
		status, err := readAttribute(m.fsys, path.Join(dir, "status"))
		if err != nil {
			return 0, err
		}
		if status != "Discharging" {
			return 0, errCharging
		}
		w, err := m.pack(dir)
		if err != nil {
			return 0, err
		}
		if w > 0 && w < leastBattery {
			return 0, errGarbage
		}
		sum += w
	}
	if sum < leastBattery {
		return 0, errGarbage
	}
	return sum, nil
}

// pack is the power that one pack gives.
func (m *Battery) pack(dir string) (float64, error) {
	p, err := readSigned(m.fsys, path.Join(dir, "power_now"))
	if err == nil || errors.Is(err, fs.ErrPermission) { // other errors: a driver that has the current only
		return math.Abs(float64(p)) / MicroPerUnit, err
	}
	i, err := readSigned(m.fsys, path.Join(dir, "current_now"))
	if err != nil {
		return 0, err
	}
	u, err := readCount(m.fsys, path.Join(dir, "voltage_now"))
	return math.Abs(float64(i)) / MicroPerUnit * float64(u) / MicroPerUnit, err
}

// Read integrates the power since the last Read.
func (m *Battery) Read() (Reading, error) {
	now := m.now()
	w, err := m.watts()
	m.power.read(now, w, err)
	d := DomainReading{Domain: Domain{Scope: ScopePlatform, Name: "battery", Zone: "battery", Headline: true},
		Source: Source{Name: "battery", Kind: Measured, UAbs: 0.05, URatio: 0.05, Period: batteryPeriod,
			Note: "whole machine with its screen, updated every 10 s or slower"},
		Energy: Microjoules(m.power.sum)}
	m.power.tell(&d)
	if err != nil {
		err = fmt.Errorf("battery: %w", err)
	}
	return Reading{At: now, Domains: []DomainReading{d}}, err
}

// Period returns the update period of the packs.
func (m *Battery) Period() time.Duration { return batteryPeriod }

// GuardPeriod is how often the power must be read to be integrated.
func (m *Battery) GuardPeriod() time.Duration { return batteryPeriod / 2 }

// Describe says what is read.
func (m *Battery) Describe() string {
	return fmt.Sprintf("battery: %d packs, whole machine", len(m.packs))
}
