package measure_test

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// play reads m for ten steps of 100 ms and returns the last reading.
func play(t *testing.T, m measure.Meter, c *clock) measure.Reading {
	t.Helper()
	r, err := m.Read()
	for i := 0; err == nil && i < 10; i++ {
		c.t += 100 * time.Millisecond
		r, err = m.Read()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// headline lists the counted domains by name with their joules, and the sum.
func headline(r measure.Reading) (string, float64) {
	var names []string
	sum := 0.0
	for _, d := range r.Domains {
		if d.Domain.Headline {
			names = append(names, d.Domain.Name)
			sum += float64(d.Energy.Joules())
		}
	}
	return strings.Join(names, ", "), sum
}

// TestSensorTrees plays one second of every tree. Power times one second is the joules wanted; what lies inside another rail
// must not be counted.
func TestSensorTrees(t *testing.T) {
	hwmon := func(o measure.SensorOptions, sys fstest.MapFS) (measure.Meter, error) {
		return measure.NewHwmon(sys, o)
	}
	jetson := func(o measure.SensorOptions, sys fstest.MapFS) (measure.Meter, error) {
		return measure.NewJetson(sys, o)
	}
	battery := func(o measure.SensorOptions, sys fstest.MapFS) (measure.Meter, error) {
		return measure.NewBattery(sys, o)
	}
	for _, c := range []struct {
		tree    string
		open    func(measure.SensorOptions, fstest.MapFS) (measure.Meter, error)
		counted string
		joules  float64
		domains int
	}{
		{"hwmon_grace", hwmon, "power_meter Grace Power Socket 0, power_meter Grace Power Socket 1", 62 + 58, 5},
		{"hwmon_gpus", hwmon, "amdgpu PPT, xe card", 120, 5}, // the xe counter stands still here: 0 J
		{"jetson_orin_nx", jetson, "VDD_IN", 7.56, 3},
		{"jetson_agx_orin", jetson, "VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0", 6 + 4 + 5, 4},
		{"jetson_xavier_iio", jetson, "VDD_IN", 4.2, 3},
		{"battery_signed", battery, "battery", 15, 1},
	} {
		clk := &clock{}
		m, err := c.open(measure.SensorOptions{Now: clk.now}, tree(t, c.tree))
		if err != nil {
			t.Errorf("%s: %v", c.tree, err)
			continue
		}
		r := play(t, m, clk)
		names, sum := headline(r)
		if names != c.counted || math.Abs(sum-c.joules) > 1e-4 || len(r.Domains) != c.domains { // ten steps of whole µJ per rail
			t.Errorf("%s: %d domains, %s = %v J, want %d, %s = %v J", c.tree, len(r.Domains), names, sum, c.domains, c.counted, c.joules)
		}
	}
}

// TestSensorsThatLie: a rail whose unit is off by 1000, one that vanishes and comes back, a battery that states milliwatts.
func TestSensorsThatLie(t *testing.T) {
	sys, c := tree(t, "jetson_orin_nx"), &clock{}
	m, err := measure.NewJetson(sys, measure.SensorOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	play(t, m, c)
	sys["class/hwmon/hwmon0/in1_input"] = &fstest.MapFile{Data: []byte("5040000\n")} // µV, or another unit
	c.t += 100 * time.Millisecond
	r, _ := m.Read()
	if d := r.Domains[0]; d.Status != measure.StatusPartial || d.Errors[0] != "garbage" || joules(r, "VDD_IN") > 7.5601 {
		t.Errorf("7.5 kW were believed: %+v", d)
	}
	delete(sys, "class/hwmon/hwmon0/in1_input")
	c.t += 100 * time.Millisecond
	if r, _ = m.Read(); r.Domains[0].Errors[1] != "ENOENT" {
		t.Errorf("%+v", r.Domains[0])
	}
	sys["class/hwmon/hwmon0/in1_input"] = &fstest.MapFile{Data: []byte("5040\n")}
	c.t += 10 * time.Second
	play(t, m, c)
	r = play(t, m, c) // 2 s more that were watched, 10 s that were not
	if j := joules(r, "VDD_IN"); math.Abs(j-3*7.56) > 1e-3 || r.Domains[0].Status != measure.StatusPartial {
		t.Errorf("%v J, want 3 s of 7.56 W and a gap: %+v", j, r.Domains[0].Gaps)
	}
	bat := tree(t, "battery")
	bat["class/power_supply/BAT0/power_now"] = &fstest.MapFile{Data: []byte("12340\n")} // mW
	delete(bat, "class/power_supply/BAT1/status")
	delete(bat, "class/power_supply/BAT1/type")
	b, err := measure.NewBattery(bat, measure.SensorOptions{Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Read(); err == nil || !strings.Contains(err.Error(), "garbage") {
		t.Errorf("a machine of 12 mW was believed: %v", err)
	}
}

// boards is a fake of NVIDIA's library with several devices.
type boards struct{ list []*board }

func (b boards) Count() (int, error)                 { return len(b.list), nil }
func (b boards) Name(i int) (string, error)          { return b.list[i].Name(0) }
func (b boards) UUID(i int) (string, error)          { return "GPU-" + string(rune('a'+i)), nil }
func (b boards) TotalEnergy(i int) (uint64, error)   { return b.list[i].TotalEnergy(0) }
func (b boards) Power(i int) (uint32, error)         { return b.list[i].Power(0) }
func (b boards) EnforcedLimit(i int) (uint32, error) { return b.list[i].EnforcedLimit(0) }
func (b boards) MIG(i int) (bool, error)             { return b.list[i].MIG(0) }
func (b boards) Utilization(i int) (uint32, error)   { return b.list[i].Utilization(0) }
func (b boards) Close() error                        { return nil }

// TestNVIDIABoards: three boards, one with a counter of 20 ms, one of 100 ms, one with neither counter nor power sensor. Each has
// its own period; the third is modelled and never added to what was measured.
func TestNVIDIABoards(t *testing.T) {
	c := &clock{}
	fast, slow, none := &board{}, &board{}, &board{energy: errNotSupported, power: errNotSupported, use: 50}
	m, err := measure.NewNVIDIA(boards{[]*board{fast, slow, none}}, measure.NVIDIAOptions{Now: c.now, Infer: time.Second, Wait: func(d time.Duration) {
		c.t += d
		fast.mj = uint64(c.t/(20*time.Millisecond)) * 1000 // 50 W
		slow.mj = uint64(c.t/(100*time.Millisecond)) * 4000
	}})
	if err != nil {
		t.Fatal(err)
	}
	first, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond} {
		if p := first.Domains[i].Source.Period; p != want {
			t.Errorf("board %d: period %v, want %v", i, p, want)
		}
	}
	if m.Period() != 100*time.Millisecond {
		t.Errorf("period of all %v", m.Period())
	}
	for range 10 {
		c.t += 100 * time.Millisecond
		fast.mj += 5000
		slow.mj += 4000
		if _, err = m.Read(); err != nil {
			t.Fatal(err)
		}
	}
	second, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	w, err := measure.Between(first, second)
	if err != nil {
		t.Fatal(err)
	}
	if sum, ok := w.Headline(measure.Measured); !ok || sum != 90e6 {
		t.Errorf("%d µJ measured, want 90 J", sum)
	}
	// L4: 72 W limit; idle from the table or a tenth of its TDP; half way between at 50 %.
	row, _ := measure.LookupGPU("NVIDIA L4")
	idle := row.Idle
	if idle == 0 {
		idle = row.TDP / 10
	}
	want := float64(idle) + (72-float64(idle))/2
	if sum, ok := w.Headline(measure.Modelled); !ok || math.Abs(float64(sum.Joules())-want) > 1e-3 || w.Kind() != measure.Mixed {
		t.Errorf("%v J modelled, want %v", sum.Joules(), want)
	}
	if d := second.Domains[2].Source; d.UAbs != 0.4 || d.Kind != measure.Modelled || !strings.Contains(d.Note, "no power sensor") {
		t.Errorf("%+v", d)
	}
	fast.energy = errors.New("GPU is lost") // falls off the bus: the others go on
	c.t += time.Second
	slow.mj += 40000
	r, err := m.Read()
	if err != nil || r.Domains[0].Status != measure.StatusPartial || r.Domains[1].Status != measure.StatusOK {
		t.Errorf("%v: %+v", err, r.Domains)
	}
}

// TestNVIDIANames: the prefix MIG- is a prefix, not a set of characters: stripping the letters M, I, G would find GPU-a for MIG-GPU-a, and
// lose the G of GPU.
func TestNVIDIANames(t *testing.T) {
	lib := boards{[]*board{{}, {}}} // GPU-a, GPU-b
	for name, want := range map[string]string{"GPU-b": "nvml/GPU-b", "MIG-GPU-b/1/0": "nvml/GPU-b", "1": "nvml/GPU-b", "GPU-": "", "MIG-41dafbfe": "", "PU-b": "", "GPU-c": "", "7": ""} {
		root := fstest.MapFS{"sys/x": {}}
		m, err := measure.Open(root, "nvml:"+name, measure.OpenOptions{Infer: -1, NVML: func() (measure.NVML, error) { return lib, nil }})
		if want == "" {
			if err == nil {
				t.Errorf("%s was found", name)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if r, err := m.Read(); err != nil || len(r.Domains) != 1 || r.Domains[0].Domain.Zone != want {
			t.Errorf("%s: %+v, %v", name, r.Domains, err)
		}
	}
}

// still is a meter of fixed domains.
type still []measure.DomainReading

func (s still) Read() (measure.Reading, error) {
	return measure.Reading{Domains: append([]measure.DomainReading{}, s...)}, nil
}

// TestJoinCountsOnce: whatever is joined, no joule is in the headline twice.
func TestJoinCountsOnce(t *testing.T) {
	d := func(scope measure.Scope, zone string) measure.DomainReading {
		return measure.DomainReading{Domain: measure.Domain{Scope: scope, Name: zone, Zone: zone, Headline: true},
			Source: measure.Source{Kind: measure.Measured}, Energy: 1e6, Status: measure.StatusOK}
	}
	perf := still{d(measure.ScopePackage, "cpu0/energy-pkg"), d(measure.ScopeDRAM, "cpu0/energy-ram")}
	pcap := still{d(measure.ScopePackage, "intel-rapl:0"), d(measure.ScopeDRAM, "intel-rapl:0:0")}
	nvml, amd := still{d(measure.ScopeGPU, "nvml/a")}, still{d(measure.ScopeGPU, "hwmon/amdgpu")}
	wall := still{d(measure.ScopePlatform, "ipmi")}
	for want, meters := range map[string][]measure.Meter{
		"cpu0/energy-pkg, cpu0/energy-ram":                   {perf, pcap},
		"intel-rapl:0, intel-rapl:0:0, nvml/a, hwmon/amdgpu": {pcap, nvml, amd, wall},
		"ipmi": {wall, perf, nvml},
		"nvml/a, cpu0/energy-pkg, cpu0/energy-ram, hwmon/amdgpu": {nvml, perf, amd, pcap},
	} {
		r, err := measure.Join(meters...).Read()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := headline(r); got != want {
			t.Errorf("counted %s, want %s", got, want)
		}
	}
}

// TestZoneDenied keeps the names of system errors apart.
func TestZoneDenied(t *testing.T) {
	sys := fstest.MapFS{"class/hwmon/hwmon0/name": {Data: []byte("amdgpu\n")}, "class/hwmon/hwmon0/power1_average": {Data: []byte("1000000\n")}}
	m, err := measure.NewHwmon(sys, measure.SensorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(sys, "class/hwmon/hwmon0/power1_average")
	if _, err := m.Read(); err == nil || !errors.Is(err, syscall.ENOENT) && !strings.Contains(err.Error(), "not exist") {
		t.Errorf("a device that is gone: %v", err)
	}
}
