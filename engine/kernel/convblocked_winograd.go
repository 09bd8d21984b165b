package kernel

import "math"

// Winograd is a 3x3 convolution with stride 1 as products of transformed tiles: F(m x m, 3 x 3) of Winograd, "Arithmetic
// complexity of computations" (1980), in the form of Lavin and Gray, "Fast algorithms for convolutional neural networks" (2016).
// It takes 9m^2/(m+2)^2 times fewer multiplications than the definition, and rounds differently: see Bound.
type Winograd struct {
	m, t  int // outputs and inputs of a tile, along one dimension
	conv  *PackedConv
	gemm  PackedConv // the products: one set of weights for each of t*t elements
	bound float64
}

// winoMatrices are B^T, G and A^T of one tile size; _gen/winograd.go has B^T and A^T, too.
type winoMatrices struct{ in, kernel, out [][]float64 }

func winoTables(m int) winoMatrices {
	if m == 2 {
		return winoMatrices{
			in:     [][]float64{{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}},
			kernel: [][]float64{{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}},
			out:    [][]float64{{1, 1, 1, 0}, {0, 1, -1, -1}},
		}
	}
	return winoMatrices{
		in: [][]float64{{4, 0, -5, 0, 1, 0}, {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0}, {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}},
		kernel: [][]float64{{1.0 / 4, 0, 0}, {-1.0 / 6, -1.0 / 6, -1.0 / 6}, {-1.0 / 6, 1.0 / 6, -1.0 / 6},
			{1.0 / 24, 1.0 / 12, 1.0 / 6}, {1.0 / 24, -1.0 / 12, 1.0 / 6}, {0, 0, 1}},
		out: [][]float64{{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}},
	}
}

// NewWinograd transforms the weights of a 3x3 convolution of one group, at least 16 channels in, for tiles of m = 2 or 4
// outputs; it panics for others.
func NewWinograd(c *PackedConv, m int) *Winograd {
	if c.KH != 3 || c.KW != 3 || c.Groups != 1 || c.Plain || c.step != ChannelBlock || m != 2 && m != 4 {
		panic(badConv)
	}
	w := &Winograd{m: m, t: m + 2, conv: c, gemm: *c}
	mats, data := winoTables(m), c.floats()
	w.gemm.half, w.gemm.scale = nil, nil
	w.gemm.KH, w.gemm.KW, w.gemm.wicb = 1, 1, ChannelBlock*ChannelBlock
	w.gemm.wocb = c.blocks * w.gemm.wicb
	each := c.outs * w.gemm.wocb // weights of one element
	w.gemm.data, w.gemm.bias = make([]float32, w.t*w.t*each), make([]float32, len(c.bias))
	var tmp [6][3]float64
	for b := range c.outs * c.blocks {
		for kl := range ChannelBlock * ChannelBlock { // input channel, output channel
			src := data[b*c.wicb+kl:]
			for i, g := range mats.kernel {
				for x := range 3 {
					const row = 3 * ChannelBlock * ChannelBlock
					at := x * ChannelBlock * ChannelBlock
					tmp[i][x] = dot3(g, float64(src[at]), float64(src[at+row]), float64(src[at+2*row]))
				}
			}
			for i := range w.t {
				for j, g := range mats.kernel {
					w.gemm.data[(i*w.t+j)*each+b*w.gemm.wicb+kl] = float32(dot3(g, tmp[i][0], tmp[i][1], tmp[i][2]))
				}
			}
		}
	}
	w.bound = w.estimate(&mats, data, each)
	return w
}

// dot3 returns g[0] x + g[1] y + g[2] z, every product rounded, on every architecture.
func dot3(g []float64, x, y, z float64) float64 {
	return float64(g[0]*x) + float64(g[1]*y) + float64(g[2]*z)
}

// Bytes returns the size of the transformed weights.
func (w *Winograd) Bytes() int64 { return 4 * int64(len(w.gemm.data)) }

// Bound is what max|error| / max|output| stays below for inputs that are independent with mean 0 and one variance v: a
// bound in probability, derived from the weights. Every rounding is taken as an independent error of variance u^2/3 times the
// square of what it rounds, u = 2^-24. Element (i, j) of a product, with transformed weights U, has variance
// v b_i b_j sum U^2, b_i being the square of the norm of row i of B^T; its C fused multiply-adds add at most C/2 times that
// times u^2/3, and the roundings of the three transforms 16 times at most. The output transform weighs it with the squares of
// A^T. The largest of fewer than 1e8 errors is below six standard deviations, and the largest output at least one.
//
// Inputs with a mean a, as after a Relu, err as those of variance v + a^2 do: all rows of B^T but one sum to 0, so that the mean
// reaches one product of the t^2, and the roundings of the transform are relative to its terms. The outputs grow as much, by a times
// the sum of the weights; were that 0 in every filter, the error might be sqrt(1 + a^2/v) times the bound, 1.2 times after a
// Relu of normal numbers.
func (w *Winograd) Bound() float64 { return w.bound }

func (w *Winograd) estimate(mats *winoMatrices, data []float32, each int) float64 {
	const u = 1.0 / (1 << 24)
	norm := make([]float64, w.t)
	for i, row := range mats.in {
		for _, x := range row {
			norm[i] += float64(x * x)
		}
	}
	c := w.conv
	var worst, largest float64
	sums := make([][ChannelBlock]float64, w.t*w.t)
	for ob := range c.outs {
		clear(sums)
		for e := range sums {
			for at, x := range w.gemm.data[e*each+ob*w.gemm.wocb:][:w.gemm.wocb] {
				sums[e][at%ChannelBlock] += float64(x) * float64(x)
			}
		}
		var plain [ChannelBlock]float64
		for at, x := range data[ob*c.wocb:][:c.wocb] {
			plain[at%ChannelBlock] += float64(x) * float64(x)
		}
		for l, p := range plain {
			largest = max(largest, p)
			for _, ar := range mats.out {
				for _, as := range mats.out {
					var e float64
					for i := range w.t {
						for j := range w.t {
							e += float64(ar[i] * ar[i] * as[j] * as[j] * norm[i] * norm[j] * sums[i*w.t+j][l])
						}
					}
					worst = max(worst, e)
				}
			}
		}
	}
	if largest == 0 {
		return 0
	}
	return 6 * math.Sqrt(worst/largest*u*u/3*(float64(c.Cin)/2+16))
}

// Cost estimates the cycles of one image of oh x ow outputs on a core with one fused multiply-add of 16 lanes per cycle: by the
// definition with m = 0, or with tiles.
func (c *PackedConv) Cost(oh, ow, m int) float64 {
	outs, cin := float64(c.outs), float64(c.Cin)
	if m == 0 {
		inside := (1 - 2.0/(3*float64(max(oh, 1)))) * (1 - 2.0/(3*float64(max(ow, 1)))) // the rest is padding, left out
		return float64(oh*ow*c.KH*c.KW) * cin * outs * inside / 0.95
	}
	tiles, elems := float64(ceilDiv(oh, m)*ceilDiv(ow, m)), float64((m+2)*(m+2))
	moves := map[int]float64{2: 100, 4: 250}[m] // of one transform of a tile of 16 channels
	weights := elems * cin * outs * 64 / 20     // 20 bytes per cycle from the L3 cache
	return float64(tiles*elems*cin*outs/0.9) + float64(tiles*moves*(cin/ChannelBlock+outs)) + weights
}

// winoJob is one convolution by tiles.
type winoJob struct {
	w          *Winograd
	g          *Window
	dst, src   []float32
	th, tw     int // tiles of an image
	first, num int // tiles of this pass
	v, p       []float32
	lim        [2]float32
	isa        ISA
}

const (
	// winoForkInput and winoForkOutput are the elements of tiles from which on they are made of the input, and the output of them, on several threads: 4 us
	// of one core with AVX-512 (AMD EPYC Zen 4: 0.27 and 0.11 ns for each). To fork and join costs 0.2 to 0.8 us there while the other thread
	// spins (BenchmarkForkJoin), as it does where products are spread between the two.
	winoForkInput, winoForkOutput = 16 << 10, 36 << 10
)

// forked is p, or nil for work that is not to be spread.
func forked(p *Pool, yes bool) *Pool {
	if yes {
		return p
	}
	return nil
}

// Conv computes what ConvBlocked does with the same arguments, for windows of stride and dilation 1.
func (w *Winograd) Conv(p *Pool, n int, dst, src []float32, g *Window, ep BlockEpilogue) {
	c := w.conv
	out := g.OH * g.OW * ChannelBlock
	if !g.Valid() || g.KH != 3 || g.KW != 3 || g.SH != 1 || g.SW != 1 || g.DH != 1 || g.DW != 1 || n < 0 {
		panic(badConv)
	}
	if len(src) < n*c.blocks*g.H*g.W*ChannelBlock || len(dst) < n*c.outs*out || ep.Residual != nil && len(ep.Residual) < n*c.outs*out {
		panic(badShapeLen)
	}
	if n == 0 || out == 0 {
		return
	}
	j := &winoJob{w: w, g: g, dst: dst, src: src, th: ceilDiv(g.OH, w.m), tw: ceilDiv(g.OW, w.m), isa: Active()}
	j.lim = [2]float32{float32(math.Inf(-1)), float32(math.Inf(1))}
	later := ep.Act
	if ep.Residual == nil {
		switch ep.Act {
		case ActRelu:
			j.lim[0], later = 0, ActNone
		case ActClip6:
			j.lim, later = [2]float32{0, 6}, ActNone
		}
	}
	all := n * j.th * j.tw
	elems := w.t * w.t
	cache := 1 << 20 / 4 // elements of tiles that are worked on at a time: they stay in the L2 cache
	if j.isa.hasAVX2() && !j.isa.hasAVX512() {
		cache = 2 << 20 / 4 // such L2 caches are smaller, and what counts is how often weights come from the L3 cache
	}
	passes := ceilDiv(all, max(24, cache/(elems*ChannelBlock*(c.blocks+c.outs))))
	most := ceilDiv(all, passes)
	vs, ps := getScratchF32(elems*c.blocks*most*ChannelBlock), getScratchF32(elems*c.outs*most*ChannelBlock)
	for j.first = 0; j.first < all; j.first += most {
		j.num = min(most, all-j.first)
		j.v, j.p = vs.f[:elems*c.blocks*j.num*ChannelBlock], ps.f[:elems*c.outs*j.num*ChannelBlock]
		forked(p, len(j.v) >= winoForkInput).Run(c.blocks, j.input)
		j.products(p)
		forked(p, len(j.p) >= winoForkOutput).Run(c.outs, j.output)
	}
	scratchPoolF32.Put(vs)
	scratchPoolF32.Put(ps)
	if ep.Residual == nil && later == ActNone {
		return
	}
	forked(p, n*c.outs*out >= blockForkCopy).Run(n*c.outs, func(i int) {
		y := dst[i*out : (i+1)*out]
		if ep.Residual != nil {
			Add(y, y, ep.Residual[i*out:(i+1)*out])
		}
		if later == ActHardSigmoid {
			HardSigmoid(y, y, ep.Alpha, ep.Beta)
		} else {
			activate(later, y)
		}
	})
}

// products multiplies the elements of the tiles, each a small image, with their weights.
func (j *winoJob) products(p *Pool) {
	w := &j.w.gemm
	b := newBlockJob(&Window{H: 1, W: j.num, KH: 1, KW: 1, SH: 1, SW: 1, DH: 1, DW: 1, OH: 1, OW: j.num})
	b.n, b.w, b.dst, b.src = j.w.t*j.w.t, w, j.p, j.v
	b.px, b.xplane, b.outs, b.kind = ChannelBlock, j.num*ChannelBlock, w.outs, blockDense
	b.ximage, b.wimage = w.blocks*b.xplane, w.outs*w.wocb
	b.tile.w, b.tile.bias = w.data, w.bias
	b.run(p)
}

// each calls f for runs of tiles of a row: tiles k to k+n of this pass, at row ty and column tx of an image; inside tells that
// need(ty, tx) holds for all of them, and else n is 1.
func (j *winoJob) each(need func(ty, tx int) bool, f func(k, image, ty, tx, n int, inside bool)) {
	for k := 0; k < j.num; {
		at := j.first + k
		image, ty, tx := at/(j.th*j.tw), at/j.tw%j.th, at%j.tw
		n := 0
		for tx+n < j.tw && k+n < j.num && need(ty, tx+n) {
			n++
		}
		f(k, image, ty, tx, max(n, 1), n > 0)
		k += max(n, 1)
	}
}

// input transforms block b of the input channels.
func (j *winoJob) input(b int) {
	w, g := j.w, j.g
	var edge, tmp [36 * ChannelBlock]float32
	stride := w.conv.blocks * j.num * ChannelBlock // from one element of a tile to the next
	need := func(ty, tx int) bool {
		y, x := ty*w.m-g.Top, tx*w.m-g.Left
		return y >= 0 && x >= 0 && y+w.t <= g.H && x+w.t <= g.W
	}
	j.each(need, func(k, image, ty, tx, n int, inside bool) {
		plane := j.src[(image*w.conv.blocks+b)*g.H*g.W*ChannelBlock:][:g.H*g.W*ChannelBlock]
		dst := j.v[(b*j.num+k)*ChannelBlock:]
		y, x := ty*w.m-g.Top, tx*w.m-g.Left
		if inside {
			j.in(dst, plane[(y*g.W+x)*ChannelBlock:], tmp[:], stride, g.W*ChannelBlock, n)
			return
		}
		t := w.t * ChannelBlock
		clear(edge[:])
		lo, hi := max(0, -x), min(w.t, g.W-x)
		for i := range w.t {
			if y+i >= 0 && y+i < g.H && lo < hi {
				copy(edge[i*t+lo*ChannelBlock:i*t+hi*ChannelBlock], plane[((y+i)*g.W+x+lo)*ChannelBlock:])
			}
		}
		j.in(dst, edge[:], tmp[:], stride, t, 1)
	})
}

// output transforms block b of the output channels.
func (j *winoJob) output(b int) {
	w, g := j.w, j.g
	var edge, tmp [36 * ChannelBlock]float32
	stride := w.conv.outs * j.num * ChannelBlock
	bias := w.conv.bias[b*ChannelBlock:][:ChannelBlock]
	need := func(ty, tx int) bool { return (ty+1)*w.m <= g.OH && (tx+1)*w.m <= g.OW }
	j.each(need, func(k, image, ty, tx, n int, inside bool) {
		plane := j.dst[(image*w.conv.outs+b)*g.OH*g.OW*ChannelBlock:][:g.OH*g.OW*ChannelBlock]
		src := j.p[(b*j.num+k)*ChannelBlock:]
		y, x := ty*w.m, tx*w.m
		if inside {
			j.out(plane[(y*g.OW+x)*ChannelBlock:], src, tmp[:], bias, stride, g.OW*ChannelBlock, n)
			return
		}
		row := w.m * ChannelBlock
		j.out(edge[:], src, tmp[:], bias, stride, row, 1)
		for i := range min(w.m, g.OH-y) {
			copy(plane[((y+i)*g.OW+x)*ChannelBlock:][:min(w.m, g.OW-x)*ChannelBlock], edge[i*row:])
		}
	})
}

// winoRow is the chain of a row of a matrix over x: the first term with coefficient 1, then the others in order, fused.
func winoRow(row []float64, x *[6]float32) float32 {
	first := 0
	for row[first] != 1 {
		first++
	}
	s := x[first]
	for i, c := range row {
		if c != 0 && i != first {
			s = Fma32(float32(c), x[i], s)
		}
	}
	return s
}

// winoGo applies a matrix to both sides of tiles [from, from] and hands over [len(mat), len(mat)], element by element.
func winoGo(mat [][]float64, from int, get func(i, j, l int) float32, put func(i, j, l int, v float32)) {
	for l := range ChannelBlock {
		var tmp [6][6]float32
		var x [6]float32
		for j := range from {
			for i := range from {
				x[i] = get(i, j, l)
			}
			for i, row := range mat {
				tmp[i][j] = winoRow(row, &x)
			}
		}
		for i := range mat {
			for j, row := range mat {
				put(i, j, l, winoRow(row, &tmp[i]))
			}
		}
	}
}

// inGo is the Go twin of the input transform of n tiles: ds is the distance of a tile's elements, rs that of image rows.
func (j *winoJob) inGo(dst, src []float32, ds, rs, n int) {
	for k := range n {
		winoGo(winoTables(j.w.m).in, j.w.t, func(i, c, l int) float32 { return src[i*rs+(c+k*j.w.m)*ChannelBlock+l] },
			func(i, c, l int, v float32) { dst[(i*j.w.t+c)*ds+k*ChannelBlock+l] = v })
	}
}

// outGo is the Go twin of the output transform of n tiles.
func (j *winoJob) outGo(dst, src, bias []float32, ss, rs, n int) {
	for k := range n {
		winoGo(winoTables(j.w.m).out, j.w.t, func(i, c, l int) float32 { return src[(i*j.w.t+c)*ss+k*ChannelBlock+l] },
			func(i, c, l int, v float32) {
				v += bias[l]
				if v < j.lim[0] {
					v = j.lim[0]
				}
				if v > j.lim[1] {
					v = j.lim[1]
				}
				dst[i*rs+(c+k*j.w.m)*ChannelBlock+l] = v
			})
	}
}
