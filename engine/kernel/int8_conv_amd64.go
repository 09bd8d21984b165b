//go:build amd64 && !noasm

package kernel

import "unsafe"

// convOut is what the kernels need to turn sums into bytes. The generated code reads it by offset.
type convOut struct {
	bias  unsafe.Pointer // +0
	scale unsafe.Pointer // +8
	hi    float32        // +16: Hi - ZeroY
	zero  int32          // +20: ZeroY, also as two words
	lo    int32          // +24
	lo4   uint32         // +28: Lo in all four bytes
	mask  uint64         // +32: of the columns
}

func (c *ConvU8) out(at, width int) convOut {
	z := int32(c.ZeroY)
	return convOut{
		bias: unsafe.Pointer(&c.bias[at]), scale: unsafe.Pointer(&c.scale[at]), hi: float32(c.Hi) - float32(z),
		zero: z, lo: int32(c.Lo), lo4: uint32(c.Lo) * 0x01010101, mask: ^uint64(0) >> (64 - width),
	}
}

// block computes rows r0..r1 of group gr, panels p0..p1.
func (j *convU8Job) block(gr, r0, r1, p0, p1 int) {
	switch {
	case j.isa >= AVX512VNNI:
		j.dense512(gr, r0, r1, p0, p1)
	default:
		j.blockGo(gr, r0, r1, p0, p1)
	}
}

// tableRows applies the table to columns first..first+width of rows r0..r1.
func (j *convU8Job) tableRows(r0, r1, first, width int) {
	c := j.c
	if c.Table == nil {
		return
	}
	if width == c.Cout {
		Lookup(j.y[r0*c.Cout:r1*c.Cout], j.y[r0*c.Cout:r1*c.Cout], c.Table)
		return
	}
	for r := r0; r < r1; r++ {
		row := j.y[r*c.Cout+first:][:width]
		Lookup(row, row, c.Table)
	}
}

// runDepthwise spreads rows of the output, about block pixels at a time.
func (j *convU8Job) runDepthwise(p *Pool, n, block int) {
	g := j.g
	rows := max(1, block*2/g.OW)
	parts := ceilDiv(g.OH, rows)
	p.Run(n*parts, func(t int) {
		h0 := t % parts * rows
		j.depthwise512(t/parts, h0, min(g.OH, h0+rows))
	})
}

// depthwise512 computes rows h0..h1 of the output of image n. The rows of the input that they meet are first copied between
// padding, unless there is none.
func (j *convU8Job) depthwise512(n, h0, h1 int) {
	c, g := j.c, j.g
	ch := c.Cout
	top, left, w, x := h0*g.SH-g.Top, g.Left, g.W, j.x
	last := (h1-1)*g.SH + (g.KH-1)*g.DH - g.Top
	wide := (g.OW-1)*g.SW + (g.KW-1)*g.DW + 1
	if top < 0 || last >= g.H || left > 0 || wide > g.W {
		s := getScratchU8((last - top + 1) * wide * ch)
		j.padRows(s.b, n, top, last+1, wide)
		x, w = s.b, wide
		defer scratchPoolU8.Put(s)
	} else {
		x = x[(n*g.H+top)*g.W*ch:]
	}
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

// padRows copies rows h0..h1 of image n to dst [h1-h0, wide, channels], with the padding around it.
func (j *convU8Job) padRows(dst []uint8, n, h0, h1, wide int) {
	c, g := j.c, j.g
	ch := c.Cin
	left := min(g.Left, wide)
	mid := min(g.W, wide-left)
	for h := h0; h < h1; h++ {
		d := dst[(h-h0)*wide*ch:][:wide*ch]
		if h < 0 || h >= g.H {
			fill(d, c.ZeroX)
			continue
		}
		fill(d[:left*ch], c.ZeroX)
		copy(d[left*ch:(left+mid)*ch], j.x[(n*g.H+h)*g.W*ch:])
		fill(d[(left+mid)*ch:], c.ZeroX)
	}
}

func (j *convU8Job) dense512(gr, r0, r1, p0, p1 int) {
	c := j.c
	taps, k4 := c.taps, ceilDiv(c.cg, 4)
	var ptrs [2]*pointers // for tiles of 6 and of 8 rows
	var rows *scratchU8
	if c.gather {
		taps, k4 = 1, ceilDiv(c.cg*c.taps, 4)
		rows = getScratchU8((r1 - r0) * k4 * 4)
		j.gatherRows(rows.b, r0, r1, k4*4)
	}
	for _, e := range c.panels[p0:p1] {
		mr, which := 8, 1
		if e.vecs == 4 {
			mr, which = 6, 0
		}
		if ptrs[which] == nil {
			ptrs[which] = getPointers((r1 - r0) * taps)
			if c.gather {
				for i := range ptrs[which].p {
					ptrs[which].p[i] = unsafe.Pointer(&rows.b[i*k4*4])
				}
			} else {
				j.addresses(ptrs[which].p, r0, r1, mr, gr*c.cg)
			}
		}
		q := c.out(gr*c.padded+e.off, e.width-(e.vecs-1)*16)
		if e.vecs == 4 {
			q.mask = ^uint64(0) >> (64 - e.width)
		}
		w := &c.data[gr*c.perGroup+e.off*k4*4*taps]
		col := gr*c.og + e.first
		for r := r0; r < r1; r += mr {
			m := min(mr, r1-r)
			p, y := &ptrs[which].p[(r-r0)*taps], &j.y[r*c.Cout+col]
			switch e.vecs {
			case 4:
				convVNNIx64m(m, taps, k4, p, w, y, c.Cout, &q)
			case 3:
				convVNNIx48m(m, taps, k4, p, w, y, c.Cout, &q)
			case 2:
				convVNNIx32m(m, taps, k4, p, w, y, c.Cout, &q)
			default:
				convVNNIx16m(m, taps, k4, p, w, y, c.Cout, &q)
			}
		}
	}
	for _, p := range ptrs {
		if p != nil {
			p.release()
		}
	}
	if rows != nil {
		scratchPoolU8.Put(rows)
	}
	first := c.panels[p0].first
	j.tableRows(r0, r1, gr*c.og+first, c.panels[p1-1].first+c.panels[p1-1].width-first)
}
