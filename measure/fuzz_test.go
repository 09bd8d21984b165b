package measure

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

const maxFuzz = 64 << 10

func FuzzPowercap(f *testing.F) {
	f.Add([]byte("262143328850"), []byte("5"), []byte("package-0"), []byte("205000000"))
	f.Add([]byte("-1"), []byte("18446744073709551615"), []byte(""), []byte("x"))
	f.Fuzz(func(t *testing.T, rng, value, name, power []byte) {
		if len(rng)+len(value)+len(name)+len(power) > maxFuzz {
			return
		}
		sys := fstest.MapFS{}
		for file, b := range map[string][]byte{"max_energy_range_uj": rng, "energy_uj": value, "name": name, "constraint_0_max_power_uw": power} {
			sys["class/powercap/intel-rapl:0/"+file] = &fstest.MapFile{Data: b}
		}
		now := time.Duration(0)
		m, err := NewPowercap(sys, PowercapOptions{Now: func() time.Duration { return now }})
		if err != nil {
			return
		}
		first, _ := m.Read()
		now += time.Second
		second, _ := m.Read()
		w, err := Between(first, second)
		if err != nil || m.GuardPeriod() < minGuard {
			t.Fatal(err, m.GuardPeriod())
		}
		if e := w.Domains[0].Energy; e != 0 {
			t.Fatalf("%d µJ from an unchanged counter", e)
		}
	})
}

// FuzzCounter feeds any sequence of reads: energy never falls, never exceeds what the power bound allows, and gaps
// stay inside the time read.
func FuzzCounter(f *testing.F) {
	f.Add([]byte{1, 2, 3, 255, 0, 9}, uint64(100), true)
	f.Fuzz(func(t *testing.T, steps []byte, rng uint64, moves bool) {
		if len(steps) > 4096 {
			return
		}
		c := counter{spec: counterSpec{rng: rng, perJoule: 1, pmax: 10, period: time.Millisecond, moves: moves}}
		at, last := time.Duration(0), uint64(0)
		for i, b := range steps {
			var err error
			if b%7 == 0 {
				err = errors.New("EIO")
			}
			c.read(at, uint64(b)*uint64(i+1), err)
			if c.sum < last {
				t.Fatalf("energy falls from %d to %d", last, c.sum)
			}
			last = c.sum
			gaps, _ := c.state()
			for _, g := range gaps {
				if g.From < 0 || g.To > at || g.From > g.To {
					t.Fatalf("gap %+v at %v", g, at)
				}
			}
			if most := c.bound(at) + float64(i+1)*0.1; float64(c.sum) > most+1e-6 {
				t.Fatalf("%d counts claimed in %v, at most %v are possible", c.sum, at, most)
			}
			at += time.Duration(b) * 10 * time.Millisecond
		}
	})
}

func FuzzPerfLayout(f *testing.F) {
	f.Add("22", "0,32", "config:0-7", "event=0x02", "Joules", "2.3283064365386962890625e-10")
	f.Add("x", "0-99999999", "config:64", "event=", "", "1e-400")
	f.Fuzz(func(t *testing.T, typ, mask, format, event, unit, scale string) {
		if len(typ)+len(mask)+len(format)+len(event)+len(unit)+len(scale) > maxFuzz {
			return
		}
		sys := fstest.MapFS{}
		for file, s := range map[string]string{"type": typ, "cpumask": mask, "format/event": format, "events/energy-pkg": event,
			"events/energy-pkg.unit": unit, "events/energy-pkg.scale": scale} {
			sys[perfDir+"/"+file] = &fstest.MapFile{Data: []byte(s)}
		}
		opened := 0
		m, err := NewPerf(sys, PerfOptions{Open: func(uint32, uint64, int) (PerfCounter, error) { opened++; return fixed(7), nil }})
		if err != nil {
			return
		}
		if r, err := m.Read(); err != nil || len(r.Domains) != opened {
			t.Fatalf("%d of %d, %v", len(r.Domains), opened, err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Read(); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("read after close: %v", err)
		}
	})
}

type fixed uint64

func (f fixed) Read() (uint64, error) { return uint64(f), nil }
func (fixed) Close() error            { return nil }

func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"schema":"wattshed.readings/1"}` + "\n" + `{"at_ns":1,"domains":[{"domain":{"zone":"z"},"source":{"kind":"measured"},"energy_uj":1}]}` + "\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		if a, err := ReadLedger(bytes.NewReader(b)); err == nil && a.Gaps < 0 {
			t.Fatalf("%+v", a)
		}
		p, err := NewReplay(bytes.NewReader(b))
		if err != nil {
			return
		}
		var old *Reading
		for range p.Len() {
			r, err := p.Read()
			if err != nil {
				t.Fatal(err)
			}
			if old != nil {
				if _, err := Between(*old, r); err != nil {
					t.Fatalf("an accepted session has no windows: %v", err)
				}
			}
			old = &r
		}
	})
}

func FuzzProc(f *testing.F) {
	f.Add([]byte("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"))
	f.Add([]byte("VmPeak: 1 kB\nVmHWM:\t  123 kB\n"))
	f.Add([]byte("1 (a) b) S 1 1 1 0 -1 0 0 0 0 0 10 20 30 40 20 0 1 0"))
	f.Add([]byte(cpuinfoVM))
	f.Add([]byte("MemTotal:  18446744073709551615 kB\n"))
	f.Add([]byte("usage_usec 1234567\nuser_usec 1\n"))
	f.Add([]byte("0::/../../system.slice\n"))
	f.Add([]byte("150000 100000"))
	f.Add([]byte("cpu MHz\t\t: 2596.146\ncpu MHz : NaN\n"))
	f.Add([]byte("45000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		if d, err := parseProcStat(string(b)); err == nil && d < 0 {
			t.Fatalf("negative time %v", d)
		}
		if d, err := ParseProcStat(b); err == nil && d < 0 {
			t.Fatalf("negative time %v", d)
		}
		if h := ParseCPUInfo(b); h.Threads > 0 && (h.Sockets < 1 || h.Cores < 1) {
			t.Fatalf("%+v", h)
		}
		if c, err := parseCPUMax(string(b)); err == nil && !(c >= 0) {
			t.Fatalf("%v CPUs", c)
		}
		if d, err := parseCPUStat(b); err == nil && d < 0 {
			t.Fatalf("negative time %v", d)
		}
		if p := parseCgroup(b); !strings.HasPrefix(p, "/") {
			t.Fatalf("path %q", p)
		}
		file := &fstest.MapFile{Data: b}
		c := ReadCovariates(fstest.MapFS{"proc/cpuinfo": file, "sys/class/thermal/thermal_zone0/type": {Data: []byte("x86_pkg_temp\n")}, "sys/class/thermal/thermal_zone0/temp": file,
			"sys/class/hwmon/hwmon0/name": {Data: []byte("coretemp\n")}, "sys/class/hwmon/hwmon0/temp1_input": file,
			"sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": file, "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": file,
			"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": file})
		if c.MHz != nil && !(*c.MHz > 0 && *c.MHz <= 100_000) || c.Celsius != nil && !(*c.Celsius > -40 && *c.Celsius < 150) {
			t.Fatalf("%v MHz, %v °C", c.MHz, c.Celsius)
		}
		_, _ = ParseVmHWM(b)
		_ = parseMemTotal(b)
		_, _ = parseCPUList(string(b))
	})
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("a,b\n1,2\n\"x,\"\"y\",3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > maxFuzz {
			return
		}
		rows, err := ReadTable(b, "a", "b")
		for _, r := range rows {
			if err == nil && len(r) != 2 {
				t.Fatalf("row %q", r)
			}
		}
	})
}

func FuzzCPUName(f *testing.F) {
	f.Add("Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz")
	f.Add("NVIDIA A100-SXM4-80GB")
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > maxFuzz {
			return
		}
		if w, ok := TDP(s); ok && !(w > 0 && w < 2000) {
			t.Fatalf("%q: %v W", s, w)
		}
		_, _ = LookupGPU(s)
	})
}

func TestProcParsers(t *testing.T) {
	if d, err := parseProcStat("cpu  100 200 300 9999 9999 40 60 7 0 0\ncpu0 1 2"); err != nil || d != 7*time.Second {
		t.Errorf("host CPU time %v, %v", d, err) // (100+200+300+40+60) ticks of 10 ms; idle, iowait and steal are no use
	}
	if d, err := ParseProcStat([]byte("42 (na) me (x) S 1 42 42 0 -1 4194304 1 2 3 4 150 50 25 75 20 0 9 0 100 1 1")); err != nil || d != 3*time.Second {
		t.Errorf("process CPU time %v, %v", d, err)
	}
	if n, err := ParseVmHWM([]byte("Name:\tx\nVmHWM:\t    2048 kB\n")); err != nil || n != 2<<20 {
		t.Errorf("VmHWM %d, %v", n, err)
	}
	for _, bad := range []string{"", "VmHWM: 1", "VmHWM: -1 kB", "VmHWM: 99999999999999999999 kB"} {
		if n, err := ParseVmHWM([]byte(bad)); err == nil {
			t.Errorf("%q gave %d", bad, n)
		}
	}
}
