package kernel

import "sync"

// ChannelBlock is the number of channels that lie side by side in the blocked layout of images,
// [n, ceil(C/16), H, W, 16]: channel c of pixel (h, w) is element c%16 of block c/16. The lanes of a last block that is not
// full hold numbers that nobody reads.
const ChannelBlock = 16

// PackedConv is the weights of a convolution of blocked images in the order in which it reads them: for every block of output
// channels all blocks of input channels, kernel elements, input channels in the block, and 16 output channels side by side.
type PackedConv struct {
	Cout, Cin    int // output channels; input channels of one group
	Groups       int
	KH, KW       int
	Plain        bool // the input is [n, C, H, W], not blocked: for a few channels
	depth        bool // one channel per group
	step         int  // input channels in a block
	wicb, wocb   int
	data, bias   []float32
	half         []uint16 // in the place of data, and what its output channels are multiplied with
	scale        []float32
	kind         HalfKind
	outs, blocks int // blocks of output channels, of input channels of one group
}

// BlockGroups tells whether a convolution of that many groups can be computed over blocked images: one group, one channel in
// and out per group, or groups of whole blocks.
func BlockGroups(cout, cin, groups int) bool {
	return groups == 1 || cin == 1 && cout == groups || cin%ChannelBlock == 0 && cout/groups%ChannelBlock == 0
}

// PackConv packs weights [cout, cin, kh, kw], cin being the channels of one group, and the bias, which may be nil. plain is
// for input that is not blocked, groups == 1. It panics where BlockGroups is false or a slice is too short.
func PackConv(w, bias []float32, cout, cin, groups, kh, kw int, plain bool) *PackedConv {
	c := newPackedConv(len(w), bias, cout, cin, groups, kh, kw, plain)
	c.data = make([]float32, c.outs*c.wocb)
	layConv(c, c.data, w)
	return c
}

// newPackedConv is a PackedConv without weights, of which there are n.
func newPackedConv(n int, bias []float32, cout, cin, groups, kh, kw int, plain bool) *PackedConv {
	if n < cout*cin*kh*kw || bias != nil && len(bias) < cout || !BlockGroups(cout, cin, groups) || plain && groups != 1 {
		panic(badShapeLen)
	}
	c := &PackedConv{Cout: cout, Cin: cin, Groups: groups, KH: kh, KW: kw, Plain: plain, depth: groups > 1 && cin == 1}
	c.outs, c.step, c.blocks = ceilDiv(cout, ChannelBlock), min(cin, ChannelBlock), ceilDiv(cin, ChannelBlock)
	if plain {
		c.step, c.blocks = 1, cin
	}
	c.wicb = kh * kw * c.step * ChannelBlock
	c.wocb = c.wicb * c.blocks
	c.bias = make([]float32, c.outs*ChannelBlock)
	copy(c.bias, bias)
	return c
}

// Scale multiplies the weights of every output channel, in float64, with its factor, and rounds them; it is for who has just packed
// them. It panics for weights in half precision.
func (c *PackedConv) Scale(factors []float64) {
	if c.half != nil || len(factors) < c.Cout {
		panic(badShapeLen)
	}
	var lanes [ChannelBlock]float64
	for ob := range c.outs {
		clear(lanes[:])
		copy(lanes[:], factors[ob*ChannelBlock:c.Cout])
		d := c.data[ob*c.wocb:][:c.wocb]
		for i := range d {
			d[i] = float32(float64(d[i]) * lanes[i%ChannelBlock])
		}
	}
}

// Bytes returns the size of the packed weights.
func (c *PackedConv) Bytes() int64 {
	return 4*int64(len(c.data)+len(c.bias)+len(c.scale)) + 2*int64(len(c.half))
}

// BlockEpilogue is what follows the sums of a blocked convolution: act(sum + residual).
type BlockEpilogue struct {
	Residual    []float32 // lies like the output; nil for none
	Act         Activation
	Alpha, Beta float32 // of ActHardSigmoid
}

// blockAct are the activations that the micro-kernels apply, with what lim holds.
const (
	blockActNone        = iota
	blockActClamp       // lo, hi
	blockActHardSwish   // alpha, beta: x clamp(alpha x + beta, 0, 1)
	blockActHardSigmoid // alpha, beta: clamp(alpha x + beta, 0, 1)
	blockActDivide      // divisor
)

// blockTap is one kernel element: offsets of its input pixel and of its weights.
type blockTap struct{ x, w int }

// ConvBlocked convolves n images: dst [n, blocks of Cout, OH, OW, 16] from src [n, blocks of Cin*Groups, H, W, 16], or, with
// w.Plain, [n, Cin, H, W]. A sum is a chain of fused multiply-adds that starts at the bias and runs over blocks of input
// channels, kernel elements and channels in the block (plain: channels, kernel elements), those in the padding left out. Of
// many blocks the first, of at most 192 terms together unless it is one, make that chain, the next as many another one, which starts at 0 and is added, and so on; then
// the epilogue. dst must not overlap src. It panics if the geometry is not valid or a slice is too short.
func ConvBlocked(p *Pool, n int, dst, src []float32, w *PackedConv, g *Window, ep BlockEpilogue) {
	if !g.Valid() || g.KH != w.KH || g.KW != w.KW || n < 0 {
		panic(badConv)
	}
	if !w.depth && !w.Plain && w.outs/w.Groups >= minSampleOuts && g.sampling() {
		convSampled(p, n, dst, src, w, g, ep)
		return
	}
	j := newBlockJob(g)
	j.n, j.w, j.dst, j.src, j.res = n, w, dst, src, ep.Residual
	j.px, j.xplane = ChannelBlock, g.H*g.W*ChannelBlock
	j.kind, j.outs = blockDense, w.outs
	switch {
	case w.depth:
		j.kind, j.ximage = blockDepth, w.outs*j.xplane
	case w.Plain:
		j.px, j.xplane = 1, g.H*g.W
		j.ximage = w.Cin * j.xplane
	default:
		j.ximage = ceilDiv(w.Cin*w.Groups, ChannelBlock) * j.xplane
	}
	j.tile.w, j.tile.bias = w.data, w.bias
	j.activation(ep)
	j.run(p)
}

// PoolBlocked reduces windows of n*blocks blocked planes: the largest element (padding is -Inf, and a NaN wins), or with mean
// the mean, added in increasing (kh, kw) and divided by the number of elements inside the input, or, with includePad, inside
// the input and its stated padding. A window with no element gives -Inf and 0.
func PoolBlocked(p *Pool, n, blocks int, dst, src []float32, g *Window, mean, includePad bool) {
	if !g.Valid() || n < 0 || blocks < 0 {
		panic(badConv)
	}
	j := newBlockJob(g)
	j.n, j.dst, j.src = n, dst, src
	j.px, j.xplane, j.outs = ChannelBlock, g.H*g.W*ChannelBlock, blocks
	j.ximage = blocks * j.xplane
	j.kind = blockMax
	if mean {
		j.kind, j.pool, j.includePad = blockDepth, true, includePad
		j.tile.w, j.tile.bias, j.tile.act = blockOnes[:], blockZeros[:], blockActDivide
	}
	j.run(p)
}

// ScaleBlocked multiplies n blocked images of hw pixels with a factor per image and channel: s is [n, blocks, 16].
func ScaleBlocked(p *Pool, n, blocks, hw int, dst, src, s []float32) {
	g := &Window{H: 1, W: hw, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, OH: 1, OW: hw}
	j := newBlockJob(g)
	j.n, j.dst, j.src = n*blocks, dst, src
	j.px, j.xplane, j.outs = ChannelBlock, hw*ChannelBlock, 1
	j.ximage = j.xplane
	j.kind, j.scale = blockDepth, true
	if len(s) < n*blocks*ChannelBlock {
		panic(badShapeLen)
	}
	j.tile.w, j.tile.bias = s, blockZeros[:]
	j.run(p)
}

// MeanBlocked sets dst [planes, 16] to the means over the hw pixels of every plane of src [planes, hw, 16], hw > 0: sums of
// the pixels with the same number modulo 4, added as (0+1)+(2+3), divided by hw.
func MeanBlocked(dst, src []float32, planes, hw int) {
	if len(dst) < planes*ChannelBlock || len(src) < planes*hw*ChannelBlock || hw < 1 {
		panic(badShapeLen)
	}
	for i := range planes {
		blockMean(dst[i*ChannelBlock:][:ChannelBlock], src[i*hw*ChannelBlock:][:hw*ChannelBlock], hw)
	}
}

// blockMeanGo is the Go twin of the assembly.
func blockMeanGo(dst, src []float32, hw int) {
	var s [4][ChannelBlock]float32
	for p := range hw {
		t := &s[p&3]
		for l, v := range src[p*ChannelBlock:][:ChannelBlock] {
			t[l] += v
		}
	}
	for l := range ChannelBlock {
		dst[l] = ((s[0][l] + s[1][l]) + (s[2][l] + s[3][l])) / float32(hw)
	}
}

// BlockChannels writes images src [n, c, hw] to dst [n, blocks, hw, 16]; the lanes past c become 0.
func BlockChannels(p *Pool, n, c, hw int, dst, src []float32) {
	blocks := ceilDiv(c, ChannelBlock)
	if len(src) < n*c*hw || len(dst) < n*blocks*hw*ChannelBlock {
		panic(badShapeLen)
	}
	if n*c*hw < blockForkCopy {
		p = nil
	}
	p.Run(n*blocks, func(t int) {
		i, b := t/blocks, t%blocks
		k := min(ChannelBlock, c-b*ChannelBlock)
		d := dst[t*hw*ChannelBlock:][:hw*ChannelBlock]
		s := src[(i*c+b*ChannelBlock)*hw:][:k*hw]
		switch {
		case hw == 1:
			clear(d[copy(d, s):])
			return
		case k < ChannelBlock:
			clear(d)
		}
		transposeBlock(d, ChannelBlock, s, hw, k, hw)
	})
}

// UnblockChannels is the inverse of BlockChannels.
func UnblockChannels(p *Pool, n, c, hw int, dst, src []float32) {
	blocks := ceilDiv(c, ChannelBlock)
	if len(dst) < n*c*hw || len(src) < n*blocks*hw*ChannelBlock {
		panic(badShapeLen)
	}
	if n*c*hw < blockForkCopy {
		p = nil
	}
	p.Run(n*blocks, func(t int) {
		i, b := t/blocks, t%blocks
		k := min(ChannelBlock, c-b*ChannelBlock)
		s := src[t*hw*ChannelBlock:][:hw*ChannelBlock]
		d := dst[(i*c+b*ChannelBlock)*hw:][:k*hw]
		if hw == 1 {
			copy(d, s)
			return
		}
		transposeBlock(d, hw, s, ChannelBlock, hw, k)
	})
}

// blockForkCopy is the number of elements below which a change of layout stays in one thread.
const blockForkCopy = 1 << 15

var (
	blockOnes  = [ChannelBlock]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
	blockZeros [ChannelBlock]float32
)

var blockJobs = sync.Pool{New: func() any {
	j := new(blockJob)
	j.task = j.doTask
	return j
}}
