package kernel

import "math"

// callGo is the Go twin of the micro-kernels.
func (j *blockJob) callGo(t *blockTile, p, b int) {
	for ; t.lines > 0; t.lines-- {
		j.lineGo(t, p, b)
		t.x0, t.y0 = t.x0+t.xl, t.y0+t.yl
		if j.kind == blockDepth {
			t.w0, t.b0 = t.w0+t.wl, t.b0+t.bl
		}
	}
}

func (j *blockJob) lineGo(t *blockTile, p, b int) {
	if j.kind != blockDense {
		b = 1
	}
	for v := range b {
		for i := range p {
			y := t.y0 + i*t.ys + v*t.yocb
			var s [ChannelBlock]float32
			switch {
			case j.kind == blockMax:
				for l := range s {
					s[l] = float32(math.Inf(-1))
				}
			case t.bias != nil:
				copy(s[:], t.bias[t.b0+v*ChannelBlock:])
			}
			switch j.kind {
			case blockDense:
				t.denseGo(&s, t.x0+i*t.xs, t.w0+v*t.wocb)
				if t.bias == nil {
					for l, before := range t.y[y:][:ChannelBlock] {
						s[l] += before
					}
				}
			case blockDepth:
				for _, tap := range t.taps {
					x, w := t.x[t.x0+i*t.xs+tap.x:][:ChannelBlock], t.w[t.w0+tap.w:][:ChannelBlock]
					for l := range s {
						s[l] = Fma32(x[l], w[l], s[l])
					}
				}
			case blockMax:
				for _, tap := range t.taps {
					for l, x := range t.x[t.x0+i*t.xs+tap.x:][:ChannelBlock] {
						s[l] = max(s[l], x)
					}
				}
			}
			if t.more == 0 && j.kind != blockMax {
				if t.res != nil {
					for l, r := range t.res[y:][:ChannelBlock] {
						s[l] += r
					}
				}
				t.activateGo(&s)
			}
			copy(t.y[y:y+ChannelBlock], s[:])
		}
	}
}

// denseGo adds the products of one pixel with one block of output channels.
func (t *blockTile) denseGo(s *[ChannelBlock]float32, x0, w0 int) {
	for icb := range t.nicb {
		k := t.kfull
		if icb == t.nicb-1 {
			k = t.klast
		}
		for _, tap := range t.taps {
			w := t.w[w0+icb*t.wicb+tap.w:][:k*ChannelBlock]
			for q, x := range t.x[x0+icb*t.xicb+tap.x:][:k] {
				for l, wl := range w[q*ChannelBlock:][:ChannelBlock] {
					s[l] = Fma32(x, wl, s[l])
				}
			}
		}
	}
}

func (t *blockTile) activateGo(s *[ChannelBlock]float32) {
	for l, x := range s {
		switch t.act {
		case blockActClamp:
			if x < t.lim[0] {
				x = t.lim[0]
			}
			if x > t.lim[1] {
				x = t.lim[1]
			}
		case blockActHardSwish:
			x *= min(max(Fma32(x, t.lim[0], t.lim[1]), 0), 1)
		case blockActHardSigmoid:
			x = min(max(Fma32(x, t.lim[0], t.lim[1]), 0), 1)
		case blockActDivide:
			x /= t.lim[0]
		}
		s[l] = x
	}
}
