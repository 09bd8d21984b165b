//go:build amd64 && !noasm

package kernel

// widenBlocksVec is widenBlocksGo in assembly, for at least one block; false if there is none.
func widenBlocksVec(kind HalfKind, dst []float32, src []uint16, scale []float32) bool {
	n := len(dst) / ChannelBlock
	_, _ = src[n*ChannelBlock-1], scale[ChannelBlock-1]
	switch isa := Active(); {
	case isa.hasAVX512() && kind == F16:
		widenBlocksF16x512(&dst[0], &src[0], &scale[0], n)
	case isa.hasAVX512():
		widenBlocksBF16x512(&dst[0], &src[0], &scale[0], n)
	case isa.hasAVX2() && kind == F16:
		widenBlocksF16x256(&dst[0], &src[0], &scale[0], n)
	case isa.hasAVX2():
		widenBlocksBF16x256(&dst[0], &src[0], &scale[0], n)
	default:
		return false
	}
	return true
}
