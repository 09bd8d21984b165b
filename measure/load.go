package measure

import (
	"runtime"
	"time"
)

// Load tells how busy other processes keep this machine, from StartLoad on.
type Load struct {
	start     time.Time
	host, own time.Duration
	unknown   bool
}

// loadLeast is the time below which the kernel's ticks of 10 ms say too little.
const loadLeast = 100 * time.Millisecond

// StartLoad begins to look.
func StartLoad() Load {
	host, own, err := cpuTimes()
	return Load{time.Now(), host, own, err != nil}
}

// Others returns how many CPUs other processes used on average since StartLoad, between 0 and all of them. ok is false where that is not known: not on
// this system, or too short a time.
func (l Load) Others() (cpus float64, ok bool) {
	wall := time.Since(l.start)
	host, own, err := cpuTimes()
	if l.unknown || err != nil || wall < loadLeast {
		return 0, false
	}
	return min(max(0, (host-l.host-(own-l.own)).Seconds()/wall.Seconds()), float64(runtime.NumCPU())), true
}

func cpuTimes() (host, own time.Duration, err error) {
	if host, err = HostCPUTime(); err == nil {
		own, err = ProcessCPU()
	}
	return host, own, err
}

// Left is how many of n threads other processes leave a CPU to, at least one: all of them where others is not known.
func (l Load) Left(n int) float64 {
	others, ok := l.Others()
	if !ok {
		return float64(n)
	}
	return min(float64(n), max(1, float64(runtime.NumCPU())-others))
}
