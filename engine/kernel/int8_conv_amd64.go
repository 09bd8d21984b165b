//go:build amd64 && !noasm

package kernel

import "unsafe"

// convOut is what the kernels need to turn sums into bytes. The generated code reads it by offset.
type convOut struct {
	bias  unsafe.Pointer // +0
	scale unsafe.Pointer // +8
	hi    float32        // +16: Hi - ZeroY
	zero  int32          // +20: ZeroY
	lo    int32          // +24
	lo4   uint32         // +28: Lo in all four bytes
	mask  uint64         // +32: of the columns
}

func (c *ConvU8) out(at, width int) convOut { return c.outOf(&c.bias[at], &c.scale[at], width) }

// outOf is what becomes of sums of so many columns, of which bias and scale are the first.
func (c *ConvU8) outOf(bias *int32, scale *float32, width int) convOut {
	z := int32(c.ZeroY)
	return convOut{
		bias: unsafe.Pointer(bias), scale: unsafe.Pointer(scale), hi: float32(c.Hi) - float32(z),
		zero: z, lo: int32(c.Lo), lo4: uint32(c.Lo) * 0x01010101, mask: ^uint64(0) >> (64 - width),
	}
}

// block computes rows r0..r1 of group gr, panels p0..p1.
func (j *convU8Job) block(gr, r0, r1, p0, p1 int) {
	c := j.c
	switch {
	case c.depthwise:
		j.depthwiseGo(r0, r1)
	case c.dense:
		j.denseRows(gr, r0, r1, p0, p1, c.taps, ceilDiv(c.cg, 4), func(dst []unsafe.Pointer, mr int) { j.addresses(dst, r0, r1, mr, gr*c.cg) })
	default:
		j.gemmRows(gr, r0, r1)
	}
}

// tabulate applies the table.
func (c *ConvU8) tabulate(y []uint8) {
	switch {
	case c.short != nil:
		c.short.lookup(y)
	case c.Table != nil:
		Lookup(y, y, c.Table)
	}
}

// tableRows applies the table to columns first..first+width of rows r0..r1.
func (j *convU8Job) tableRows(r0, r1, first, width int) {
	c := j.c
	if c.Table == nil {
		return
	}
	if width == c.Cout {
		c.tabulate(j.y[r0*c.Cout : r1*c.Cout])
		return
	}
	for r := r0; r < r1; r++ {
		c.tabulate(j.y[r*c.Cout+first:][:width])
	}
}

// input is a part of an image between its padding: pixels of cp bytes, w of them in a row. The first row is the first one that the first
// row of the output meets.
type input struct {
	x       []uint8
	w, cp   int
	scratch *scratchU8
}

func (s *input) release() {
	if s.scratch != nil {
		scratchPoolU8.Put(s.scratch)
	}
}

// input returns what rows h0..h1 of the output of image n read: a copy, unless there is neither padding nor filling up.
func (j *convU8Job) input(n, h0, h1, cp int) input {
	c, g := j.c, j.g
	top, last := h0*g.SH-g.Top, (h1-1)*g.SH+(g.KH-1)*g.DH-g.Top
	wide := (g.OW-1)*g.SW + (g.KW-1)*g.DW + 1
	if top >= 0 && last < g.H && g.Left == 0 && wide <= g.W && cp == c.Cin {
		return input{x: j.x[(n*g.H+top)*g.W*cp:], w: g.W, cp: cp}
	}
	s := getScratchU8((last - top + 1) * wide * cp)
	j.padRows(s.b, n, top, last+1, wide, cp)
	return input{x: s.b, w: wide, cp: cp, scratch: s}
}

// band computes rows h0..h1 of the output of image n, panels p0..p1.
func (j *convU8Job) band(n, h0, h1, p0, p1 int) {
	switch {
	case j.c.depthwise && j.c.isa >= AVX512VNNI:
		j.depthwise512(n, h0, h1)
		return
	case j.c.wide != nil && (j.c.wide.repeat == 1 || j.g.SW == 1 && j.g.OW >= j.c.wide.repeat):
		j.depthwise32(n, h0, h1)
		return
	case j.c.depthwise:
		j.depthwise256(n, h0, h1)
		return
	}
	c, g := j.c, j.g
	in := j.input(n, h0, h1, ceilDiv(c.Cin, 4)*4)
	taps, k4 := g.KH, g.KW*in.cp/4 // a row of the kernel is contiguous
	if g.DW > 1 {
		taps, k4 = c.taps, in.cp/4
	}
	r0, r1 := (n*g.OH+h0)*g.OW, (n*g.OH+h1)*g.OW
	j.denseRows(0, r0, r1, p0, p1, taps, k4, func(dst []unsafe.Pointer, mr int) {
		step := g.SW * in.cp
		for at, oh, ow := 0, 0, 0; at < r1-r0; {
			tile := at &^ (mr - 1)
			if mr&(mr-1) != 0 {
				tile = at / mr * mr
			}
			w := min(mr, r1-r0-tile)
			run := min(g.OW-ow, tile+w-at)
			x := unsafe.Pointer(&in.x[(oh*g.SH*in.w+ow*g.SW)*in.cp])
			d := dst[tile*taps+at-tile:]
			for t := range taps {
				kh, kw := t, 0
				if g.DW > 1 {
					kh, kw = t/g.KW, t%g.KW*g.DW
				}
				p := unsafe.Add(x, (kh*g.DH*in.w+kw)*in.cp)
				e := d[t*w:][:run]
				if run == 4 {
					e[0], e[1], e[2], e[3] = p, unsafe.Add(p, step), unsafe.Add(p, 2*step), unsafe.Add(p, 3*step)
					continue
				}
				for i := range e {
					e[i] = unsafe.Add(p, i*step)
				}
			}
			at += run
			if ow += run; ow == g.OW {
				ow = 0
				oh++
			}
		}
	})
	in.release()
}

// depthwise512 computes rows h0..h1 of the output of image n.
func (j *convU8Job) depthwise512(n, h0, h1 int) {
	c, g := j.c, j.g
	ch := c.Cout
	in := j.input(n, h0, h1, ch)
	defer in.release()
	x, w := in.x, in.w
	t4 := ceilDiv(c.taps, 4)
	ptrs := getPointers(t4 * 4)
	for oh := h0; oh < h1; oh++ {
		for t := range ptrs.p {
			at := 0
			if t < c.taps {
				at = ((oh-h0)*g.SH + t/g.KW*g.DH) * w * ch
				at += t % g.KW * g.DW * ch
			}
			ptrs.p[t] = unsafe.Pointer(&x[at])
		}
		y := j.y[(n*g.OH+oh)*g.OW*ch:][:g.OW*ch]
		if c.repeat > 1 && g.SW == 1 {
			q := c.out(0, 64)
			if k := len(y) / 64; k > 0 {
				depthwise512(k, t4, &ptrs.p[0], 0, 64, &c.data[0], &y[0], 64, &q)
			}
			if rest := len(y) % 64; rest > 0 {
				q = c.out(0, rest)
				depthwise512(1, t4, &ptrs.p[0], len(y)-rest, 0, &c.data[0], &y[len(y)-rest], 0, &q)
			}
			continue
		}
		for b := 0; b*64 < ch; b++ {
			q := c.out(b*64, min(64, ch-b*64))
			depthwise512(g.OW, t4, &ptrs.p[0], b*64, g.SW*ch, &c.data[b*64*t4*4], &y[b*64], ch, &q)
		}
	}
	ptrs.release()
	y := j.y[(n*g.OH+h0)*g.OW*ch : (n*g.OH+h1)*g.OW*ch]
	if c.Table != nil {
		Lookup(y, y, c.Table)
	}
}

// depthwise32 is depthwise512 by 32 channels with AVX2.
func (j *convU8Job) depthwise32(n, h0, h1 int) {
	c, g, d := j.c, j.g, j.c.wide
	ch := c.Cout
	in := j.input(n, h0, h1, ch)
	defer in.release()
	ptrs := getPointers(c.taps + 1)
	line, step := g.OW*ch, g.SW*ch
	y := j.y[(n*g.OH+h0)*line : (n*g.OH+h1)*line]
	for i := range d.blocks {
		b := &d.blocks[i]
		for k, t := range b.taps {
			ptrs.p[k] = unsafe.Pointer(&in.x[(t/g.KW*g.DH*in.w+t%g.KW*g.DW)*ch])
		}
		q, w := c.outOf(&d.bias[i*32], &d.scale[i*32], 16), &d.data[b.off]
		for r := range h1 - h0 {
			y, at := y[r*line:][:line], r*g.SH*in.w*ch
			switch {
			case b.words:
				t2 := len(b.taps) / 2
				depthwise256(g.OW, t2, &ptrs.p[0], at+b.first, step, w, &y[b.first], ch, &q)
				q := c.outOf(&d.bias[i*32+16], &d.scale[i*32+16], 16)
				depthwise256(g.OW, t2, &ptrs.p[0], at+b.first+16, step, &d.data[b.off+64*t2], &y[b.first+16], ch, &q)
			case d.repeat == 1:
				depthwiseTwos(g.OW, &ptrs.p[0], at+b.first, step, w, y[b.first:], ch, &q)
			default:
				k := line / 32
				depthwiseTwos(k, &ptrs.p[0], at, 32, w, y, 32, &q)
				if last := line - 32; last > (k-1)*32 {
					depthwiseTwos(1, &ptrs.p[0], at+last, 0, w, y[last:], 0, &q)
				}
			}
		}
	}
	c.tabulate(y)
	ptrs.release()
}

// depthwiseTwos computes 32 channels of pixels, one at least, of which the last two may be done twice.
func depthwiseTwos(pixels int, ptrs *unsafe.Pointer, at, step int, w *int8, y []uint8, ldy int, q *convOut) {
	switch {
	case pixels == 1:
		depthwise256x32(1, ptrs, at, 0, w, &y[0], 0, q)
		return
	case pixels%2 != 0:
		depthwise256x32(1, ptrs, at+(pixels-2)*step, step, w, &y[(pixels-2)*ldy], ldy, q)
	}
	depthwise256x32(pixels/2, ptrs, at, step, w, &y[0], ldy, q)
}

// depthwise256 is depthwise512 by 16 channels with AVX2.
func (j *convU8Job) depthwise256(n, h0, h1 int) {
	c, g := j.c, j.g
	ch := c.Cout
	in := j.input(n, h0, h1, max(ch, 16))
	defer in.release()
	t2 := ceilDiv(c.taps, 2)
	ptrs := getPointers(t2 * 2)
	var narrow *scratchU8
	if ch < 16 {
		narrow = getScratchU8(g.OW * 16)
	}
	for oh := h0; oh < h1; oh++ {
		for t := range ptrs.p {
			at := 0
			if t < c.taps {
				at = (((oh-h0)*g.SH+t/g.KW*g.DH)*in.w + t%g.KW*g.DW) * in.cp
			}
			ptrs.p[t] = unsafe.Pointer(&in.x[at])
		}
		y := j.y[(n*g.OH+oh)*g.OW*ch:][:g.OW*ch]
		if narrow != nil {
			q := c.out(0, 16)
			depthwise256(g.OW, t2, &ptrs.p[0], 0, g.SW*16, &c.data[0], &narrow.b[0], 16, &q)
			for i := range g.OW {
				copy(y[i*ch:(i+1)*ch], narrow.b[i*16:])
			}
		} else {
			for b := range ceilDiv(ch, 16) {
				q, at := c.out(b*16, 16), min(b*16, ch-16)
				depthwise256(g.OW, t2, &ptrs.p[0], at, g.SW*ch, &c.data[b*t2*64], &y[at], ch, &q)
			}
		}
		c.tabulate(y)
	}
	if narrow != nil {
		scratchPoolU8.Put(narrow)
	}
	ptrs.release()
}

// denseRows computes rows r0..r1 of group gr, panels p0..p1: addresses writes where the taps of the rows lie, tile after tile of mr rows.
func (j *convU8Job) denseRows(gr, r0, r1, p0, p1, taps, k4 int, addresses func(dst []unsafe.Pointer, mr int)) {
	c := j.c
	if c.binned {
		j.binnedRows(r0, r1, p0, p1, taps, addresses)
		return
	}
	vnni := c.isa.hasVNNI512()
	var ptrs [9]*pointers // for tiles of 4, 6 and 8 rows
	for _, e := range c.panels[p0:p1] {
		mr := 8
		switch {
		case !vnni:
			mr = 4
		case e.vecs == 4:
			mr = 6
		}
		if ptrs[mr] == nil {
			ptrs[mr] = getPointers((r1 - r0) * taps)
			addresses(ptrs[mr].p, mr)
		}
		q := c.out(gr*c.padded+e.off, e.width-(e.vecs-1)*16)
		if e.vecs == 4 {
			q.mask = ^uint64(0) >> (64 - e.width)
		}
		w := &c.data[gr*c.perGroup+e.off*k4*4*taps]
		col := gr*c.og + e.first
		if !vnni {
			j.narrowRows(r0, r1, taps, k4, ptrs[mr].p, w, col, &e, &q)
			continue
		}
		for r := r0; r < r1; r += mr {
			m := min(mr, r1-r)
			p, y := &ptrs[mr].p[(r-r0)*taps], j.y[r*c.Cout+col:]
			switch {
			case e.vecs == 4:
				convVNNIx64m(m, taps, k4, p, w, &y[0], c.Cout, &q)
			case e.vecs == 3:
				convVNNIx48m(m, taps, k4, p, w, &y[0], c.Cout, &q)
			case e.vecs == 2:
				convVNNIx32m(m, taps, k4, p, w, &y[0], c.Cout, &q)
			default:
				convVNNIx16m(m, taps, k4, p, w, &y[0], c.Cout, &q)
			}
		}
	}
	for _, p := range ptrs {
		if p != nil {
			p.release()
		}
	}
	first := c.panels[p0].first
	j.tableRows(r0, r1, gr*c.og+first, c.panels[p1-1].first+c.panels[p1-1].width-first)
}

// binnedRows is denseRows of binned weights.
func (j *convU8Job) binnedRows(r0, r1, p0, p1, taps int, addresses func(dst []unsafe.Pointer, mr int)) {
	c := j.c
	ptrs := getPointers((r1 - r0) * taps)
	addresses(ptrs.p, 4)
	tiles, rest := (r1-r0)/4, (r1-r0)%4
	for _, e := range c.panels[p0:p1] {
		q := c.out(e.first, e.width)
		w, size := &c.data[e.off], e.end-e.off
		if tiles > 0 {
			convBinnedx16m(4, tiles, &ptrs.p[0], w, size, &j.y[r0*c.Cout+e.first], c.Cout, &q)
		}
		if rest > 0 {
			convBinnedx16m(rest, 1, &ptrs.p[tiles*4*taps], w, size, &j.y[(r0+tiles*4)*c.Cout+e.first], c.Cout, &q)
		}
	}
	ptrs.release()
	first := c.panels[p0].first
	j.tableRows(r0, r1, first, c.panels[p1-1].first+c.panels[p1-1].width-first)
}

// narrowRows computes rows r0..r1 of a panel, which starts at column col of y.
func (j *convU8Job) narrowRows(r0, r1, taps, k4 int, ptrs []unsafe.Pointer, w *int8, col int, e *convEdge, q *convOut) {
	ld, tiles := j.c.Cout, (r1-r0)/4
	if e.width == 16 {
		if tiles > 0 {
			convNarrow16(4, tiles, taps, k4, &ptrs[0], w, &j.y[r0*ld+col], ld, e, q)
		}
		if rest := (r1 - r0) % 4; rest > 0 {
			convNarrow16(rest, 1, taps, k4, &ptrs[tiles*4*taps], w, &j.y[(r0+tiles*4)*ld+col], ld, e, q)
		}
		return
	}
	var t [64]uint8
	for r := r0; r < r1; r += 4 {
		m := min(4, r1-r)
		convNarrow16(m, 1, taps, k4, &ptrs[(r-r0)*taps], w, &t[0], 16, e, q)
		for i := range m {
			copy(j.y[(r+i)*ld+col:][:e.width], t[16*i:])
		}
	}
}

// convNarrow16 computes tiles of mr rows of the columns of a panel.
func convNarrow16(mr, tiles, taps, k4 int, ptrs *unsafe.Pointer, w *int8, y *uint8, ldy int, e *convEdge, q *convOut) {
	if e.paired {
		mr += 4
	}
	switch mr {
	case 5:
		convPairedx16m1(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 6:
		convPairedx16m2(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 7:
		convPairedx16m3(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 8:
		convPairedx16m4(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 1:
		convNarrowx16m1(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 2:
		convNarrowx16m2(tiles, taps, k4, ptrs, w, y, ldy, q)
	case 3:
		convNarrowx16m3(tiles, taps, k4, ptrs, w, y, ldy, q)
	default:
		convNarrowx16m4(tiles, taps, k4, ptrs, w, y, ldy, q)
	}
}
