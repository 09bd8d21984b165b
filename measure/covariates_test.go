package measure

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestReadCovariates(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	root := fstest.MapFS{
		"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq":             file("2400000"),
		"sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq":             file("2600000"),
		"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": file("3"),
		"sys/class/hwmon/hwmon0/name":                                      file("nvme"),
		"sys/class/hwmon/hwmon0/temp1_input":                               file("90000"),
		"sys/class/hwmon/hwmon1/name":                                      file("coretemp"),
		"sys/class/hwmon/hwmon1/temp1_input":                               file("61000"),
		"sys/class/hwmon/hwmon1/temp2_input":                               file("64500"),
		"sys/class/hwmon/hwmon1/temp3_input":                               file("-2147483648"),
	}
	c := ReadCovariates(root)
	if c.MHz == nil || *c.MHz != 2500 || c.Celsius == nil || *c.Celsius != 64.5 || c.Throttles == nil || *c.Throttles != 3 {
		t.Errorf("%+v", c)
	}
	c = ReadCovariates(fstest.MapFS{"proc/cpuinfo": file("processor : 0\ncpu MHz\t\t: 2596.000\ncpu MHz : 0\ncpu MHz : x"),
		"sys/class/thermal/thermal_zone0/type": file("x86_pkg_temp"), "sys/class/thermal/thermal_zone0/temp": file("45000")})
	if c.MHz == nil || *c.MHz != 2596 || c.Celsius == nil || *c.Celsius != 45 || c.Throttles != nil {
		t.Errorf("%+v", c)
	}
	if c := ReadCovariates(fstest.MapFS{}); c != (Covariates{}) {
		t.Errorf("nothing to read: %+v", c)
	}
}

// TestCovariateWarnings: a variant that is only measured on a hotter, slower machine says so.
func TestCovariateWarnings(t *testing.T) {
	b := &bench{watts: 20}
	rng := rand.New(rand.NewPCG(1, 2))
	slow := false
	mark := func(tr Trial, s bool) Trial {
		run := tr.Run
		tr.Run = func(ctx context.Context, i int) error { slow = s; return run(ctx, i) }
		return tr
	}
	p := b.protocol()
	p.MinPairs, p.MaxPairs = 4, 4
	events := uint64(0)
	p.Covariates = func() Covariates {
		mhz, c := 3000.0, 50.0
		if slow {
			mhz, c = 2700, 58
			events++
		}
		n := events
		return Covariates{MHz: &mhz, Celsius: &c, Throttles: &n}
	}
	c, err := Compare(context.Background(), mark(b.trial("baseline", 10*time.Millisecond, 1, 0.01, rng), false),
		[]Trial{mark(b.trial("v", 10*time.Millisecond, 1, 0.01, rng), true)}, p)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(c.Warnings, "\n")
	for _, want := range []string{"ran at 2700 MHz", "58 °C", "throttled for heat"} {
		if !strings.Contains(all, want) {
			t.Errorf("no warning of %q in %q", want, all)
		}
	}
	if c.Blocks[0].Covariates == nil {
		t.Error("blocks without covariates")
	}
}
