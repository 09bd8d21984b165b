package measure

import (
	"errors"
	"io"
	"strings"
	"time"
)

// HostMeter is a Meter of this machine that two processes never both count. The first process measures: it holds the machine's
// lock and keeps its ledger. Others attach: they read the same counters, but none of it is in their headline, and where energy
// is modelled they leave the machine's idle power to the first; every Source then says so (CountedBy). The lock ends with its
// process, however that ends, and the next reading of an attached meter that finds it free takes it: from that reading on the
// meter counts, and no window that began before counts in it.
type HostMeter struct {
	m      Meter
	dir    string
	lock   *HostLock
	ledger *Ledger
	by     string // who counts the machine, of an attached meter
	tried  time.Time
	err    error
}

// retryLock is the least time between two looks of an attached meter for the lock.
const retryLock = time.Second

// idleLeaver is a Meter that can leave the idle power of the machine to somebody else, and take it back.
type idleLeaver interface {
	leaveIdle()
	takeIdle()
}

// ShareHost takes the machine's lock in dir (HostDir() for "") for m, or attaches m where another process has it. A lock or
// a ledger that cannot be made is an error, and m is still usable by itself.
func ShareHost(m Meter, dir string) (*HostMeter, error) {
	h := &HostMeter{m: m, dir: dir, tried: time.Now()}
	err := h.take()
	if errors.Is(err, ErrHostBusy) {
		h.by = strings.TrimPrefix(strings.TrimPrefix(err.Error(), ErrHostBusy.Error()), ": ")
		if !strings.HasPrefix(h.by, "process ") {
			h.by = "another process"
		}
		if x, ok := m.(idleLeaver); ok {
			x.leaveIdle()
		}
		return h, nil
	}
	if err != nil && h.lock != nil {
		err = errors.Join(err, h.lock.Release())
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// take takes the lock and opens the ledger. Where only the ledger fails, the lock is held all the same.
func (h *HostMeter) take() (err error) {
	if h.lock, err = LockHost(h.dir); err != nil {
		return err
	}
	h.ledger, err = OpenLedger(h.dir)
	return err
}

// Attached says who counts the machine, or "" where this process does.
func (h *HostMeter) Attached() string { return h.by }

// Read reads the meter; the holder enters the reading in the ledger before it is used. A ledger that cannot be written is told by
// Close, the reading stands. So does one that takes over where lock or ledger cannot be made: nobody else is known to count, so this
// meter does, without a ledger, and Close tells.
func (h *HostMeter) Read() (Reading, error) {
	takes := false
	if h.by != "" && time.Since(h.tried) >= retryLock {
		h.tried = time.Now()
		lerr := h.take() // before the counters are read: what a holder counts until it gives the lock back is not counted here too
		if takes = !errors.Is(lerr, ErrHostBusy); takes && h.err == nil {
			h.err = lerr
		}
	}
	r, err := h.m.Read()
	if takes { // what was used up to this reading was the other's, from here on it is counted here
		h.by = ""
		if x, ok := h.m.(idleLeaver); ok {
			x.takeIdle()
		}
	}
	if h.ledger != nil && len(r.Domains) > 0 {
		if lerr := h.ledger.Add(r); h.err == nil {
			h.err = lerr
		}
	}
	if h.by == "" {
		return r, err
	}
	for i := range r.Domains {
		d := &r.Domains[i]
		d.Source.CountedBy = h.by
		if d.Source.Kind == Measured {
			d.Domain.Headline = false
		}
	}
	return r, err
}

// Period passes on the meter's period; 0 when it has none.
func (h *HostMeter) Period() time.Duration {
	if p, ok := h.m.(Perioder); ok {
		return p.Period()
	}
	return 0
}

// GuardPeriod passes on how often the meter must be read; 0 when it need not be.
func (h *HostMeter) GuardPeriod() time.Duration {
	if g, ok := h.m.(Guarded); ok {
		return g.GuardPeriod()
	}
	return 0
}

// Describe passes on what the meter says of itself.
func (h *HostMeter) Describe() string {
	if d, ok := h.m.(Describer); ok {
		return d.Describe()
	}
	return ""
}

// Close closes the meter, the ledger and the lock, in this order, and returns what went wrong with the ledger.
func (h *HostMeter) Close() error {
	errs := []error{h.err}
	if c, ok := h.m.(io.Closer); ok {
		errs = append(errs, c.Close())
	}
	if h.ledger != nil {
		errs = append(errs, h.ledger.Close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Release())
	}
	return errors.Join(errs...)
}

// CountedBy is the process that counted the machine during the window, where it was another one; "" otherwise.
func (w Window) CountedBy() string {
	for _, d := range w.Domains {
		if d.Source.CountedBy != "" {
			return d.Source.CountedBy
		}
	}
	return ""
}

// CountedBy is the process that counted the machine during the block, where it was another one; "" otherwise.
func (b Block) CountedBy() string { return Window{Domains: b.Energy}.CountedBy() }
