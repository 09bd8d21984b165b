package kernel

// minSampleOuts is the number of blocks of output channels from which on it pays to copy the pixels that a strided 1x1 window
// meets: a copy of a pixel's 16 channels takes a few cycles, its products with four blocks take 64 or more.
const minSampleOuts = 4

// sampling reports whether every output of a window is one element of the input, not all of them in order.
func (g *Window) sampling() bool {
	return g.KH == 1 && g.KW == 1 && g.SH*g.SW > 1 && g.Top == 0 && g.Left == 0 && g.OH > 0 && g.OW > 0 &&
		(g.OH-1)*g.SH < g.H && (g.OW-1)*g.SW < g.W
}

// convSampled is ConvBlocked with a sampling window, by way of a copy of the pixels that the window meets: there they lie side
// by side, so that tiles need not end where rows do, and whole cache lines are read. The sums are the same, bit by bit.
func convSampled(p *Pool, n int, dst, src []float32, w *PackedConv, g *Window, ep BlockEpilogue) {
	blocks := n * ceilDiv(w.Cin*w.Groups, ChannelBlock)
	out, plane := g.OH*g.OW*ChannelBlock, g.H*g.W*ChannelBlock
	if len(src) < blocks*plane {
		panic(badShapeLen)
	}
	s := getScratchF32(blocks * out)
	defer scratchPoolF32.Put(s)
	copies := p
	if blocks*out < blockForkCopy {
		copies = nil
	}
	copies.Run(blocks, func(i int) {
		d, from := s.f[i*out:(i+1)*out], src[i*plane:(i+1)*plane]
		for y := range g.OH {
			row := from[y*g.SH*g.W*ChannelBlock:][:g.W*ChannelBlock]
			for x := range g.OW {
				*(*[ChannelBlock]float32)(d[(y*g.OW+x)*ChannelBlock:]) = *(*[ChannelBlock]float32)(row[x*g.SW*ChannelBlock:])
			}
		}
	})
	ConvBlocked(p, n, dst, s.f, w, &Window{H: g.OH, W: g.OW, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, OH: g.OH, OW: g.OW}, ep)
}
