package metertest_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/wattshed/wattshed/measure"
	"github.com/wattshed/wattshed/measure/metertest"
)

func ours(h metertest.Host) (measure.Meter, error) {
	o := measure.SensorOptions{Now: h.Now}
	switch h.Source {
	case "perf":
		return measure.NewPerf(h.Sys, measure.PerfOptions{Now: h.Now, Open: h.Open})
	case "powercap":
		return measure.NewPowercap(h.Sys, measure.PowercapOptions{Now: h.Now, PMax: h.PMax})
	case "hwmon":
		return measure.NewHwmon(h.Sys, o)
	case "battery":
		return measure.NewBattery(h.Sys, o)
	case "jetson":
		return measure.NewJetson(h.Sys, o)
	}
	return nil, fmt.Errorf("%w: %q", errors.ErrUnsupported, h.Source)
}

func TestOurMeters(t *testing.T) { metertest.Run(t, os.DirFS("../../testdata/energy"), ours) }

// TestDefaultsSuffice runs the cases again without being told P_max: the bounds derived from the constraint files
// and the defaults must give the same answers.
func TestDefaultsSuffice(t *testing.T) {
	metertest.Run(t, os.DirFS("../../testdata/energy"), func(h metertest.Host) (measure.Meter, error) {
		h.PMax = nil
		return ours(h)
	})
}

// sumAll is a reader with the usual defects: it adds every zone, trusts every fall to be a wrap.
type sumAll struct{ measure.Meter }

func (s sumAll) Read() (measure.Reading, error) {
	r, err := s.Meter.Read()
	for i := range r.Domains {
		r.Domains[i].Domain.Headline = true
		r.Domains[i].Gaps, r.Domains[i].Status = nil, measure.StatusOK
	}
	return r, err
}

// TestSuiteRejects makes sure that the suite can fail.
func TestSuiteRejects(t *testing.T) {
	cases, err := metertest.Load(os.DirFS("../../testdata/energy"))
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]int{}
	for _, c := range cases {
		by[c.Source]++
	}
	if want := map[string]int{"powercap": 20, "perf": 2, "hwmon": 7, "battery": 4, "jetson": 6}; !maps.Equal(by, want) {
		t.Errorf("cases %v, want %v", by, want)
	}
	rejected := map[string]bool{}
	for _, c := range cases {
		r, err := c.Play(func(h metertest.Host) (measure.Meter, error) {
			m, err := ours(h)
			return sumAll{m}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Check(r)) > 0 {
			rejected[c.Name] = true
		}
	}
	for _, name := range []string{"client_nesting", "mmio_duplicate", "counter_reset", "eacces", "stuck_counter", "perf_power", "dies", "amd_package", "hot_removed", "hot_replugged", "perf_amd_offline",
		"hwmon_boards", "hwmon_lost_board", "hwmon_wrong_unit", "hwmon_reset", "hwmon_stale", "hwmon_grace", "battery_plugged", "battery_wrong_unit", "battery_removed",
		"jetson_rails", "jetson_siblings", "jetson_wrong_unit", "jetson_denied", "jetson_lost"} {
		if !rejected[name] {
			t.Errorf("a reader that sums every zone and hides gaps passes %s", name)
		}
	}
}

func TestTreeRejects(t *testing.T) {
	for _, bad := range []string{"dir x y", "file 0444 ../x 1", "file 99 a 1", "link a"} {
		if _, err := metertest.Tree(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if _, err := metertest.Tree(strings.Repeat("# c\n", 3)); err != nil {
		t.Error(err)
	}
}

// TestEdgeRejects: a reader that does not say that an edge repeats an earlier value gives three seconds' joules to one, and neither the windows of the
// case nor the contract let it pass.
func TestEdgeRejects(t *testing.T) {
	cases, err := metertest.Load(os.DirFS("../../testdata/energy"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if c.Name != "edge_unreadable" {
			continue
		}
		rs, err := c.PlayAll(ours)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rs {
			for k := range rs[i].Domains {
				rs[i].Domains[k].Stale = false
			}
		}
		if bad := c.CheckWindows(rs); len(bad) != 2 {
			t.Errorf("windows: %q, want those from 10 s on", bad)
		}
		if bad := metertest.Contract(rs); len(bad) == 0 {
			t.Error("the contract lets it pass")
		}
		return
	}
	t.Fatal("no case edge_unreadable")
}

// TestSkipsWhatIsNotRead: a meter of powercap alone runs the powercap cases; the others are skipped and not failed.
func TestSkipsWhatIsNotRead(t *testing.T) {
	ran := 0
	metertest.Run(t, os.DirFS("../../testdata/energy"), func(h metertest.Host) (measure.Meter, error) {
		if h.Source != "powercap" {
			return nil, fmt.Errorf("%w: powercap only", errors.ErrUnsupported)
		}
		ran++
		return ours(h)
	})
	if ran != 20 {
		t.Errorf("%d cases were played, want the 20 of powercap", ran)
	}
}
