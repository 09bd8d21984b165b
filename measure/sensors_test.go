package measure_test

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/metertest"
)

func tree(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	b, err := os.ReadFile("../testdata/energy/trees/" + name + ".tree")
	if err != nil {
		t.Fatal(err)
	}
	m, err := metertest.Tree(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// clock is set by hand.
type clock struct{ t time.Duration }

func (c *clock) now() time.Duration { return c.t }

func joules(r measure.Reading, name string) float64 {
	for _, d := range r.Domains {
		if strings.HasPrefix(d.Domain.Name, name) {
			return float64(d.Energy.Joules())
		}
	}
	return math.NaN()
}

// TestHwmon: 214 W and 35 W sensors integrate to their power, the i915 counter counts, its garbage power is not read.
func TestHwmon(t *testing.T) {
	sys, c := tree(t, "hwmon"), &clock{}
	m, err := measure.NewHwmon(sys, measure.SensorOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	read := func() measure.Reading {
		t.Helper()
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	read()
	for range 10 {
		c.t += 100 * time.Millisecond
		read()
	}
	sys["class/hwmon/hwmon2/energy1_input"] = &fstest.MapFile{Data: []byte("1244567890\n")}
	r := read()
	for name, want := range map[string]float64{"power_meter": 214, "amdgpu": 35, "i915": 10} {
		if got := joules(r, name); math.Abs(got-want) > 1e-5 { // ten steps of whole µJ
			t.Errorf("%s: %v J, want %v", name, got, want)
		}
	}
	c.t += 5 * time.Second // nobody looked for 5 s
	r = read()
	for _, d := range r.Domains {
		if d.Domain.Name == "amdgpu" && (d.Status != measure.StatusPartial || joules(r, "amdgpu") > 35.001) {
			t.Errorf("unwatched power was integrated: %+v", d)
		}
	}
	sys["class/hwmon/hwmon1/power1_average"] = &fstest.MapFile{Data: []byte("4294967295000\n")}
	c.t += 100 * time.Millisecond
	if r = read(); joules(r, "amdgpu") > 35.001 {
		t.Errorf("garbage was integrated: %v J", joules(r, "amdgpu"))
	}
}

// TestBattery: 12.34 W + 0.8 A × 11.5 V, only while both discharge.
func TestBattery(t *testing.T) {
	sys, c := tree(t, "battery"), &clock{}
	m, err := measure.NewBattery(sys, measure.SensorOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Read(); err != nil {
		t.Fatal(err)
	}
	c.t += 10 * time.Second
	r, err := m.Read()
	if err != nil || math.Abs(joules(r, "battery")-215.4) > 1e-5 {
		t.Errorf("%v J, %v", joules(r, "battery"), err)
	}
	sys["class/power_supply/BAT1/status"] = &fstest.MapFile{Data: []byte("Charging\n")}
	c.t += 10 * time.Second
	r, err = m.Read()
	if err == nil || math.Abs(joules(r, "battery")-215.4) > 1e-5 || r.Domains[0].Status == measure.StatusOK {
		t.Errorf("on mains: %+v, %v", r, err)
	}
}

// board is a fake of NVIDIA's library with one device.
type board struct {
	mj       uint64
	mw       uint32
	energy   error
	power    error
	mig      bool
	closed   bool
	noDevice bool
	use      uint32
}

func (b *board) Count() (int, error) {
	if b.noDevice {
		return 0, nil
	}
	return 1, nil
}
func (b *board) Name(int) (string, error)          { return "NVIDIA L4", nil }
func (b *board) UUID(int) (string, error)          { return "GPU-1", nil }
func (b *board) TotalEnergy(int) (uint64, error)   { return b.mj, b.energy }
func (b *board) Power(int) (uint32, error)         { return b.mw, b.power }
func (b *board) EnforcedLimit(int) (uint32, error) { return 72_000, nil }
func (b *board) MIG(int) (bool, error)             { return b.mig, nil }
func (b *board) Utilization(int) (uint32, error)   { return b.use, nil }
func (b *board) Close() error                      { b.closed = true; return nil }

var errNotSupported = errors.New("not supported")

func TestNVIDIACounter(t *testing.T) {
	b, c := &board{mj: 5_000_000, mig: true}, &clock{}
	m, err := measure.NewNVIDIA(b, measure.NVIDIAOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	step := func(mj uint64) measure.DomainReading {
		b.mj = mj
		r, err := m.Read()
		if err != nil && b.energy == nil {
			t.Fatal(err)
		}
		c.t += 10 * time.Second
		return r.Domains[0]
	}
	step(5_000_000)
	if d := step(5_600_000); d.Energy != 600e6 || d.Status != measure.StatusOK || !strings.Contains(d.Source.Note, "MIG") {
		t.Errorf("600 J: %+v", d)
	}
	if d := step(100); d.Energy != 600e6 || d.Status != measure.StatusPartial || d.Gaps[0].Reason != measure.GapReset {
		t.Errorf("driver reload: %+v", d)
	}
	if d := step(700_100); d.Energy != 1300e6 {
		t.Errorf("after the reload: %+v", d)
	}
	if d := step(900_000_000); d.Energy != 1300e6 || d.Gaps[1].Reason != measure.GapImplausible {
		t.Errorf("90 kW: %+v", d) // the usual cause: microjoules taken for millijoules
	}
	if d := step(900_000_000); d.Gaps[len(d.Gaps)-1].Reason != measure.GapStuck {
		t.Errorf("stale value: %+v", d)
	}
	b.energy = errors.New("GPU is lost")
	step(0)
	if d := step(0); d.Energy != 1300e6 || d.Errors[0] != "GPU is lost" || d.Status != measure.StatusPartial {
		t.Errorf("lost board: %+v", d)
	}
	if err := m.Close(); err != nil || !b.closed {
		t.Error("not closed", err)
	}
}

func TestNVIDIAPowerSensor(t *testing.T) {
	b, c := &board{energy: errNotSupported, mw: 30_000}, &clock{}
	m, err := measure.NewNVIDIA(b, measure.NVIDIAOptions{Now: c.now})
	if err != nil || m.GuardPeriod() != 100*time.Millisecond {
		t.Fatal(m.GuardPeriod(), err)
	}
	var r measure.Reading
	for range 11 {
		if r, err = m.Read(); err != nil {
			t.Fatal(err)
		}
		c.t += 100 * time.Millisecond
	}
	if j := joules(r, "NVIDIA"); math.Abs(j-30) > 1e-5 {
		t.Errorf("30 W for 1 s: %v J", j)
	}
	if _, err := measure.NewNVIDIA(&board{noDevice: true}, measure.NVIDIAOptions{}); !errors.Is(err, measure.ErrNoCounter) {
		t.Error(err)
	}
	if _, err := measure.NewNVIDIA(b, measure.NVIDIAOptions{Devices: []int{3}}); err == nil {
		t.Error("a device that does not exist")
	}
}

// TestInferPeriod: the period is that of the counter (25 ms) or, where power is integrated, of the sensor (100 ms), never that of the reads;
// and windows are 5 s at least.
func TestInferPeriod(t *testing.T) {
	for name, want := range map[string]time.Duration{"counter": 25 * time.Millisecond, "power": 100 * time.Millisecond} {
		b, c := &board{mw: 100_000}, &clock{}
		if name == "power" {
			b.energy = errNotSupported
		}
		m, err := measure.NewNVIDIA(b, measure.NVIDIAOptions{Now: c.now, Infer: 1200 * time.Millisecond, Wait: func(d time.Duration) {
			c.t += d
			b.mj = uint64(c.t/(25*time.Millisecond)) * 1000
			b.mw = 100_000 + 1000*uint32(c.t/(100*time.Millisecond)%7)
		}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		if s := r.Domains[0].Source; s.Period != want || !strings.Contains(s.Note, "update period inferred: "+want.String()) {
			t.Errorf("%s: period %v, note %q, want %v", name, s.Period, s.Note, want)
		}
		if m.Period() != 100*time.Millisecond {
			t.Errorf("%s: windows of 50 times %v", name, m.Period())
		}
	}
}

func TestSourcesWithSensors(t *testing.T) {
	root := fstest.MapFS{"proc/driver/nvidia/version": {Data: []byte("NVRM version: 570\n")}}
	for _, name := range []string{"hwmon", "battery", "powercap_intel_client", "perf_power"} {
		for file, f := range tree(t, name) {
			root["sys/"+file] = f
		}
	}
	deny := func(uint32, uint64, int) (measure.PerfCounter, error) { return nil, fs.ErrPermission }
	got := map[string]measure.SourceStatus{}
	for _, s := range measure.Sources(root, measure.OpenOptions{Perf: deny, NVML: func() (measure.NVML, error) { return &board{mj: 1}, nil }}) {
		got[s.Name] = s
	}
	for name, readable := range map[string]bool{"perf": false, "powercap": true, "nvml": true, "hwmon": true, "battery": true, "model": true} {
		if s := got[name]; !s.Present || s.Readable != readable || s.Why == "" || !readable && s.Fix == "" {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func FuzzSensors(f *testing.F) {
	f.Add("amdgpu", "35000000", "Discharging", "12340000")
	f.Add("power_meter", "-1", "Charging", "1e9")
	f.Add("VDD_IN", "18446744073709551615", "Esocket0", "4294967295000")
	f.Fuzz(func(t *testing.T, name, power, status, current string) {
		if len(name)+len(power)+len(status)+len(current) > 64<<10 {
			return
		}
		file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
		sys := fstest.MapFS{"class/hwmon/hwmon0/name": file(name), "class/hwmon/hwmon0/power1_input": file(power),
			"class/power_supply/BAT0/type": file("Battery"), "class/power_supply/BAT0/status": file(status),
			"class/power_supply/BAT0/current_now": file(current), "class/power_supply/BAT0/voltage_now": file(power),
			"class/hwmon/hwmon1/name": file("ina3221"), "class/hwmon/hwmon1/in1_label": file("VDD_IN"),
			"class/hwmon/hwmon1/in1_input": file(power), "class/hwmon/hwmon1/curr1_input": file(current),
			"class/hwmon/hwmon2/name": file("i915"), "class/hwmon/hwmon2/energy1_input": file(power), "class/hwmon/hwmon3/name": file("xe"),
			"class/hwmon/hwmon3/energy1_input": file(current), "class/hwmon/hwmon3/energy1_label": file(name), "class/hwmon/hwmon4/name": file("amd_energy"),
			"class/hwmon/hwmon4/energy1_input": file(power), "class/hwmon/hwmon4/energy1_label": file(status), "class/hwmon/hwmon0/energy1_input": file(current),
			"bus/i2c/drivers/ina3221x/7-0040/iio:device0/rail_name_0": file(name), "bus/i2c/drivers/ina3221x/7-0040/iio:device0/in_power0_input": file(power)}
		c := &clock{}
		var meters []measure.Meter
		if m, err := measure.NewHwmon(sys, measure.SensorOptions{Now: c.now}); err == nil {
			meters = append(meters, m)
		}
		if m, err := measure.NewBattery(sys, measure.SensorOptions{Now: c.now}); err == nil {
			meters = append(meters, m)
		}
		if m, err := measure.NewJetson(sys, measure.SensorOptions{Now: c.now}); err == nil {
			meters = append(meters, m)
		}
		for _, m := range meters {
			for range 3 {
				r, _ := m.Read()
				for _, d := range r.Domains {
					if j := d.Energy.Joules().Over(c.t + 1); d.Energy > 0 && j > 4001 {
						t.Fatalf("%v W from %q", j, power)
					}
				}
				c.t += time.Second
			}
		}
	})
}
