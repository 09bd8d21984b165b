//go:build unix

package kernel

import (
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestStress: products and convolutions give the bits that plain loops or the Go twins gave before, while the collector runs all the time,
// the profiler interrupts and other signals rain in, from several goroutines that share a pool. WATTSHED_STRESS is the number of calls,
// 50,000 by default.
func TestStress(t *testing.T) {
	total := int64(50000)
	if s := os.Getenv("WATTSHED_STRESS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			t.Fatalf("WATTSHED_STRESS is %q", s)
		}
		total = n
	}
	calls := stressCalls(t, rand.New(rand.NewPCG(1, 9)))
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	if err := pprof.StartCPUProfile(io.Discard); err == nil {
		defer pprof.StopCPUProfile()
	}
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, syscall.SIGUSR1)
	defer signal.Stop(caught)
	stop := make(chan struct{})
	var noise sync.WaitGroup
	var signals atomic.Int64
	noise.Add(2)
	go func() {
		defer noise.Done()
		for {
			select {
			case <-stop:
				return
			case <-caught:
				signals.Add(1)
			case <-time.After(100 * time.Microsecond):
			}
			_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
		}
	}()
	var sink [][]byte
	go func() { // garbage, and stacks that move
		defer noise.Done()
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			sink = append(sink[:i%16], make([]byte, 1<<14))
			runtime.Gosched()
			time.Sleep(50 * time.Microsecond)
		}
	}()
	pool := NewPool(4, 20*time.Microsecond)
	defer pool.Close()
	var done, wrong atomic.Int64
	var work sync.WaitGroup
	for g := range 6 {
		work.Add(1)
		go func() {
			defer work.Done()
			r := rand.New(rand.NewPCG(uint64(g), 3))
			for done.Add(1) <= total {
				s := &calls[r.IntN(len(calls))]
				c := make([]float32, len(s.want)) // garbage on purpose
				p := pool
				if g%2 == 1 {
					p = nil
				}
				s.run(p, c)
				if at := sameBits(c, s.want); at >= 0 {
					if wrong.Add(1) == 1 {
						t.Errorf("%s: element %d is %g, want %g", s.name, at, c[at], s.want[at])
					}
				}
			}
		}()
	}
	var before, after debug.GCStats
	debug.ReadGCStats(&before)
	work.Wait()
	debug.ReadGCStats(&after)
	close(stop)
	noise.Wait()
	t.Logf("%d calls on %s, %d wrong; %d collections, %d signals", total, Active(), wrong.Load(), after.NumGC-before.NumGC, signals.Load())
	if signals.Load() == 0 {
		t.Error("no signal arrived")
	}
}
