package kernel

import (
	"encoding/binary"
	"runtime"
	"time"
)

// Peak is what one thread of this machine can do at most at the active ISA, measured; 0 where it was not.
type Peak struct {
	F32Flops  float64 // float32 operations per second, a multiply-add counted as two
	Int8Ops   float64 // u8*s8 operations per second, counted likewise; 0 without VNNI or tiles
	BF16Flops float64 // bfloat16 operations per second, counted likewise; 0 without VDPBF16PS or tiles
	ReadBps   float64 // bytes read per second from a buffer of the size that was asked for
}

// MeasurePeak runs loops of nothing but multiply-adds, and of nothing but loads from a buffer of readBytes, each for about
// d, in the calling goroutine, and keeps the best of several tries. It is the denominator of "fraction of peak": as good as
// the machine is idle. On Generic everything is 0.
func MeasurePeak(d time.Duration, readBytes int) Peak {
	var p Peak
	if f, flops := peakF32(Active()); f != nil {
		p.F32Flops = peakRate(d, f, flops)
	}
	if f, ops := peakInt8(Active()); f != nil {
		p.Int8Ops = peakRate(d, f, ops)
	}
	if f, flops := peakBF16(Active()); f != nil {
		p.BF16Flops = peakRate(d, f, flops)
	}
	if readBytes &^= 255; readBytes > 0 {
		if f := peakRead(Active()); f != nil {
			buf := make([]byte, readBytes)
			for i := 0; i < len(buf); i += 4096 {
				buf[i] = 1 // touch every page: untouched ones are all the same zero page
			}
			p.ReadBps = peakRate(d, func(n int) {
				for range n {
					f(buf)
				}
			}, float64(readBytes))
		}
	}
	return p
}

// peakRate returns the best rate of f in work units per second; f(n) does n*unit of work.
func peakRate(d time.Duration, f func(n int), unit float64) float64 {
	n, t := 1, time.Duration(0)
	for {
		start := time.Now()
		f(n)
		if t = time.Since(start); t > d/10 || t > 100*time.Millisecond {
			break
		}
		n *= 2
	}
	for range 9 {
		start := time.Now()
		f(n)
		t = min(t, time.Since(start))
	}
	return float64(n) * unit / t.Seconds()
}

// Read loads every byte of x once, in as many pieces per thread as the products have tasks: what a product that waits for
// nothing but its weights takes. The measure of "fraction of the read bandwidth".
func Read(p *Pool, x []byte) {
	f := peakRead(Active())
	if f == nil {
		f = readGo
	}
	parts := 1
	if p.Threads() > 1 {
		parts = 4 * p.Threads()
	}
	size := (len(x)/parts + 255) &^ 255
	p.Run(parts, func(i int) {
		if lo, hi := i*size, min((i+1)*size, len(x))&^255; lo < hi {
			f(x[lo:hi])
		}
	})
}

// readGo reads x where there is no assembly.
func readGo(x []byte) {
	var s uint64
	for i := 0; i+8 <= len(x); i += 8 {
		s += binary.LittleEndian.Uint64(x[i:])
	}
	if s == 1 { // keeps the loop
		runtime.KeepAlive(x)
	}
}
