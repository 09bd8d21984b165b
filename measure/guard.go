package measure

import (
	"sync"
	"time"
)

// guarded makes a Meter safe to read from the guard poll and the blocks.
type guarded struct {
	mu sync.Mutex
	m  Meter
}

// Read reads the meter.
func (g *guarded) Read() (Reading, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Read()
}

// read reads the meter and notes what the read cost.
func (r *runner) read() (Reading, error) {
	if r.meter == nil {
		return Reading{}, nil
	}
	t := r.p.Clock.Now()
	reading, err := r.meter.Read()
	r.reads = append(r.reads, r.p.Clock.Now()-t)
	return reading, err
}

// startGuard polls a meter whose counters wrap, so that no block is long enough to hide two wraps. The function
// returned stops the poll and waits for it.
func (r *runner) startGuard() func() {
	g, ok := r.p.Meter.(Guarded)
	if !ok || g.GuardPeriod() <= 0 {
		return func() {}
	}
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(g.GuardPeriod())
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				_, _ = r.meter.Read() // a failed read is in the next Reading's Errors
			}
		}
	})
	return func() { close(quit); wg.Wait() }
}
