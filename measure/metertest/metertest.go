package metertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattshed/wattshed/measure"
)

// Host is the simulated machine that a case hands to the meter under test.
type Host struct {
	Source string                   // what the case is of: powercap, perf, hwmon, battery or jetson
	Sys    fs.FS                    // root of sysfs
	Now    func() time.Duration     // clock that counts suspend
	PMax   map[string]measure.Watts // most power by zone
	Open   measure.PerfOpener       // opens perf events; nil in other cases
}

// Case is one fixture.
type Case struct {
	Name   string
	Perf   bool   // counters are perf events, not powercap zones
	Source string // as in Host
	Want   Expected
	tree   string
	script []step
}

// Expected is expected.json.
type Expected struct {
	Case       string             `json:"case"`
	Source     string             `json:"source"` // hwmon, battery or jetson; absent for powercap and perf
	Tree       string             `json:"tree"`
	WindowS    [2]float64         `json:"window_s"`
	PMaxW      map[string]float64 `json:"p_max_w"`
	ToleranceJ float64            `json:"tolerance_j"`
	Domains    []struct {
		Zone      string   `json:"zone"`
		Event     string   `json:"event"`
		Name      string   `json:"name"`
		TrueJ     float64  `json:"true_j"`
		MeasuredJ float64  `json:"measured_j"`
		Status    string   `json:"status"`
		Errors    []string `json:"errors"`
		Gaps      []struct {
			FromS  float64 `json:"from_s"`
			ToS    float64 `json:"to_s"`
			Reason string  `json:"reason"`
		} `json:"gaps"`
	} `json:"domains"`
	Total struct {
		CountedZones  []string `json:"counted_zones"`
		CountedEvents []string `json:"counted_events"`
		TrueJ         float64  `json:"true_j"`
		MeasuredJ     float64  `json:"measured_j"`
		Status        string   `json:"status"`
	} `json:"total"`
	// Windows are what readings in mid-script attribute to the time between two of them: the headline of Between.
	Windows []struct {
		FromS     float64 `json:"from_s"`
		ToS       float64 `json:"to_s"`
		TrueJ     float64 `json:"true_j"`
		MeasuredJ float64 `json:"measured_j"`
		Status    string  `json:"status"`
	} `json:"windows"`
	Explain string `json:"explain"`
}

// Load reads every case of a fixture folder that holds trees/ and cases/.
func Load(fixtures fs.FS) ([]Case, error) {
	dirs, err := fs.ReadDir(fixtures, "cases")
	if err != nil {
		return nil, err
	}
	var out []Case
	for _, d := range dirs {
		c := Case{Name: d.Name()}
		b, err := fs.ReadFile(fixtures, path.Join("cases", d.Name(), "expected.json"))
		if err == nil {
			err = json.Unmarshal(b, &c.Want)
		}
		if err != nil {
			return nil, fmt.Errorf("metertest: case %s: %w", c.Name, err)
		}
		if c.Want.Tree == "" {
			c.Want.Tree = "perf_power"
		}
		c.Perf = len(c.Want.Total.CountedEvents) > 0
		switch c.Source = c.Want.Source; {
		case c.Source == "" && c.Perf:
			c.Source = "perf"
		case c.Source == "":
			c.Source = "powercap"
		}
		tree, err := fs.ReadFile(fixtures, path.Join("trees", c.Want.Tree+".tree"))
		if err != nil {
			return nil, fmt.Errorf("metertest: case %s: %w", c.Name, err)
		}
		c.tree = string(tree)
		samples, err := fs.ReadFile(fixtures, path.Join("cases", d.Name(), "samples.csv"))
		if err == nil {
			c.script, err = parseSamples(string(samples))
		}
		if err != nil {
			return nil, fmt.Errorf("metertest: case %s: %w", c.Name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Play runs the case against a meter: it is read once per step of the script, and the last Reading comes back.
// Errors of Read are allowed (a step may have nothing readable) as long as the Reading is complete.
func (c Case) Play(newMeter func(Host) (measure.Meter, error)) (measure.Reading, error) {
	rs, err := c.PlayAll(newMeter)
	if err != nil {
		return measure.Reading{}, err
	}
	return rs[len(rs)-1], nil
}

// PlayAll is Play that returns the readings of all steps.
func (c Case) PlayAll(newMeter func(Host) (measure.Meter, error)) ([]measure.Reading, error) {
	tree, err := Tree(c.tree)
	if err != nil {
		return nil, err
	}
	p := newPlayed(tree, c.script, c.Source == "powercap")
	h := Host{Source: c.Source, Sys: p, Now: p.now, PMax: map[string]measure.Watts{}}
	for k, w := range c.Want.PMaxW {
		h.PMax[k] = measure.Watts(w)
	}
	if c.Perf {
		h.Open = func(typ uint32, config uint64, cpu int) (measure.PerfCounter, error) {
			names := []string{"", "energy-cores", "energy-pkg", "energy-ram", "energy-gpu", "energy-psys"}
			if typ != 22 || config == 0 || config >= uint64(len(names)) {
				return nil, fs.ErrInvalid
			}
			ev := event{p, fmt.Sprintf("cpu%d/%s", cpu, names[config])}
			if _, err := ev.Read(); err != nil {
				return nil, err // the case has no such event
			}
			return ev, nil
		}
	}
	m, err := newMeter(h)
	if err != nil {
		return nil, err
	}
	if cl, ok := m.(io.Closer); ok {
		defer cl.Close()
	}
	var out []measure.Reading
	for i := range c.script {
		p.advance(i)
		r, err := m.Read()
		if err != nil && len(r.Domains) == 0 {
			return nil, fmt.Errorf("read at %v: %w", p.at, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// Check compares the last Reading with what the case expects and returns every difference.
func (c Case) Check(r measure.Reading) []string {
	var bad []string
	have := map[string]measure.DomainReading{}
	for _, d := range r.Domains {
		if _, dup := have[d.Domain.Zone]; dup {
			bad = append(bad, fmt.Sprintf("zone %s appears twice", d.Domain.Zone))
		}
		have[d.Domain.Zone] = d
	}
	for _, w := range c.Want.Domains {
		zone := w.Zone + w.Event
		d, ok := have[zone]
		if !ok {
			bad = append(bad, fmt.Sprintf("zone %s is missing", zone))
			continue
		}
		if j := float64(d.Energy.Joules()); math.Abs(j-w.MeasuredJ) > c.Want.ToleranceJ {
			bad = append(bad, fmt.Sprintf("zone %s: %.6f J, want %.6f", zone, j, w.MeasuredJ))
		}
		if d.Status != w.Status {
			bad = append(bad, fmt.Sprintf("zone %s: status %q, want %q", zone, d.Status, w.Status))
		}
		var got, want []string
		for _, g := range d.Gaps {
			got = append(got, fmt.Sprintf("%g-%g %s", g.From.Seconds(), g.To.Seconds(), g.Reason))
		}
		for _, g := range w.Gaps {
			want = append(want, fmt.Sprintf("%g-%g %s", g.FromS, g.ToS, g.Reason))
		}
		if !slices.Equal(got, want) {
			bad = append(bad, fmt.Sprintf("zone %s: gaps %q, want %q", zone, got, want))
		}
		if !slices.Equal(d.Errors, w.Errors) && len(d.Errors)+len(w.Errors) > 0 {
			bad = append(bad, fmt.Sprintf("zone %s: errors %q, want %q", zone, d.Errors, w.Errors))
		}
	}
	return append(bad, c.checkTotal(r)...)
}

// CheckWindows compares what the readings of PlayAll attribute to the windows of the case.
func (c Case) CheckWindows(rs []measure.Reading) []string {
	var bad []string
	for _, want := range c.Want.Windows {
		at := func(s float64) int {
			return slices.IndexFunc(rs, func(r measure.Reading) bool { return math.Abs(r.At.Seconds()-s) < 1e-9 })
		}
		a, b := at(want.FromS), at(want.ToS)
		if a < 0 || b < 0 {
			bad = append(bad, fmt.Sprintf("window %g-%g s: no reading at an edge", want.FromS, want.ToS))
			continue
		}
		w, err := measure.Between(rs[a], rs[b])
		if err != nil {
			bad = append(bad, fmt.Sprintf("window %g-%g s: %v", want.FromS, want.ToS, err))
			continue
		}
		uj, complete := w.Headline(measure.Measured)
		if math.Abs(float64(uj.Joules())-want.MeasuredJ) > c.Want.ToleranceJ || complete != (want.Status == "complete") {
			bad = append(bad, fmt.Sprintf("window %g-%g s: %.6f J, complete = %v, want %.6f and %s", want.FromS, want.ToS, float64(uj.Joules()), complete, want.MeasuredJ, want.Status))
		}
	}
	return bad
}

// checkTotal compares the headline: which zones are counted, their joules, whether all are complete.
func (c Case) checkTotal(r measure.Reading) []string {
	var bad, counted []string
	var sum float64
	complete := true
	listed := map[string]bool{}
	for _, s := range c.script {
		for k := range s.values {
			listed[k] = true
		}
	}
	for _, d := range r.Domains {
		if !d.Domain.Headline || !listed[d.Domain.Zone] && c.Want.Source == "" {
			continue
		}
		counted = append(counted, d.Domain.Zone)
		sum += float64(d.Energy.Joules())
		complete = complete && d.Status == measure.StatusOK
	}
	want := slices.Sorted(slices.Values(append(slices.Clone(c.Want.Total.CountedZones), c.Want.Total.CountedEvents...)))
	slices.Sort(counted)
	if !slices.Equal(counted, want) {
		bad = append(bad, fmt.Sprintf("headline counts %s, want %s", strings.Join(counted, " "), strings.Join(want, " ")))
	}
	if math.Abs(sum-c.Want.Total.MeasuredJ) > c.Want.ToleranceJ {
		bad = append(bad, fmt.Sprintf("headline is %.6f J, want %.6f", sum, c.Want.Total.MeasuredJ))
	}
	if want := c.Want.Total.Status == "complete"; complete != want {
		bad = append(bad, fmt.Sprintf("headline complete = %v, want %v", complete, want))
	}
	return bad
}

// Run runs every case as a subtest and holds its readings to the Contract. newMeter builds the meter under test on the simulated host; it looks at
// Host.Source to tell what the case is of, and returns an error that wraps errors.ErrUnsupported for sources that it does not read: those
// cases are skipped by name.
func Run(t *testing.T, fixtures fs.FS, newMeter func(Host) (measure.Meter, error)) {
	t.Helper()
	cases, err := Load(fixtures)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("metertest: the fixture folder holds no case")
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			rs, err := c.PlayAll(newMeter)
			if errors.Is(err, errors.ErrUnsupported) {
				t.Skipf("the meter reads no %s: %v", c.Source, err)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, bad := range slices.Concat(c.Check(rs[len(rs)-1]), c.CheckWindows(rs), Contract(rs)) {
				t.Error(bad)
			}
			if t.Failed() {
				t.Log(c.Want.Explain)
			}
		})
	}
}
