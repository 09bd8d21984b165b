package measure

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Covariates are what may disturb a measurement, at one moment. What the machine does not tell is absent.
type Covariates struct {
	MHz       *float64 `json:"mhz,omitempty"`       // mean clock of the CPUs
	Celsius   *float64 `json:"celsius,omitempty"`   // of the hottest CPU sensor
	Throttles *uint64  `json:"throttles,omitempty"` // thermal throttling events since boot; of a block: during it
}

// HostCovariates reads those of this machine.
func HostCovariates() Covariates { return ReadCovariates(os.DirFS("/")) }

// maxCPUs bounds how many CPUs are asked for their clock: the read must stay short.
const maxCPUs = 1024

// ReadCovariates reads cpufreq (else /proc/cpuinfo), the temperature sensors of known CPU drivers (else the thermal
// zones of CPUs) and the throttle counts below root, the root of the file system.
func ReadCovariates(root fs.FS) Covariates {
	var c Covariates
	var khz, n float64
	var throttles uint64
	counted := false
	for i := range maxCPUs {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d", i)
		if _, err := fs.Stat(root, dir); err != nil {
			break
		}
		if v, err := readCount(root, dir+"/cpufreq/scaling_cur_freq"); err == nil && v > 0 && v < 100e6 {
			khz += float64(v)
			n++
		}
		if v, err := readCount(root, dir+"/thermal_throttle/core_throttle_count"); err == nil {
			throttles += v
			counted = true
		}
	}
	switch mhz := khz / max(1, n) / 1000; {
	case n > 0:
		c.MHz = &mhz
	default:
		if b, err := readLimited(root, "proc/cpuinfo", 8<<20); err == nil {
			c.MHz = parseMHz(b)
		}
	}
	if counted {
		c.Throttles = &throttles
	}
	c.Celsius = cpuTemperature(root)
	return c
}

// parseMHz is the mean of the lines "cpu MHz : 2596.146" of /proc/cpuinfo, nil without a believable one.
func parseMHz(text []byte) *float64 {
	sum, n := 0.0, 0.0
	sc := bufio.NewScanner(bytes.NewReader(text))
	for sc.Scan() {
		key, val, _ := strings.Cut(sc.Text(), ":")
		if strings.TrimSpace(key) != "cpu MHz" {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(val), 64); err == nil && v > 0 && v < 100_000 {
			sum += v
			n++
		}
	}
	if n == 0 {
		return nil
	}
	mean := sum / n
	return &mean
}

// cpuSensors are the hwmon drivers and the thermal zone types that speak of CPUs.
var cpuSensors = map[string]bool{"coretemp": true, "k10temp": true, "zenpower": true, "cpu_thermal": true,
	"x86_pkg_temp": true, "cpu-thermal": true, "cpu-thermal0": true, "cpu0-thermal": true, "soc_thermal": true}

// cpuTemperature is the highest plausible reading of the CPUs' sensors in °C; nil where there is none.
func cpuTemperature(root fs.FS) *float64 {
	var most *float64
	read := func(file string) {
		s, err := readAttribute(root, file)
		if err != nil {
			return
		}
		milli, err := strconv.ParseInt(s, 10, 32)
		if t := float64(milli) / 1000; err == nil && t > -40 && t < 150 && t != 0 && (most == nil || t > *most) {
			most = &t
		}
	}
	for _, class := range []struct{ dir, name, values string }{
		{"sys/class/hwmon", "name", "temp*_input"}, {"sys/class/thermal", "type", "temp"}} {
		entries, _ := fs.ReadDir(root, class.dir)
		for _, e := range entries {
			dir := path.Join(class.dir, e.Name())
			if name, err := readAttribute(root, path.Join(dir, class.name)); err != nil || !cpuSensors[name] {
				continue
			}
			files, _ := fs.Glob(root, path.Join(dir, class.values))
			for i, f := range files {
				if i < 64 {
					read(f)
				}
			}
		}
		if most != nil {
			return most
		}
	}
	return nil
}

// during returns what a block saw: clock and temperature at its end, throttling events within it.
func (c Covariates) during(before Covariates) *Covariates {
	out := Covariates{MHz: c.MHz, Celsius: c.Celsius}
	if c.Throttles != nil && before.Throttles != nil && *c.Throttles >= *before.Throttles {
		n := *c.Throttles - *before.Throttles
		out.Throttles = &n
	}
	if out == (Covariates{}) {
		return nil
	}
	return &out
}

// arms are the means of a covariate over the blocks of a variant and over those of its baseline.
type arms struct{ own, base, first, last float64 }

// covariate gathers one covariate of a variant's rounds; ok is false where blocks lack it.
func (r *runner) covariate(v *arm, get func(*Covariates) *float64) (a arms, ok bool) {
	var sum, n [2]float64
	var all []float64
	for _, b := range r.blocks {
		if b.Variant != v.Name || b.Void != "" || b.Covariates == nil {
			continue
		}
		x := get(b.Covariates)
		if x == nil {
			continue
		}
		k := 0
		if b.Baseline {
			k = 1
		}
		sum[k] += *x
		n[k]++
		all = append(all, *x)
	}
	if n[0] == 0 || n[1] == 0 {
		return a, false
	}
	q := max(1, len(all)/4)
	a.own, a.base = sum[0]/n[0], sum[1]/n[1]
	a.first, _ = meanSD(all[:q])
	a.last, _ = meanSD(all[len(all)-q:])
	return a, true
}

// checkCovariates warns where clock, temperature or throttling may explain a difference.
func (r *runner) checkCovariates() {
	for _, v := range r.vars {
		if a, ok := r.covariate(v, func(c *Covariates) *float64 { return c.MHz }); ok {
			if d := a.own/a.base - 1; d > 0.03 || d < -0.03 {
				r.warn("variant %q: its blocks ran at %.0f MHz, those of the baseline at %.0f MHz", v.Name, a.own, a.base)
			}
			if d := a.last/a.first - 1; d > 0.05 || d < -0.05 {
				r.warn("variant %q: the clock went from %.0f to %.0f MHz over the run", v.Name, a.first, a.last)
			}
		}
		if a, ok := r.covariate(v, func(c *Covariates) *float64 { return c.Celsius }); ok {
			if d := a.own - a.base; d > 3 || d < -3 {
				r.warn("variant %q: its blocks ran at %.0f °C, those of the baseline at %.0f °C", v.Name, a.own, a.base)
			}
			if d := a.last - a.first; d > 10 || d < -10 {
				r.warn("variant %q: the CPU went from %.0f to %.0f °C over the run", v.Name, a.first, a.last)
			}
		}
	}
	throttled := 0
	for _, b := range r.blocks {
		if c := b.Covariates; c != nil && c.Throttles != nil && *c.Throttles > 0 {
			throttled++
		}
	}
	if throttled > 0 {
		r.warn("the CPU throttled for heat during %d of %d blocks", throttled, len(r.blocks))
	}
}
