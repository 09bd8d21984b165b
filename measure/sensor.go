package measure

import (
	"errors"
	"time"
)

// powerSensor integrates a power reading over time by the trapezoid rule. It misses what happens between two reads,
// so reads that lie too far apart are a gap and not an estimate.
type powerSensor struct {
	counter               // its sum is in µJ; its gaps, errors and times serve here too
	hold    time.Duration // longest time between reads that is integrated
	limit   Watts         // readings above it are garbage
	watts   float64
	rest    float64 // µJ not yet in sum
	other   bool    // the power came from elsewhere since the last good read: nothing is integrated across that
}

// read takes one power reading.
func (s *powerSensor) read(t time.Duration, w float64, err error) {
	if !s.seen {
		s.seen, s.first = true, t
	}
	s.last = t
	if err != nil {
		s.other = s.other || errors.Is(err, errCharging)
		s.fail(err)
		return
	}
	if !(w >= 0) || w > float64(s.limit) {
		s.fail(errGarbage)
		return
	}
	switch {
	case !s.have:
		if t > s.first {
			s.gap(s.first, t, GapUnreadable)
		}
		s.have = true
	case t-s.lastOK > s.hold || s.other:
		s.gap(s.lastOK, t, GapUnreadable)
	default:
		s.rest += (s.watts + w) / 2 * (t - s.lastOK).Seconds() * MicroPerUnit
		whole := uint64(s.rest)
		s.rest -= float64(whole)
		s.add(whole)
	}
	s.watts, s.lastOK, s.t0, s.other = w, t, t, false
}

type sensorError string

// Error returns the message.
func (e sensorError) Error() string { return string(e) }

// errGarbage names readings that no device can mean, such as 4294967295000 µW.
const errGarbage = sensorError("garbage")
