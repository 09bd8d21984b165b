package kernel

import "golang.org/x/sys/cpu"

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
