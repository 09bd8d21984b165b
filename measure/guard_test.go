package measure

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// wrapping is a meter that wants a read every few milliseconds.
type wrapping struct{ reads chan struct{} }

func (w wrapping) Read() (Reading, error) {
	select {
	case w.reads <- struct{}{}:
	default:
	}
	return Reading{}, nil
}

func (wrapping) GuardPeriod() time.Duration { return time.Millisecond }

func TestGuardPolls(t *testing.T) {
	w := wrapping{make(chan struct{})}
	g := NewGuard(w)
	for range 3 {
		<-w.reads // would block for ever without the background reads
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { _, _ = g.Read() })
	}
	wg.Wait()
	if n, cost := g.Cost(); n == 0 || cost <= 0 || backgroundShare(NewGuard(g)) <= 0 {
		t.Errorf("%d background reads that took %v", n, cost)
	}
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	select {
	case <-w.reads:
		t.Error("read after Close")
	case <-time.After(5 * time.Millisecond):
	}
}

func TestJoin(t *testing.T) {
	a := &bench{watts: 10}
	b := &bench{watts: 30, fail: ErrPermission}
	j := Join(a, b)
	if r, err := j.Read(); err != nil || len(r.Domains) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	a.fail = ErrNoCounter
	if _, err := j.Read(); !errors.Is(err, ErrNoCounter) || !errors.Is(err, ErrPermission) {
		t.Error(err)
	}
}

func TestHostLock(t *testing.T) {
	dir := t.TempDir()
	l, err := LockHost(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockHost(dir)
	if !errors.Is(err, ErrHostBusy) || !strings.Contains(err.Error(), "process "+strconv.Itoa(os.Getpid())) {
		t.Errorf("second holder: %v", err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	if l, err = LockHost(dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
}
