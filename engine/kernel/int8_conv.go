package kernel

import (
	"fmt"
	"math"
	"sync"
	"unsafe"
)

// ConvU8Config describes a convolution (or, with a kernel of one element, a matrix product) of unsigned bytes with constant signed weights.
// Images lie channels last. The result of channel j is
//
//	Table[clamp(round(float32(Bias[j] + sum (x - ZeroX) * W[j]) * Scale[j]) + ZeroY, Lo, Hi)]
//
// with sums in int32 (modulo 2^32), one float32 multiplication and ties to even: ONNX QLinearConv as ONNX Runtime computes it, with
// Scale = xScale*wScale/yScale. Signed bytes are those of x XOR 0x80, their zero points too. The padding has the value ZeroX.
type ConvU8Config struct {
	Cin, Cout, Groups, KH, KW int
	W                         []int8    // [Cout, Cin/Groups, KH, KW]
	ZeroW                     []int8    // subtracted from W: 1 or [Cout], nil for 0. Slower: every row is added up too
	Bias                      []int32   // [Cout], nil for 0
	Scale                     []float32 // 1 or [Cout], finite
	ZeroX, ZeroY, Lo, Hi      uint8
	Table                     *[256]uint8 // nil for the identity
	Dilated                   bool        // a Window may have DW > 1
}

// ConvU8 is a prepared convolution of bytes; it is immutable.
type ConvU8 struct {
	ConvU8Config
	cg, og    int // channels per group
	taps      int
	depthwise bool
	dense     bool       // packed by packDense or packBinned
	binned    bool       // by packBinned
	slab      bool       // rows of the input are copied between their padding first, pixels filled up to fours of channels
	panels    []convEdge // of one group
	data      []int8     // packed weights, group after group
	perGroup  int        // bytes of data per group
	bias      []int32    // padded, in the order of the kernels, zero point of x included
	scale     []float32
	padded    int // columns of bias and scale per group
	wide      *depthwise32
	repeat    int         // a block of 64 depthwise channels holds the channels of so many neighbouring pixels
	pad       []uint8     // a pixel of padding
	gemm      []*PackedS8 // one per group: the weights where there is no VNNI
	isa       ISA         // the level that the weights are packed for
	short     *rowTable   // the table on AVX2
	plain     []int32     // bias in channel order, zero point of x included
}

const badConvU8 = "kernel: invalid integer convolution"

// NewConvU8 packs weights. It panics when lengths do not fit the description.
func NewConvU8(cfg ConvU8Config) *ConvU8 {
	c := &ConvU8{ConvU8Config: cfg, taps: cfg.KH * cfg.KW, isa: Active()}
	if c.Groups < 1 || c.Cin < 1 || c.Cout < 1 || c.Cin%c.Groups != 0 || c.Cout%c.Groups != 0 || c.taps < 1 {
		panic(badConvU8)
	}
	c.cg, c.og = c.Cin/c.Groups, c.Cout/c.Groups
	if len(c.ZeroW) > 1 && len(c.ZeroW) != c.Cout {
		panic(badConvU8)
	}
	if len(c.W) != c.Cout*c.cg*c.taps || len(c.Scale) != 1 && len(c.Scale) != c.Cout || c.Bias != nil && len(c.Bias) != c.Cout {
		panic(badConvU8)
	}
	c.depthwise = c.Groups == c.Cin && c.Groups == c.Cout && c.Groups > 1 && len(c.ZeroW) == 0
	c.slab = len(c.ZeroW) == 0 && c.Groups == 1 && (c.taps > 1 || c.cg%4 != 0)
	c.pad = make([]uint8, c.Cin+64)
	for i := range c.pad {
		c.pad[i] = c.ZeroX
	}
	c.plain = make([]int32, c.Cout)
	for o := range c.Cout {
		var s int32
		for _, w := range c.W[o*c.cg*c.taps:][:c.cg*c.taps] {
			s += int32(w) - c.zeroOf(o)
		}
		if c.Bias != nil {
			c.plain[o] = c.Bias[o]
		}
		c.plain[o] -= s * int32(c.ZeroX)
	}
	if c.Table != nil && c.isa == AVX2 {
		c.short = newRowTable(c.Table)
	}
	switch {
	case c.depthwise && c.isa.hasVNNI512():
		c.packDepthwise()
	case c.depthwise && c.isa.hasAVX2():
		c.packDepthwise32()
		if c.wide == nil || c.wide.repeat > 1 { // else every image goes by 32 channels
			c.packDepthwise16()
		}
	case c.depthwise:
		return c
	case len(c.ZeroW) == 0 && (c.isa == AVX2 || c.isa == AVX512) && c.narrow() && c.Groups == 1 && c.Cout%binColumns == 0 && !c.Dilated && c.packBinned():
	case len(c.ZeroW) == 0 && (c.isa.hasVNNI512() || (c.isa == AVX2 || c.isa == AVX512) && c.narrow()):
		c.packDense()
	default:
		c.packGemm()
	}
	c.W = nil
	return c
}

// Bytes returns the size of the packed copy.
func (c *ConvU8) Bytes() int64 {
	n := int64(len(c.data)+len(c.W)) + 8*int64(len(c.bias))
	for _, g := range c.gemm {
		n += g.Bytes()
	}
	if c.wide != nil {
		n += int64(len(c.wide.data)) + 8*int64(len(c.wide.bias))
	}
	return n
}

// MACs returns the multiply-accumulates of one element of the result.
func (c *ConvU8) MACs() int64 { return int64(c.cg * c.taps) }

// zeroOf returns the zero point of the weights of channel o.
func (c *ConvU8) zeroOf(o int) int32 {
	if len(c.ZeroW) == 0 {
		return 0
	}
	return int32(c.ZeroW[o%len(c.ZeroW)])
}

// scaleOf returns the scale of channel o.
func (c *ConvU8) scaleOf(o int) float32 { return c.Scale[o%len(c.Scale)] }

// Run convolves n images x [n, H, W, Cin] to y [n, OH, OW, Cout].
func (c *ConvU8) Run(p *Pool, n int, g *Window, x, y []uint8) {
	if !g.Valid() || g.KH != c.KH || g.KW != c.KW || n < 0 || g.DW > 1 && c.KW > 1 && !c.Dilated {
		panic(badConvU8)
	}
	rows := n * g.OH * g.OW
	if len(x) < n*g.H*g.W*c.Cin || len(y) < rows*c.Cout {
		panic(badShapeLen)
	}
	if rows == 0 {
		return
	}
	j := &convU8Job{c: c, g: g, x: x[:n*g.H*g.W*c.Cin], y: y}
	if len(j.x) == 0 {
		j.x = c.pad
	}
	if c.cg%4 != 0 && c.Groups > 1 && c.dense { // whole fours are read
		s := getScratchU8(len(j.x) + 4)
		copy(s.b, j.x)
		j.x = s.b
		defer scratchPoolU8.Put(s)
	}
	k := c.cg * c.taps
	block := max(96, min(192, 96<<10/k)) / 24 * 24
	if c.binned {
		block = max(48, min(192, 24<<10/k)) / 24 * 24
		if c.slab && k < 64 { // of few products, what is copied counts
			block = 480
		}
	}
	threads := p.Threads()
	if threads == 1 || !c.forks(rows) {
		p, threads = nil, 1
	}
	groups := c.Groups
	if c.depthwise {
		groups = 1
	}
	for threads > 1 && block > 24 && ceilDiv(rows, block)*groups < 4*threads {
		block -= 24
	}
	parts := 1
	if c.depthwise && c.isa.hasAVX2() || c.slab && c.dense { // whole rows of the output
		if c.depthwise {
			block *= 2
		}
		high := c.bandRows(g, block/g.OW, largeBand)
		if c.wide != nil {
			high = c.wideRows(g, n, threads)
		}
		bands := ceilDiv(g.OH, high)
		if threads > 1 && !c.depthwise {
			parts = min(len(c.panels), max(1, 4*threads/(bands*n)))
		}
		p.Run(n*bands*parts, func(t int) {
			h0, part := t%bands*high, t/bands%parts
			j.band(t/bands/parts, h0, min(g.OH, h0+high), part*len(c.panels)/parts, (part+1)*len(c.panels)/parts)
		})
		return
	}
	if threads > 1 && len(c.panels) > 0 {
		parts = min(len(c.panels), max(1, 4*threads/(ceilDiv(rows, block)*groups)))
	}
	blocks := ceilDiv(rows, block)
	p.Run(blocks*groups*parts, func(t int) {
		b := t % blocks
		part := t / blocks % parts
		r0, r1 := b*block, min(rows, (b+1)*block)
		j.block(t/blocks/parts, r0, r1, part*len(c.panels)/parts, (part+1)*len(c.panels)/parts)
	})
}

// forks reports whether so many rows are work for several threads. On AVX2 alone a convolution takes about as long as forkConv products of bytes
// from some 15 us on, of which a fork costs two.
func (c *ConvU8) forks(rows int) bool {
	k := c.cg * c.taps
	if c.depthwise {
		k *= 4
	}
	if c.isa != AVX2 {
		return rows*c.Cout*k >= forkMacs
	}
	return rows*c.Cout*(k+requantizeMacs) >= forkConv || len(c.data) >= forkBytes
}

const (
	// forkConv is the work below which a convolution on AVX2 is not spread over threads, requantizeMacs the products that take as long as what
	// becomes of a sum.
	forkConv, requantizeMacs = 1_500_000, 32
)

// convU8Job is one run of a convolution.
type convU8Job struct {
	c    *ConvU8
	g    *Window
	x, y []uint8
}

// pixel returns the pixel of x that tap t of output row r meets, nil in the padding.
func (j *convU8Job) pixel(r, t int) []uint8 {
	g := j.g
	n, oh, ow := r/(g.OH*g.OW), r/g.OW%g.OH, r%g.OW
	h, w := oh*g.SH+t/g.KW*g.DH-g.Top, ow*g.SW+t%g.KW*g.DW-g.Left
	if h < 0 || h >= g.H || w < 0 || w >= g.W {
		return nil
	}
	return j.x[((n*g.H+h)*g.W+w)*j.c.Cin:]
}

// requantizeOne is the result of one sum, bias included.
func (c *ConvU8) requantizeOne(sum int32, o int) uint8 {
	z := float32(c.ZeroY)
	f := min(float32(sum)*c.scaleOf(o), float32(c.Hi)-z)
	v := int32(c.Lo)
	if f > float32(c.Lo)-z {
		v = int32(math.RoundToEven(float64(f))) + int32(c.ZeroY)
	}
	if c.Table != nil {
		return c.Table[uint8(v)]
	}
	return uint8(v)
}

// depthwiseGo is the Go twin of the depthwise kernels: rows r0..r1.
func (j *convU8Job) depthwiseGo(r0, r1 int) {
	c := j.c
	for r := r0; r < r1; r++ {
		acc := append(make([]int32, 0, 64), c.plain...)
		for t := range c.taps {
			px := j.pixel(r, t)
			if px == nil {
				px = c.pad
			}
			for o, v := range px[:c.Cout] {
				acc[o] += int32(v) * int32(c.W[o*c.taps+t])
			}
		}
		for o, s := range acc {
			j.y[r*c.Cout+o] = c.requantizeOne(s, o)
		}
	}
}

// gemmRows computes rows r0..r1 of group gr as a product of gathered rows with the packed weights.
func (j *convU8Job) gemmRows(gr, r0, r1 int) {
	c, g, m := j.c, j.g, r1-r0
	k := c.cg * c.taps
	s := getSums(m * c.og)
	zw := c.ZeroW
	if len(zw) > 1 {
		zw = zw[gr*c.og:][:c.og]
	}
	if c.taps == 1 && g.SH == 1 && g.SW == 1 && g.OH == g.H && g.OW == g.W && g.Top == 0 && g.Left == 0 {
		MatMulInteger(nil, m, j.x[r0*c.Cin+gr*c.cg:(r1-1)*c.Cin+(gr+1)*c.cg], c.Cin, nil, c.gemm[gr], zw, s.v, c.og)
	} else {
		ld := ceilDiv(k, 4) * 4
		a := getScratchU8(m * ld)
		flat, out := g.Flat(), g.OH*g.OW
		for r := range m {
			gatherTaps(a.b[r*ld:][:k], j.x, &flat, c.Cin, c.cg, (r0+r)/out, (r0+r)%out, gr, c.ZeroX)
		}
		MatMulInteger(nil, m, a.b, ld, nil, c.gemm[gr], zw, s.v, c.og)
		scratchPoolU8.Put(a)
	}
	bias, scale := c.plain[gr*c.og:][:c.og], c.scale[gr*c.og:][:c.og]
	for r := range m {
		y := j.y[(r0+r)*c.Cout+gr*c.og:][:c.og]
		RequantizeU8(s.v[r*c.og:][:c.og], y, scale, bias, c.ZeroY)
		if c.Lo > 0 || c.Hi < 255 {
			for i, v := range y {
				y[i] = min(max(v, c.Lo), c.Hi)
			}
		}
		if c.Table != nil {
			Lookup(y, y, c.Table)
		}
	}
	sumsPool.Put(s)
}

// gatherTaps copies what row r of the results of image n meets of the cg channels of group gr of x, [n, D, H, W, cin]: [taps, cg], with zero
// in the padding.
func gatherTaps(d, x []uint8, v *Volume, cin, cg, n, r, gr int, zero uint8) {
	od, oh, ow := r/(v.OH*v.OW), r/v.OW%v.OH, r%v.OW
	line := v.KW * cg
	w := ow*v.SW - v.Left
	whole := cg == cin && v.DW == 1 && w >= 0 && w+v.KW <= v.W
	for kd := range v.KD {
		z := od*v.SD + kd*v.DD - v.Front
		for kh := range v.KH {
			h := oh*v.SH + kh*v.DH - v.Top
			e := d[:line]
			d = d[line:]
			if h < 0 || h >= v.H || z < 0 || z >= v.D {
				fill(e, zero)
				continue
			}
			row := ((n*v.D+z)*v.H + h) * v.W
			if whole {
				copy(e, x[(row+w)*cin:])
				continue
			}
			for kw := range v.KW {
				f := e[kw*cg:][:cg]
				if p := w + kw*v.DW; p >= 0 && p < v.W {
					copy(f, x[(row+p)*cin+gr*cg:])
				} else {
					fill(f, zero)
				}
			}
		}
	}
}

// sums is recycled memory for int32.
type sums struct{ v []int32 }

var sumsPool = sync.Pool{New: func() any { return new(sums) }}

func getSums(n int) *sums {
	s := sumsPool.Get().(*sums)
	if cap(s.v) < n {
		s.v = make([]int32, n)
	}
	s.v = s.v[:n]
	return s
}

// pointers is recycled memory for the addresses of pixels.
type pointers struct{ p []unsafe.Pointer }

var pointerPool = sync.Pool{New: func() any { return new(pointers) }}

func getPointers(n int) *pointers {
	s := pointerPool.Get().(*pointers)
	if cap(s.p) < n {
		s.p = make([]unsafe.Pointer, n)
	}
	s.p = s.p[:n]
	return s
}

// release forgets the addresses.
func (s *pointers) release() {
	clear(s.p)
	pointerPool.Put(s)
}

// addresses writes the pixels of rows r0..r1 at channel ch, tile after tile of mr rows: [tile][tap][row of the tile].
func (j *convU8Job) addresses(dst []unsafe.Pointer, r0, r1, mr, ch int) {
	g, c := j.g, j.c
	base := unsafe.Pointer(&j.x[0])
	if c.taps == 1 && g.SH == 1 && g.SW == 1 && g.OH == g.H && g.OW == g.W && g.Top == 0 && g.Left == 0 {
		for i := range dst[:r1-r0] {
			dst[i] = unsafe.Add(base, (r0+i)*c.Cin+ch)
		}
		return
	}
	pad := unsafe.Pointer(&c.pad[0])
	n, oh, ow := r0/(g.OH*g.OW), r0/g.OW%g.OH, r0%g.OW
	for r := r0; r < r1; { // a run is what lies in one row of the output and in one tile
		at := r - r0
		tile := at / mr * mr
		w := min(mr, r1-r0-tile)
		run := min(g.OW-ow, tile+w-at)
		d := dst[tile*c.taps+at-tile:]
		for kh := range g.KH {
			h := oh*g.SH + kh*g.DH - g.Top
			row := (n*g.H + h) * g.W
			for kw := range g.KW {
				e := d[(kh*g.KW+kw)*w:][:run]
				x := ow*g.SW + kw*g.DW - g.Left
				if uint(h) >= uint(g.H) {
					for i := range e {
						e[i] = pad
					}
					continue
				}
				for i := range e {
					if uint(x) < uint(g.W) {
						e[i] = unsafe.Add(base, (row+x)*c.Cin+ch)
					} else {
						e[i] = pad
					}
					x += g.SW
				}
			}
		}
		r += run
		if ow += run; ow == g.OW {
			ow = 0
			if oh++; oh == g.OH {
				oh = 0
				n++
			}
		}
	}
}

// String says which kernel runs.
func (c *ConvU8) String() string {
	kind := "conv"
	switch {
	case c.depthwise:
		kind = "depthwise"
	case c.taps == 1:
		kind = "1x1"
	}
	return fmt.Sprintf("u8s8-%s-%s", kind, c.isa)
}
