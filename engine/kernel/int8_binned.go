package kernel

import (
	"encoding/binary"
	"slices"
)

// binColumns is the number of columns of a panel of binned weights.
const binColumns = 16

// packBinned packs the weights of one group of channels, whose number is a multiple of 16, for products by VPMADDUBSW: in panels of 16 columns, every
// row of the kernel being bins of groups of four neighbouring inputs. In the lanes of 16 bits that two inputs of a group share, the positive weights
// of a bin add up to at most 127, and the negative ones to at least -127, so that 255 times that fits; a bin of one group may reach 128. Groups of
// zeros are left out.
//
// The data of a row is, for bins of four, three, two and one groups, the number of their bytes, in 32 bytes, and the bins. A bin is the distances
// of its groups from the first input, in 32 bytes, and 64 bytes for each group, [place][4], in the order of lane16. Distances are those of pixels
// side by side, of whole fours of channels.
//
// Rows of few inputs take up to 14 times the memory of their weights. It reports false, and leaves c as it was, where all would take more
// than mostBinned of the weights.
func (c *ConvU8) packBinned() bool {
	wide := ceilDiv(c.cg, 4) * 4 // channels of a pixel
	b := binner{groups: make([]binGroup, c.KW*wide/4)}
	rows, size := make([]int32, 0, c.Cout/binColumns*c.KH*(4+len(b.groups))), 0 // see binner.row
	for first := 0; first < c.Cout; first += binColumns {
		for kh := range c.KH {
			for i := range b.groups {
				g := &b.groups[i]
				*g = binGroup{at: 4 * i}
				c.gather(&g.w, first, kh, 4*i, wide)
				g.weigh()
			}
			var n int
			if rows, n = b.row(rows); size+n > mostBinned(len(c.W)) {
				return false
			}
			size += n
		}
	}
	c.data = signedMemory(size)
	at := 0
	for first := 0; first < c.Cout; first += binColumns {
		e := convEdge{first: first, vecs: 1, width: binColumns, off: at}
		for kh := range c.KH {
			for n := 4; n >= 1; n-- {
				bins := int(rows[0])
				rows = rows[1:]
				putLen(c.data[at:], bins*(32+64*n))
				at += 32
				for range bins {
					for i, from := range rows[:n] {
						putLen(c.data[at+4*i:], int(from))
						c.gather((*[4 * binColumns]int8)(c.data[at+32+64*i:]), first, kh, int(from), wide)
					}
					at, rows = at+32+64*n, rows[n:]
				}
			}
		}
		e.end = at
		c.panels = append(c.panels, e)
	}
	c.bias, c.scale = make([]int32, c.Cout), make([]float32, c.Cout)
	for p := range c.scale {
		o := p&^15 + lane16(p&15)
		c.bias[p], c.scale[p] = c.plain[o], c.scaleOf(o)
	}
	c.dense, c.binned = true, true
	return true
}

// gather writes the weights of 16 columns for the four inputs from at on, of row kh, to w, which is zeros.
func (c *ConvU8) gather(w *[4 * binColumns]int8, first, kh, at, wide int) {
	kw, ch := at/wide, at%wide
	for p := range binColumns {
		for k := range min(4, c.cg-ch) {
			w[4*p+k] = c.W[(((first+lane16(p))*c.cg+ch+k)*c.KH+kh)*c.KW+kw]
		}
	}
}

// putLen writes a number in 32 bits.
func putLen(d []int8, n int) {
	d[0], d[1], d[2], d[3] = int8(n), int8(n>>8), int8(n>>16), int8(n>>24)
}

// mostBinned returns the bytes that so many weights may take in bins: twice their own, and what the first convolutions of image models, whose
// weights are few, take beyond that.
func mostBinned(weights int) int { return 2*weights + 64<<10 }

// binGroup is a group of four inputs of a panel.
type binGroup struct {
	at    int
	w     [4 * binColumns]int8
	sums  binSums
	large int // the largest of the sums
}

// binSums are, in bytes, the sums of the positive weights of every lane and those of the negative ones.
type binSums [8]uint64

// weigh sets the sums.
func (g *binGroup) weigh() {
	var b [4 * binColumns]uint8
	for i := 0; i < len(g.w); i += 2 {
		x, y := int(g.w[i]), int(g.w[i+1])
		pos, neg := max(x, 0)+max(y, 0), -min(x, 0)-min(y, 0)
		b[i], b[i+1] = uint8(pos), uint8(neg)
		g.large = max(g.large, pos, neg)
	}
	for i := range g.sums {
		g.sums[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
}

// plus returns the sums of both, and whether none is more than 127; that holds for s.
func (s *binSums) plus(t *binSums) (sum binSums, ok bool) {
	const top = 0x8080808080808080
	var over uint64
	for i := range sum {
		sum[i] = s[i] + t[i]&^top
		over |= (sum[i] | t[i]) & top
	}
	return sum, over == 0
}

// bin is up to four groups.
type bin struct {
	sums   binSums
	groups [4]*binGroup
	n      int
}

// binner puts the groups of a row in bins.
type binner struct {
	groups     []binGroup
	order      []*binGroup
	bins       []bin
	open, full []*bin
}

// openBins bounds the bins that are tried for a group.
const openBins = 24

// row puts the groups in bins, the large ones first, each in the first that it fits, and appends to rows, for bins of four, three, two and one groups,
// their number and the distances of their groups; size is what the row takes.
func (r *binner) row(rows []int32) (_ []int32, size int) {
	r.order, r.open, r.full = r.order[:0], r.open[:0], r.full[:0]
	if r.bins == nil {
		r.bins = make([]bin, len(r.groups))
	}
	used := 0
	one := func(g *binGroup) *bin {
		b := &r.bins[used]
		used++
		*b = bin{sums: g.sums, groups: [4]*binGroup{g}, n: 1}
		return b
	}
	for i := range r.groups {
		if r.groups[i].large > 0 {
			r.order = append(r.order, &r.groups[i])
		}
	}
	slices.SortStableFunc(r.order, func(a, b *binGroup) int { return b.large - a.large })
	for _, g := range r.order {
		at := -1
		for i, b := range r.open {
			if sum, ok := b.sums.plus(&g.sums); ok {
				b.sums, at = sum, i
				b.groups[b.n] = g
				b.n++
				break
			}
		}
		switch {
		case at >= 0 && r.open[at].n < 4:
		case at >= 0:
			r.full = append(r.full, r.open[at])
			r.open = slices.Delete(r.open, at, at+1)
		case g.large > 127:
			r.full = append(r.full, one(g))
		default:
			if len(r.open) == openBins {
				r.full = append(r.full, r.open[0])
				r.open = slices.Delete(r.open, 0, 1)
			}
			r.open = append(r.open, one(g))
		}
	}
	r.full = append(r.full, r.open...)
	for n := 4; n >= 1; n-- {
		head := len(rows)
		rows = append(rows, 0)
		for _, b := range r.full {
			if b.n != n {
				continue
			}
			rows[head]++
			for _, g := range b.groups[:n] {
				rows = append(rows, int32(g.at))
			}
		}
		size += 32 + int(rows[head])*(32+64*n)
	}
	return rows, size
}

// appendSigned appends bytes as signed ones.
func appendSigned(d []int8, b []uint8) []int8 {
	for _, v := range b {
		d = append(d, int8(v))
	}
	return d
}
