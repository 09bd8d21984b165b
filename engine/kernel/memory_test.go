package kernel

import (
	"runtime"
	"testing"
	"unsafe"
)

// TestMemory fills memory, gives it up and asks for it again: it is zeros from the first byte to the last, and aligned.
func TestMemory(t *testing.T) {
	for range 4 {
		for _, n := range []int{1, 63, 4096, hugePage, hugeFrom - 1, hugeFrom, hugeFrom + hugePage + 100} {
			b := Memory(n)
			to := uintptr(64)
			if n >= hugeFrom {
				to = hugePage
			}
			if len(b) != n || uintptr(unsafe.Pointer(&b[0]))%to != 0 {
				t.Fatalf("%d bytes: has %d, from %p on", n, len(b), &b[0])
			}
			for i, v := range b {
				if v != 0 {
					t.Fatalf("%d bytes: byte %d is %d", n, i, v)
				}
				b[i] = 0xff
			}
		}
		runtime.GC()
	}
}
