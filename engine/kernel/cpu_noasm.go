//go:build (!amd64 && !arm64) || noasm

package kernel

func detectLevels() []ISA { return nil }
