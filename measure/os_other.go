//go:build !linux

package measure

import (
	"errors"
	"time"
)

// Boottime returns the wall clock since 1970: the best portable clock that counts suspend. Setting the
// machine's time inside a window disturbs it.
func Boottime() time.Duration { return time.Duration(time.Now().UnixNano()) }

// OpenPerf reports that perf events exist on Linux only.
func OpenPerf(typ uint32, config uint64, cpu int) (PerfCounter, error) {
	return nil, errors.ErrUnsupported
}
