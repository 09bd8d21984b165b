package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// workersWait returns when all workers of p are parked: none naps for ever, nor spins.
func workersWait(t *testing.T, p *Pool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); int(p.parked.Load()) != p.threads-1 || p.asleep.Load() != 0; time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d workers parked, %d nap", p.parked.Load(), p.threads-1, p.asleep.Load())
		}
	}
}

// TestPoolWakes: a Run finds the workers as they spin, as they nap, as they park or in between, and Close ends them in each state.
func TestPoolWakes(t *testing.T) {
	pauses := []time.Duration{0, parkSpin / 2, parkSpin, napLength / 2, napLength, napLength + parkSpin, napTotal, 2 * napTotal}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 4} {
		runtime.GOMAXPROCS(procs)
		for _, threads := range []int{2, 5} {
			for _, spin := range []time.Duration{0, 30 * time.Microsecond} {
				for i, pause := range pauses {
					p := NewPool(threads, spin)
					for round := range 3 * len(pauses) {
						if round%3 == 1 {
							p.Begin()
						}
						hits := make([]int, 1+(round+i)%(2*threads)) // plain memory: the race detector checks what Run orders
						p.Run(len(hits), func(i int) { hits[i]++ })
						for i, h := range hits {
							if h != 1 {
								t.Fatalf("index %d of %d ran %d times", i, len(hits), h)
							}
						}
						if round%3 == 2 {
							p.End()
						}
						wait := pauses[(round+i)%len(pauses)]
						for start := time.Now(); time.Since(start) < wait; {
							runtime.Gosched()
						}
					}
					time.Sleep(pause)
					p.Close()
				}
			}
		}
	}
}

// TestPoolParks: workers without a job end up parked, in a pass too and where one came between.
func TestPoolParks(t *testing.T) {
	for _, threads := range []int{2, 5} {
		p := NewPool(threads, 0)
		workersWait(t, p)
		p.Begin()
		for range 5 {
			p.Run(2, func(int) {})
			workersWait(t, p)
		}
		p.End()
		p.Close()
		if p.asleep.Load() != 0 {
			t.Errorf("%d workers nap after Close", p.asleep.Load())
		}
	}
}

// TestPoolTakesPart: each worker takes part in a Run that needs all, whatever it was doing; the threads of one that needs them all at once
// wait for each other.
func TestPoolTakesPart(t *testing.T) {
	for _, threads := range []int{2, 5} {
		p := NewPool(threads, 0)
		for round := range 60 {
			var here atomic.Int32
			p.Run(threads, func(int) {
				here.Add(1)
				for end := time.Now().Add(10 * time.Second); int(here.Load()) < threads; time.Sleep(10 * time.Microsecond) {
					if time.Now().After(end) {
						t.Errorf("%d of %d threads came", here.Load(), threads)
						return
					}
				}
			})
			time.Sleep(time.Duration(round%4) * napLength)
		}
		p.Close()
	}
}

// TestNap: naps end when the word has changed, however many nap and however few are roused at a time, and at once where it had changed before.
func TestNap(t *testing.T) {
	for range 50 {
		var word atomic.Uint32
		word.Store(7)
		nap(&word, 6)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for word.Load() == 7 {
					nap(&word, 7)
				}
			})
		}
		runtime.Gosched()
		word.Add(1)
		if n := rouse(&word, 3); n < 0 || n > 3 {
			t.Fatalf("%d of 3 roused", n)
		}
		wg.Wait()
	}
}
