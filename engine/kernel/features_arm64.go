package kernel

import "golang.org/x/sys/cpu"

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
