package measure

import (
	"context"
	"math"
	"os"
	"testing"
	"time"
)

// seedExternal adds the recorded answers to a fuzz target.
func seedExternal(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		b, err := os.ReadFile("../testdata/energy/external/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}

// feedTwice polls a meter twice with the same figures: unchanged counters give nothing, powers no more than their bound.
func feedTwice(t *testing.T, probes []probe) {
	t.Helper()
	now := time.Duration(0)
	m := newExternal(externalSpec{name: "fuzz", most: 100_000, every: time.Second}, ExternalOptions{Now: func() time.Duration { return now }},
		func(context.Context) ([]probe, error) { return probes, nil })
	for range 2 {
		_ = m.Poll(context.Background())
		now += time.Second
	}
	r, _ := m.Read()
	if len(r.Domains) > len(probes) {
		t.Fatalf("%d domains of %d figures", len(r.Domains), len(probes))
	}
	for i, d := range r.Domains {
		if probes[i].counter && d.Energy != 0 || d.Energy > 100_000*MicroPerUnit {
			t.Fatalf("%d µJ of %+v", d.Energy, probes[i])
		}
	}
}

func FuzzPrometheus(f *testing.F) {
	seedExternal(f, "dcgm.prom", "dcgm_mig.prom", "kepler.prom", "plug.prom")
	f.Add([]byte("DCGM_FI_DEV_POWER_USAGE{UUID=\"a\\\"\\n\"} +Inf -5\nkepler_node_dram_joules_total 1e999"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		for _, only := range []string{"", "home_plug_power_watts"} {
			if p, err := parsePrometheus(b, only); err == nil {
				feedTwice(t, p)
			}
		}
	})
}

func FuzzPlist(f *testing.F) {
	seedExternal(f, "powermetrics_m1.plist", "powermetrics_intel.plist")
	f.Add([]byte("<plist><dict><key>elapsed_ns</key><integer>1</integer><key>processor</key><dict><key>cpu_power</key><real>1e308</real></dict></dict></plist>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		v, err := parsePlist(b)
		for k, x := range v {
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%q = %v, %v", k, x, err)
			}
		}
		m := newPowermetrics(nil, SensorOptions{Now: func() time.Duration { return 2 * time.Hour }})
		_ = m.feed(b, 2*time.Hour)
		r, _ := m.Read()
		for _, d := range r.Domains {
			if d.Energy.Joules() > powermetricsMost*3600 {
				t.Fatalf("%v J in an hour at most", d.Energy.Joules())
			}
		}
	})
}

// FuzzAnswers reads the bodies of management controllers: Redfish's JSON and the text of DCMI.
func FuzzAnswers(f *testing.F) {
	seedExternal(f, "redfish_chassis.json", "redfish_environment.json", "redfish_power.json", "redfish_null.json", "redfish_unit.json",
		"ipmi_dcmi.txt", "ipmi_freeipmi.txt", "ipmi_deactivated.txt")
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		if p, err := parseRedfish(b); err == nil {
			if !(p.value > 0) {
				t.Fatalf("%+v", p)
			}
			feedTwice(t, []probe{p})
		}
		if list, err := parseMembers(b); err == nil && (len(list) == 0 || len(list) > maxChassis) {
			t.Fatalf("%q", list)
		}
		if w, err := ParseDCMI(b); err == nil && !(w > 0 && w < 1<<32) {
			t.Fatalf("%v W", w)
		}
	})
}
