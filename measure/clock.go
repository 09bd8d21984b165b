package measure

import (
	"context"
	"time"
)

// SystemClock is the Clock of this machine: Go's monotonic clock, counted from its creation.
type SystemClock struct{ start time.Time }

// NewSystemClock starts a clock at 0.
func NewSystemClock() SystemClock { return SystemClock{time.Now()} }

// Now returns the time since the clock was made, without the time that the machine slept on Linux.
func (c SystemClock) Now() time.Duration { return time.Since(c.start) }

// Boottime returns a clock that counts suspend, so that the difference to Now shows it.
func (c SystemClock) Boottime() time.Duration { return Boottime() }

// Sleep waits for d or until ctx ends.
func (c SystemClock) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
