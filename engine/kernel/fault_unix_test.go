//go:build unix

package kernel

import (
	"runtime"
	"runtime/debug"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// gone returns n elements of memory of which the second half faults when it is read.
func gone[T any](t *testing.T, n int) []T {
	t.Helper()
	var z T
	size := n * int(unsafe.Sizeof(z))
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(b); err != nil {
			t.Error(err)
		}
	})
	page := unix.Getpagesize()
	if err := unix.Mprotect(b[(size/2+page-1)/page*page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

// faults runs f and wants that it panics with a fault within x; the collector looks at the frames meanwhile, those of assembly
// among them, and the stack grows on top of them.
func faults[T any](t *testing.T, what string, x []T, f func()) {
	t.Helper()
	old := debug.SetPanicOnFault(true)
	defer func() {
		runtime.GC()
		grow(1000)
		debug.SetPanicOnFault(old)
		r, ok := recover().(memoryFault)
		lo := uintptr(unsafe.Pointer(&x[0]))
		if !ok || r.Addr() < lo || r.Addr() >= lo+uintptr(len(x))*unsafe.Sizeof(x[0]) || r.Error() == "" {
			t.Errorf("%s: %v", what, r)
		}
	}()
	f()
}

//go:noinline
func grow(n int) byte {
	var frame [256]byte
	if n > 0 {
		frame[n%256] = grow(n - 1)
	}
	return frame[0]
}

// TestFaults: memory that a kernel reads and that is not there panics in the caller, on one thread or several, and the pool works on.
func TestFaults(t *testing.T) {
	const side = 1024
	w := make([]float32, side*side)
	forEachISA(t, func(t *testing.T) {
		for _, threads := range []int{1, 3} {
			p := NewPool(threads, 0)
			x, y := gone[float32](t, side*side), make([]float32, side*side)
			codes := gone[uint8](t, side*side)
			faults(t, "add", x, func() { Add(y, w, x) })
			faults(t, "product", x, func() {
				GemmF32(p, side, x, side, PackF32(side, side, w, side, false), y, side, Epilogue{})
			})
			g := Window{H: side / 4, W: side / 4, KH: 3, KW: 3, SH: 1, SW: 1, DH: 1, DW: 1, Top: 1, Left: 1, OH: side / 4, OW: side / 4}
			out := make([]float32, 32*g.OH*g.OW)
			faults(t, "convolution", x, func() {
				ConvBlocked(p, 1, out, x, PackConv(w[:32*16*9], nil, 32, 16, 1, 3, 3, false), &g, BlockEpilogue{})
			})
			faults(t, "depthwise convolution", x, func() {
				ConvBlocked(p, 1, out[:16*g.OH*g.OW], x, PackConv(w[:16*9], nil, 16, 1, 16, 3, 3, false), &g, BlockEpilogue{})
			})
			faults(t, "pooling", x, func() { PoolBlocked(p, 1, 1, out[:16*g.OH*g.OW], x, &g, false, false) })
			sum := make([]int64, threads)
			faults(t, "loop", codes, func() {
				p.Run(threads, func(i int) {
					for _, c := range codes {
						sum[i] += int64(c)
					}
				})
			})
			n := make([]int, 100)
			p.Run(len(n), func(i int) { n[i]++ })
			for i, v := range n {
				if v != 1 {
					t.Fatalf("after the faults: index %d ran %d times", i, v)
				}
			}
			p.Close()
		}
	})
}
