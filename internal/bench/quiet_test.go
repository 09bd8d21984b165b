package main

import (
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

func TestRunnable(t *testing.T) {
	dir := t.TempDir()
	for tid, line := range map[string]string{"1": "1 (bench) R 0 1", "2": "2 (a) R) S 0 1", "3": "3 (S) R 0 1", "4": "4 (x", "5": ""} {
		if err := os.MkdirAll(filepath.Join(dir, tid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tid, "stat"), []byte(line), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n := runnable(dir); n != 2 {
		t.Errorf("%d threads run, want 2", n)
	}
	if n := runnable(filepath.Join(dir, "none")); n != 0 {
		t.Errorf("%d threads run in no folder", n)
	}
}

// A thread that spins is waited for, however long it takes to get the processor.
func TestQuiet(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the states of threads are those of Linux")
	}
	var over atomic.Bool
	began := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(began)
		for start := time.Now(); time.Since(start) < 50*time.Millisecond; {
		}
		over.Store(true)
	}()
	<-began
	for range 10 { // a busy machine may keep threads of the runtime waiting for a processor
		if quiet() {
			if !over.Load() {
				t.Error("the process is quiet while a thread of it spins")
			}
			return
		}
	}
	t.Error("the process is never quiet")
}
