//go:build !amd64 || noasm

package kernel

func widenBlocksVec(HalfKind, []float32, []uint16, []float32) bool { return false }
