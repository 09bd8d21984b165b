package metertest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/metertest"
)

// clock is set by hand and moves by half a second.
type clock struct{ t time.Duration }

func (c *clock) now() time.Duration { return c.t }
func (c *clock) advance()           { c.t += 500 * time.Millisecond }

// TestContractOfOurMeters holds every meter that this package can make without hardware to the contract.
func TestContractOfOurMeters(t *testing.T) {
	c := &clock{}
	o := measure.SensorOptions{Now: c.now}
	text := func(name string) []byte {
		b, err := os.ReadFile("../../testdata/energy/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	sys := func(name string) (m measure.Meter, err error) {
		fsys, err := metertest.Tree(string(text("trees/" + name + ".tree")))
		if err != nil {
			return nil, err
		}
		switch {
		case strings.HasPrefix(name, "hwmon"):
			return measure.NewHwmon(fsys, o)
		case strings.HasPrefix(name, "jetson"):
			return measure.NewJetson(fsys, o)
		case strings.HasPrefix(name, "battery"):
			return measure.NewBattery(fsys, o)
		}
		return measure.NewPowercap(fsys, measure.PowercapOptions{Now: c.now})
	}
	external := func(poll func(context.Context) error, m measure.Meter) (measure.Meter, error) {
		return polled{m, poll}, poll(context.Background())
	}
	meters := map[string]func() (measure.Meter, error){
		"ipmi": func() (measure.Meter, error) {
			m := measure.NewIPMI(func(context.Context) ([]byte, error) { return text("external/ipmi_dcmi.txt"), nil }, measure.ExternalOptions{Now: c.now})
			return external(m.Poll, m)
		},
		"powermetrics": func() (measure.Meter, error) {
			m := measure.NewPowermetrics(bytes.NewReader(text("external/powermetrics_m1.plist")), nil, o)
			return m, m.Close()
		},
		"model": func() (measure.Meter, error) {
			pm, err := measure.ModelOf(measure.HostFacts{CPU: "Mystery 1", Cores: 4, Threads: 8, MemoryBytes: 8 << 30})
			return measure.NewModel(pm, measure.ModelOptions{Now: c.now, CPUTime: func() (time.Duration, error) { return c.t, nil }}), err
		},
		"joined": func() (measure.Meter, error) {
			a, err := sys("powercap_intel_client")
			b, err2 := sys("battery")
			g, err3 := sys("hwmon_gpus")
			return measure.Join(a, b, g), errors.Join(err, err2, err3)
		},
		"shared": func() (measure.Meter, error) {
			m, err := sys("jetson_orin_nx")
			if err != nil {
				return nil, err
			}
			return measure.ShareHost(m, t.TempDir())
		},
	}
	for _, name := range []string{"powercap_intel_2s", "powercap_intel_client", "powercap_amd", "powercap_mmio_dup", "powercap_hex_zone", "powercap_no_range",
		"powercap_dies", "powercap_disabled", "hwmon", "hwmon_grace", "hwmon_gpus", "jetson_orin_nx", "jetson_agx_orin", "jetson_xavier_iio", "battery", "battery_signed"} {
		meters[name] = func() (measure.Meter, error) { return sys(name) }
	}
	for name, open := range meters {
		t.Run(name, func(t *testing.T) {
			m, err := open()
			if err != nil {
				t.Fatal(err)
			}
			metertest.Conform(t, m, c.advance)
			if cl, ok := m.(*measure.HostMeter); ok {
				if err := cl.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// polled polls an external meter before each reading.
type polled struct {
	measure.Meter
	poll func(context.Context) error
}

func (p polled) Read() (measure.Reading, error) {
	if err := p.poll(context.Background()); err != nil {
		return measure.Reading{}, err
	}
	return p.Meter.Read()
}

// TestContractOnThisMachine holds the meter that would be used here to the contract, on real time.
func TestContractOnThisMachine(t *testing.T) {
	m, err := measure.Open(os.DirFS("/"), "auto", measure.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	metertest.Conform(t, m, func() { time.Sleep(5 * time.Millisecond) })
}

// TestContractRejects makes sure that each promise can be broken.
func TestContractRejects(t *testing.T) {
	good := func(at time.Duration, uj measure.Microjoules) measure.Reading {
		return measure.Reading{At: at, Domains: []measure.DomainReading{{Domain: measure.Domain{Scope: measure.ScopePackage, Name: "p", Zone: "z", Headline: true},
			Source: measure.Source{Name: "s", Kind: measure.Measured, UAbs: 0.05}, Energy: uj, Status: measure.StatusOK}}}
	}
	if bad := metertest.Contract([]measure.Reading{good(0, 1), good(1, 5), good(2, 5)}); len(bad) > 0 {
		t.Fatalf("%q", bad)
	}
	for want, spoil := range map[string]func(r *measure.Reading){
		"time runs back":        func(r *measure.Reading) { r.At = -1 },
		"energy falls":          func(r *measure.Reading) { r.Domains[0].Energy = 0 },
		"zones":                 func(r *measure.Reading) { r.Domains[0].Domain.Zone = "other" },
		"source":                func(r *measure.Reading) { r.Domains[0].Source.Kind = "guess" },
		"domain":                func(r *measure.Reading) { r.Domains[0].Domain.Scope = "" },
		"uncertainties":         func(r *measure.Reading) { r.Domains[0].Source.UAbs = -1 },
		"modelled without":      func(r *measure.Reading) { r.Domains[0].Source.Kind = measure.Modelled },
		"gap":                   func(r *measure.Reading) { r.Domains[0].Gaps = []measure.Gap{{From: 0, To: 9, Reason: "reset"}} },
		"status":                func(r *measure.Reading) { r.Domains[0].Status = measure.StatusPartial },
		"lies inside a package": func(r *measure.Reading) { r.Domains[0].Domain.Scope = measure.ScopeCore },
		"both in the headline": func(r *measure.Reading) {
			d := r.Domains[0]
			d.Domain.Zone, d.Domain.Scope = "psys", measure.ScopePlatform
			r.Domains = append(r.Domains, d)
		},
	} {
		rs := []measure.Reading{good(0, 1), good(1, 5)}
		spoil(&rs[1])
		if bad := strings.Join(metertest.Contract(rs), "; "); !strings.Contains(bad, want) {
			t.Errorf("%s: %q", want, bad)
		}
	}
}
