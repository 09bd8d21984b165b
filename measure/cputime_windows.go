package measure

import (
	"fmt"
	"time"

	"golang.org/x/sys/windows"
)

// ProcessCPU returns user + kernel time of this process.
func ProcessCPU() (time.Duration, error) {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		return 0, fmt.Errorf("measure: GetProcessTimes: %w", err)
	}
	ticks := func(f windows.Filetime) time.Duration {
		return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
	}
	return ticks(kernel) + ticks(user), nil
}
