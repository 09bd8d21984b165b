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
	groups := make([]binGroup, c.KW*wide/4)
	for first := 0; first < c.Cout; first += binColumns {
		e := convEdge{first: first, vecs: 1, width: binColumns, off: len(c.data)}
		for kh := range c.KH {
			for i := range groups {
				g := &groups[i]
				*g = binGroup{at: 4 * i}
				kw, ch := 4*i/wide, 4*i%wide
				for p := range binColumns {
					for k := range min(4, c.cg-ch) {
						g.w[4*p+k] = c.W[(((first+lane16(p))*c.cg+ch+k)*c.KH+kh)*c.KW+kw]
					}
				}
				g.weigh()
			}
			c.data = appendBins(c.data, groups)
			if len(c.data) > mostBinned(len(c.W)) {
				c.data, c.panels = nil, nil
				return false
			}
		}
		e.end = len(c.data)
		c.panels = append(c.panels, e)
	}
	c.bias, c.scale = make([]int32, c.Cout), make([]float32, c.Cout)
	for p := range c.scale {
		o := p&^15 + lane16(p&15)
		c.bias[p], c.scale[p] = c.plain[o], c.scaleOf(o)
	}
	data := signedMemory(len(c.data))
	copy(data, c.data)
	c.data = data
	c.dense, c.binned = true, true
	return true
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
	groups []*binGroup
}

// openBins bounds the bins that are tried for a group.
const openBins = 24

// appendBins puts groups in bins, the large ones first, each in the first that it fits, and appends them to data.
func appendBins(data []int8, groups []binGroup) []int8 {
	order := make([]*binGroup, 0, len(groups))
	for i := range groups {
		if groups[i].large > 0 {
			order = append(order, &groups[i])
		}
	}
	slices.SortStableFunc(order, func(a, b *binGroup) int { return b.large - a.large })
	var open, full []*bin
	for _, g := range order {
		at := -1
		for i, b := range open {
			if sum, ok := b.sums.plus(&g.sums); ok {
				b.sums, at = sum, i
				b.groups = append(b.groups, g)
				break
			}
		}
		switch {
		case at >= 0 && len(open[at].groups) < 4:
		case at >= 0:
			full = append(full, open[at])
			open = slices.Delete(open, at, at+1)
		case g.large > 127:
			full = append(full, &bin{groups: []*binGroup{g}})
		default:
			if len(open) == openBins {
				full = append(full, open[0])
				open = slices.Delete(open, 0, 1)
			}
			open = append(open, &bin{sums: g.sums, groups: []*binGroup{g}})
		}
	}
	full = append(full, open...)
	for size := 4; size >= 1; size-- {
		head := len(data)
		data = append(data, make([]int8, 32)...)
		for _, b := range full {
			if len(b.groups) != size {
				continue
			}
			var at [32]uint8
			for i, g := range b.groups {
				binary.LittleEndian.PutUint32(at[4*i:], uint32(g.at))
			}
			data = appendSigned(data, at[:])
			for _, g := range b.groups {
				data = append(data, g.w[:]...)
			}
		}
		var n [8]uint8
		binary.LittleEndian.PutUint64(n[:], uint64(len(data)-head-32))
		copy(data[head:], appendSigned(nil, n[:]))
	}
	return data
}

// appendSigned appends bytes as signed ones.
func appendSigned(d []int8, b []uint8) []int8 {
	for _, v := range b {
		d = append(d, int8(v))
	}
	return d
}
