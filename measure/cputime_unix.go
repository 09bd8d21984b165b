//go:build unix

package measure

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessCPU returns user + system time of this process and of its children that were waited for.
func ProcessCPU() (time.Duration, error) {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return 0, fmt.Errorf("measure: getrusage: %w", err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum, nil
}
