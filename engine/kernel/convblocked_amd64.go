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
		if !asksAhead {
			t.fetch = 0
		}
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

// in transforms n tiles of the input that lie side by side: ds is the distance of a tile's elements, rs that of image rows.
func (j *winoJob) in(dst, src, tmp []float32, ds, rs, n int) {
	t, m := j.w.t, j.w.m
	_, _ = dst[(t*t-1)*ds+n*ChannelBlock-1], src[(t-1)*rs+((n-1)*m+t)*ChannelBlock-1]
	switch {
	case j.isa < AVX2:
		j.inGo(dst, src, ds, rs, n)
	case j.isa < AVX512 && m == 2:
		winoIn2x256(&dst[0], &src[0], &tmp[0], 4*ds, 4*rs, n)
	case j.isa < AVX512:
		winoIn4x256(&dst[0], &src[0], &tmp[0], 4*ds, 4*rs, n)
	case m == 2:
		winoIn2x512(&dst[0], &src[0], &tmp[0], 4*ds, 4*rs, n)
	default:
		winoIn4x512(&dst[0], &src[0], &tmp[0], 4*ds, 4*rs, n)
	}
}

// out transforms n tiles of products: ss is the distance of a tile's elements, rs that of image rows.
func (j *winoJob) out(dst, src, tmp, bias []float32, ss, rs, n int) {
	t, m := j.w.t, j.w.m
	_, _ = dst[(m-1)*rs+n*m*ChannelBlock-1], src[(t*t-1)*ss+n*ChannelBlock-1]
	switch {
	case j.isa < AVX2:
		j.outGo(dst, src, bias, ss, rs, n)
	case j.isa < AVX512 && m == 2:
		winoOut2x256(&dst[0], &src[0], &tmp[0], &bias[0], &j.lim[0], 4*ss, 4*rs, n)
	case j.isa < AVX512:
		winoOut4x256(&dst[0], &src[0], &tmp[0], &bias[0], &j.lim[0], 4*ss, 4*rs, n)
	case m == 2:
		winoOut2x512(&dst[0], &src[0], &tmp[0], &bias[0], &j.lim[0], 4*ss, 4*rs, n)
	default:
		winoOut4x512(&dst[0], &src[0], &tmp[0], &bias[0], &j.lim[0], 4*ss, 4*rs, n)
	}
}
