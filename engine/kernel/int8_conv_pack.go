package kernel

// convEdge is a panel of columns: where it starts and the vectors of 16 that it has.
type convEdge struct {
	first, vecs, width, off int
	paired                  bool // see paired
	end                     int  // of binned weights, which begin at off
}

// column returns the column, in 0..63, at place p of a panel of four vectors: 64 results packed lane by lane are then in order.
func column(p int) int { return p/4%4*16 + p/16*4 + p%4 }

// packDense orders the weights as [group][panel][tap][four channels][column][4], in panels of up to 64 columns, or of 16 in the order of lane16
// where there is no VNNI.
func (c *ConvU8) packDense() {
	c.dense = true
	most := 64
	if !c.isa.hasVNNI512() {
		most = 16
	}
	for first := 0; first < c.og; {
		w := min(most, c.og-first)
		c.panels = append(c.panels, convEdge{first: first, vecs: ceilDiv(w, 16), width: w, off: c.padded, paired: true})
		c.padded += ceilDiv(w, 16) * 16
		first += w
	}
	k4 := ceilDiv(c.cg, 4) * c.taps
	c.perGroup = c.padded * k4 * 4
	c.data = make([]int8, c.perGroup*c.Groups)
	c.bias, c.scale = make([]int32, c.padded*c.Groups), make([]float32, c.padded*c.Groups)
	for g := range c.Groups {
		for i := range c.panels {
			e := &c.panels[i]
			panel := c.data[g*c.perGroup+e.off*k4*4:][:e.vecs*16*k4*4]
			for p := range e.vecs * 16 {
				col := p
				switch {
				case most == 16:
					col = lane16(p)
				case e.vecs == 4:
					col = column(p)
				}
				if col >= e.width {
					continue
				}
				o := g*c.og + e.first + col
				c.bias[g*c.padded+e.off+p], c.scale[g*c.padded+e.off+p] = c.plain[o], c.scaleOf(o)
				c.packColumn(panel, p, e.vecs*16, c.W[o*c.cg*c.taps:][:c.cg*c.taps])
			}
			e.paired = e.paired && most == 16 && paired(panel)
		}
	}
}

// narrow reports whether two neighbouring channels of a weight are at most 128 apart from 0 in sum.
func (c *ConvU8) narrow() bool {
	for o := range c.Cout {
		w := c.W[o*c.cg*c.taps:][:c.cg*c.taps]
		for i := 0; i+1 < c.cg; i += 2 {
			for t := range c.taps {
				if s := int(w[i*c.taps+t]) + int(w[(i+1)*c.taps+t]); s < -128 || s > 128 {
					return false
				}
			}
		}
	}
	return true
}

// paired reports whether in a panel of 16 columns the positive weights that meet in one lane of two neighbouring groups of four add up to at most
// 128, and the negative ones too.
func paired(panel []int8) bool {
	for i := 0; i+64 < len(panel); i += 2 {
		pos, neg := 0, 0
		for _, w := range [4]int8{panel[i], panel[i+1], panel[i+64], panel[i+65]} {
			pos, neg = pos+int(max(w, 0)), neg+int(min(w, 0))
		}
		if pos > 128 || neg < -128 {
			return false
		}
	}
	return true
}

// packColumn writes the weights w [cg, taps] of one output channel into place p of a panel of the given width.
func (c *ConvU8) packColumn(panel []int8, p, width int, w []int8) {
	step := ceilDiv(c.cg, 4) * 4
	for t := range c.taps {
		for i := range c.cg {
			k := t*step + i
			panel[k/4*4*width+4*p+k%4] = w[i*c.taps+t]
		}
	}
}

// packGroups packs weights [groups*og, cg, taps] of every group as the matrix [taps*cg, og].
func packGroups(w []int8, groups, og, cg, taps int) []*PackedS8 {
	k := cg * taps
	t := make([]int8, og*k)
	var out []*PackedS8
	for g := range groups {
		for o := range og {
			for i, v := range w[(g*og+o)*k:][:k] {
				t[o*k+i%taps*cg+i/taps] = v
			}
		}
		out = append(out, PackS8(k, og, t, k, true))
	}
	return out
}

// packGemm packs the weights of every group as the matrix [taps*channels, columns].
func (c *ConvU8) packGemm() {
	c.gemm = packGroups(c.W, c.Groups, c.og, c.cg, c.taps)
	c.scale = make([]float32, c.Cout)
	for o := range c.scale {
		c.scale[o] = c.scaleOf(o)
	}
}

// lane16 is the channel at place p of a block of 16: words of two vectors packed lane by lane are then in order.
func lane16(p int) int { return p&3 | p&8>>1 | p&4<<1 }

// packDepthwise16 orders the weights by blocks of 16 channels, see depthwiseWords; the last block starts so that it ends with the last channel, at 0
// where there are fewer than 16.
func (c *ConvU8) packDepthwise16() {
	blocks := ceilDiv(c.Cout, 16)
	c.padded = blocks * 16
	for b := range blocks {
		data, bias, scale := c.depthwiseWords(max(0, min(b*16, c.Cout-16)))
		c.data, c.bias, c.scale = append(c.data, data...), append(c.bias, bias[:]...), append(c.scale, scale[:]...)
	}
}

// depthwiseWords orders the weights of 16 channels from first on as [two taps][place][2] words, held as pairs of bytes, and returns the biases and
// scales of the places.
func (c *ConvU8) depthwiseWords(first int) (data []int8, bias [16]int32, scale [16]float32) {
	data = make([]int8, ceilDiv(c.taps, 2)*64)
	for p := range 16 {
		o := first + lane16(p)
		if o >= c.Cout {
			continue
		}
		bias[p], scale[p] = c.plain[o], c.scaleOf(o)
		for t := range c.taps {
			v, at := int16(c.W[o*c.taps+t]), (t/2*16+p)*4+t%2*2
			data[at], data[at+1] = int8(v), int8(v>>8)
		}
	}
	return data, bias, scale
}

// packDepthwise orders the weights as [block of 64 channels][four taps][place][4]. Few channels are repeated: with a stride of 1,
// neighbouring pixels then fill a block.
func (c *ConvU8) packDepthwise() {
	c.repeat = 1
	if c.Cout < 64 && 64%c.Cout == 0 {
		c.repeat = 64 / c.Cout
	}
	t4, blocks := ceilDiv(c.taps, 4), ceilDiv(c.Cout, 64)
	c.padded = blocks * 64
	c.data = make([]int8, blocks*64*t4*4)
	c.bias, c.scale = make([]int32, c.padded), make([]float32, c.padded)
	for b := range blocks {
		for p := range 64 {
			o := b*64 + column(p)
			if o >= c.Cout*c.repeat {
				continue
			}
			o %= c.Cout
			c.bias[b*64+p], c.scale[b*64+p] = c.plain[o], c.scaleOf(o)
			for t := range c.taps {
				c.data[b*64*t4*4+t/4*256+4*p+t%4] = c.W[o*c.taps+t]
			}
		}
	}
}
