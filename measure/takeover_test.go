package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// TestTakeOver: the holder leaves after 10 s at 50 W, the attached meter counts from its next reading on, and the machine's 1,000 J of
// 20 s are claimed by the two of them at most once.
func TestTakeOver(t *testing.T) {
	dir := t.TempDir()
	b := &bench{watts: 50}
	read := func(m Meter) Reading {
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	headline := func(a, b Reading) Microjoules {
		w, err := Between(a, b)
		if err != nil {
			t.Fatal(err)
		}
		uj, _ := w.Headline(Measured)
		return uj
	}
	holder, err := ShareHost(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ShareHost(b, dir)
	if err != nil || other.Attached() == "" {
		t.Fatalf("%v, attached %q", err, other.Attached())
	}
	h0, o0 := read(holder), read(other)
	b.work(10 * time.Second)
	h1 := read(holder)
	if err := holder.Close(); err != nil {
		t.Fatal(err)
	}
	b.work(2 * time.Second) // nobody counts
	other.tried = time.Time{}
	o1 := read(other)
	b.work(8 * time.Second)
	o2 := read(other)
	if other.Attached() != "" {
		t.Fatal("the lock is free and nobody counts")
	}
	if got := headline(h0, h1); got != 500e6 {
		t.Errorf("holder: %d µJ", got)
	}
	for name, c := range map[string]struct {
		a, b Reading
		want Microjoules
	}{"attached": {o0, o1, 0}, "across": {o0, o2, 0}, "after": {o1, o2, 400e6}} {
		if got := headline(c.a, c.b); got != c.want {
			t.Errorf("%s: %d µJ in the headline, want %d", name, got, c.want)
		}
	}
	if a := account(t, dir); a.Measured != 900e6 {
		t.Errorf("ledger: %+v, want 500 J of the holder and 400 J of the other", a)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// during is a meter whose reading takes a while: something happens once the counters are read.
type during struct {
	Meter
	then func()
}

func (d *during) Read() (Reading, error) {
	r, err := d.Meter.Read()
	if d.then != nil {
		d.then()
	}
	return r, err
}

// TestTakeOverDuringRead: the holder takes its last reading, 2 s later than the attached meter's, and leaves while the attached meter
// reads. Of the machine's 850 J of 17 s only the 250 J that the holder saw are counted until the attached meter reads again.
func TestTakeOverDuringRead(t *testing.T) {
	dir := t.TempDir()
	b := &bench{watts: 50}
	holder, err := ShareHost(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	slow := &during{Meter: b}
	other, err := ShareHost(slow, dir)
	if err != nil || other.Attached() == "" {
		t.Fatalf("%v, attached %q", err, other.Attached())
	}
	read := func(m Meter) Reading {
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	read(holder)
	b.work(3 * time.Second)
	slow.then = func() {
		b.work(2 * time.Second)
		read(holder)
		if err := holder.Close(); err != nil {
			t.Error(err)
		}
	}
	other.tried = time.Time{}
	read(other)
	slow.then = nil
	if other.Attached() == "" {
		t.Error("the lock was not free when the counters were read")
	}
	b.work(5 * time.Second)
	other.tried = time.Time{}
	read(other)
	b.work(7 * time.Second)
	read(other)
	if a := account(t, dir); a.Measured != 600e6 {
		t.Errorf("ledger: %+v, want 250 J of the holder and 350 J of the other", a)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// TestTakeOverWithoutLedger: where the lock is free and the ledger cannot be opened, the meter counts all the same, holds the lock, and
// Close tells why there is no ledger.
func TestTakeOverWithoutLedger(t *testing.T) {
	dir := t.TempDir()
	b := &bench{watts: 50}
	lock, err := LockHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ShareHost(b, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(LedgerPath(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	m.tried = time.Time{}
	before, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	b.work(time.Second)
	after, err := m.Read()
	if err != nil {
		t.Fatal(err)
	}
	w, err := Between(before, after)
	if err != nil {
		t.Fatal(err)
	}
	if uj, _ := w.Headline(Measured); uj != 50e6 || m.Attached() != "" {
		t.Errorf("%d µJ in the headline, attached %q", uj, m.Attached())
	}
	if _, err := LockHost(dir); !errors.Is(err, ErrHostBusy) {
		t.Errorf("it counts without the lock: %v", err)
	}
	if err := m.Close(); err == nil || !strings.Contains(err.Error(), "ledger") {
		t.Errorf("closing tells %v", err)
	}
	if lock, err = LockHost(dir); err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if _, err := ShareHost(b, dir); err == nil { // and at the start: an error, the lock is free again
		t.Error("no ledger, no error")
	}
	if lock, err = LockHost(dir); err != nil {
		t.Fatal(err)
	}
	lock.Release()
}

// TestTakeOverModel: an attached model leaves idle power (10 W) and memory (3 W) to the holder, and has them again once it counts.
func TestTakeOverModel(t *testing.T) {
	dir := t.TempDir()
	lock, err := LockHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	pm := PowerModel{Threads: 1, DRAM: 3}
	pm.linear(10, 30)
	m, err := ShareHost(NewModel(pm, ModelOptions{Now: b.Now, CPUTime: b.CPUTime}), dir)
	if err != nil {
		t.Fatal(err)
	}
	step := func() float64 {
		before, _ := m.Read()
		b.work(time.Second)
		r, err := m.Read()
		if err != nil {
			t.Fatal(err)
		}
		w, err := Between(before, r)
		if err != nil {
			t.Fatal(err)
		}
		uj, ok := w.Headline(Modelled)
		if !ok {
			t.Fatalf("no headline: %+v", w)
		}
		return float64(uj.Joules())
	}
	if got := step(); math.Abs(got-20) > 1e-5 { // 30 W at full load less 10 W idle; whole µJ
		t.Errorf("attached: %v J, want 20", got)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	m.tried = time.Time{}
	if _, err := m.Read(); err != nil {
		t.Fatal(err)
	}
	if got := step(); math.Abs(got-33) > 1e-5 {
		t.Errorf("after taking over: %v J, want 33", got)
	}
	m.Close()
}

// TestAttachedIsSaid: a comparison that another process's counting deprives of its energy, or of its idle power, says who and what.
func TestAttachedIsSaid(t *testing.T) {
	for kind, want := range map[Kind]string{Measured: "its counters are in no figure", Modelled: "without the machine's idle power"} {
		dir := t.TempDir()
		lock, err := LockHost(dir)
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{watts: 20, kind: kind}
		m, err := ShareHost(b, dir)
		if err != nil {
			t.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		p := b.protocol()
		p.Meter, p.MinPairs, p.MaxPairs = m, 2, 2
		c, err := Compare(context.Background(), b.trial("a", time.Millisecond, 1, 0, rng), []Trial{b.trial("b", time.Millisecond, 1, 0, rng)}, p)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.Join(c.Warnings, "\n")
		if !strings.Contains(said, want) || !strings.Contains(said, "process ") {
			t.Errorf("%s: warnings %q", kind, c.Warnings)
		}
		switch e := c.Baseline.Energy; {
		case kind == Measured && (e != nil || !strings.Contains(said, `variant "a" has no energy: process`)):
			t.Errorf("energy %+v, warnings %q", e, c.Warnings)
		case kind == Modelled && (e == nil || !strings.HasPrefix(e.CountedBy, "process ")):
			t.Errorf("energy %+v", e)
		}
		m.Close()
		lock.Release()
	}
}

// TestHostDir: the lock's folder is not that of the environment, and looking for the holder leaves the lock alone.
func TestHostDir(t *testing.T) {
	before := HostDir()
	t.Setenv("TMPDIR", t.TempDir())
	if HostDir() != before {
		t.Errorf("TMPDIR moves the machine's lock from %s to %s", before, HostDir())
	}
	dir := t.TempDir()
	if pid := HostHolder(dir); pid != 0 {
		t.Errorf("nobody holds it, told is %d", pid)
	}
	lock, err := LockHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	if pid := HostHolder(dir); pid != os.Getpid() {
		t.Errorf("holder %d, want %d", pid, os.Getpid())
	}
	lock.Release()
	if pid := HostHolder(dir); pid != 0 {
		t.Errorf("released, told is %d", pid)
	}
	if lock, err = LockHost(dir); err != nil { // a look that locked would be in the way
		t.Fatal(err)
	}
	lock.Release()
}

// TestStaleHolder: what a killed holder left in the file names nobody once its number is another process's, and a holder that cannot
// write the file is "another process", not the one that is written there.
func TestStaleHolder(t *testing.T) {
	if startTime(os.Getpid()) == "" && (runtime.GOOS == "linux" || runtime.GOOS == "darwin" || runtime.GOOS == "windows") {
		t.Fatal("no start of this process")
	}
	dir := t.TempDir()
	pid := os.Getpid()
	for text, want := range map[string]int{
		fmt.Sprintf("%d %s\n", pid, startTime(pid)): pid,
		fmt.Sprintf("%d 1\n", pid):                  0, // started at another time
		fmt.Sprintf("%d\n", pid):                    0,
		"0 1\n":                                     0,
		"-1 1\n":                                    0,
		"2147483647 1\n":                            0, // beyond the largest number that Linux gives, 1<<22
		"":                                          0,
	} {
		if startTime(pid) == "" && want == 0 && strings.HasPrefix(text, strconv.Itoa(pid)) {
			want = pid // all that this system tells
		}
		if err := os.WriteFile(lockName(dir), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := HostHolder(dir); got != want {
			t.Errorf("%q: holder %d, want %d", text, got, want)
		}
		lock, err := LockHost(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(lockName(dir), []byte(text), 0o644); err != nil { // as if the holder could not write it
			t.Fatal(err)
		}
		m, err := ShareHost(&bench{watts: 1}, dir)
		if err != nil {
			t.Fatal(err)
		}
		by := "another process"
		if want > 0 {
			by = "process " + strconv.Itoa(pid)
		}
		if m.Attached() != by {
			t.Errorf("%q: attached to %q, want %q", text, m.Attached(), by)
		}
		if err := errors.Join(m.Close(), lock.Release()); err != nil {
			t.Error(err)
		}
	}
	stat := "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 1 0 987654 1 1" // proc_pid_stat(5): field 22 is starttime
	for text, want := range map[string]string{stat: "987654", "7 (x) S 1": "", "": ""} {
		if got := procStart(fstest.MapFS{"7/stat": {Data: []byte(text)}}, 7); got != want {
			t.Errorf("%q: start %q, want %q", text, got, want)
		}
	}
}
