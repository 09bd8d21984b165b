//go:build (!amd64 && !arm64) || noasm

package kernel

func detectLevels() []ISA { return nil }

func cpuFeatures() []string { return nil }
