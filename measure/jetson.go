package measure

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Jetson reads the INA3221 power monitors of NVIDIA's Jetson boards: hwmon "ina3221" (mV × mA per channel, JetPack 5 and
// newer) or the iio files of "ina3221x" (mW, JetPack 4). Power only: it needs a Guard.
type Jetson struct{ rails }

// jetsonMost is more than any Jetson draws; the largest module is rated at 130 W.
const jetsonMost = 300

// jetsonTotals are the rails that contain all others of the module.
var jetsonTotals = []string{"VDD_IN", "POM_5V_IN"}

// jetsonSiblings are the input rails of modules without a total; they stand beside each other and add up. AGX Orin: GPU and
// SoC, CPU and CV, system 5 V. AGX Xavier: six rails.
var jetsonSiblings = []string{"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}

// NewJetson finds the monitors below fsys, the root of sysfs. The headline is the total rail where there is one, else the
// input rails of the module; further rails are breakdown. ErrNoCounter when there is no monitor, or none of its rails has a
// name.
func NewJetson(fsys fs.FS, o SensorOptions) (*Jetson, error) {
	m := &Jetson{rails{what: "jetson", now: o.clock()}}
	m.list = slices.Concat(jetsonHwmon(fsys), jetsonIIO(fsys))
	if len(m.list) == 0 {
		return nil, fmt.Errorf("%w: no INA3221 power monitor", ErrNoCounter)
	}
	has := func(names []string) bool {
		return slices.ContainsFunc(m.list, func(x rail) bool { return slices.Contains(names, x.domain.Name) })
	}
	headline, note := jetsonSiblings, "input rail of the module; carrier board not included"
	if has(jetsonTotals) {
		headline, note = jetsonTotals, "the whole module"
	}
	n := 0
	for i := range m.list {
		x := &m.list[i]
		if slices.Contains(headline, x.domain.Name) {
			x.domain.Headline, x.source.Note = true, note
			n++
		} else {
			x.source.Note = "rail inside another: shown, not added"
		}
	}
	if n == 0 {
		return nil, fmt.Errorf("%w: jetson: none of the rails is known to be an input of the module", ErrNoCounter)
	}
	return m, nil
}

// jetsonRail makes a rail of a name and a reader of watts.
func jetsonRail(zone, name string, watts func() (float64, error)) rail {
	x := rail{domain: Domain{Scope: ScopePlatform, Name: name, Zone: "jetson/" + zone + "/" + name},
		source: Source{Name: "jetson", Kind: Measured, UAbs: 0.05, URatio: 0.05, Period: nvmlPeriod}, watts: watts}
	x.sensor = powerSensor{hold: sensorHold, limit: jetsonMost}
	return x
}

// jetsonHwmon reads hwmon folders: inN_label names channel N, whose power is inN_input mV × currN_input mA. A channel that is
// switched off answers ENODATA and is left out; so is the sum of the shunt voltages, which is no power.
func jetsonHwmon(fsys fs.FS) []rail {
	var out []rail
	entries, _ := fs.ReadDir(fsys, "class/hwmon")
	for _, e := range entries[:min(len(entries), maxZones)] {
		dir := path.Join("class/hwmon", e.Name())
		if name, err := readAttribute(fsys, path.Join(dir, "name")); err != nil || name != "ina3221" {
			continue
		}
		key, _ := hwmonKey(fsys, dir, "ina3221")
		for n := 1; n <= 3; n++ {
			label, err := readAttribute(fsys, path.Join(dir, fmt.Sprintf("in%d_label", n)))
			if err != nil || label == "" || label == "NC" {
				continue
			}
			mv, ma := path.Join(dir, fmt.Sprintf("in%d_input", n)), path.Join(dir, fmt.Sprintf("curr%d_input", n))
			watts := func() (float64, error) {
				u, err := readSigned(fsys, mv)
				if err != nil {
					return 0, err
				}
				i, err := readSigned(fsys, ma)
				return float64(u) * float64(max(0, i)) / 1e6, err // a few mA below zero are the monitor's offset
			}
			if _, err := watts(); err != nil && !errors.Is(err, fs.ErrPermission) {
				continue
			}
			out = append(out, jetsonRail(key, label, watts))
		}
	}
	return out
}

// jetsonIIO reads the older driver: rail_name_N and in_powerN_input in mW.
func jetsonIIO(fsys fs.FS) []rail {
	var out []rail
	const drivers = "bus/i2c/drivers/ina3221x"
	chips, _ := fs.ReadDir(fsys, drivers)
	for _, c := range chips[:min(len(chips), 64)] {
		units, _ := fs.ReadDir(fsys, path.Join(drivers, c.Name()))
		for _, u := range units[:min(len(units), 64)] {
			if !strings.HasPrefix(u.Name(), "iio:device") && !strings.HasPrefix(u.Name(), "iio_device") {
				continue
			}
			dir := path.Join(drivers, c.Name(), u.Name())
			for n := range 3 {
				label, err := readAttribute(fsys, path.Join(dir, "rail_name_"+strconv.Itoa(n)))
				if err != nil || label == "" || label == "NC" {
					continue
				}
				file := path.Join(dir, fmt.Sprintf("in_power%d_input", n))
				out = append(out, jetsonRail(c.Name(), label, func() (float64, error) {
					mw, err := readCount(fsys, file)
					return float64(mw) / 1000, err
				}))
			}
		}
	}
	return out
}

// readSigned reads a file that holds one signed decimal number.
func readSigned(fsys fs.FS, name string) (int64, error) {
	s, err := readAttribute(fsys, name)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("measure: %.40q is not a signed 64-bit number: %w", s, errGarbage)
	}
	return v, nil
}
