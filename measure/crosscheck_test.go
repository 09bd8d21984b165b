package measure

import (
	"testing"
	"testing/fstest"
	"time"
)

// sensorOf is a meter of one domain that draws w watts by the clock of b.
type sensorOf struct {
	b     *bench
	scope Scope
	w     float64
	zone  string
}

func (s sensorOf) Read() (Reading, error) {
	return Reading{At: s.b.now, Domains: []DomainReading{{Domain: Domain{Scope: s.scope, Name: s.zone, Zone: s.zone, Headline: s.scope != ScopePlatform},
		Source: Source{Name: s.zone, Kind: Measured, Period: time.Millisecond}, Energy: Microjoules(s.w * s.b.now.Seconds() * 1e6), Status: StatusOK}}}, nil
}

func TestCrossCheck(t *testing.T) {
	b := &bench{}
	wait := func(d time.Duration) { b.now += d }
	meter := func(name string, scope Scope, w float64) NamedMeter {
		return NamedMeter{name, sensorOf{b, scope, w, name}}
	}
	got := CrossCheckMeters([]NamedMeter{meter("perf", ScopePackage, 100), meter("powercap", ScopePackage, 101), meter("nvml", ScopeGPU, 187), meter("nvml power", ScopeGPU, 327),
		meter("psys", ScopePlatform, 60)}, 5*time.Second, wait)
	if len(got) != 4 {
		t.Fatalf("%+v", got)
	}
	if c := got[0]; !c.Agree || c.Scope != ScopePackage || c.Difference > 0.011 {
		t.Errorf("1 %% apart: %+v", c)
	}
	if c := got[1]; c.Agree || c.JoulesA != 187*5 || c.JoulesB != 327*5 { // a disagreement that was seen on a real board over 5 s
		t.Errorf("187 W against 327 W: %+v", c)
	}
	for _, c := range got[2:] { // a platform sensor of 60 W around packages of 100 W
		if c.Agree || c.Note == "" {
			t.Errorf("%+v", c)
		}
	}
	if list, err := CrossCheckHost(fstest.MapFS{}, OpenOptions{}, time.Second); err != nil || len(list) != 0 {
		t.Errorf("an empty machine: %v, %v", list, err)
	}
}
