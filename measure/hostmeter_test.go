package measure

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// account reads the ledger of dir.
func account(t *testing.T, dir string) Account {
	t.Helper()
	f, err := os.Open(LedgerPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := ReadLedger(f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestShareHost: eight meters of one machine, 10 s at 50 W. One counts 500 J, the others see the counter and count nothing.
func TestShareHost(t *testing.T) {
	dir := t.TempDir()
	b := &bench{watts: 50}
	var meters []*HostMeter
	var first []Reading
	for range 8 {
		m, err := ShareHost(b, dir)
		if err != nil {
			t.Fatal(err)
		}
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		meters, first = append(meters, m), append(first, r)
	}
	b.work(10 * time.Second)
	total, counting := Microjoules(0), 0
	for i, m := range meters {
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		w, err := Between(first[i], r)
		if err != nil {
			t.Fatal(err)
		}
		if uj, ok := w.Headline(Measured); ok {
			total += uj
			counting++
		} else if w.Domains[0].Energy != 500e6 || !strings.HasPrefix(w.Domains[0].Source.CountedBy, "process ") {
			t.Errorf("attached meter %d: %+v", i, w.Domains[0])
		}
	}
	if total != 500e6 || counting != 1 {
		t.Errorf("%d processes count %v J, want one and 500 J", counting, total.Joules())
	}
	if a := account(t, dir); a.Measured != 500e6 || a.Modelled != 0 || a.Gaps != 0 || a.Intervals != 1 {
		t.Errorf("%+v", a)
	}
	if err := meters[0].Close(); err != nil {
		t.Fatal(err)
	}
	m, err := ShareHost(b, dir) // the lock is free again
	if err != nil || m.Attached() != "" {
		t.Fatal(err, m.Attached())
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestShareModel: two processes that model leave the idle power of the machine to the first.
func TestShareModel(t *testing.T) {
	dir := t.TempDir()
	b := &bench{}
	pm := PowerModel{Threads: 1, DRAM: 3}
	pm.linear(10, 30)
	energy := func(m Meter) Microjoules {
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		sum := Microjoules(0)
		for _, d := range r.Domains {
			sum += d.Energy
		}
		return sum
	}
	var meters []*HostMeter
	for range 2 {
		m, err := ShareHost(NewModel(pm, ModelOptions{Now: b.Now, CPUTime: b.CPUTime}), dir)
		if err != nil {
			t.Fatal(err)
		}
		meters = append(meters, m)
		energy(m)
	}
	b.work(time.Second) // full load: 30 W and 3 W of memory; above idle 20 W
	if a, c := energy(meters[0]), energy(meters[1]); a != 33e6 || c != 20e6 {
		t.Errorf("holder %d µJ, attached %d µJ, want 33 J and 20 J", a, c)
	}
	if a := account(t, dir); a.Modelled != 33e6 || a.Measured != 0 {
		t.Errorf("%+v", a)
	}
	for _, m := range meters {
		m.Close()
	}
}

// TestLedger: gaps are entries of their own, half a line of a killed process is passed over, a full file is turned.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	l, err := OpenLedger(dir)
	if err != nil {
		t.Fatal(err)
	}
	reading := func(at time.Duration, uj Microjoules, gaps ...Gap) Reading {
		return Reading{At: at, Domains: []DomainReading{{Domain: Domain{Scope: ScopePackage, Zone: "z", Headline: true},
			Source: Source{Name: "sim", Kind: Measured}, Energy: uj, Gaps: gaps, Status: StatusOK}}}
	}
	gap := Gap{2 * time.Second, 3 * time.Second, GapReset}
	for _, r := range []Reading{reading(0, 0), reading(time.Second, 5e6), reading(4*time.Second, 7e6, gap)} {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.f.WriteString(`{"from":"2026-`); err != nil { // killed here
		t.Fatal(err)
	}
	l.Close()
	if l, err = OpenLedger(dir); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Reading{reading(0, 0), reading(time.Second, 1e6)} {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if a := account(t, dir); a.Measured != 8e6 || a.Gaps != time.Second || a.Spoilt != 1 || a.Intervals != 4 {
		t.Errorf("%+v", a)
	}
	l.size = maxLedger
	if err := l.Add(reading(2*time.Second, 2e6)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if a := account(t, dir); a.Measured != 1e6 {
		t.Errorf("after turning the page: %+v", a)
	}
	if _, err := os.Stat(LedgerPath(dir) + ".1"); err != nil {
		t.Error(err)
	}
	if _, err := OpenLedger(filepath.Join(dir, "nosuch")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestKilledHolder kills a process that holds the lock, measures and records: the lock is free, and every reading it took is in its
// ledger and its session file.
func TestKilledHolder(t *testing.T) {
	if dir := os.Getenv("WATTSHED_TEST_HOLDER"); dir != "" {
		holdUntilKilled(dir)
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKilledHolder$")
	cmd.Env = append(os.Environ(), "WATTSHED_TEST_HOLDER="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	n, _ := out.Read(buf) // it has taken its readings
	if _, err := LockHost(dir); !errors.Is(err, ErrHostBusy) {
		t.Errorf("while it runs: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if string(buf[:n]) != "ready\n" {
		t.Fatalf("the holder said %q", buf[:n])
	}
	if a := account(t, dir); a.Measured != 40e6 || a.Intervals != 4 {
		t.Errorf("ledger after the kill: %+v, want 4 intervals of 10 J", a)
	}
	f, err := os.Open(filepath.Join(dir, "session"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p, err := NewReplay(f); err != nil || p.Len() != 5 {
		t.Errorf("session after the kill: %v", err)
	}
	l, err := LockHost(dir)
	if err != nil {
		t.Fatalf("the lock outlived its process: %v", err)
	}
	l.Release()
}

// holdUntilKilled takes five readings and waits.
func holdUntilKilled(dir string) {
	b := &bench{watts: 10}
	f, err := os.Create(filepath.Join(dir, "session"))
	if err != nil {
		panic(err)
	}
	h, err := ShareHost(b, dir)
	if err != nil {
		panic(err)
	}
	rec, err := NewRecorder(h, f, "")
	if err != nil {
		panic(err)
	}
	for range 5 {
		if _, err := rec.Read(); err != nil {
			panic(err)
		}
		b.work(time.Second)
	}
	os.Stdout.WriteString("ready\n")
	time.Sleep(time.Hour)
}
