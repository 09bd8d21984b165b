//go:build !noasm

package kernel

import "syscall"

// requestTiles asks Linux to let this process use AMX tiles, whose registers no thread's state has room for before (arch_prctl(2);
// Documentation/arch/x86/xstate.rst). Without it the first tile instruction ends the process. Linux refuses when a thread has a signal
// stack too small for the state.
func requestTiles() bool {
	const archReqXcompPerm, tileData = 0x1023, 18
	_, _, errno := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, archReqXcompPerm, tileData, 0)
	return errno == 0
}
