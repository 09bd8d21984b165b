package measure

import (
	"runtime"
	"testing"
	"time"
)

// TestLoad: nothing is said after too short a time; what is said lies between no CPU and all of them, and a thread of ours always has one.
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
	if others, ok := l.Others(); ok && others < float64(runtime.NumCPU())*0.99 || l.Left(4) != 1 && ok {
		t.Errorf("%v CPUs, %v left of 4", others, l.Left(4))
	}
	if n := (Load{unknown: true}).Left(4); n != 4 {
		t.Errorf("%v left where nothing is known", n)
	}
}
