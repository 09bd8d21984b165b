//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

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
	if x.HasAMXTile && x.HasAMXInt8 && x.HasAMXBF16 && requestTiles() {
		l = append(l, AMX)
	}
	return l
}

// pause executes n PAUSE instructions (n >= 1).
//
//go:noescape
func pause(n int)
