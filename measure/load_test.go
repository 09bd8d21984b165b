package measure

import (
	"runtime"
	"testing"
	"time"
)

// TestLoad: nothing is said after too short a time; what is said lies between no CPU and all of them, and where others take all of them
// threads on every CPU take twice as long.
func TestLoad(t *testing.T) {
	if _, ok := StartLoad().Others(); ok {
		t.Error("a load after no time")
	}
	l := StartLoad()
	l.start = l.start.Add(-time.Second)
	others, ok := l.Others()
	if ok != (runtime.GOOS == "linux") || others < 0 || others > float64(runtime.NumCPU()) {
		t.Errorf("%v, %v", others, ok)
	}
	l.host -= time.Duration(runtime.NumCPU()) * time.Second // all of that second, by others
	if others, ok := l.Others(); ok && (others < float64(runtime.NumCPU())*0.99 || l.Slowdown(runtime.NumCPU()) < 1.99 || l.Slowdown(runtime.NumCPU()) > 2) {
		t.Errorf("%v CPUs by others: %v times as long", others, l.Slowdown(runtime.NumCPU()))
	}
	if x := (Load{unknown: true}).Slowdown(1); x != 1 {
		t.Errorf("%v times as long where nothing is known", x)
	}
}
