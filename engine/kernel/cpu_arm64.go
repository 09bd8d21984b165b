//go:build arm64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// detectLevels returns the levels above Generic. It takes Advanced SIMD for granted, as the Go compiler does on arm64.
func detectLevels() []ISA {
	l := []ISA{NEON}
	if x := &cpu.ARM64; x.HasASIMDDP {
		l = append(l, NEONDot)
		if x.HasI8MM {
			l = append(l, NEONI8MM)
		}
	}
	return l
}
