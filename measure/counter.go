package measure

import (
	"errors"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

// plausibility is P_bound / P_max: more than this much of the most power a domain can draw is not believed.
const plausibility = 1.5

// counterSpec is what is known of a cumulative counter. Units are raw counts throughout.
type counterSpec struct {
	rng      uint64        // what the count is taken modulo; 0: not known, or too wide ever to wrap
	perJoule float64       // counts in one joule
	pmax     Watts         // most power the domain can draw
	period   time.Duration // update period τ
	moves    bool          // it must move while the machine is on: not moving is "stuck"
	wide     bool          // 64 bits: it never wraps, a fall is a reset
}

// counter turns successive reads of a wrapping counter into energy that an honest reader may claim. A read
// that fails loses nothing (the count goes on); a fall or a jump that no plausible power explains is a gap, and
// a gap is never filled.
type counter struct {
	spec   counterSpec
	seen   bool          // there was a first read, successful or not
	have   bool          // v0 and t0 are set
	first  time.Duration // of the first read
	last   time.Duration // of the last read
	lastOK time.Duration // of the last successful read
	t0     time.Duration // when v0 was first seen
	v0     uint64
	sum    uint64 // counts claimed
	gaps   []Gap
	errs   []string
}

// maxGaps bounds the memory of a counter that misbehaves for days; later gaps extend the last one.
const maxGaps = 4096

// bound returns the counts that the domain can draw in dt.
func (c *counter) bound(dt time.Duration) float64 {
	return float64(c.spec.pmax) * plausibility * dt.Seconds() * c.spec.perJoule
}

// read takes one read: v is ignored where err is not nil.
func (c *counter) read(t time.Duration, v uint64, err error) {
	if !c.seen {
		c.seen, c.first = true, t
	}
	c.last = t
	if err != nil {
		c.fail(err)
		return
	}
	if !c.have {
		if t > c.first {
			c.gap(c.first, t, GapUnreadable)
		}
		c.have, c.v0, c.t0, c.lastOK = true, v, t, t
		return
	}
	// An equal value read in between proves that the count did not wrap up to then, so only the time since
	// the last successful read can hide a wrap; the energy itself may stem from all the time since t0.
	quiet := t - c.lastOK
	c.lastOK = t
	if v == c.v0 {
		return
	}
	c.step(t, quiet, v)
	c.v0, c.t0 = v, t
}

// step claims the counts from v0 to v or records why not.
func (c *counter) step(t, quiet time.Duration, v uint64) {
	dt := t - c.t0
	slack := 0.1 * c.spec.perJoule
	fell := v < c.v0
	switch {
	case c.spec.rng > 0 && c.bound(quiet) >= float64(c.spec.rng):
		c.gap(c.t0, t, GapAmbiguousWrap)
	case fell && c.spec.wide:
		c.gap(c.t0, t, GapReset)
	case fell && c.spec.rng == 0:
		c.gap(c.t0, t, GapNoRange)
	case fell && c.v0-v > c.spec.rng:
		c.gap(c.t0, t, GapReset) // the old value was beyond the stated range
	case fell:
		d := c.spec.rng - (c.v0 - v)
		if float64(d) > c.bound(dt)+slack {
			c.gap(c.t0, t, GapReset)
			return
		}
		c.add(d)
	default:
		d := v - c.v0
		if float64(d) > c.bound(dt)+slack {
			c.gap(c.t0, t, GapImplausible)
			return
		}
		c.add(d)
	}
}

// add saturates instead of wrapping: 2^64 µJ are 580 000 years at 1 W.
func (c *counter) add(d uint64) {
	if s := c.sum + d; s >= c.sum {
		c.sum = s
	} else {
		c.sum = ^uint64(0)
	}
}

func (c *counter) gap(from, to time.Duration, reason string) {
	if n := len(c.gaps); n == maxGaps {
		c.gaps[n-1].To = to
		return
	}
	c.gaps = append(c.gaps, Gap{from, to, reason})
}

// fail records the name of a read error once.
func (c *counter) fail(err error) {
	name := errName(err)
	if !slices.Contains(c.errs, name) && len(c.errs) < 16 {
		c.errs = append(c.errs, name)
	}
}

// tell fills in what a Reading says of the counter, as if the window ended at the last read, but for its energy.
func (c *counter) tell(d *DomainReading) {
	d.Gaps, d.Status = c.state()
	d.Errors, d.Stale = c.errs, c.have && (c.last > c.lastOK || c.stuck())
}

// stuck reports whether the counter stood still for longer than its domain can go without power.
func (c *counter) stuck() bool {
	return c.spec.moves && c.lastOK-c.t0 >= max(time.Second, 20*c.spec.period)
}

// state returns the gaps as if the window ended at the last read, and the status.
func (c *counter) state() ([]Gap, string) {
	gaps := slices.Clone(c.gaps)
	switch {
	case !c.have && c.last > c.first:
		return append(gaps, Gap{c.first, c.last, GapUnreadable}), StatusUnreadable
	case !c.have && len(c.errs) > 0:
		return gaps, StatusUnreadable
	case !c.have:
		return gaps, StatusOK
	}
	if c.stuck() {
		gaps = append(gaps, Gap{c.t0, c.last, GapStuck})
	} else if c.last > c.lastOK {
		gaps = append(gaps, Gap{c.lastOK, c.last, GapUnreadable})
	}
	if len(gaps) > 0 {
		return gaps, StatusPartial
	}
	return gaps, StatusOK
}

// minGuard keeps a counter with an absurdly small range from being polled without pause.
const minGuard = 100 * time.Millisecond

// guard returns the longest safe time between reads: range/(4·P_max), at most 60 s.
func (c *counter) guard() time.Duration {
	const most = 60 * time.Second
	if c.spec.rng == 0 || c.spec.pmax <= 0 {
		return most
	}
	s := float64(c.spec.rng) / c.spec.perJoule / (4 * float64(c.spec.pmax))
	if s >= most.Seconds() {
		return most
	}
	return max(minGuard, time.Duration(s*float64(time.Second)))
}

// errName names the errors that fixtures and users know by name.
func errName(err error) string {
	var no syscall.Errno
	switch {
	case errors.As(err, &no) && no == syscall.EIO:
		return "EIO"
	case errors.As(err, &no) && no == syscall.EPERM:
		return "EPERM"
	case errors.As(err, &no) && no == syscall.ENODEV:
		return "ENODEV"
	case errors.Is(err, errGarbage):
		return "garbage"
	case errors.Is(err, fs.ErrPermission):
		return "EACCES"
	case errors.Is(err, fs.ErrNotExist):
		return "ENOENT"
	}
	return err.Error()
}
