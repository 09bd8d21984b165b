//go:build (!amd64 && !arm64) || noasm

package kernel

func widenNBits(_ ISA, dst []float32, w []byte, scale, zero []float32, bits, centre int) {
	widenNBitsGo(dst, w, scale, zero, bits, centre)
}
