package measure

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

func TestUnits(t *testing.T) {
	if k := Joules(3.6e6).KWh(); k != 1 {
		t.Errorf("3.6 MJ = %v kWh, want exactly 1", k)
	}
	if g := PoundsPerMWh(870); math.Abs(float64(g)-394.625) > 5e-4 { // WattTime's own rounding to three digits
		t.Errorf("870 lb/MWh = %v g/kWh", g)
	}
	if g := Joules(3600).Grams(300); math.Abs(float64(g)-0.3) > 1e-15 {
		t.Errorf("3600 J at 300 g/kWh = %v g", g)
	}
	if u := Microjoules(math.MaxUint64).Joules(); math.Abs(float64(u)-1.8446744073709552e13) > 1 {
		t.Errorf("largest count = %v J", u)
	}
	for _, j := range []Joules{-1, Joules(math.NaN())} {
		if j.Micro() != 0 {
			t.Errorf("%v J = %d µJ", j, j.Micro())
		}
	}
	if Joules(1e300).Micro() != maxMicro || Joules(1.5).Micro() != 1_500_000 || Joules(6).Over(2*time.Second) != 3 || Watts(3).For(2*time.Second) != 6 {
		t.Error("conversions")
	}
}

// TestWindowAdditive: the energy of [a,c] is that of [a,b] plus that of [b,c], with gaps too.
func TestWindowAdditive(t *testing.T) {
	c := counter{spec: counterSpec{rng: 1000_000_000, perJoule: 1e6, pmax: 100, period: time.Millisecond, moves: true}}
	var rs []Reading
	values := []uint64{5, 60_000_000, 999_000_000, 40_000_000, 40_000_000, 90_000_000, 3, 900_000_000, 1}
	for i, v := range values {
		at := time.Duration(i) * time.Second
		c.read(at, v, nil)
		d := DomainReading{Domain: Domain{Zone: "z", Headline: true}, Source: Source{Kind: Measured}, Energy: Microjoules(c.sum)}
		c.tell(&d)
		rs = append(rs, Reading{At: at, Domains: []DomainReading{d}})
	}
	energy := func(i, j int) Microjoules {
		w, err := Between(rs[i], rs[j])
		if err != nil {
			t.Fatal(err)
		}
		return w.Domains[0].Energy
	}
	for i := range rs {
		for j := i; j < len(rs); j++ {
			for k := j; k < len(rs); k++ {
				if stale := rs[i].Domains[0].Stale || rs[j].Domains[0].Stale; !stale && energy(i, k) != energy(i, j)+energy(j, k) {
					t.Fatalf("windows %d-%d-%d do not add up", i, j, k)
				}
			}
		}
	}
}

func TestBetweenLostDomain(t *testing.T) {
	d := DomainReading{Domain: Domain{Zone: "z", Headline: true}, Source: Source{Kind: Measured}, Energy: 7, Status: StatusOK}
	w, err := Between(Reading{At: 0, Domains: []DomainReading{d}}, Reading{At: time.Second})
	if err != nil || len(w.Domains) != 1 || w.Domains[0].Status != StatusUnreadable || w.Coverage() != 0 {
		t.Errorf("%+v, %v", w, err)
	}
	if _, ok := w.Headline(Measured); ok {
		t.Error("a lost domain left a complete headline")
	}
	if _, err := Between(Reading{At: 2}, Reading{At: 1}); err == nil {
		t.Error("a window that runs back was accepted")
	}
}

// zones builds a flat class folder without links.
func zones(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m["class/powercap/"+name] = &fstest.MapFile{Data: []byte(text + "\n"), Mode: 0o444}
	}
	return m
}

func TestPowercapFlatClass(t *testing.T) {
	m, err := NewPowercap(zones(map[string]string{
		"intel-rapl:0/name": "package-0-die-0", "intel-rapl:0/energy_uj": "1",
		"intel-rapl:1/name": "package-0-die-1", "intel-rapl:1/energy_uj": "1",
		"intel-rapl:2/name": "psys", "intel-rapl:2/energy_uj": "1",
		"intel-rapl:0:0/name": "dram", "intel-rapl:0:0/energy_uj": "1",
		"dtpm/name": "dtpm", "dtpm:0/energy_uj": "1",
	}), PowercapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	var counted []string
	for _, d := range r.Domains {
		if d.Domain.Headline {
			counted = append(counted, d.Domain.Zone)
		}
	}
	if got := strings.Join(counted, " "); got != "intel-rapl/intel-rapl:0 intel-rapl/intel-rapl:0/intel-rapl:0:0 intel-rapl/intel-rapl:1" {
		t.Errorf("counted %s", got)
	}
	if len(r.Domains) != 4 || m.GuardPeriod() != time.Minute {
		t.Errorf("%d zones, guard %v", len(r.Domains), m.GuardPeriod())
	}
}

func TestPowercapAbsentAndDenied(t *testing.T) {
	if _, err := NewPowercap(fstest.MapFS{}, PowercapOptions{}); !errors.Is(err, ErrNoCounter) {
		t.Errorf("empty sysfs: %v", err)
	}
	m, err := NewPowercap(zones(map[string]string{"intel-rapl:0/name": "package-0"}), PowercapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Read()
	if err == nil || len(r.Domains) != 1 || r.Domains[0].Status != StatusUnreadable {
		t.Errorf("zone without a counter: %+v, %v", r, err)
	}
}

func TestGuardPeriod(t *testing.T) { // the two examples: 280 W over 65,532 J, 205 W over 262,143 J
	for _, c := range []struct {
		rng  uint64
		pmax Watts
		want float64
	}{{65_532_610_987, 2 * 280, 29.3}, {262_143_328_850, 2 * 205, 60}} {
		g := (&counter{spec: counterSpec{rng: c.rng, perJoule: 1e6, pmax: c.pmax}}).guard().Seconds()
		if math.Abs(g-c.want) > 0.1 {
			t.Errorf("guard period %v s, want %v", g, c.want)
		}
	}
}

func TestPerfOpenFails(t *testing.T) {
	sys := fstest.MapFS{}
	for name, text := range map[string]string{"type": "22", "cpumask": "0", "format/event": "config:0-7",
		"events/energy-pkg": "event=0x02", "events/energy-pkg.unit": "Joules", "events/energy-pkg.scale": "2.3283064365386962890625e-10"} {
		sys[perfDir+"/"+name] = &fstest.MapFile{Data: []byte(text)}
	}
	deny := func(uint32, uint64, int) (PerfCounter, error) { return nil, syscall.EACCES }
	if _, err := NewPerf(sys, PerfOptions{Open: deny}); !errors.Is(err, ErrPermission) {
		t.Errorf("denied: %v", err)
	}
	sys[perfDir+"/events/energy-pkg.unit"] = &fstest.MapFile{Data: []byte("Calories")}
	if _, err := NewPerf(sys, PerfOptions{Open: deny}); err == nil || !strings.Contains(err.Error(), "Calories") {
		t.Errorf("wrong unit: %v", err)
	}
}

func TestRecordReplay(t *testing.T) {
	b := &bench{watts: 10}
	var file bytes.Buffer
	rec, err := NewRecorder(b, &file, "bench")
	if err != nil {
		t.Fatal(err)
	}
	var want []Reading
	for range 5 {
		r, err := rec.Read()
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r)
		b.work(time.Second)
	}
	text := file.String()
	for cut := range 40 { // a killed process leaves half a line: only that reading is lost
		p, err := NewReplay(strings.NewReader(text[:len(text)-cut]))
		if err != nil {
			t.Fatalf("cut by %d: %v", cut, err)
		}
		if n := p.Len(); n != 5 && !(cut > 1 && n == 4) {
			t.Errorf("cut by %d: %d readings", cut, n)
		}
	}
	p, err := NewReplay(strings.NewReader(text))
	if err != nil || p.About != "bench" {
		t.Fatal(p, err)
	}
	for i := range want {
		r, err := p.Read()
		if err != nil || r.At != want[i].At || r.Domains[0].Energy != want[i].Domains[0].Energy {
			t.Errorf("reading %d: %+v, %v", i, r, err)
		}
	}
	if _, err := p.Read(); !errors.Is(err, ErrReplayEnd) {
		t.Errorf("after the end: %v", err)
	}
	now := time.Duration(0)
	p, _ = NewReplay(strings.NewReader(text))
	p.InTime(func() time.Duration { return now })
	for i, at := range []float64{100, 100.5, 101, 103.9} {
		now = time.Duration(at * float64(time.Second))
		r, err := p.Read()
		if want := []Microjoules{0, 0, 10e6, 30e6}[i]; err != nil || r.Domains[0].Energy != want {
			t.Errorf("at %v s: %v, want %v, %v", at, r.Domains[0].Energy, want, err)
		}
	}
	now = 106 * time.Second
	if _, err := p.Read(); !errors.Is(err, ErrReplayEnd) {
		t.Errorf("long after the end: %v", err)
	}
	for _, bad := range []string{"", "{}\n", text + `{"at_ns":-5}` + "\n", text + "nonsense\n",
		text + `{"at_ns":9000000000,"domains":[{"domain":{"zone":"sim/0"},"source":{"kind":"measured"},"energy_uj":1}]}` + "\n",
		text + `{"at_ns":9000000000,"domains":[{"domain":{"zone":"n"},"source":{"kind":"guess"},"energy_uj":1}]}` + "\n"} {
		if _, err := NewReplay(strings.NewReader(bad)); err == nil {
			t.Errorf("accepted %.60q ...", bad[max(0, len(bad)-60):])
		}
	}
}

type brokenWriter struct{ n int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.n--; w.n < 0 {
		return 0, io.ErrShortWrite
	}
	return len(b), nil
}

func TestRecorderReportsWriteErrors(t *testing.T) {
	rec, err := NewRecorder(&bench{}, &brokenWriter{1}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rec.Read(); err != nil || !errors.Is(rec.Close(), io.ErrShortWrite) {
		t.Errorf("%v, %v", err, rec.Err())
	}
}

const cpuinfoVM = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC\nphysical id\t: 0\ncore id\t: 0\nflags\t: fpu hypervisor\n\nprocessor\t: 1\nmodel name\t: AMD EPYC\nphysical id\t: 0\ncore id\t: 0\nflags\t: fpu hypervisor\n"

func TestModelOf(t *testing.T) {
	guest := ParseCPUInfo([]byte(cpuinfoVM))
	if guest.Threads != 2 || guest.Cores != 1 || guest.Sockets != 1 || !guest.Virtualized {
		t.Fatalf("%+v", guest)
	}
	for _, c := range []struct {
		h          HostFacts
		idle, full float64 // W, computed by hand from the tables
		dram       float64
	}{
		{guest, 2 * 0.68, 2 * 4.11, 0},
		{HostFacts{CPU: "AMD EPYC 7763 64-Core Processor", Sockets: 2, Cores: 128, Threads: 256}, 2 * 280 * 1.052 * 0.202, 2 * 280 * 1.052, 0},
		{HostFacts{CPU: "AMD Ryzen 9 5950X 16-Core Processor", Sockets: 1, Cores: 16, Threads: 32, MemoryBytes: 32 << 30}, 0.15 * 105, 1.25 * 105, 9.6},
		{HostFacts{CPU: "Mystery 1", Sockets: 1, Cores: 4, Threads: 8, MemoryBytes: 10 << 30}, 40 * 0.202, 40, 3},
	} {
		m, err := ModelOf(c.h)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(m.At(0))-c.idle) > 1e-9*c.idle || math.Abs(float64(m.At(1))-c.full) > 1e-9*c.full || math.Abs(float64(m.DRAM)-c.dram) > 1e-9 {
			t.Errorf("%s: %v to %v W, dram %v, want %v to %v, %v", c.h.CPU, m.At(0), m.At(1), m.DRAM, c.idle, c.full, c.dram)
		}
		if m.UAbs < 0.3 || m.UAbs > 0.7 || m.Assumption == "" { // the reference gives ±40 to 60 % as honest
			t.Errorf("%s: u_abs %v, %q", c.h.CPU, m.UAbs, m.Assumption)
		}
	}
}

func TestModelIntegrates(t *testing.T) {
	b := &bench{}
	m := NewModel(PowerModel{Threads: 2, Watts: [11]Watts{0: 2, 1: 3, 2: 4, 3: 5, 4: 6, 5: 7, 6: 8, 7: 9, 8: 10, 9: 11, 10: 12}, DRAM: 1},
		ModelOptions{Now: b.Now, CPUTime: b.CPUTime})
	if _, err := m.Read(); err != nil {
		t.Fatal(err)
	}
	b.work(10 * time.Second) // one of two CPUs: u = 0.5, 7 W
	r, err := m.Read()
	if err != nil || r.Domains[0].Energy != 70e6 || r.Domains[1].Energy != 10e6 || r.Domains[0].Source.Kind != Modelled {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestTDPNeverGuesses(t *testing.T) {
	if w, ok := TDP("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz"); !ok || w != 270 {
		t.Errorf("Xeon Platinum 8380: %v, %v", w, ok)
	}
	for _, name := range []string{"AMD EPYC Processor", "Intel(R) Xeon(R) Processor", "QEMU Virtual CPU", "AMD EPYC 99999", ""} {
		if w, ok := TDP(name); ok {
			t.Errorf("%q was given %v W", name, w)
		}
	}
}

func TestLookupGPU(t *testing.T) {
	for name, want := range map[string]string{"NVIDIA A100-SXM4-80GB": "a100", "Tesla V100-SXM2-16GB": "v100", "NVIDIA GeForce RTX 4090": "4090"} {
		g, ok := LookupGPU(name)
		if !ok || !strings.Contains(strings.ToLower(g.Name), want) || g.TDP < 100 {
			t.Errorf("%s: %+v, %v", name, g, ok)
		}
	}
	if g, ok := LookupGPU("NVIDIA GeForce RTX 4090 Laptop GPU"); ok {
		t.Errorf("a laptop part was given the desktop row %+v", g)
	}
}

func TestSourcesOnThisMachine(t *testing.T) {
	list := Sources(os.DirFS("/"), OpenOptions{})
	last := list[len(list)-1]
	if last.Name != "model" || !last.Readable || last.Why == "" {
		t.Errorf("the model is %+v", last)
	}
	for _, s := range list {
		if s.Why == "" || (s.Readable && !s.Present) {
			t.Errorf("%+v", s)
		}
		t.Logf("%-9s present %-5v readable %-5v %s", s.Name, s.Present, s.Readable, s.Why)
	}
	m, err := Open(os.DirFS("/"), "", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := m.Read(); err != nil || len(r.Domains) == 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if c, ok := m.(io.Closer); ok {
		defer c.Close()
	}
	if _, err := Open(os.DirFS("/"), "guess", OpenOptions{}); err == nil {
		t.Error("an unknown source was opened")
	}
}

// TestSourcesDenied: a zone that cannot be read is present, not readable, and comes with its command; Open does not
// silently measure a part.
func TestSourcesDenied(t *testing.T) {
	root := fstest.MapFS{}
	for name, f := range zones(map[string]string{"intel-rapl:0/name": "package-0", "intel-rapl:0/energy_uj": "5", "intel-rapl:1/name": "package-1"}) {
		root["sys/"+name] = f
	}
	list := Sources(denied{root}, OpenOptions{})
	if s := list[1]; !s.Present || s.Readable || s.Fix != PowercapFix || !strings.Contains(s.Why, "EACCES") {
		t.Errorf("%+v", s)
	}
	m, err := Open(denied{root}, "", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if r, _ := m.Read(); r.Domains[0].Source.Kind != Modelled || !strings.Contains(r.Domains[0].Source.Note, "EACCES") {
		t.Errorf("%+v", r)
	}
}

// denied answers EACCES for the counter of package-1.
type denied struct{ fsys fs.FS }

func (d denied) Open(name string) (f fs.File, err error) {
	if strings.HasSuffix(name, "intel-rapl:1/energy_uj") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	return d.fsys.Open(name)
}
