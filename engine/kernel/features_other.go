//go:build !amd64 && !arm64

package kernel

func cpuFeatures() []string { return nil }
