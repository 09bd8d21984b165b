package kernel

import "unsafe"

// ConvSumsConfig describes a convolution of unsigned bytes with signed weights whose results are not rounded to bytes:
//
//	s[j] = sum (x - xZero) * (W[j] - ZeroW[j])
//
// modulo 2^32, the padding having the value xZero: ONNX ConvInteger. Signed bytes are those of x XOR 0x80, their zero points too.
type ConvSumsConfig struct {
	Cin, Cout, Groups, KD, KH, KW int
	W                             []int8 // [Cout, Cin/Groups, KD, KH, KW]
	ZeroW                         []int8 // 1 or [Cout], nil for 0
}

// ConvSums is such a convolution with its weights packed; it is immutable.
type ConvSums struct {
	ConvSumsConfig
	cg, og, taps int
	gemm         []*PackedS8 // one per group, [taps*channels, columns]
	wide         []float32   // instead: the weights less their zero points
}

const badConvSums = "kernel: invalid convolution of bytes"

const (
	// exactTaps is the number of products of 255*255 whose sums float32 holds exactly: all are below 2^24.
	exactTaps = 258
	// fewColumns is the number of channels per group below which most of a panel of the integer product would be empty.
	fewColumns = 16
)

// NewConvSums packs weights. It panics when lengths do not fit the description.
func NewConvSums(cfg ConvSumsConfig) *ConvSums {
	c := &ConvSums{ConvSumsConfig: cfg, taps: cfg.KD * cfg.KH * cfg.KW}
	if c.Groups < 1 || c.Cin < 1 || c.Cout < 1 || c.Cin%c.Groups != 0 || c.Cout%c.Groups != 0 || min(c.KD, c.KH, c.KW) < 1 {
		panic(badConvSums)
	}
	c.cg, c.og = c.Cin/c.Groups, c.Cout/c.Groups
	k := c.cg * c.taps
	if len(c.W) != c.Cout*k || len(c.ZeroW) > 1 && len(c.ZeroW) != c.Cout {
		panic(badConvSums)
	}
	if c.Groups > 1 && c.og < fewColumns && k <= exactTaps {
		c.wide = make([]float32, len(c.W))
		for i, w := range c.W {
			c.wide[i] = float32(int32(w) - c.zeroOf(i/k))
		}
	} else {
		c.gemm = packGroups(c.W, c.Groups, c.og, c.cg, c.taps)
	}
	c.W = nil
	return c
}

// Bytes returns the size of the packed copy.
func (c *ConvSums) Bytes() int64 {
	n := 4 * int64(len(c.wide))
	for _, g := range c.gemm {
		n += g.Bytes()
	}
	return n
}

// MACs returns the multiply-accumulates of one element of the result.
func (c *ConvSums) MACs() int64 { return int64(c.cg * c.taps) }

// ChannelsFirst tells how the images lie that Sums and Float want: [C, D, H, W] where it is true, or [D, H, W, C]. Results are always
// [Cout, OD, OH, OW].
func (c *ConvSums) ChannelsFirst() bool { return c.wide != nil }

// Scratch returns the number of elements of the padded image that Sums and Float take scratch memory for in every thread, beside not more than
// input and output, or math.MaxInt; see PaddedLen.
func (c *ConvSums) Scratch(v *Volume) int {
	if c.wide == nil {
		return 0
	}
	if c.depthwise(v) {
		return DepthwiseLen(&v.Window)
	}
	return PaddedLen(c.cg, v)
}

// Wide returns the weights less their zero points, [Cout, Cin/Groups, KD, KH, KW], or nil where Scratch is always 0.
func (c *ConvSums) Wide() []float32 { return c.wide }

// depthwise tells that every channel is an image of its own.
func (c *ConvSums) depthwise(v *Volume) bool {
	return c.cg == 1 && c.og == 1 && v.KD == 1 && v.D == 1 && v.OD == 1 && v.Front == 0
}

func (c *ConvSums) zeroOf(o int) int32 {
	if len(c.ZeroW) == 0 {
		return 0
	}
	return int32(c.ZeroW[o%len(c.ZeroW)])
}

// Sums convolves n images with zero point zx and writes the sums y [n, Cout, OD, OH, OW].
func (c *ConvSums) Sums(p *Pool, n int, v *Volume, x []uint8, zx uint8, y []int32) {
	j := convSumsJob{c: c, v: v, x: x, zx: [1]uint8{zx}, sums: y}
	j.run(p, n, len(y))
}

// Float is Sums with results act(float32(s)*(sx*scale[j]) + bias[j]), each operation rounded to float32; scale has length 1 or Cout, bias is nil
// or has length Cout.
func (c *ConvSums) Float(p *Pool, n int, v *Volume, x []uint8, zx uint8, sx float32, scale, bias []float32, act Activation, y []float32) {
	if len(scale) != 1 && len(scale) != c.Cout || bias != nil && len(bias) != c.Cout {
		panic(badConvSums)
	}
	j := convSumsJob{c: c, v: v, x: x, zx: [1]uint8{zx}, sx: [1]float32{sx}, scale: scale, bias: bias, act: act, y: y}
	j.run(p, n, len(y))
}

// convSumsJob is one run.
type convSumsJob struct {
	c           *ConvSums
	v           *Volume
	x           []uint8
	zx          [1]uint8
	sums        []int32 // one of sums and y is set
	y           []float32
	sx          [1]float32
	scale, bias []float32
	act         Activation
}

func (j *convSumsJob) run(p *Pool, n, have int) {
	c, v := j.c, j.v
	if !v.Valid() || v.KD != c.KD || v.KH != c.KH || v.KW != c.KW || n < 0 {
		panic(badConvSums)
	}
	in, out := v.D*v.H*v.W, v.OD*v.OH*v.OW
	if len(j.x) < n*in*c.Cin || have < n*out*c.Cout {
		panic(badShapeLen)
	}
	if n*out == 0 {
		return
	}
	threads := p.Threads()
	work := n * out * c.Cout * c.cg * c.taps
	if c.wide != nil {
		work *= 4
	}
	if work < forkMacs {
		p, threads = nil, 1
	}
	if c.wide != nil {
		per := max(1, min(c.Groups/(4*threads), 16<<10/max(1, c.cg*in+c.og*out)))
		parts := ceilDiv(c.Groups, per)
		p.Run(n*parts, func(t int) {
			g := t % parts * per
			j.wideGroups(t/parts, g, min(c.Groups, g+per))
		})
		return
	}
	block := max(96, min(192, 96<<10/(c.cg*c.taps)))
	blocks := ceilDiv(out, block)
	if threads > 1 {
		blocks = max(blocks, min(4*threads/min(4*threads, n*c.Groups), out/12))
	}
	p.Run(n*c.Groups*blocks, func(t int) {
		b := t % blocks
		j.block(t/blocks/c.Groups, t/blocks%c.Groups, b*out/blocks, (b+1)*out/blocks)
	})
}

// wideGroups computes groups g0..g1 of image n in float32, exactly.
func (j *convSumsJob) wideGroups(n, g0, g1 int) {
	c, v := j.c, j.v
	in, out, k, w := v.D*v.H*v.W, v.OD*v.OH*v.OW, c.cg*c.taps, g1-g0
	x, y := getScratchF32(w*c.cg*in), getScratchF32(w*c.og*out)
	DequantizeU8(x.f, j.x[(n*c.Cin+g0*c.cg)*in:][:w*c.cg*in], 1, j.zx[0])
	if c.depthwise(v) {
		DepthwiseConv(y.f, x.f, c.wide[g0*k:g1*k], nil, w, &v.Window, ActNone)
	} else {
		for g := range w {
			ConvVolumeF32(nil, c.og, c.wide[(g0+g)*c.og*k:][:c.og*k], c.cg, x.f[g*c.cg*in:][:c.cg*in], v, y.f[g*c.og*out:][:c.og*out], Epilogue{})
		}
	}
	at := (n*c.Cout + g0*c.og) * out
	if j.sums != nil {
		d := j.sums[at:][:len(y.f)]
		for i, s := range y.f {
			d[i] = int32(s)
		}
	} else {
		for o := range w * c.og {
			ch, d, s := g0*c.og+o, j.y[at+o*out:][:out], y.f[o*out:][:out]
			MulS(d, s, j.sx[0]*j.scale[ch%len(j.scale)])
			if j.bias != nil {
				AddS(d, d, j.bias[ch])
			}
			activate(j.act, d)
		}
	}
	scratchPoolF32.Put(x)
	scratchPoolF32.Put(y)
}

// rows returns what rows r0..r1 of image n meet of the channels of group gr, and the distance between rows: a part of x, or a copy.
func (j *convSumsJob) rows(n, gr, r0, r1 int) ([]uint8, int, *scratchU8) {
	c, v, m, k := j.c, j.v, r1-r0, j.c.cg*j.c.taps
	if v.pointwise() {
		at := (n*v.D*v.H*v.W+r0)*c.Cin + gr*c.cg
		return j.x[at:min(len(j.x), at+(m-1)*c.Cin+ceilDiv(k, 4)*4)], c.Cin, nil
	}
	ld := ceilDiv(k, 4) * 4
	s := getScratchU8(m * ld)
	for r := range m {
		gatherTaps(s.b[r*ld:][:k], j.x, v, c.Cin, c.cg, n, r0+r, gr, j.zx[0])
	}
	return s.b, ld, s
}

// block computes rows r0..r1 of group gr of image n.
func (j *convSumsJob) block(n, gr, r0, r1 int) {
	m := r1 - r0
	if m == 0 {
		return
	}
	c, out := j.c, j.v.OD*j.v.OH*j.v.OW
	w, zero := c.gemm[gr], c.ZeroW
	if len(zero) > 1 {
		zero = zero[gr*c.og:][:c.og]
	}
	a, ld, scratch := j.rows(n, gr, r0, r1)
	at := (n*c.Cout+gr*c.og)*out + r0
	if j.sums != nil {
		s := getSums(m * c.og)
		GemmU8S8(nil, m, a, ld, w, s.v, c.og)
		y := j.sums[at:]
		transpose32(bytesOfInts(y), bytesOfInts(s.v), m, c.og, 4*out, 4*c.og, false)
		sumsPool.Put(s)
		j.corrections(y, out, a, ld, m, w, zero)
	} else {
		scale, bias := j.scale, j.bias
		if len(scale) > 1 {
			scale = scale[gr*c.og:][:c.og]
		}
		if bias != nil {
			bias = bias[gr*c.og:][:c.og]
		}
		s := getScratchF32(m * c.og)
		QuantGemm(nil, m, a, ld, j.sx[:], j.zx[:], w, scale, zero, s.f, c.og, Epilogue{Bias: bias, Act: j.act})
		transpose32(bytesOf(j.y[at:]), bytesOf(s.f), m, c.og, 4*out, 4*c.og, false)
		scratchPoolF32.Put(s)
	}
	if scratch != nil {
		scratchPoolU8.Put(scratch)
	}
}

// corrections subtracts from the raw sums y [og, m], whose rows are out elements apart, what the zero points take off.
func (j *convSumsJob) corrections(y []int32, out int, a []uint8, ld, m int, w *PackedS8, zero []int8) {
	zx := int32(j.zx[0])
	var rows []int32
	if len(zero) > 0 {
		s := getSums(m)
		rows = s.v
		for r := range rows {
			rows[r] = sumU8(a[r*ld:][:w.K]) - zx*int32(w.K)
		}
		defer sumsPool.Put(s)
	}
	for o, sum := range w.ColSum {
		d, t := y[o*out:][:m], zx*sum
		if len(zero) == 0 {
			for i := range d {
				d[i] -= t
			}
			continue
		}
		z := int32(zero[o%len(zero)])
		for i, r := range rows {
			d[i] -= t + z*r
		}
	}
}

func bytesOfInts(x []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), 4*len(x))
}
