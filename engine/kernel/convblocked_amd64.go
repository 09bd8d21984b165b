//go:build amd64 && !noasm

package kernel

// call computes p pixels of b blocks of output channels.
func (j *blockJob) call(t *blockTile, p, b int) {
	switch {
	case j.isa < AVX2:
		j.callGo(t, p, b)
	case j.isa < AVX512 && j.kind == blockDense:
		blockDense256(t, p, b)
	case j.isa < AVX512 && j.kind == blockDepth:
		blockDepth256(t, p, b)
	case j.isa < AVX512:
		blockMax256(t, p, b)
	case j.kind == blockDense:
		blockDense512(t, p, b)
	case j.kind == blockDepth:
		blockDepth512(t, p, b)
	default:
		blockMax512(t, p, b)
	}
}

// blockMean512 and blockMean256 are blockMeanGo; n is the number of pixels and d that number as a float.
//
//go:noescape
func blockMean512(dst, src *float32, n int, d float32)

//go:noescape
func blockMean256(dst, src *float32, n int, d float32)

func blockMean(dst, src []float32, hw int) {
	switch isa := Active(); {
	case isa >= AVX512:
		blockMean512(&dst[0], &src[0], hw, float32(hw))
	case isa >= AVX2:
		blockMean256(&dst[0], &src[0], hw, float32(hw))
	default:
		blockMeanGo(dst, src, hw)
	}
}
