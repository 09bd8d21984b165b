package kernel

import "math"

// PackConvHalf is PackConv for weights in half precision, which stay so: a task widens what it reads next into memory that stays in
// the cache, and multiplies it there with the factor of its output channel, rounded once. scale has cout factors; nil is 1 for all.
func PackConvHalf(kind HalfKind, w []uint16, scale, bias []float32, cout, cin, groups, kh, kw int, plain bool) *PackedConv {
	if scale != nil && len(scale) < cout {
		panic(badShapeLen)
	}
	c := newPackedConv(len(w), bias, cout, cin, groups, kh, kw, plain)
	c.kind, c.half, c.scale = kind, make([]uint16, c.outs*c.wocb), make([]float32, c.outs*ChannelBlock)
	for i := range c.scale {
		c.scale[i] = 1
	}
	copy(c.scale, scale)
	layConv(c, c.half, w)
	return c
}

// layConv writes weights [cout, cin, kh, kw] in the order of the packed form.
func layConv[T float32 | uint16](c *PackedConv, data, w []T) {
	kk := c.KH * c.KW
	for o := range c.Cout {
		d := data[o/ChannelBlock*c.wocb+o%ChannelBlock:]
		for i := range c.Cin {
			src := w[(o*c.Cin+i)*kk:][:kk]
			at := i/c.step*c.wicb + i%c.step*ChannelBlock
			for t, v := range src {
				d[at+t*c.step*ChannelBlock] = v
			}
		}
	}
}

// widen writes n packed weights from at on, of block ob of the output channels, to dst; n is a multiple of ChannelBlock.
func (c *PackedConv) widen(dst []float32, ob, at, n int) {
	src, scale := c.half[at:at+n], c.scale[ob*ChannelBlock:][:ChannelBlock]
	dst = dst[:n]
	if n == 0 || widenBlocksVec(c.kind, dst, src, scale) {
		return
	}
	widenBlocksGo(c.kind, dst, src, scale)
}

// widenBlocksGo is the Go twin of the assembly.
func widenBlocksGo(kind HalfKind, dst []float32, src []uint16, scale []float32) {
	if kind == F16 {
		F16ToF32(dst, src)
	} else {
		for i, v := range src {
			dst[i] = math.Float32frombits(uint32(v) << 16)
		}
	}
	for i := 0; i < len(dst); i += ChannelBlock {
		d, s := (*[ChannelBlock]float32)(dst[i:]), (*[ChannelBlock]float32)(scale)
		for l := range d {
			d[l] *= s[l]
		}
	}
}

// floats returns all packed weights as float32; they must not be changed.
func (c *PackedConv) floats() []float32 {
	if c.half == nil {
		return c.data
	}
	out := make([]float32, len(c.half))
	for ob := range c.outs {
		c.widen(out[ob*c.wocb:], ob, ob*c.wocb, c.wocb)
	}
	return out
}
