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

func cpuFeatures() []string {
	x := &cpu.ARM64
	out := []string{"neon"}
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"asimdhp", x.HasASIMDHP}, {"asimddp", x.HasASIMDDP}, {"i8mm", x.HasI8MM}, {"sve", x.HasSVE}, {"sve2", x.HasSVE2},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}
