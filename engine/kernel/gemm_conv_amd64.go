//go:build amd64 && !noasm

package kernel

// packPanel writes the columns of panel j to dst, one row of panelStride(columns) elements for every one of the offsets.
func (im *convImage) packPanel(isa ISA, dst []float32, j int, offs []int) {
	lanes := 8
	switch {
	case isa < AVX2:
		im.packPanelGo(dst, j, offs)
		return
	case isa >= AVX512:
		lanes = 16
	}
	n := min(PanelWidth, im.g.OH*im.g.OW-j*PanelWidth)
	stride := panelStride(n)
	// The first and the last row lie in the image; so do the others, between them.
	for e := 0; e < n; e += lanes {
		at := j*PanelWidth + e
		if left := min(n-e, im.g.OW-at%im.g.OW); lanes == 8 && left >= 8 { // contiguous in the image
			src := &im.data[im.pos(at):][0]
			if left >= 16 {
				packRun256x2(&dst[e], 4*stride, src, &offs[0], len(offs))
				e += 8
			} else {
				packRun256x1(&dst[e], 4*stride, src, &offs[0], len(offs))
			}
			continue
		}
		var pieces [16]convPiece
		var store convPiece
		w := min(lanes, n-e)
		count := 0
		for lane := 0; lane < w; {
			at := j*PanelWidth + e + lane
			end := min(w, lane+im.g.OW-at%im.g.OW)
			pieces[count].delta = 4 * (im.pos(at) - lane)
			pieces[count].setMask(lane, end)
			count++
			lane = end
		}
		switch {
		case isa >= AVX512:
			store.setMask(0, w)
			packConv512(&dst[e], 4*stride, &im.data[0], &offs[0], len(offs), &pieces[0], count, &store)
		case stride >= 8: // rows are filled up to whole vectors
			packConv256(&dst[e], 4*stride, &im.data[0], &offs[0], len(offs), &pieces[0], count, &store)
		default:
			store.setMask(0, w)
			packConvTail256(&dst[e], 4*stride, &im.data[0], &offs[0], len(offs), &pieces[0], count, &store)
		}
	}
}

// setMask selects lanes lo to hi.
func (c *convPiece) setMask(lo, hi int) {
	c.bits = 1<<hi - 1<<lo
	for i := lo; i < min(hi, 8); i++ {
		c.mask[i] = -1
	}
}
