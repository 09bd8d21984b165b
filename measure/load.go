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

// Slowdown is how many times as long threads of ours take that compute all the time while other processes go on as they do, if every thread gets its share of
// the CPUs: (threads + others) / CPUs, at least 1. Where others wait for a CPU themselves it is more, which the CPUs that they got do not show. 1 where
// nothing is known of them.
func (l Load) Slowdown(threads int) float64 {
	others, _ := l.Others()
	n := float64(runtime.NumCPU())
	return max(1, (min(float64(threads), n)+others)/n)
}
