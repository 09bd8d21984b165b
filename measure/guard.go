package measure

import (
	"sync"
	"time"
)

// Guard is a Meter that several goroutines may read. Where its counters wrap it also reads them in the background, so that
// two wraps never hide between two reads: wrap a meter in it for work that takes longer than GuardPeriod.
type Guard struct {
	mu   sync.Mutex
	m    Meter
	quit chan struct{}
	wg   sync.WaitGroup
	once sync.Once
	cost time.Duration
	n    int
	born time.Time
}

// NewGuard starts the background reads that m asks for (see Guarded). Close stops them and waits; it leaves m open.
func NewGuard(m Meter) *Guard {
	g := &Guard{m: m, quit: make(chan struct{}), born: time.Now()}
	p, ok := m.(Guarded)
	if !ok || p.GuardPeriod() <= 0 {
		return g
	}
	g.wg.Go(func() {
		tick := time.NewTicker(p.GuardPeriod())
		defer tick.Stop()
		for {
			select {
			case <-g.quit:
				return
			case <-tick.C:
				g.poll()
			}
		}
	})
	return g
}

// Read reads the meter.
func (g *Guard) Read() (Reading, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m.Read()
}

// poll reads in the background and notes what that took; a failed read is in the next Reading's Errors.
func (g *Guard) poll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := time.Now()
	_, _ = g.m.Read()
	g.cost += time.Since(t)
	g.n++
}

// Cost returns how many background reads there were and how long they took in all: part of the meter's own overhead.
func (g *Guard) Cost() (reads int, total time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n, g.cost
}

// ownShare is the part of the time since NewGuard that background reads took.
func (g *Guard) ownShare() float64 {
	_, cost := g.Cost()
	return cost.Seconds() / max(time.Since(g.born), 1).Seconds()
}

// wrapper is a Meter that reads others.
type wrapper interface{ wrapped() []Meter }

func (g *Guard) wrapped() []Meter     { return []Meter{g.m} }
func (r *Recorder) wrapped() []Meter  { return []Meter{r.m} }
func (h *HostMeter) wrapped() []Meter { return []Meter{h.m} }
func (j joined) wrapped() []Meter     { return j }

// backgroundShare is the part of the time that m and what it wraps spend in the background: reads of guards, polls of external meters.
func backgroundShare(m Meter) float64 {
	share := 0.0
	if x, ok := m.(interface{ ownShare() float64 }); ok {
		share = x.ownShare()
	}
	if w, ok := m.(wrapper); ok {
		for _, in := range w.wrapped() {
			share += backgroundShare(in)
		}
	}
	return share
}

// Period passes on the meter's period; 0 when it has none.
func (g *Guard) Period() time.Duration {
	if p, ok := g.m.(Perioder); ok {
		return p.Period()
	}
	return 0
}

// Describe passes on what the meter says of itself.
func (g *Guard) Describe() string {
	if d, ok := g.m.(Describer); ok {
		return d.Describe()
	}
	return ""
}

// Close stops the background reads.
func (g *Guard) Close() error {
	g.once.Do(func() { close(g.quit) })
	g.wg.Wait()
	return nil
}
