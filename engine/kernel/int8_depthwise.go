package kernel

import (
	"encoding/binary"
	"slices"
)

// depthwise32 are weights of a depthwise convolution by blocks of 32 channels. The taps of a block are put in pairs, whose products VPMADDUBSW
// adds. They are added up in two sums of 16 bits: see split.
type depthwise32 struct {
	blocks []depthwiseBlock
	data   []int8 // of every block: see appendPairs
	bias   []int32
	scale  []float32
	repeat int // a block holds the channels of so many neighbouring pixels
}

// maxWideTaps bounds the taps of what packDepthwise32 packs.
const maxWideTaps = 128

// depthwiseBlock is one block.
type depthwiseBlock struct {
	first, off int   // its first channel, where it begins in data
	taps       []int // of the pairs, one after the other
	words      bool  // its weights fit no two sums of 16 bits: it is packed by packDepthwise16, as two blocks
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
		w := make([][32]int8, c.taps)
		for t := range w {
			for ch := range 32 {
				w[t][ch] = c.W[(b.first+ch%c.Cout)*c.taps+t]
			}
		}
		pairs, factor := split(w)
		switch {
		case factor > 0:
			var start [32]int32
			d.data = appendPairs(d.data, pairs, factor, &start)
			for _, p := range pairs {
				b.taps = append(b.taps, p.taps[0], p.taps[1])
			}
			for p := range 32 {
				ch := place32(p)
				o := b.first + ch%c.Cout
				d.bias, d.scale = append(d.bias, c.plain[o]-start[ch]), append(d.scale, c.scaleOf(o))
			}
		case d.repeat > 1:
			return
		default:
			b.words = true
			for t := range ceilDiv(c.taps, 2) * 2 {
				b.taps = append(b.taps, min(t, c.taps-1)) // the last one meets 0 where it comes twice
			}
			for _, first := range [2]int{b.first, b.first + 16} {
				data, bias, scale := c.depthwiseWords(first)
				d.data, d.bias, d.scale = append(d.data, data...), append(d.bias, bias[:]...), append(d.scale, scale[:]...)
			}
		}
		d.blocks = append(d.blocks, b)
	}
	c.wide = d
}

// tapPair are two taps and what their weights add to each of two sums: [channel][tap].
type tapPair struct {
	taps [2]int
	w    [2][32][2]int8
}

// mostSummed is the number that the absolute values of the weights in a sum of 16 bits may add up to: 255 times that is the range of the sum, which
// starts where it cannot leave 16 bits.
const mostSummed = 257

// split puts the taps w of 32 channels in pairs and makes two sums of them, A and B, so that A + factor*B is the sum of all products: by deal where
// that does it, else by halve. In either sum the absolute values of the weights of a channel add up to mostSummed at most, and those of a pair to 128
// at most for each sign, since VPMADDUBSW saturates. Pairs that add to both sums come first. The factor is 0 where no two sums will do.
func split(w [][32]int8) ([]tapPair, int) {
	size, order := make([]int, len(w)), make([]int, len(w))
	for t := range w {
		order[t] = t
		for _, v := range w[t] {
			size[t] += max(int(v), -int(v))
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return size[b] - size[a] })
	pairs, factor := deal(w, order)
	for bits := 1; bits <= 5; bits++ { // of few bits, most pairs add to both sums
		if p := halve(w, order, bits); p != nil && (factor == 0 || bothSums(p) < bothSums(pairs)) {
			pairs, factor = p, 1<<bits
		}
	}
	slices.SortStableFunc(pairs, func(a, b tapPair) int { return b.sums() - a.sums() })
	return pairs, factor
}

// pairsOf returns pairs of the taps in that order, without weights: a tap without another meets 0.
func pairsOf(order []int) []tapPair {
	pairs := make([]tapPair, ceilDiv(len(order), 2))
	for i := range pairs {
		pairs[i].taps = [2]int{order[2*i], order[min(2*i+1, len(order)-1)]}
	}
	return pairs
}

// weights returns those of a channel of pair i of the taps in that order.
func weights(w [][32]int8, order []int, i, ch int) [2]int {
	v := [2]int{int(w[order[2*i]][ch]), 0}
	if 2*i+1 < len(order) {
		v[1] = int(w[order[2*i+1]][ch])
	}
	return v
}

// deal gives B what A has no room for, of the largest taps, which order begins with: the factor is 1. A weight may be split.
func deal(w [][32]int8, order []int) ([]tapPair, int) {
	pairs := pairsOf(order)
	for ch := range 32 {
		room := [2]int{mostSummed, mostSummed}
		for i := len(pairs) - 1; i >= 0; i-- {
			rest := weights(w, order, i, ch)
			for s := range room {
				left := [2]int{128, 128} // by sign
				for k, v := range rest {
					sign := 0
					if v < 0 {
						sign = 1
					}
					n := min(max(v, -v), room[s], left[sign])
					room[s] -= n
					left[sign] -= n
					n *= 1 - 2*sign
					rest[k] -= n
					pairs[i].w[s][ch][k] = int8(n)
				}
			}
			if rest != [2]int{} {
				return nil, 0
			}
		}
	}
	return pairs, 1
}

// halve gives B the upper bits of weights and A the lower ones, so many, and all of the smallest taps while there is room. It returns nil where there
// is none.
func halve(w [][32]int8, order []int, bits int) []tapPair {
	pairs := pairsOf(order)
	half := 1 << (bits - 1)
	lower := func(v int) int { return (v+half)&(2*half-1) - half }
	var upper, low [32]int // absolute values added up: of the weights in B, and of those in A if every weight had its lower bits alone there
	for ch := range 32 {
		for _, t := range order {
			v := lower(int(w[t][ch]))
			low[ch] += max(v, -v)
		}
		if low[ch] > mostSummed {
			return nil
		}
	}
	for i := len(pairs) - 1; i >= 0; i-- {
		whole := true
		var more [32]int
		for ch := range 32 {
			var left [2]int
			for _, v := range weights(w, order, i, ch) {
				l := lower(v)
				more[ch] += max(v, -v) - max(l, -l)
				left[0], left[1] = left[0]+max(v, 0), left[1]-min(v, 0)
			}
			whole = whole && low[ch]+more[ch] <= mostSummed && max(left[0], left[1]) <= 128
		}
		for ch := range 32 {
			for k, v := range weights(w, order, i, ch) {
				if whole {
					pairs[i].w[0][ch][k] = int8(v)
					continue
				}
				l := lower(v)
				h := (v - l) >> bits
				pairs[i].w[0][ch][k], pairs[i].w[1][ch][k] = int8(l), int8(h)
				upper[ch] += max(h, -h)
			}
			if whole {
				low[ch] += more[ch]
			}
			if upper[ch] > mostSummed {
				return nil
			}
		}
	}
	return pairs
}

// bothSums returns the number of pairs that add to both sums.
func bothSums(pairs []tapPair) int {
	n := 0
	for i := range pairs {
		n += pairs[i].sums() - 1
	}
	return n
}

// sums returns the number of sums that the pair adds to, one at least.
func (p *tapPair) sums() int {
	if p.w[1] == [32][2]int8{} {
		return 1
	}
	return 2
}

// appendPairs appends the weights of a block to data: the number of pairs that add to both sums and of those that add to A, in 32 bytes; 1 and the
// factor as words, eight times; where the sums start, [sum][place] words; the weights of the pairs, [sum][place][2]. start is what that adds to the
// sum of a channel.
func appendPairs(data []int8, pairs []tapPair, factor int, start *[32]int32) []int8 {
	var room [2][32][2]int32 // the largest and the smallest sum of each
	for i := range pairs {
		for s := range room {
			for ch := range 32 {
				r := &room[s][ch]
				for _, v := range pairs[i].w[s][ch] {
					r[0], r[1] = r[0]+255*int32(max(v, 0)), r[1]+255*int32(min(v, 0))
				}
			}
		}
	}
	both := bothSums(pairs)
	head := make([]uint8, 32)
	binary.LittleEndian.PutUint64(head, uint64(both))
	binary.LittleEndian.PutUint64(head[8:], uint64(len(pairs)-both))
	for range 8 {
		head = binary.LittleEndian.AppendUint32(head, uint32(factor)<<16+1)
	}
	for s := range room {
		for p := range 32 {
			ch := byte32(p)
			v := max(min(0, 32767-room[s][ch][0]), -32768-room[s][ch][1])
			start[ch] += v * int32([2]int{1, factor}[s])
			head = binary.LittleEndian.AppendUint16(head, uint16(v))
		}
	}
	data = appendSigned(data, head)
	for i := range pairs {
		for s := range pairs[i].sums() {
			for place := range 32 {
				data = append(data, pairs[i].w[s][byte32(place)][:]...)
			}
		}
	}
	return data
}

// wideRows returns the rows of a band of the output of n images: neighbours read and copy the same rows of the input.
func (c *ConvU8) wideRows(g *Window, n, threads int) int {
	high := c.bandRows(g, g.OH, wideBand)
	if threads > 1 {
		if g.OH*n >= 16*threads {
			threads *= 2
		}
		high = min(high, ceilDiv(g.OH*n, threads))
	}
	return max(1, high)
}
