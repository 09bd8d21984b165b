//go:build amd64 && !noasm

package kernel

// packPanel writes the columns of panel j to dst, one row of panelStride(columns) elements for every offset.
func (im *convImage) packPanel(isa ISA, dst []float32, j int) {
	lanes := 8
	switch {
	case isa < AVX2:
		im.packPanelGo(dst, j)
		return
	case isa >= AVX512:
		lanes = 16
	}
	n := min(PanelWidth, im.g.OH*im.g.OW-j*PanelWidth)
	stride := panelStride(n)
	for e := 0; e < n; e += lanes {
		var pieces [16]convPiece
		var store convPiece
		w := min(lanes, n-e)
		store.setMask(0, w)
		count := 0
		for lane := 0; lane < w; {
			at := j*PanelWidth + e + lane
			end := min(w, lane+im.g.OW-at%im.g.OW)
			pieces[count].delta = 4 * (im.pos(at) - lane)
			pieces[count].setMask(lane, end)
			count++
			lane = end
		}
		// The first and the last row lie in the image; so do the others, between them.
		if isa >= AVX512 {
			packConv512(&dst[e], 4*stride, &im.data[0], &im.offs[0], len(im.offs), &pieces[0], count, &store)
		} else {
			packConv256(&dst[e], 4*stride, &im.data[0], &im.offs[0], len(im.offs), &pieces[0], count, &store)
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
