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

func cpuFeatures() []string {
	x := &cpu.X86
	var out []string
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"avx", x.HasAVX}, {"avx2", x.HasAVX2}, {"fma", x.HasFMA}, {"f16c", x.HasF16C},
		{"avx512f", x.HasAVX512F}, {"avx512bw", x.HasAVX512BW}, {"avx512vl", x.HasAVX512VL}, {"avx512dq", x.HasAVX512DQ},
		{"avx512vnni", x.HasAVX512VNNI}, {"avx512bf16", x.HasAVX512BF16}, {"avxvnni", x.HasAVXVNNI},
		{"amxtile", x.HasAMXTile}, {"amxint8", x.HasAMXInt8}, {"amxbf16", x.HasAMXBF16},
	} {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// pause executes n PAUSE instructions (n >= 1).
//
//go:noescape
func pause(n int)
