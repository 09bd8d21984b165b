//go:build !linux && !darwin && !windows

package measure

// startTime reports "": when a process started is not read on this system.
func startTime(int) string { return "" }
