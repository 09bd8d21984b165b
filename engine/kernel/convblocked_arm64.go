//go:build arm64 && !noasm

package kernel

// call computes p pixels of b blocks of output channels.
func (j *blockJob) call(t *blockTile, p, b int) {
	if j.isa == Generic || j.kind == blockMax && len(t.taps) == 0 {
		j.callGo(t, p, b)
		return
	}
	if j.kind != blockDense {
		b = 1
	}
	for ; t.lines > 0; t.lines-- {
		for v := range b {
			j.startNEON(t, p, v)
			switch {
			case len(t.taps) == 0:
			case j.kind == blockDense:
				t.denseNEON(p, v)
			default:
				t.tapsNEON(j.kind, p)
			}
			if t.more == 0 && j.kind != blockMax {
				t.finishNEON(p, v)
			}
		}
		t.x0, t.y0 = t.x0+t.xl, t.y0+t.yl
		if j.kind == blockDepth {
			t.w0, t.b0 = t.w0+t.wl, t.b0+t.bl
		}
	}
}

// startNEON writes to y what the sums start at, where they are not added to those in y.
func (j *blockJob) startNEON(t *blockTile, p, v int) {
	var start []float32
	switch {
	case j.kind == blockMax:
		start = lowest[:]
	case t.bias != nil:
		start = t.bias[t.b0+v*ChannelBlock:][:ChannelBlock]
	default:
		return
	}
	for i := range p {
		copy(t.y[t.y0+i*t.ys+v*t.yocb:][:ChannelBlock], start)
	}
}

// lowest is what maxima start at.
var lowest = func() (x [ChannelBlock]float32) {
	for l := range x {
		x[l] = epNoLimits[0]
	}
	return x
}()

// denseNEON adds the products with block v of the output channels. Where the tile continues, their sums start at 0, aside.
func (t *blockTile) denseNEON(p, v int) {
	y := t.y[t.y0+v*t.yocb:]
	if t.bias != nil {
		t.productsNEON(y, t.ys, p, v)
		return
	}
	var aside [densePixels * ChannelBlock]float32
	t.productsNEON(aside[:], ChannelBlock, p, v)
	for i := range p {
		d := y[i*t.ys:][:ChannelBlock]
		addNEON(&d[0], &d[0], &aside[i*ChannelBlock], ChannelBlock)
	}
}

// productsNEON adds the products with block v to p rows of y, ys elements apart: the pixels are the rows of a small product for each tap.
func (t *blockTile) productsNEON(y []float32, ys, p, v int) {
	const bs = 4 * ChannelBlock
	for icb := range t.nicb {
		k := t.kfull
		if icb == t.nicb-1 {
			k = t.klast
		}
		for _, tap := range t.taps {
			x, w := t.x[t.x0+icb*t.xicb+tap.x:], t.w[t.w0+v*t.wocb+icb*t.wicb+tap.w:][:k*ChannelBlock]
			_, _ = x[(p-1)*t.xs+k-1], y[(p-1)*ys+ChannelBlock-1]
			for i := 0; i < p; i += neonRows {
				m := min(neonRows, p-i)
				a, c := &x[i*t.xs], y[i*ys:]
				chainNEON8(m, k, a, 4*t.xs, &w[0], bs, &c[0], 4*ys)
				chainNEON8(m, k, a, 4*t.xs, &w[8], bs, &c[8], 4*ys)
			}
		}
	}
}

// tapsNEON is the depthwise convolution or the maximum.
func (t *blockTile) tapsNEON(kind blockKind, p int) {
	for i := range p {
		y := t.y[t.y0+i*t.ys:][:ChannelBlock]
		at := t.x0 + i*t.xs
		if kind == blockMax {
			blockMaxNEON(&y[0], &t.x[0], nil, &t.taps[0], len(t.taps), at, 0)
		} else {
			blockDepthNEON(&y[0], &t.x[0], &t.w[0], &t.taps[0], len(t.taps), at, t.w0)
		}
	}
}

// finishNEON adds the residual and applies the activation.
func (t *blockTile) finishNEON(p, v int) {
	for i := range p {
		at := t.y0 + i*t.ys + v*t.yocb
		y := t.y[at:][:ChannelBlock]
		if t.res != nil {
			addNEON(&y[0], &y[0], &t.res[at : at+ChannelBlock][0], ChannelBlock)
		}
		if t.act == blockActClamp {
			clipNEON(&y[0], &y[0], ChannelBlock, t.lim[0], t.lim[1])
		} else {
			t.activateGo((*[ChannelBlock]float32)(y))
		}
	}
}

func blockMean(dst, src []float32, hw int) { blockMeanGo(dst, src, hw) }

// winoChain is winoRow for n elements of rows of x that lie step apart; it writes to dst.
func winoChain(dst []float32, row []float64, x []float32, step, n int) {
	first := 0
	for row[first] != 1 {
		first++
	}
	copy(dst[:n], x[first*step:][:n])
	for i, c := range row {
		if c != 0 && i != first {
			axpyNEON(&dst[0], &x[i*step : i*step+n][0], n, float32(c))
		}
	}
}

// in transforms n tiles of the input that lie side by side: ds is the distance of a tile's elements, rs that of image rows.
func (j *winoJob) in(dst, src, _ []float32, ds, rs, n int) {
	if j.isa == Generic {
		j.inGo(dst, src, ds, rs, n)
		return
	}
	t, mat := j.w.t, winoTables(j.w.m).in
	var tmp [6 * ChannelBlock]float32
	for k := range n {
		for i, row := range mat {
			winoChain(tmp[:], row, src[k*j.w.m*ChannelBlock:], rs, t*ChannelBlock)
			for c, row := range mat {
				winoChain(dst[(i*t+c)*ds+k*ChannelBlock:], row, tmp[:], ChannelBlock, ChannelBlock)
			}
		}
	}
}

// out transforms n tiles of products: ss is the distance of a tile's elements, rs that of image rows.
func (j *winoJob) out(dst, src, tmp, bias []float32, ss, rs, n int) {
	if j.isa == Generic {
		j.outGo(dst, src, bias, ss, rs, n)
		return
	}
	t, mat := j.w.t, winoTables(j.w.m).out
	for k := range n {
		for i, row := range mat {
			for c := range t { // a tile's rows are t*ss apart
				winoChain(tmp[c*ChannelBlock:], row, src[c*ss+k*ChannelBlock:], t*ss, ChannelBlock)
			}
			for c, row := range mat {
				d := dst[i*rs+(c+k*j.w.m)*ChannelBlock:][:ChannelBlock]
				winoChain(d, row, tmp, ChannelBlock, ChannelBlock)
				addNEON(&d[0], &d[0], &bias[0], ChannelBlock)
				clipNEON(&d[0], &d[0], ChannelBlock, j.lim[0], j.lim[1])
			}
		}
	}
}
