package main

import (
	"bytes"
	"os"
	"path/filepath"
	"time"
)

const (
	// settle is the least pause before a sample, in which threads of ours stop spinning and park.
	settle = 3 * time.Millisecond
	// unsettled is the longest.
	unsettled = 2 * time.Second
)

// quiet waits until the threads of the runtime before have parked: a sample must not share the processors with them. A thread of
// ONNX Runtime 1.32 spins for some 30 ms of CPU time after a call, as long as a whole sample, and for longer on the clock where others want its
// processor too. So neither a fixed time is enough nor a look at the CPU time used: no other thread of this process may run or
// wait for a processor, twice in a row. Where the system does not tell the states of threads, the pause is settle. It reports whether they have parked.
func quiet() bool {
	end := time.Now().Add(unsettled)
	calm := 0
	for calm < 2 && time.Now().Before(end) {
		time.Sleep(settle / 2)
		calm++
		if runnable("/proc/self/task") > 1 { // this one is
			calm = 0
		}
	}
	return calm == 2
}

// runnable returns the number of threads in a task folder of Linux that run or wait for a processor; 0 where it is not known.
func runnable(tasks string) int {
	files, _ := filepath.Glob(filepath.Join(tasks, "[0-9]*", "stat")) // the pattern is a good one
	n := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a thread that ended
		}
		if i := bytes.LastIndexByte(b, ')'); i >= 0 && i+2 < len(b) && b[i+2] == 'R' { // pid (name) state; a name may hold anything
			n++
		}
	}
	return n
}
