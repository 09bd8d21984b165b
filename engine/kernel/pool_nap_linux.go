package kernel

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Operations of futex(2) on a word that this process alone uses.
const (
	futexWait = 0 | 128
	futexWake = 1 | 128
)

var napTime = syscall.NsecToTimespec(int64(napLength))

// nap waits in the kernel until word is not seen or napLength has passed. Whoever changes word calls rouse.
func nap(word *atomic.Uint32, seen uint32) {
	for word.Load() == seen {
		_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWait, uintptr(seen), uintptr(unsafe.Pointer(&napTime)), 0, 0)
		if e != 0 && e != syscall.EINTR && e != syscall.EAGAIN { // the time is over, or there is no futex here
			return
		}
	}
}

// rouse ends the naps of up to k threads at word, and returns how many.
func rouse(word *atomic.Uint32, k int) int {
	n, _, e := syscall.RawSyscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(word)), futexWake, uintptr(k), 0, 0, 0)
	if e != 0 {
		return 0
	}
	return int(n)
}
