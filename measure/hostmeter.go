package measure

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// HostMeter is a Meter of this machine that two processes never both count. The first process measures: it holds the machine's
// lock and keeps its ledger. Others attach: they read the same counters, but none of it is in their headline, and where energy
// is modelled they leave the machine's idle power to the first. The lock ends with its process, however that ends.
type HostMeter struct {
	m      Meter
	lock   *HostLock
	ledger *Ledger
	note   string // of an attached meter
	err    error
}

// idleLeaver is a Meter that can leave the idle power of the machine to somebody else.
type idleLeaver interface{ leaveIdle(note string) }

// ShareHost takes the machine's lock in dir (os.TempDir() for "") for m, or attaches m where another process has it. A lock or
// a ledger that cannot be made is an error, and m is still usable by itself.
func ShareHost(m Meter, dir string) (*HostMeter, error) {
	h := &HostMeter{m: m}
	lock, err := LockHost(dir)
	if errors.Is(err, ErrHostBusy) {
		h.note = fmt.Sprintf("counted by another process (%v)", err)
		if x, ok := m.(idleLeaver); ok {
			x.leaveIdle("idle power of the machine is " + h.note)
		}
		return h, nil
	}
	if err != nil {
		return nil, err
	}
	h.lock = lock
	if h.ledger, err = OpenLedger(dir); err != nil {
		return nil, errors.Join(err, lock.Release())
	}
	return h, nil
}

// Attached says who counts the machine, or "" where this process does.
func (h *HostMeter) Attached() string { return h.note }

// Read reads the meter; the holder enters the reading in the ledger before it is used. A ledger that cannot be written is told by
// Close, the reading stands.
func (h *HostMeter) Read() (Reading, error) {
	r, err := h.m.Read()
	if h.ledger != nil && len(r.Domains) > 0 {
		if lerr := h.ledger.Add(r); h.err == nil {
			h.err = lerr
		}
	}
	if h.note == "" {
		return r, err
	}
	for i := range r.Domains {
		if d := &r.Domains[i]; d.Source.Kind == Measured {
			d.Domain.Headline = false
			d.Source.Note = joinNote(d.Source.Note, h.note)
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
