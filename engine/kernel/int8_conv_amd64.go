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
	case j.isa >= AVX512VNNI && j.c.depthwise:
		j.depthwise512(r0, r1)
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

func (j *convU8Job) depthwise512(r0, r1 int) {
	c := j.c
	t4 := ceilDiv(c.taps, 4)
	ptrs := getPointers((r1 - r0) * t4 * 4)
	j.addresses(ptrs.p, r0, r1, 1, 0, t4*4)
	for b := 0; b*64 < c.Cout; b++ {
		w := min(64, c.Cout-b*64)
		q := c.out(b*64, w)
		depthwise512(r1-r0, t4, &ptrs.p[0], b*64, &c.data[b*64*t4*4], &j.y[r0*c.Cout+b*64], c.Cout, &q)
	}
	ptrs.release()
	j.tableRows(r0, r1, 0, c.Cout)
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
				j.addresses(ptrs[which].p, r0, r1, mr, gr*c.cg, taps)
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
