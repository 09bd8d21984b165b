//go:build amd64 && !noasm

package kernel

import (
	"sync"

	"golang.org/x/sys/cpu"
)

// detectLevels returns the levels above Generic.
func detectLevels() []ISA {
	x := &cpu.X86
	if !x.HasAVX2 || !x.HasFMA || !x.HasF16C {
		return nil
	}
	l := []ISA{AVX2}
	if x.HasAVXVNNI {
		l = append(l, AVXVNNI)
	}
	if !x.HasAVX512F || !x.HasAVX512BW || !x.HasAVX512VL || !x.HasAVX512DQ {
		return l
	}
	l = append(l, AVX512)
	if !x.HasAVX512VNNI {
		return l
	}
	l = append(l, AVX512VNNI)
	if !x.HasAVX512BF16 {
		return l
	}
	l = append(l, AVX512BF16)
	if x.HasAMXTile && x.HasAMXInt8 && x.HasAMXBF16 && requestTiles() {
		l = append(l, AMX)
	}
	return l
}

// dotsPay tells whether VDPBF16PS does more multiply-adds a second than VFMADD231PS: measured on AMD family 19h (Zen 4). On
// Sapphire Rapids it does half as many (108 against 213 Gflop/s); other CPUs with it were not measured.
var dotsPay = sync.OnceValue(func() bool {
	family, _ := amdFamily()
	return family == 0x19
})

// readsAhead tells whether products of one row with AVX2 do best when little is fetched ahead: on Zen 4 reading the weights of one
// takes 1.4 times as long otherwise, on Zen 3 (models 0 to 0xf and 0x20 to 0x5f of the family) less. Zen 5 is taken for a Zen 4; other CPUs were not measured.
// A variable for the sake of tests.
var readsAhead = func() bool {
	family, model := amdFamily()
	return family == 0x19 && (model>>4 == 1 || model >= 0x60) || family > 0x19
}()

// asksAhead tells whether with AVX-512 products of float32 go through all panels of B with one block of rows before they take the next, so that what
// the kernels fetch ahead is what comes next, convolutions fetch the next weights, and products of one row by weights in blocks those 2 KiB on, of
// large models 13.5 KiB on too: on Emerald Rapids 1024 rows by [384, 1536] take 4 % less time so, a ResNet-50 3 to 6 %, and weights from memory 10 to
// 25 %. Other CPUs of Intel were not measured; those of AMD do as they were measured to do best. A variable for the sake of tests.
var asksAhead = func() bool {
	family, _ := amdFamily()
	return family == 0
}()

// amdFamily returns the family and the model of a CPU of AMD, and zeros of another.
func amdFamily() (family, model uint32) {
	_, b, c, d := cpuid(0, 0)
	if b != 0x68747541 || d != 0x69746e65 || c != 0x444d4163 { // AuthenticAMD
		return 0, 0
	}
	a, _, _, _ := cpuid(1, 0)
	family, model = a>>8&0xf, a>>4&0xf
	if family == 0xf {
		family += a >> 20 & 0xff
		model += a >> 16 & 0xf << 4
	}
	return family, model
}

// lastLevel returns the bytes of the third-level cache that the CPU shows, 0 where it shows none: CPUID leaf 4, on AMD leaf 0x8000001d.
var lastLevel = sync.OnceValue(func() int {
	most, _, _, _ := cpuid(0, 0)
	leaf := uint32(4)
	if family, _ := amdFamily(); family != 0 {
		most, _, _, _ = cpuid(0x80000000, 0)
		leaf = 0x8000001d
	}
	if most < leaf {
		return 0
	}
	for i := range uint32(16) {
		a, b, c, _ := cpuid(leaf, i)
		switch {
		case a&31 == 0: // no more caches
			return 0
		case a>>5&7 == 3:
			return cacheSize(b, c)
		}
	}
	return 0
})

// cacheSize is ways * partitions * bytes of a line * sets, of registers EBX and ECX of the leaves of caches.
func cacheSize(b, c uint32) int {
	return (int(b>>22) + 1) * (int(b>>12&0x3ff) + 1) * (int(b&0xfff) + 1) * (int(c) + 1)
}

// cpuid executes CPUID.
//
//go:noescape
func cpuid(leaf, sub uint32) (a, b, c, d uint32)

// pause executes n PAUSE instructions (n >= 1).
//
//go:noescape
func pause(n int)
