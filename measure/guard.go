package measure

import (
	"errors"
	"io"
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
}

// NewGuard starts the background reads that m asks for (see Guarded). Close stops them and waits; it leaves m open.
func NewGuard(m Meter) *Guard {
	g := &Guard{m: m, quit: make(chan struct{})}
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
				_, _ = g.Read() // a failed read is in the next Reading's Errors
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

// Join reads several meters as one, such as the CPU's and a board's: their domains stand side by side. Zones must
// differ. A meter that fails leaves its domains out of that Reading, which windows show as unreadable.
func Join(meters ...Meter) Meter { return joined(meters) }

type joined []Meter

// Read reads all of them; the error is that of all when none answered.
func (j joined) Read() (Reading, error) {
	var out Reading
	var errs []error
	for _, m := range j {
		r, err := m.Read()
		if err != nil {
			errs = append(errs, err)
		}
		out.At = max(out.At, r.At)
		out.Domains = append(out.Domains, r.Domains...)
	}
	if len(errs) == len(j) {
		return out, errors.Join(errs...)
	}
	return out, nil
}

// Period returns the longest of the meters' periods.
func (j joined) Period() time.Duration {
	var most time.Duration
	for _, m := range j {
		if p, ok := m.(Perioder); ok {
			most = max(most, p.Period())
		}
	}
	return most
}

// GuardPeriod returns the shortest of the meters' guard periods; 0 when none needs one.
func (j joined) GuardPeriod() time.Duration {
	var least time.Duration
	for _, m := range j {
		if g, ok := m.(Guarded); ok && g.GuardPeriod() > 0 && (least == 0 || g.GuardPeriod() < least) {
			least = g.GuardPeriod()
		}
	}
	return least
}

// Describe joins what the meters say of themselves.
func (j joined) Describe() string {
	s := ""
	for _, m := range j {
		if d, ok := m.(Describer); ok {
			if s != "" {
				s += "; "
			}
			s += d.Describe()
		}
	}
	return s
}

// Close closes those that can be closed.
func (j joined) Close() error {
	var errs []error
	for _, m := range j {
		if c, ok := m.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
