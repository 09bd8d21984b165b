package measure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"
)

// CrossCheck compares two views of one thing over the same time.
type CrossCheck struct {
	Scope      Scope         `json:"scope"`
	A          string        `json:"a"` // source and zones
	B          string        `json:"b"`
	JoulesA    Joules        `json:"joules_a"`
	JoulesB    Joules        `json:"joules_b"`
	Duration   time.Duration `json:"duration_ns"`
	Difference float64       `json:"difference"` // |A−B| over the larger
	Agree      bool          `json:"agree"`
	Note       string        `json:"note,omitempty"`
}

// crossLimit is the difference above which two counters contradict each other, beside the error of their edges.
const crossLimit = 0.05

// NamedMeter is a meter and what it is called.
type NamedMeter struct {
	Name  string
	Meter Meter
}

// CrossCheckMeters reads all meters at both ends of d, and every 100 ms in between for those that integrate power, and compares
// every two that see the same scope: the packages of perf and of powercap, a platform sensor and a battery, a board's counter
// and its integrated power. They agree within 5 % and the energy of one update period at each edge. A platform that draws less
// than the packages in it contradicts itself.
func CrossCheckMeters(meters []NamedMeter, d time.Duration, wait func(time.Duration)) []CrossCheck {
	first := make([]Reading, len(meters))
	last := make([]Reading, len(meters))
	for i, m := range meters {
		first[i], _ = m.Meter.Read() // a meter that fails has no domains to compare
	}
	const step = 100 * time.Millisecond
	for t := time.Duration(0); t < d; t += step {
		wait(step)
		for i, m := range meters {
			last[i], _ = m.Meter.Read()
		}
	}
	type view struct {
		name   string
		joules Joules
		edge   Joules
		d      time.Duration
	}
	views := map[Scope][]view{}
	var order []Scope
	for i, m := range meters {
		w, err := Between(first[i], last[i])
		if err != nil || w.Duration <= 0 {
			continue
		}
		sums := map[Scope]*view{}
		for _, x := range w.Domains {
			s := x.Domain.Scope
			if x.Status != StatusOK || x.Source.Kind != Measured || s == ScopeOther || x.Domain.Headline != headlineScope(s) && s != ScopePlatform {
				continue
			}
			v := sums[s]
			if v == nil {
				v = &view{name: m.Name, d: w.Duration}
				sums[s] = v
			}
			j := x.Energy.Joules()
			v.joules += j
			v.edge += j.Over(w.Duration).For(2 * x.Source.Period)
		}
		for _, s := range []Scope{ScopePackage, ScopeDRAM, ScopePlatform, ScopeGPU} {
			if v := sums[s]; v != nil {
				if len(views[s]) == 0 {
					order = append(order, s)
				}
				views[s] = append(views[s], *v)
			}
		}
	}
	var out []CrossCheck
	for _, s := range order {
		for i, a := range views[s] {
			for _, b := range views[s][i+1:] {
				c := CrossCheck{Scope: s, A: a.name, B: b.name, JoulesA: a.joules, JoulesB: b.joules, Duration: a.d}
				diff, most := math.Abs(float64(a.joules-b.joules)), math.Max(float64(a.joules), float64(b.joules))
				if most > 0 {
					c.Difference = diff / most
				}
				if c.Agree = diff <= crossLimit*most+float64(a.edge+b.edge); !c.Agree {
					c.Note = fmt.Sprintf("they differ by %.0f %%: trust neither before you know why", 100*c.Difference)
				}
				out = append(out, c)
			}
		}
	}
	for _, p := range views[ScopePlatform] {
		for _, k := range views[ScopePackage] {
			if p.joules < k.joules-k.edge-p.edge {
				out = append(out, CrossCheck{Scope: ScopePlatform, A: p.name, B: k.name + " packages", JoulesA: p.joules, JoulesB: k.joules, Duration: p.d,
					Difference: float64((k.joules - p.joules) / k.joules), Note: "a platform cannot draw less than the packages in it: its sensor is not believable"})
			}
		}
	}
	return out
}

// headlineScope tells which scopes are compared by their headline domains only.
func headlineScope(s Scope) bool { return s == ScopePackage || s == ScopeDRAM || s == ScopeGPU }

// CrossCheckHost opens every source below root that counts and compares them over d. Sources that cannot be read are passed
// over; Sources tells why they cannot.
func CrossCheckHost(root fs.FS, o OpenOptions, d time.Duration) ([]CrossCheck, error) {
	h := ReadHost(root)
	sys, err := fs.Sub(root, "sys")
	if err != nil {
		return nil, fmt.Errorf("measure: %w", err)
	}
	var meters []NamedMeter
	for _, name := range []string{"perf", "powercap", "nvml", "hwmon", "jetson", "battery"} {
		m, err := openOne(root, sys, h, name, o)
		if err != nil {
			continue
		}
		meters = append(meters, NamedMeter{name, m})
		if n, ok := m.(*NVIDIA); ok { // the same boards by their power sensors; the library is shared
			if p := n.byPower(); p != nil {
				meters = append(meters, NamedMeter{"nvml power", p})
			}
		}
	}
	var out []CrossCheck
	if len(meters) > 1 || len(meters) == 1 && meters[0].Name != "battery" {
		out = CrossCheckMeters(meters, d, time.Sleep)
	}
	var errs []error
	for _, m := range meters {
		if c, ok := m.Meter.(io.Closer); ok && m.Name != "nvml power" {
			errs = append(errs, c.Close())
		}
	}
	return out, errors.Join(errs...)
}
