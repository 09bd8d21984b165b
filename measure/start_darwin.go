package measure

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// startTime tells when a process started, in seconds and microseconds since 1970; "" where that cannot be read.
func startTime(pid int) string {
	p, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(p.Proc.P_pid) != pid {
		return ""
	}
	return fmt.Sprintf("%d.%06d", p.Proc.P_starttime.Sec, p.Proc.P_starttime.Usec)
}
