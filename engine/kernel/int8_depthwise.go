package kernel

import "slices"

// depthwise32 are weights of a depthwise convolution by blocks of 32 channels. The taps of a block are put in pairs and the pairs in groups: of every
// channel, the positive weights of a group add up to at most 128, and the negative ones to at least -128, so that 255 times that fits in 16 bits.
type depthwise32 struct {
	blocks []depthwiseBlock
	data   []int8 // round after round: the number of pairs of each of its two groups, 32 bytes, before [pair][place][2]
	bias   []int32
	scale  []float32
	repeat int // a block holds the channels of so many neighbouring pixels
}

// maxWideTaps bounds the taps of what packDepthwise32 packs: it searches for their groups.
const maxWideTaps = 128

// depthwiseBlock is one block.
type depthwiseBlock struct {
	first, off, rounds int // its first channel, where it begins in data, pairs of groups
	taps               []int
}

// place32 is the channel at place p of a block of 32: sums of bytes put side by side lane by lane, and packed again.
func place32(p int) int { return p/4%2*16 + p/8*4 + p%4 }

// byte32 is the channel at place p of bytes put side by side: the lower halves of both lanes, then the upper ones.
func byte32(p int) int { return p/8%2*16 + p/16*8 + p%8 }

// packDepthwise32 packs the weights where the channels fill a block, or a block holds several pixels of all channels; the last block ends with the
// last channel.
func (c *ConvU8) packDepthwise32() {
	d := &depthwise32{repeat: 1}
	switch {
	case c.taps > maxWideTaps:
		return
	case c.Cout >= 32:
	case 32%c.Cout == 0:
		d.repeat = 32 / c.Cout
	default:
		return
	}
	for first := 0; first < c.Cout; first += 32 {
		b := depthwiseBlock{first: max(0, min(first, c.Cout-32)), off: len(d.data)}
		of := func(ch, tap int) int8 { return c.W[(b.first+ch%c.Cout)*c.taps+tap] }
		groups := tapGroups(c.taps, of)
		if len(groups)%2 != 0 {
			groups = append(groups, nil)
		}
		b.rounds = len(groups) / 2
		for _, g := range groups {
			head := make([]int8, 32)
			head[0], head[1] = int8(len(g)/2), int8(len(g)/2>>8)
			d.data = append(d.data, head...)
			for i := 0; i < len(g); i += 2 {
				for p := range 32 {
					ch := byte32(p)
					for _, t := range g[i : i+2] {
						w := int8(0)
						if t >= 0 {
							w = of(ch, t)
						}
						d.data = append(d.data, w)
					}
				}
			}
			for _, t := range g {
				b.taps = append(b.taps, max(t, 0))
			}
		}
		for p := range 32 {
			o := b.first + place32(p)%c.Cout
			if c.Cout >= 32 {
				o = b.first + place32(p)
			}
			d.bias, d.scale = append(d.bias, c.plain[o]), append(d.scale, c.scaleOf(o))
		}
		d.blocks = append(d.blocks, b)
	}
	c.wide = d
}

// tapGroups puts the taps of 32 channels, of which of returns the weights, in groups of pairs; -1 stands for no tap.
func tapGroups(taps int, of func(ch, tap int) int8) [][]int {
	size := make([]int, taps) // the largest weight of each
	order := make([]int, taps)
	for t := range taps {
		order[t] = t
		for ch := range 32 {
			w := int(of(ch, t))
			size[t] = max(size[t], w, -w)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return size[b] - size[a] })
	fits := func(g []int) bool {
		for ch := range 32 {
			pos, neg := 0, 0
			for _, t := range g {
				if t >= 0 {
					w := int(of(ch, t))
					pos, neg = pos+max(w, 0), neg+min(w, 0)
				}
			}
			if pos > 128 || neg < -128 {
				return false
			}
		}
		return true
	}
	var groups [][]int
	for len(order) > 0 { // a large one and the smallest that is left
		pair := []int{order[0], -1}
		order = order[1:]
		if n := len(order); n > 0 && fits([]int{pair[0], order[n-1]}) {
			pair[1] = order[n-1]
			order = order[:n-1]
		}
		i := slices.IndexFunc(groups, func(g []int) bool { return fits(slices.Concat(g, pair)) })
		if i < 0 {
			groups = append(groups, pair)
		} else {
			groups[i] = append(groups[i], pair...)
		}
	}
	return groups
}

// wideRows returns the rows of a band of the output of n images: neighbours read and copy the same rows of the input.
func (c *ConvU8) wideRows(g *Window, n, threads int) int {
	high := c.bandRows(g, g.OH, wideBand)
	if threads > 1 {
		high = min(high, ceilDiv(g.OH*n, 2*threads))
	}
	return max(1, high)
}
