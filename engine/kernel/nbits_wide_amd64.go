//go:build amd64 && !noasm

package kernel

// nbitsNoZeros are the terms of zero points in the middle.
var nbitsNoZeros [PanelWidth]float32

// widenNBits writes rows of 32 columns as float32, a multiple of 8, of weights w of one block with these terms; zero may be nil.
func widenNBits(isa ISA, dst []float32, w []byte, scale, zero []float32, bits, centre int) {
	pairs := len(dst) / (8 * PanelWidth)
	if isa < AVX2 || pairs == 0 {
		widenNBitsGo(dst, w, scale, zero, bits, centre)
		return
	}
	if zero == nil {
		zero = nbitsNoZeros[:]
	}
	_, _, _ = w[pairs*PanelWidth*bits-1], scale[PanelWidth-1], zero[PanelWidth-1]
	switch {
	case isa >= AVX512 && bits == 4:
		nbits4widen512(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	case isa >= AVX512:
		nbits8widen512(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	case bits == 4:
		nbits4widen256(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	default:
		nbits8widen256(&dst[0], &w[0], &scale[0], &zero[0], pairs, centre)
	}
}
